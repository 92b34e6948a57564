"""FixMatch: ResNet-101 on Pascal, 1/16 of the images labelled."""

_base_ = "fixmatch_r50_voc_1-16.py"
model = dict(segmentor=dict(backbone=_base_.resnet101))
