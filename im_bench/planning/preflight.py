"""What a run would refuse of its data, found beforehand and without opening an image."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from im_bench.data.description import SPLITS, DataDescription
from im_bench.data.layout import Layout
from im_bench.data.listing import Item
from im_bench.errors import ImBenchError
from im_bench.methods.online import OnlineMethod
from im_bench.methods.registry import method_class
from im_bench.suites.graph import Stage
from im_bench.suites.schema import DataSpec

if TYPE_CHECKING:
    from im_bench.planning.plan import Plan


@dataclass(frozen=True)
class Census:
    """How many training images a suite takes of a data set.

    Attributes:
        train: All of them.
        labelled: Those that keep their labels, or None where a draw decides.
        unmasked: Those of which no mask exists.
    """

    train: int
    labelled: int | None
    unmasked: int = 0


def take_census(layout: Layout, spec: DataSpec) -> Census:
    """Count a data set's training images.

    Args:
        layout: Its files.
        spec: Its entry in the suite.

    Raises:
        ImBenchError: The data stage would refuse the data set: a split is empty, an image lacks a
            mask that it needs, the list of labelled images is missing or wrong, or nothing is left
            to learn from.
    """
    items = {split: layout.items(split) for split in SPLITS}["train"]
    names = layout.labelled_names() if spec.labelled == "file" else None
    if spec.labelled == "file" and names is None:
        raise ImBenchError(
            f"data set {layout.description.name}: its description names no `labelled` file: "
            "add one, or give a share"
        )
    most = spec.limit.get("train", len(items))
    unmasked = sum(not item.masks for item in items)
    if most < len(items) and (names or unmasked):
        return Census(most, None, unmasked)
    return _counted(min(most, len(items)), unmasked, len(names) if names else None, spec)


def drawn_census(train: int, spec: DataSpec) -> Census:
    """Count the training images of a data set that is drawn, all of which have masks."""
    return _counted(min(train, spec.limit.get("train", train)), 0, None, spec)


def _counted(train: int, unmasked: int, listed: int | None, spec: DataSpec) -> Census:
    labelled = listed
    if labelled is None and spec.labelled != "file":
        labelled = max(1, round((train - unmasked) * spec.labelled))
    if spec.hold_out and labelled is not None:
        held = max(1, round(spec.hold_out * labelled))
        if held >= labelled:
            raise ImBenchError(
                f"holding out {held} of {labelled} labelled images leaves none to learn from: "
                "hold out a smaller share, or label more"
            )
        return Census(train - held, labelled - held, unmasked)
    return Census(train, labelled, unmasked)


def refusal(data: str, census: Census, stages: Iterable[Stage]) -> str:
    """Return why a cell's stages cannot be done with a data set, or an empty string.

    Args:
        data: The data set's name in the suite.
        census: Its training images.
        stages: Of the cell.
    """
    for stage in stages:
        if census.unmasked and stage.config.get("part") == "all" and stage.kind == "train":
            return (
                f"data set {data!r}: {census.unmasked} of {census.train} training images have no "
                "mask, and this method trains on the labels of all: leave it out, or add the masks"
            )
        if census.labelled == census.train and _needs_unlabelled(stage):
            return (
                f"data set {data!r} has no unlabelled images: all {census.train} training images "
                "are labelled; choose a smaller `labelled` share"
            )
    return ""


def _needs_unlabelled(stage: Stage) -> bool:
    if stage.kind == "pseudo-label":
        return True
    method = stage.config.get("method") if stage.kind == "train" else None
    if not method:
        return False
    kind = method_class(method["name"])
    return issubclass(kind, OnlineMethod) and kind.needs_unlabelled


def _size(path: Path, description: DataDescription) -> tuple[int, int]:
    """Return width and height of the page that is read, upright if images are brought so."""
    from im_bench.data.image_headers import facts_of, opened, page_frames

    with opened(path) as image:
        if description.page:
            frames = page_frames(image)
            image.seek(frames[min(description.page, len(frames) - 1)])
        facts = facts_of(image)
    width, height = facts.size
    lies = facts.orientation > 4 and description.orientation == "apply"
    return (height, width) if lies else (width, height)


def size_problems(plan: Plan) -> dict[str, str]:
    """Return which image has a wrong size, by data set, of those that nothing else is wrong with.

    Reads the headers of all images that no suite resizes.

    Args:
        plan: With its data sets' stages.
    """
    bad = {cell.data for cell in plan.cells if cell.problem}
    found: dict[str, str] = {}
    for name in plan.suite.data:
        stage = plan.packed(name)
        if stage is not None and "description" in stage.paths and name not in bad:
            layout = Layout.load(Path(stage.paths["description"]))
            if problem := other_sizes(layout, plan.suite.data[name]):
                found[name] = problem
    return found


def other_sizes(layout: Layout, spec: DataSpec) -> str:
    """Return which image does not have the size that the suite needs, or an empty string.

    Reads the headers of all images, unless the suite resizes them.

    Args:
        layout: The data set's files; its splits have images.
        spec: Its entry in the suite.
    """
    if spec.size and spec.fit == "resize":
        return ""
    items: Collection[Item] = [item for split in SPLITS for item in layout.items(split)]
    if any(len(items) > most for most in spec.limit.values()):
        return ""  # Which ones are taken is drawn.
    wanted = spec.size
    for item in items:
        try:
            size = _size(item.image, layout.description)
        except ImBenchError:
            continue  # Whatever reads it says why it cannot.
        text = "x".join(map(str, size))
        if spec.fit == "pad" and wanted and (size[0] > wanted[0] or size[1] > wanted[1]):
            return (
                f"{item.image}: is {text} pixels, which do not fit into the suite's "
                f"{wanted[0]}x{wanted[1]}: give a size that no image exceeds, or `fit: resize`"
            )
        if spec.size is None:
            wanted = wanted or size
            if size != wanted:
                return (
                    f"{item.image}: is {text} pixels but the first training image is "
                    f"{wanted[0]}x{wanted[1]}: give the suite a size to which all are resized"
                )
    return ""
