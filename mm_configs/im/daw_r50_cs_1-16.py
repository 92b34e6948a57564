"""DAW with masks: ResNet-50 on Cityscapes, 1/16 of the images labelled."""

_base_ = ["../daw/daw_r50_cs_1-16.py", "../_base_/inconsistency_masks.py"]
