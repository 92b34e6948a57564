"""Supervised learning: ResNet-50 on Pascal, 1464 labelled images."""

_base_ = "../_base_/methods/supervised_voc.py"
split = "1464"
train_dataloader = dict(dataset=_base_.lists[split])
train_cfg = _base_.schedule[split]
