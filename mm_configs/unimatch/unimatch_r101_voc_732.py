"""UniMatch: ResNet-101 on Pascal, 732 labelled images."""

_base_ = "unimatch_r50_voc_732.py"
model = dict(segmentor=dict(backbone=_base_.resnet101))
