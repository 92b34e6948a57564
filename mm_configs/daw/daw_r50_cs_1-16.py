"""DAW: ResNet-50 on Cityscapes, 1/16 of the images labelled."""

_base_ = "../_base_/methods/daw.py"
split = "1-16"
train_dataloader = dict(dataset=_base_.lists[split])
train_cfg = _base_.schedule[split]
