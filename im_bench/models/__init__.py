"""Networks: the 1x1 U-Net, and a segmentor that puts any MMSegmentation network in a label space.

Importing a module of this package imports MMSegmentation, which takes seconds: do it where a
network is needed, not before.
"""

from __future__ import annotations

import warnings

# Said on every import where mmcv has no compiled operators; nothing here needs them.
warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")
