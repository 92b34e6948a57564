"""iMAS with masks: ResNet-50 on Pascal, 183 labelled images."""

_base_ = ["../imas/imas_r50_voc_183.py", "../_base_/inconsistency_masks.py"]
