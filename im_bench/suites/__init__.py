"""Declaring: suites, cells, the stage graph and its keys. Nothing here imports torch."""
