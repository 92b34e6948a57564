"""FPL on two networks that teach each other (CPS)."""

_base_ = "../recipes/cps.py"
train_dataloader = dict(dataset=dict(partner="other"))
model = dict(method=dict(name="fpl", weighting="concave", unlabelled_weight=5.0, partner="other"))
