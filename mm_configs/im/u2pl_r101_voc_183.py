"""U2PL with masks: ResNet-101 on Pascal, 183 labelled images."""

_base_ = ["../u2pl/u2pl_r101_voc_183.py", "../_base_/inconsistency_masks.py"]
