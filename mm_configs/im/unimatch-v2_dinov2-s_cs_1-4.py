"""UniMatch V2 with masks: DINOv2-S on Cityscapes, 1/4 of the images labelled."""

_base_ = ["../unimatch_v2/unimatch-v2_dinov2-s_cs_1-4.py", "../_base_/inconsistency_masks.py"]
