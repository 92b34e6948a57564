"""What a finished data set says about itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from im_bench.data.description import FILE_NAME, SPLITS
from im_bench.data.fingerprint import MANIFEST
from im_bench.data.prepare.disk import remove_others
from im_bench.data.prepare.journal import Files
from im_bench.data.prepare.recipe import SEED, Recipe, Sample, Samples
from im_bench.data.splits import choose
from im_bench.errors import ImBenchError
from im_bench.files import read_json, sha256_json, write_json, write_text

LABELLED = "labelled-10.txt"


def sample_key(split: str, sample: Sample) -> str:
    """Return what identifies a raw image within its data set."""
    return f"{split}/{sample.name}"


def verify_prepared(folder: Path, header: Mapping[str, Any]) -> None:
    """Make sure that a finished folder is what is asked for, and still whole.

    Raises:
        ImBenchError: It was prepared from something else, or a file is missing or of another size.
    """
    manifest = read_json(folder / MANIFEST)
    if {key: manifest.get(key) for key in header} != header:
        raise ImBenchError(
            f"{folder} was prepared from other raw data or with other options: remove the folder, "
            f"or give another --root"
        )
    for path, (size, _) in manifest["files"].items():
        if not (folder / path).is_file() or (folder / path).stat().st_size != size:
            raise ImBenchError(
                f"{folder / path} is not as it was prepared: remove {folder} and prepare again"
            )


def finish(
    folder: Path,
    recipe: Recipe,
    samples: Samples,
    finished: Mapping[str, Files],
    header: Mapping[str, Any],
) -> None:
    """Write the list of labelled images, the description and, last, the manifest.

    Args:
        folder: The prepared data set.
        recipe: Its recipe.
        samples: The raw images of train, val and test.
        finished: The files made of each raw image, by :func:`sample_key`.
        header: What was prepared from what; it becomes part of the manifest.
    """
    files = {path: entry for made in finished.values() for path, entry in made.items()}
    remove_others(folder, files)
    names = _labelled(recipe, samples["train"], finished)
    write_text(folder / LABELLED, "".join(f"{name}\n" for name in names))
    write_text(folder / FILE_NAME, _description(recipe, folder.name))
    for name in (LABELLED, FILE_NAME):
        content = (folder / name).read_bytes()
        files[name] = (len(content), hashlib.sha256(content).hexdigest())
    files = dict(sorted(files.items()))
    counts = {s: sum(path.startswith(f"images/{s}/") for path in files) for s in SPLITS}
    write_json(
        folder / MANIFEST,
        {
            "name": folder.name,
            "fingerprint": sha256_json([[path, digest] for path, (_, digest) in files.items()]),
            "counts": {**counts, "labelled": len(names)},
            **header,
            "files": files,
        },
    )


def _labelled(recipe: Recipe, train: Sequence[Sample], finished: Mapping[str, Files]) -> list[str]:
    """Return the names of the prepared training images that keep their labels."""
    pieces = {
        sample.name: [
            Path(path).stem
            for path in finished[sample_key("train", sample)]
            if path.startswith("images/")
        ]
        for sample in train
    }
    if recipe.labelled_pieces:
        pieces = {name: [name] for names in pieces.values() for name in names}
    chosen = choose(pieces, recipe.labelled_count(len(pieces)), SEED)
    return [name for group in chosen for name in pieces[group]]


def _description(recipe: Recipe, name: str) -> str:
    fields = {
        "name": name,
        "encoding": "labels",
        **recipe.description,
        "root": ".",
        "images": "images/{split}",
        "masks": "labels/{split}",
        "splits": {split: split for split in SPLITS},
        "labelled": LABELLED,
    }
    return (
        f"# {recipe.title}; made by im-bench data prepare {recipe.name}\n"
        f"{yaml.safe_dump(fields, sort_keys=False, width=100, default_flow_style=None)}"
    )
