"""Engines decide where stages run: on this machine, on a Ray or Slurm cluster, or by hand."""
