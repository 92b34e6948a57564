"""Changes sealed files as their owner would, for tests that need other contents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from im_bench.files import SEAL, read_json, sealed, write_json


def rewrite(path: Path, **fields: Any) -> None:
    """Set fields of a sealed JSON file, and seal it anew."""
    content = {**read_json(path), **fields}
    content.pop(SEAL, None)
    write_json(path, sealed(content))
