"""The gallery: images with truth, teachers, masks and predictions, from what stages leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from im_bench.data.pictures import colour_table
from im_bench.planning.plan import Cell
from im_bench.report.page.stages import Stages
from im_bench.report.page.styles import MethodStyle
from im_bench.report.page.thumbnails import Pixels, Thumbnails, read_strip
from im_bench.report.tables.entries import ResultsTable
from im_bench.suites.graph import Stage, generation_role, labels_role

#: Pictures of one kind, of one method on one data set.
MOST_PICTURES = 8


@dataclass(frozen=True)
class Panel:
    """A picture with what it shows; ``image`` is its number among all pictures of the page."""

    caption: str
    image: int


@dataclass(frozen=True)
class Item:
    """One image with everything that is known of it.

    Attributes:
        data: The data set.
        method: Title of the method.
        shows: Such as ``pseudo-labels, generation 1``.
        panels: From the image to the prediction.
    """

    data: str
    method: str
    shows: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Gallery:
    """The pictures of a suite.

    Attributes:
        items: By data set, method, what is shown, and image.
        found: How many there were before the budget was spent.
        unreadable: Names of pictures that could not be read.
        classes: By data set, the classes with the colours of their labels.
        seed: The repetition that is shown.
    """

    items: tuple[Item, ...]
    found: int
    unreadable: tuple[str, ...]
    classes: Mapping[str, tuple[tuple[str, str], ...]]
    seed: int


@dataclass(frozen=True)
class _Source:
    """Where the panels of an item come from.

    Attributes:
        place: Positions of the data set, the method, what is shown, and the image.
    """

    place: tuple[int, int, int, int]
    data: str
    method: str
    shows: str
    path: Path
    teachers: int | None = None
    masked: bool = False
    prediction: Path | None = None


def gallery(
    stages: Stages,
    table: ResultsTable,
    styles: Mapping[str, MethodStyle],
    thumbnails: Thumbnails,
) -> Gallery:
    """Return the pictures that fit into the budget: some of every cell rather than all of a few."""
    sources = sorted(_sources(stages, styles), key=lambda source: source.place[::-1])
    items: list[tuple[_Source, Item]] = []
    unreadable = []
    for source in sources:
        if thumbnails.full:
            break
        panels = _panels(source)
        if panels is None:
            unreadable.append(str(source.path.relative_to(source.path.parents[2])))
            continue
        shown = tuple(Panel(caption, thumbnails.add(pixels)) for caption, pixels in panels)
        items.append((source, Item(source.data, source.method, source.shows, shown)))
    items.sort(key=lambda pair: pair[0].place)
    shown_data = {item.data for _, item in items}
    return Gallery(
        tuple(item for _, item in items),
        len(sources),
        tuple(unreadable),
        {
            column.data: _classes(stages.meta(column.data))
            for column in table.columns
            if column.data in shown_data
        },
        next(iter(stages.plan.cells[0].finals)),
    )


def _positions(stages: Stages) -> tuple[dict[str, int], dict[str, int]]:
    data = {n: i for i, n in enumerate(dict.fromkeys(c.data for c in stages.plan.cells))}
    methods = {n: i for i, n in enumerate(dict.fromkeys(c.method for c in stages.plan.cells))}
    return data, methods


def _sources(stages: Stages, styles: Mapping[str, MethodStyle]) -> Iterator[_Source]:
    data, methods = _positions(stages)
    for cell in stages.plan.cells:
        if cell.method in styles:
            yield from _of_cell(stages, cell, (data[cell.data], methods[cell.method]))


def _of_cell(stages: Stages, cell: Cell, at: tuple[int, int]) -> Iterator[_Source]:
    final = stages.final(cell, next(iter(cell.finals)))
    rounds = stages.rounds(final)
    for g in range(1, rounds + 1):
        training = stages.selected(final, g) or _any_done(
            stages, stages.inputs(final, generation_role(g))
        )
        generation = f", generation {g}" if rounds > 1 else ""
        for labels in stages.inputs(final, labels_role(g)):
            teachers = len(stages.outcome(labels).get("teachers", ()))
            for k, path in enumerate(_pictures(stages, labels, "labels-*.png")):
                if teachers:
                    prediction = _beside(stages, training, path)
                    yield _Source(
                        (*at, g, k),
                        cell.data,
                        cell.title,
                        f"pseudo-labels{generation}",
                        path,
                        teachers,
                        labels.config.get("mode") == "im",
                        prediction,
                    )
        if training is not None:
            for k, path in enumerate(_pictures(stages, training, "[0-9]*.png")):
                shows = f"validation{generation}"
                yield _Source((*at, rounds + g, k), cell.data, cell.title, shows, path)


def _any_done(stages: Stages, trainings: list[Stage]) -> Stage | None:
    return next((one for one in trainings if stages.result(one)), None)


def _pictures(stages: Stages, stage: Stage, pattern: str) -> list[Path]:
    return sorted((stages.folder(stage).path / "samples").glob(pattern))[:MOST_PICTURES]


def _beside(stages: Stages, training: Stage | None, labels: Path) -> Path | None:
    """Return the picture that a student left of the image of which a strip of labels is."""
    if training is None:
        return None
    name = labels.name.replace("labels", "unlabelled")
    path = stages.folder(training).path / "samples" / name
    return path if path.exists() else None


def _panels(source: _Source) -> list[tuple[str, Pixels]] | None:
    if source.teachers is None:
        return _captioned(source.path, ["image", "truth", "prediction"])
    said = [f"teacher {k}" for k in range(1, source.teachers + 1)]
    ends = (
        ["inconsistent", "what a student sees", "consensus"]
        if source.masked
        else ["inconsistent (kept)", "what a student sees", "ensemble"]
    )
    found = _captioned(source.path, ["image", "truth", *said, *ends], ["image", *said, *ends])
    predicted = (
        _captioned(source.prediction, ["image", "truth", "student"]) if source.prediction else None
    )
    if found and predicted:
        found.append(predicted[-1])
    return found


def _captioned(path: Path, *captions: list[str]) -> list[tuple[str, Pixels]] | None:
    panels = read_strip(path, [len(names) for names in captions])
    if panels is None:
        return None
    names = next(names for names in captions if len(names) == len(panels))
    return list(zip(names, panels, strict=True))


def _classes(meta: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return the classes with the colours of their labels, as ``#rrggbb``."""
    names, outputs = meta.get("classes"), meta.get("outputs")
    if not isinstance(names, list) or not isinstance(outputs, int):
        return ()
    space = str(meta.get("space"))
    table = colour_table(space, outputs)
    # A byte is 1 in binary data, has bit c in multi-label data, and is the class in others.
    codes = {
        "binary": [1],
        "multilabel": [1 << c for c in range(min(len(names), 8))],
    }.get(space, list(range(min(len(names), 255))))
    return tuple(
        (str(name), "#{:02x}{:02x}{:02x}".format(*table[code]))
        for name, code in zip(names, codes, strict=False)
    )
