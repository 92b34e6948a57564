"""iMAS: ResNet-50 on Pascal, 366 labelled images."""

_base_ = "../_base_/methods/imas_voc.py"
split = "366"
train_dataloader = dict(dataset=_base_.lists[split])
train_cfg = _base_.schedule[split]
