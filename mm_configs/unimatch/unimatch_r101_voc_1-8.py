"""UniMatch: ResNet-101 on Pascal, 1/8 of the images labelled."""

_base_ = "unimatch_r50_voc_1-8.py"
model = dict(segmentor=dict(backbone=_base_.resnet101))
