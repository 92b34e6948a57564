"""RankMatch with masks: ResNet-50 on Pascal, 1/4 of the images labelled."""

_base_ = ["../rankmatch/rankmatch_r50_voc_1-4.py", "../_base_/inconsistency_masks.py"]
