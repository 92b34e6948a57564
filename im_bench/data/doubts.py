"""What in a data set is no error, but hardly meant. Loads nothing: planning tells it, too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Doubt:
    """One thing that is hardly meant.

    Attributes:
        kind: What sort of thing, for grouping.
        sentence: What it is, and what to do.
        grave: Whether scores may mean little, so that each run says it at its start.
    """

    kind: str
    sentence: str
    grave: bool = True
