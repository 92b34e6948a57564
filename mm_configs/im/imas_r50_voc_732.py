"""iMAS with masks: ResNet-50 on Pascal, 732 labelled images."""

_base_ = ["../imas/imas_r50_voc_732.py", "../_base_/inconsistency_masks.py"]
