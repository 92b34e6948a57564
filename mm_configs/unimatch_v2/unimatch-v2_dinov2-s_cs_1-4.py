"""UniMatch V2: DINOv2-S on Cityscapes, 1/4 of the images labelled."""

_base_ = "../_base_/methods/unimatch_v2.py"
split = "1-4"
train_dataloader = dict(dataset=_base_.lists[split])
train_cfg = _base_.schedule[split]
