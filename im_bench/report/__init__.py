"""Telling: tables, reference numbers, Weights & Biases."""
