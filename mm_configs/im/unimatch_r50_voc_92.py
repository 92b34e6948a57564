"""UniMatch with masks: ResNet-50 on Pascal, 92 labelled images."""

_base_ = ["../unimatch/unimatch_r50_voc_92.py", "../_base_/inconsistency_masks.py"]
