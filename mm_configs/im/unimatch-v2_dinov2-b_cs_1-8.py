"""UniMatch V2 with masks: DINOv2-B on Cityscapes, 1/8 of the images labelled."""

_base_ = ["../unimatch_v2/unimatch-v2_dinov2-b_cs_1-8.py", "../_base_/inconsistency_masks.py"]
