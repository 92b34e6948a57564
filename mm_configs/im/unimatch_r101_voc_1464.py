"""UniMatch with masks: ResNet-101 on Pascal, 1464 labelled images."""

_base_ = ["../unimatch/unimatch_r101_voc_1464.py", "../_base_/inconsistency_masks.py"]
