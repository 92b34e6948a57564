"""CrossMatch with UniMatch's recipe: the original knows medical images only."""

_base_ = "../recipes/unimatch.py"
train_dataloader = dict(dataset=dict(partner="other"))
model = dict(method=dict(name="crossmatch", partner="other"))
