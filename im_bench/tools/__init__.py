"""What ``tools/train.py`` and ``tools/test.py`` do: MMSegmentation's commands, for its configs.

MMSegmentation is imported late, so that a mistyped path is told at once.
"""
