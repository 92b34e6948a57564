"""RankMatch with masks: ResNet-50 on Pascal, 183 labelled images."""

_base_ = ["../rankmatch/rankmatch_r50_voc_183.py", "../_base_/inconsistency_masks.py"]
