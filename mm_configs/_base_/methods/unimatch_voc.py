"""UniMatch on Pascal with UniMatch's recipe."""

_base_ = "../recipes/unimatch_voc.py"
train_dataloader = dict(dataset=dict(partner="same"))
model = dict(method=dict(name="unimatch", threshold=0.95, partner="same"))
