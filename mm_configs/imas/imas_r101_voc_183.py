"""iMAS: ResNet-101 on Pascal, 183 labelled images."""

_base_ = "imas_r50_voc_183.py"
model = dict(segmentor=dict(backbone=_base_.resnet101))
