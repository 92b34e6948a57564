"""U2PL on Pascal: an epoch of labelled images first, and a quarter of its contrastive loss.

The original divides that loss by its number of processes, 4.
"""

_base_ = "../recipes/u2pl_voc.py"
model = dict(method=dict(name="u2pl", supervised_epochs=1, contrastive_weight=0.25))
