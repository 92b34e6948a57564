"""RankMatch with UniMatch's recipe. On Cityscapes every pixel teaches: the threshold is 0."""

_base_ = "../recipes/unimatch.py"
train_dataloader = dict(dataset=dict(partner="same"))
model = dict(method=dict(name="rankmatch", threshold=0.0, partner="same"))
