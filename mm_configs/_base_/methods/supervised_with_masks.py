"""Supervised learning on labelled images, and on what teachers agree on in unlabelled ones.

With UniMatch's recipe: batches and length are those of the semi-supervised methods.
"""

_base_ = "../recipes/unimatch.py"
model = dict(method=dict(name="supervised"))
