"""UniMatch V2: DINOv2-B on Cityscapes, 1/8 of the images labelled."""

_base_ = "../_base_/methods/unimatch_v2.py"
split = "1-8"
train_dataloader = dict(dataset=_base_.lists[split])
train_cfg = _base_.schedule[split]
model = dict(segmentor=_base_.dinov2_b)
