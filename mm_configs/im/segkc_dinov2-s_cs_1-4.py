"""SegKC with masks: DINOv2-S beside DINOv2-B on Cityscapes, 1/4 of the images labelled."""

_base_ = ["../segkc/segkc_dinov2-s_cs_1-4.py", "../_base_/inconsistency_masks.py"]
