"""iMAS with masks: ResNet-101 on Pascal, 1/4 of the images labelled."""

_base_ = ["../imas/imas_r101_voc_1-4.py", "../_base_/inconsistency_masks.py"]
