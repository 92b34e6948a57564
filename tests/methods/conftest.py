"""Methods are tested on the models and batches of ``tests/semi``."""

from __future__ import annotations

from semi.conftest import _one_thread, batch, build  # noqa: F401
