"""iMAS with masks: ResNet-50 on Pascal, 1/8 of the images labelled."""

_base_ = ["../imas/imas_r50_voc_1-8.py", "../_base_/inconsistency_masks.py"]
