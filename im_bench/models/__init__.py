"""Networks and the segmentor that MMSegmentation lacks."""
