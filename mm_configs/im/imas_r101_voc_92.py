"""iMAS with masks: ResNet-101 on Pascal, 92 labelled images."""

_base_ = ["../imas/imas_r101_voc_92.py", "../_base_/inconsistency_masks.py"]
