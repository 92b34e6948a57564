"""FixMatch: ResNet-50 on Pascal, 183 labelled images."""

_base_ = "../_base_/methods/fixmatch_voc.py"
split = "183"
train_dataloader = dict(dataset=_base_.lists[split])
train_cfg = _base_.schedule[split]
