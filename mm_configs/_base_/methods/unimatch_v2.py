"""UniMatch V2."""

_base_ = "../recipes/unimatch_v2.py"
model = dict(method=dict(name="unimatch-v2"))
