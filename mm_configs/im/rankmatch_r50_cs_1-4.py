"""RankMatch with masks: ResNet-50 on Cityscapes, 1/4 of the images labelled."""

_base_ = ["../rankmatch/rankmatch_r50_cs_1-4.py", "../_base_/inconsistency_masks.py"]
