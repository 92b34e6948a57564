"""iMAS: ResNet-101 on Pascal, 92 labelled images."""

_base_ = "imas_r50_voc_92.py"
model = dict(segmentor=dict(backbone=_base_.resnet101))
