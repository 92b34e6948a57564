"""Versions of what is made here and hashed elsewhere. Imports nothing."""

#: Of the drawing of synthetic data, and part of its key. Raise it when the pictures change.
SYNTH = 2
