"""DAW with UniMatch's recipe. Its threshold finds itself; that of the code's settings is unused."""

_base_ = "../recipes/unimatch.py"
train_dataloader = dict(dataset=dict(partner="same"))
model = dict(method=dict(name="daw", partner="same"))
