"""What methods are called in suites: with masks on top, and with values of a search."""

from __future__ import annotations

MASKED = "+im"
"""What the name of a method ends in that has Inconsistency Masks on top."""
TUNED = "-tuned"
"""What stands before that where a search has chosen the values."""


def tuned_name(name: str) -> str:
    """Return what a method with values of a search is called: ``u2pl-tuned+im``."""
    return f"{registry_name(name)}{TUNED}{MASKED if name.endswith(MASKED) else ''}"


def untuned_name(name: str) -> str:
    """Return the method whose values were chosen: ``u2pl+im`` of ``u2pl-tuned+im``."""
    masked = MASKED if name.endswith(MASKED) else ""
    return registry_name(name).removesuffix(TUNED) + masked


def registry_name(name: str) -> str:
    """Return the method's name in the registry: ``u2pl`` for ``u2pl+im``."""
    return name.removesuffix(MASKED)
