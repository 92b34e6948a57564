"""U2PL with masks: ResNet-50 on Pascal, 1464 labelled images."""

_base_ = ["../u2pl/u2pl_r50_voc_1464.py", "../_base_/inconsistency_masks.py"]
