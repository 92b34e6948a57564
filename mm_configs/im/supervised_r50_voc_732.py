"""Supervised learning with masks: ResNet-50 on Pascal, 732 labelled images."""

_base_ = ["../_base_/methods/supervised_with_masks_voc.py", "../_base_/inconsistency_masks.py"]
split = "732"
train_dataloader = dict(dataset=_base_.lists[split])
train_cfg = _base_.schedule[split]
