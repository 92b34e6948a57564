"""Seeds that derive from what they are for, so that adding a method shifts no other."""

from __future__ import annotations

from im_bench.files import sha256_json


def seed_of(*coordinates: str | int | float) -> int:
    """Return a 31-bit seed for the given coordinates (data set, split, seed, purpose, ...)."""
    return int(sha256_json(list(coordinates))[:8], 16) & 0x7FFFFFFF
