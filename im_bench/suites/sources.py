"""Where a suite's data sets come from, and what identifies them in keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from im_bench.data import versions
from im_bench.data.fingerprint import fingerprint
from im_bench.errors import ImBenchError
from im_bench.suites.schema import DataSpec


@dataclass(frozen=True)
class Source:
    """A data set as the plan sees it.

    Attributes:
        identity: What the key of the ``data`` stage contains.
        paths: Where the files lie; not part of the key.
        missing: Why it cannot be read and what to do, or an empty string.
    """

    identity: dict[str, Any]
    paths: dict[str, str] = field(default_factory=dict)
    missing: str = ""


def locate(name: str, spec: DataSpec, suite_file: Path, data_root: Path, cache: Path) -> Source:
    """Find a data set and take its fingerprint; a missing one is said, not raised.

    Args:
        name: The data set's name in the suite.
        spec: Its entry there.
        suite_file: The suite, to which paths that begin with a dot are relative.
        data_root: Where prepared data sets lie.
        cache: JSON file that remembers content hashes of unchanged files.
    """
    if spec.synth is not None:
        made = {"drawing": versions.SYNTH, "preparation": versions.PREPARATION}
        return Source({"synth": spec.synth.model_dump(), "versions": made})
    wanted = spec.folder or name
    base = suite_file.resolve().parent if wanted.startswith(".") else data_root
    path = base / Path(wanted).expanduser()
    description = path if path.suffix in (".yaml", ".yml") else path / "dataset.yaml"
    if not description.is_file():
        return Source(
            {"missing": name},
            missing=f"data set {name!r} is not at {description}: run `im-bench data prepare` "
            "for it, or say with --data-root where it is",
        )
    try:
        identity = {"fingerprint": fingerprint(description, cache)}
    except ImBenchError as error:
        return Source({"missing": name}, missing=str(error))
    return Source(identity, {"description": str(description.absolute())})
