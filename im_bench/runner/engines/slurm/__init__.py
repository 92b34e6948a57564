"""The Slurm engine: stages as jobs of a cluster."""
