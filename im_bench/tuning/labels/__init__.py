"""Searching without training: how pseudo-labels are best made of what networks have predicted.

:mod:`~im_bench.tuning.labels.declaration` says what of a method can be searched so, and which
predictions it takes; :mod:`~im_bench.tuning.labels.scorer` scores thousands of trials on them, and
:mod:`~im_bench.tuning.labels.search` makes the trials. PyTorch is imported by the scorer only.
"""
