"""The Ray engine: stages as tasks of a cluster."""
