"""Supervised learning: ResNet-101 on Pascal, 366 labelled images."""

_base_ = "supervised_r50_voc_366.py"
model = dict(segmentor=dict(backbone=_base_.resnet101))
