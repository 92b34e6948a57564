"""iMAS, with threshold and weight of its Cityscapes settings."""

_base_ = "../recipes/imas.py"
model = dict(method=dict(name="imas", threshold=0.7, unlabelled_weight=3.0))
