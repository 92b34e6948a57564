"""The ``data`` stage: a data set, drawn or read, becomes arrays of one size."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from im_bench.data.description import load_description
from im_bench.data.folder import DataFolder
from im_bench.data.packing import pack
from im_bench.data.prepare import prepare
from im_bench.data.survey import Survey
from im_bench.data.synth import synthesise
from im_bench.errors import ImBenchError
from im_bench.runner.job import SCRATCH, Job


def run(job: Job) -> dict[str, Any]:
    """Pack the data set that ``job.config["source"]`` identifies into ``arrays/``.

    Returns:
        Counts of images per split and of labelled ones, the fingerprint of what was read, and as
        ``warnings`` what of it is hardly meant.

    Raises:
        ImBenchError: The data set is wrong in any way, or is not the one that was planned.
    """
    synth = job.config["source"].get("synth")
    if synth is None:
        return _pack(job, Path(job.paths["description"]))
    size = tuple(job.config["size"])
    counts = {split: synth[split] for split in ("train", "val", "test")}
    scratch = job.folder / SCRATCH
    synthesise(synth["like"], scratch / "raw", counts, synth["seed"], size)
    prepared = prepare(
        synth["like"],
        [scratch / "raw"],
        root=scratch,
        size=size,
        allow_partial=True,
        threads=job.settings.threads,
    )
    return _pack(job, prepared / "dataset.yaml")


def _pack(job: Job, path: Path) -> dict[str, Any]:
    description, base = load_description(path)
    size = job.config["size"]
    # Whatever a kill leaves of the arrays lies where it is removed once the stage is done.
    packed = job.folder / SCRATCH / "arrays"
    survey = Survey(description)
    meta = pack(
        DataFolder(description, base),
        packed,
        size=tuple(size) if size else None,
        fit=job.config.get("fit", "resize"),
        labelled=job.config["labelled"],
        seed=job.config["split_seed"],
        limit=job.config["limit"],
        hold_out=job.config.get("hold_out"),
        threads=job.settings.threads,
        progress=job.progress,
        survey=survey,
    )
    planned = job.config["source"].get("fingerprint", meta["fingerprint"])
    if meta["fingerprint"] != planned:
        raise ImBenchError(
            f"data set {meta['name']!r} at {path} has changed since it was planned: run the same "
            "command again, which plans anew"
        )
    arrays = job.folder / "arrays"
    if arrays.exists():
        shutil.rmtree(arrays)
    packed.rename(arrays)
    return {
        "images": {split: len(names) for split, names in meta["names"].items()},
        "labelled": len(meta["labelled"]),
        "size": meta["size"],
        "classes": meta["classes"],
        "metric": meta["metric"],
        "fingerprint": meta["fingerprint"],
        "warnings": [
            f"data set {meta['name']}: {doubt.sentence}" for doubt in survey.doubts() if doubt.grave
        ],
    }
