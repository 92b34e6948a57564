"""Which training images keep their labels, as the packed data say."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from im_bench.errors import ImBenchError
from im_bench.files import read_json
from im_bench.planning.plan import Plan
from im_bench.runner.store import Store


@dataclass(frozen=True)
class Labelled:
    """The labelled images of a data set.

    Attributes:
        names: Of the labelled training images.
        training_images: Number of all training images.
        split_seed: Of the choice, or None where the data set brings its own list.
        file: The JSON file that lists them, under ``labelled``.
    """

    names: tuple[str, ...]
    training_images: int
    split_seed: int | None
    file: Path

    @property
    def sha256(self) -> str:
        """SHA-256 of the names, each followed by a line feed."""
        return hashlib.sha256("".join(f"{name}\n" for name in self.names).encode()).hexdigest()

    @property
    def text(self) -> str:
        """How many images, and what has chosen them: ``8 of 80 images (split_seed 42)``."""
        if len(self.names) == self.training_images:
            return f"all {self.training_images} images"
        chosen = (
            "the list that comes with the data"
            if self.split_seed is None
            else f"split_seed {self.split_seed}"
        )
        return f"{len(self.names)} of {self.training_images} images ({chosen})"


def labelled_images(plan: Plan, store: Store, data: str) -> Labelled | None:
    """Return the labelled images of a data set of a plan, or None before it is packed."""
    cell = next(cell for cell in plan.cells if cell.data == data)
    final = plan.graph[next(iter(cell.finals.values()))]
    stage = plan.graph[final.inputs["data"][0]]
    if store.result(stage) is None:
        return None
    file = store.folder(stage).path / "arrays" / "meta.json"
    try:
        meta = read_json(file)
        names, images = tuple(meta["labelled"]), len(meta["names"]["train"])
    except (OSError, ValueError, KeyError, TypeError, ImBenchError):
        return None
    spec = plan.suite.data[data]
    return Labelled(names, images, None if spec.labelled == "file" else spec.split_seed, file)
