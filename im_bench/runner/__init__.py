"""Doing: stage folders, locks, engines, progress."""
