"""U2PL."""

_base_ = "../recipes/u2pl.py"
model = dict(method=dict(name="u2pl"))
