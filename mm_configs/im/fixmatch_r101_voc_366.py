"""FixMatch with masks: ResNet-101 on Pascal, 366 labelled images."""

_base_ = ["../fixmatch/fixmatch_r101_voc_366.py", "../_base_/inconsistency_masks.py"]
