"""Supervised learning with masks: ResNet-101 on Pascal, 183 labelled images."""

_base_ = "supervised_r50_voc_183.py"
model = dict(segmentor=dict(backbone=_base_.resnet101))
