"""Supervised learning on labelled images of Pascal, and on what teachers agree on in others.

With UniMatch's recipe: batches and length are those of the semi-supervised methods.
"""

_base_ = "../recipes/unimatch_voc.py"
model = dict(method=dict(name="supervised"))
