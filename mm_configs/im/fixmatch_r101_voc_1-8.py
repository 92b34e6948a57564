"""FixMatch with masks: ResNet-101 on Pascal, 1/8 of the images labelled."""

_base_ = ["../fixmatch/fixmatch_r101_voc_1-8.py", "../_base_/inconsistency_masks.py"]
