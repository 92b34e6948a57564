"""Weights & Biases as a mirror of the files."""
