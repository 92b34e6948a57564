"""Where a suite's data sets come from, and what identifies them in keys."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from im_bench.data import versions
from im_bench.data.fingerprint import fingerprint
from im_bench.data.layout import Layout
from im_bench.errors import ImBenchError
from im_bench.evaluation.registry import METRICS
from im_bench.planning.preflight import Census, drawn_census, take_census
from im_bench.suites.schema import DataSpec


@dataclass(frozen=True)
class Source:
    """A data set as the plan sees it.

    Attributes:
        identity: What the key of the ``data`` stage contains.
        paths: Where the files lie; not part of the key.
        missing: Why it cannot be read and what to do, or an empty string.
        census: Its training images, unless it cannot be read.
        warnings: What of its files is hardly meant.
    """

    identity: dict[str, Any]
    paths: dict[str, str] = field(default_factory=dict)
    missing: str = ""
    census: Census | None = None
    warnings: tuple[str, ...] = ()


def locate(name: str, spec: DataSpec, suite_file: Path, data_root: Path, cache: Path) -> Source:
    """Find a data set and take its fingerprint; a missing one is said, not raised.

    Args:
        name: The data set's name in the suite.
        spec: Its entry there.
        suite_file: The suite. A relative ``folder`` is looked for beside it first.
        data_root: Where prepared data sets lie, and where a relative ``folder`` is looked for next.
        cache: JSON file that remembers content hashes of unchanged files.
    """
    if spec.synth is not None:
        made = {"drawing": versions.SYNTH, "preparation": versions.PREPARATION}
        census = drawn_census(spec.synth.train, spec)
        return Source({"synth": spec.synth.model_dump(), "versions": made}, census=census)
    # A name alone is that of a prepared data set; a folder may lie beside the suite, too.
    roots = [suite_file.resolve().parent, data_root] if spec.folder else [data_root]
    wanted = Path(spec.folder or name).expanduser()
    places = [_description(Path(os.path.normpath(root / wanted))) for root in roots]
    description = next((place for place in places if place.is_file()), None)
    if description is None:
        tried = " nor ".join(dict.fromkeys(map(str, places)))
        return Source(
            {"missing": name},
            missing=f"data set {name!r} is not at {tried}: run `im-bench data prepare` for it, "
            "correct `folder` in the suite, or say with --data-root where it is",
        )
    try:
        identity: dict[str, Any] = {"fingerprint": fingerprint(description, cache)}
    except ImBenchError as error:
        return Source({"missing": name}, missing=str(error))
    paths = {"description": str(description.absolute())}
    try:
        layout = Layout.load(description)
        if code := METRICS.code(layout.description.metric):
            identity["metric"] = code
        census = take_census(layout, spec)
    except ImBenchError as error:
        return Source(identity, paths, missing=str(error))
    warnings = tuple(doubt.sentence for doubt in layout.doubts() if doubt.grave)
    return Source(identity, paths, census=census, warnings=warnings)


def _description(path: Path) -> Path:
    return path if path.suffix in (".yaml", ".yml") else path / "dataset.yaml"
