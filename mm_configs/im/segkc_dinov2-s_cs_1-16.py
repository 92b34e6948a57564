"""SegKC with masks: DINOv2-S beside DINOv2-B on Cityscapes, 1/16 of the images labelled."""

_base_ = ["../segkc/segkc_dinov2-s_cs_1-16.py", "../_base_/inconsistency_masks.py"]
