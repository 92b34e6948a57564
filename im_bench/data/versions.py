"""Versions of what is made here and hashed elsewhere. Imports nothing."""

#: Of the drawing of synthetic data, and part of its key. Raise it when the pictures change.
SYNTH = 2

#: Of the preparation of the official data sets and their drawn twins. Raise it when outputs change.
PREPARATION = 2
