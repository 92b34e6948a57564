"""iMAS on Pascal, with threshold and weight of most of its logs; see `imas.py`."""

_base_ = "../recipes/imas_voc.py"
model = dict(method=dict(name="imas", threshold=0.95, unlabelled_weight=3.0, skip_undrawn=True))
