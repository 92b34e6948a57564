"""Loaded by the server from which stages are forked: those whose runner is killed end silently.

A process that was just forked reads from its runner what to do. If the runner dies meanwhile, that
is an EOFError before any of im-bench's own code runs, which Python would show on the terminal.
"""

from __future__ import annotations

import sys
from types import TracebackType


def _show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if not issubclass(kind, EOFError):
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _show
