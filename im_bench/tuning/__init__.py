"""Tuning: searching a method's fields with Optuna, on held-out data and within a stated budget."""
