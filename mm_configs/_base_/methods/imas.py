"""iMAS, with threshold and weight of its Cityscapes settings.

As there a CutMix view passes through the student only where it is drawn, for which Python waits for
the device once per step.
"""

_base_ = "../recipes/imas.py"
model = dict(method=dict(name="imas", threshold=0.7, unlabelled_weight=3.0, skip_undrawn=True))
