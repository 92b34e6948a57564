"""Supervised learning: ResNet-101 on Pascal, 1/4 of the images labelled."""

_base_ = "supervised_r50_voc_1-4.py"
model = dict(segmentor=dict(backbone=_base_.resnet101))
