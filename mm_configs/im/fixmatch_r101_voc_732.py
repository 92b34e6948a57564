"""FixMatch with masks: ResNet-101 on Pascal, 732 labelled images."""

_base_ = ["../fixmatch/fixmatch_r101_voc_732.py", "../_base_/inconsistency_masks.py"]
