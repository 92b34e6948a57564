"""UniMatch: ResNet-101 on Pascal, 1464 labelled images."""

_base_ = "unimatch_r50_voc_1464.py"
model = dict(segmentor=dict(backbone=_base_.resnet101))
