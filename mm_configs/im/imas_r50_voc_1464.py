"""iMAS with masks: ResNet-50 on Pascal, 1464 labelled images."""

_base_ = ["../imas/imas_r50_voc_1464.py", "../_base_/inconsistency_masks.py"]
