"""Two methods, or one in two results folders, compared by pairs of seeds that both have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from im_bench.errors import ImBenchError
from im_bench.planning.plan import Cell
from im_bench.report.results import headline_of
from im_bench.report.tables.build import CellResults
from im_bench.report.tables.entries import Column

if TYPE_CHECKING:
    from im_bench.report.statistics.estimates import Estimate


@dataclass(frozen=True)
class Side:
    """What is compared: a method with its results.

    Attributes:
        name: What tables and sentences call it.
        method: Its name in the suite.
        results: Where its scores are.
    """

    name: str
    method: str
    results: CellResults

    def cells(self) -> dict[str, Cell]:
        """Return the method's cells by data set."""
        return {cell.data: cell for cell in self.results.plan.cells if cell.method == self.method}


@dataclass(frozen=True)
class TaskComparison:
    """Two sides on one data set and split.

    Attributes:
        column: The data set and its metric.
        seeds: Those that both sides have, in order.
        scores: Of either side, by these seeds, in the metric's unit (shares as fractions).
        difference: First minus second, in that unit, with Student's interval.
    """

    column: Column
    seeds: tuple[int, ...]
    scores: tuple[tuple[float, ...], tuple[float, ...]]
    difference: Estimate

    @property
    def means(self) -> tuple[float, float]:
        """Mean of either side over the pairs."""
        first, second = (sum(scores) / len(scores) for scores in self.scores)
        return first, second

    @property
    def wins(self) -> int:
        """Pairs in which the first side is better."""
        sign = 1 if self.column.higher else -1
        return sum(sign * (a - b) > 0 for a, b in zip(*self.scores, strict=True))

    @property
    def losses(self) -> int:
        """Pairs in which the second side is better."""
        sign = 1 if self.column.higher else -1
        return sum(sign * (a - b) < 0 for a, b in zip(*self.scores, strict=True))


@dataclass(frozen=True)
class Overall:
    """Two sides over all tasks. Differences are relative: shares of the mean score of a task.

    Attributes:
        mean: Mean over tasks of the difference; positive where the first side is better.
        iqm: The same of the middle half of all pairs.
        probability: That a run of the first side beats one of the second.
        p: Of the sign-flip test; None where too few pairs could never reach 0.05.
        interval_problem: Why there are no intervals, or an empty string.
    """

    mean: Estimate
    iqm: Estimate
    probability: Estimate
    p: float | None
    interval_problem: str


@dataclass(frozen=True)
class Comparison:
    """All that is said of two sides.

    Attributes:
        name: The suite and its budget.
        sides: Their names.
        tasks: Those of which there is a pair, in the order of the suite.
        overall: None without any pair.
        holes: What is missing, one sentence each.
    """

    name: str
    sides: tuple[str, str]
    tasks: tuple[TaskComparison, ...]
    overall: Overall | None
    holes: tuple[str, ...]

    @property
    def pairs(self) -> int:
        """Number of pairs of all tasks."""
        return sum(len(task.seeds) for task in self.tasks)

    @property
    def wins(self) -> int:
        """Pairs in which the first side is better."""
        return sum(task.wins for task in self.tasks)

    @property
    def losses(self) -> int:
        """Pairs in which the second side is better."""
        return sum(task.losses for task in self.tasks)


def scores_of(results: CellResults, cell: Cell) -> dict[int, float]:
    """Return a cell's finite test scores by seed."""
    scores = {seed: headline_of(one) for seed, one in results.outcomes(cell).items()}
    return {seed: scores[seed] for seed in sorted(scores) if isfinite(scores[seed])}


def missing_seeds(name: str, results: CellResults, cell: Cell) -> str:
    """Return which seeds a cell lacks and why, or an empty string."""
    scores = scores_of(results, cell)
    missing = [seed for seed in cell.finals if seed not in scores]
    if not missing:
        return ""
    done = {seed for seed in missing if seed in results.outcomes(cell)}
    state = "not a number" if done == set(missing) else results.state(cell).value
    return f"{name} lacks seed{'s' if len(missing) > 1 else ''} {listing(missing)} ({state})"


def compare(first: Side, second: Side) -> Comparison:
    """Compare two sides on the data sets that both have.

    Raises:
        ImBenchError: If their metrics differ.
    """
    ours, theirs = first.cells(), second.cells()
    tasks, holes = [], []
    for data in (name for name in ours if name in theirs):
        lacking = [
            text
            for side, cell in ((first, ours[data]), (second, theirs[data]))
            if (text := missing_seeds(side.name, side.results, cell))
        ]
        if lacking:
            holes.append(f"{data}: {'; '.join(lacking)}.")
        task = _task(first, second, data)
        if task is not None:
            tasks.append(task)
    return Comparison(
        first.results.plan.name,
        (first.name, second.name),
        tuple(tasks),
        _overall(tasks),
        tuple(holes),
    )


def _task(first: Side, second: Side, data: str) -> TaskComparison | None:
    import numpy as np

    from im_bench.report.statistics.estimates import student_estimate

    columns = [side.results.columns[data] for side in (first, second)]
    ours, theirs = (scores_of(side.results, side.cells()[data]) for side in (first, second))
    seeds = tuple(seed for seed in ours if seed in theirs)
    if not seeds:
        return None
    if columns[0] != columns[1]:
        raise ImBenchError(
            f"{data} is measured by {columns[0].metric} for {first.name} and by "
            f"{columns[1].metric} for {second.name}: leave it out with --data"
        )
    scores = (tuple(ours[seed] for seed in seeds), tuple(theirs[seed] for seed in seeds))
    difference = student_estimate(np.subtract(*scores))
    return TaskComparison(columns[0], seeds, scores, difference)


def _overall(tasks: Sequence[TaskComparison]) -> Overall | None:
    """Return the numbers over all tasks, which do not depend on the tasks' order."""
    import numpy as np

    from im_bench.report.statistics import estimates as st

    if not tasks:
        return None
    ordered = sorted(tasks, key=lambda task: (task.column.data, task.column.split))
    directions = [bool(task.column.higher) for task in ordered]
    scores = [np.asarray(task.scores) for task in ordered]
    relative = [
        st.relative_differences(both[0], both[1], higher)
        for both, higher in zip(scores, directions, strict=True)
    ]
    signed = [both if higher else -both for both, higher in zip(scores, directions, strict=True)]
    sizes = [len(differences) for differences in relative]
    return Overall(
        mean=st.estimate(st.task_mean, relative),
        iqm=st.estimate(st.interquartile_mean, relative),
        probability=st.estimate(st.probability_of_improvement, signed),
        p=st.sign_flip_p(relative) if sum(sizes) >= st.pairs_needed() else None,
        interval_problem=st.interval_problem(sizes),
    )


def listing(items: Iterable[object]) -> str:
    """Return items with commas between."""
    return ", ".join(str(item) for item in items)
