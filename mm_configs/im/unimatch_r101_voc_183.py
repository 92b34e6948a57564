"""UniMatch with masks: ResNet-101 on Pascal, 183 labelled images."""

_base_ = ["../unimatch/unimatch_r101_voc_183.py", "../_base_/inconsistency_masks.py"]
