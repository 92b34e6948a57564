"""What a table means: its columns, entries and holes. How it looks is not known here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import groupby
from statistics import fmean, stdev

from im_bench.evaluation.registry import higher_is_better, metric_class


class State(str, Enum):
    """Where an entry stands; everything but ``DONE`` is a hole, and is marked as one."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    PRUNED = "pruned"
    PLANNED = "planned"
    MISSING = "missing"
    NO_DATA = "no data"


@dataclass(frozen=True)
class Column:
    """A data set and the metric that is its headline.

    Attributes:
        data: Name in the suite.
        split: Share of labelled images, or ``file``.
        metric: Such as ``iou``; empty until the first result says it.
        group: What several columns are put together under, such as ``cityscapes``; else empty.
        label: What the column is called within its group, such as ``1/16``.
    """

    data: str
    split: str
    metric: str
    group: str = ""
    label: str = ""

    @property
    def name(self) -> str:
        """What the column is called by itself."""
        return f"{self.group} {self.label}" if self.group else self.data

    @property
    def unit(self) -> str:
        """``%`` for shares (kept as fractions), or another, such as ``cells`` of counts."""
        return metric_class(self.metric).unit if self.metric else ""

    @property
    def higher(self) -> bool | None:
        """Whether a greater number is a better one; None until the metric is known."""
        return higher_is_better(self.metric) if self.metric else None


@dataclass(frozen=True)
class Entry:
    """One number of a table with what it was made of.

    Attributes:
        scores: What is there, by seed; shares as fractions, counts as they are.
        seeds: What should be there.
        state: ``DONE`` if nothing is missing.
        reported: What a paper reports under the same protocol, in the unit of ``scores``.
        rank: 1 for the best of its column, 2 for the second, None for others and for the unranked.
        gain: Mean minus that of the method's base, where both are complete.
        source: Where the reported number stands.
        approximate: Whether the reported number was read from a figure.
    """

    scores: Mapping[int, float]
    seeds: tuple[int, ...]
    state: State
    reported: float | None = None
    rank: int | None = None
    gain: float | None = None
    source: str = ""
    approximate: bool = False

    @property
    def n(self) -> int:
        """Number of seeds that are there."""
        return len(self.scores)

    @property
    def complete(self) -> bool:
        """Whether no seed is missing."""
        return self.state is State.DONE

    @property
    def mean(self) -> float | None:
        """Mean over the seeds that are there."""
        return fmean(self.scores.values()) if self.scores else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation (ddof = 1) over these seeds; None for fewer than two."""
        return stdev(self.scores.values()) if self.n > 1 else None

    @property
    def difference(self) -> float | None:
        """Ours minus the reported number; None unless the entry is complete."""
        if self.reported is None or self.mean is None or not self.complete:
            return None
        return self.mean - self.reported


@dataclass(frozen=True)
class Row:
    """A method, as trained here or elsewhere.

    Attributes:
        method: Name in the suite; of imported results with their origin, ``im@lab-b``, so that no
            two rows share one.
        title: Name in tables.
        all_labels: Whether it sees labels that the others must do without. Such rows stand apart
            and are not ranked.
        base: The row that it is an addition to, such as ``u2pl`` of ``u2pl+im``; else empty.
        origin: Where imported results come from; empty for our own. They stand apart, too.
        mean_rank: Mean of its ranks over all columns, among the rows that are complete there.
    """

    method: str
    title: str
    all_labels: bool
    base: str = ""
    origin: str = ""
    mean_rank: float | None = None

    @property
    def section(self) -> str:
        """What the rows that stand together have in common; empty for the ranked ones."""
        if self.origin:
            return f"imported from {self.origin}"
        return "with all labels" if self.all_labels else ""


@dataclass(frozen=True)
class ResultsTable:
    """Methods by data sets, with everything that a reader must know to read the numbers.

    Attributes:
        name: The suite and its budget.
        columns: The data sets, in the order of the suite, those of a group together.
        rows: The methods, in the order of the suite, then those with all labels, then imported.
        entries: By (method, data set).
        notes: The footer: protocol, selection, seeds, origin.
    """

    name: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    entries: Mapping[tuple[str, str], Entry]
    notes: tuple[str, ...]

    @cached_property
    def has_mean_ranks(self) -> bool:
        """Whether any row has a mean rank."""
        return any(row.mean_rank is not None for row in self.rows)

    @cached_property
    def seeds(self) -> int:
        """How many seeds an entry of ours should have; others say so themselves."""
        own = {len(self.entries[r.method, c.data].seeds) for r, c in self._own()}
        return min(own, default=0)

    def _own(self) -> Iterator[tuple[Row, Column]]:
        for row in self.rows:
            for column in self.columns:
                if not row.origin and (row.method, column.data) in self.entries:
                    yield row, column

    def groups(self) -> list[tuple[str, tuple[Column, ...]]]:
        """Return the groups of columns that stand together; a column without one is alone."""
        found: list[tuple[str, tuple[Column, ...]]] = []
        for column in self.columns:
            if column.group and found and found[-1][0] == column.group:
                found[-1] = (column.group, (*found[-1][1], column))
            else:
                found.append((column.group, (column,)))
        return found

    def sections(self) -> list[tuple[str, tuple[Row, ...]]]:
        """Return the rows that stand together, with what they have in common."""
        return [(name, tuple(rows)) for name, rows in groupby(self.rows, lambda row: row.section)]


@dataclass(frozen=True)
class GenerationRow:
    """One quantity of one method on one data set, from generation to generation.

    Attributes:
        column: The data set.
        method: Name in the suite.
        title: Name in tables.
        quantity: ``test`` (the column's metric), or a share such as ``images_kept``.
        entries: One per generation.
    """

    column: Column
    method: str
    title: str
    quantity: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class GenerationsTable:
    """How methods that train in generations fare from one to the next.

    Attributes:
        name: The suite and its budget.
        generations: The largest number of generations.
        rows: By data set, then method, then quantity.
        notes: The footer.
    """

    name: str
    generations: int
    rows: tuple[GenerationRow, ...]
    notes: tuple[str, ...]
