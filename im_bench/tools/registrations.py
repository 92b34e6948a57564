"""Importing this module registers all parts of im-bench that a config of MMSegmentation may name.

Configs do so by ``custom_imports``, so that they also work with other programs than im-bench's.
"""
