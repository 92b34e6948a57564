"""Supervised learning with masks: ResNet-50 on Pascal, 1/16 of the images labelled."""

_base_ = ["../_base_/methods/supervised_with_masks_voc.py", "../_base_/inconsistency_masks.py"]
split = "1-16"
train_dataloader = dict(dataset=_base_.lists[split])
train_cfg = _base_.schedule[split]
