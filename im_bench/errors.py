"""The errors that a user can cause, and can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ImBenchError(Exception):
    """Something that the user can mend, said in one sentence.

    The message names what is wrong, where, and what to do. The command line prints it without a
    traceback and exits with status 2; inside a stage it is recorded with the stage.
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ImBenchError:
    """Return the error for a name that does not exist, with the nearest one that does.

    Args:
        kind: What the name stands for, such as ``"suite"``.
        name: What the user wrote.
        known: The names that exist.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ImBenchError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names) or 'none'}")
