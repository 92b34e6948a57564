"""All methods of a suite over all tasks: interquartile means, ranks, profiles, improvements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from im_bench.errors import ImBenchError, unknown_name
from im_bench.planning.plan import Cell, Plan
from im_bench.report.statistics.comparison import (
    Comparison,
    Side,
    compare,
    listing,
    missing_seeds,
    scores_of,
)
from im_bench.report.tables.build import CellResults

if TYPE_CHECKING:
    from im_bench.report.statistics.estimates import Estimate, Scores

MASKED = "+im"
PROFILE_POINTS = 101


@dataclass(frozen=True)
class MethodSummary:
    """One method over all tasks.

    Attributes:
        method: Name in the suite.
        title: Name in tables.
        iqm: Interquartile mean of its normalised scores.
        rank: Mean over tasks of its rank by mean score; 1 is the best.
        profile: Share of its runs with a normalised score of at least tau, by :attr:`Summary.taus`.
        band: Limits of the profile, pointwise, or None where not asked for or not to be had.
    """

    method: str
    title: str
    iqm: Estimate
    rank: Estimate
    profile: tuple[float, ...]
    band: tuple[tuple[float, ...], tuple[float, ...]] | None


@dataclass(frozen=True)
class Improvement:
    """Whether a method improves on its base.

    Attributes:
        comparison: Method and base, by pairs.
        p: After Holm's correction for the whole family; None where it could never reach 0.05.
    """

    comparison: Comparison
    p: float | None


@dataclass(frozen=True)
class Summary:
    """What is said of all methods.

    Attributes:
        name: The suite and its budget.
        tasks: Data set, split and the seeds that count.
        methods: The best interquartile mean first.
        taus: Thresholds of the profiles, in normalised scores.
        improvements: Of ``METHOD+im`` on ``METHOD``, or of all methods on the baseline.
        baseline: Name of the method that scores are relative to, or an empty string.
        holes: What is left out, one sentence each.
        interval_problem: Why there are no intervals, or an empty string.
    """

    name: str
    tasks: tuple[tuple[str, str, tuple[int, ...]], ...]
    methods: tuple[MethodSummary, ...]
    taus: tuple[float, ...]
    improvements: tuple[Improvement, ...]
    baseline: str
    holes: tuple[str, ...]
    interval_problem: str


def summarise(
    plan: Plan, results: CellResults, baseline: str | None = None, bands: bool = False
) -> Summary:
    """Return what can be said of all methods of a plan that see the same labels.

    Args:
        plan: What was asked for.
        results: What is there.
        baseline: The method that scores are relative to, and that all are compared with. Without
            one, scores are scaled by the worst and the best method of each task.
        bands: Also draw the limits of the profiles, which takes a second or two.

    Raises:
        ImBenchError: If there are fewer than two methods with results on a common task, or the
            baseline is not among them.
    """
    from im_bench.report.statistics import estimates as st

    methods, apart = _ranked(plan)
    if baseline is not None and baseline not in methods:
        raise unknown_name("baseline among the methods that are compared", baseline, methods)
    holes = (
        [f"Left out, because labels are used that others must do without: {apart}."]
        if apart
        else []
    )
    with_results = _with_results(plan, results, methods, holes)
    if baseline is not None and baseline not in with_results:
        raise ImBenchError(f"the baseline {baseline} has no results yet: run it, or choose another")
    chosen, tasks = _tasks(plan, results, with_results, baseline, holes)
    sizes = [scores.shape[-1] for scores in tasks]
    improvements = _improvements(plan, results, with_results, baseline)
    summaries, taus = _methods(plan, with_results, tasks, bands)
    return Summary(
        name=plan.name,
        tasks=tuple(chosen),
        methods=tuple(sorted(summaries, key=lambda one: -one.iqm.value)),
        taus=taus,
        improvements=improvements,
        baseline=baseline or "",
        holes=tuple(holes),
        interval_problem=st.interval_problem(sizes),
    )


def _ranked(plan: Plan) -> tuple[list[str], str]:
    """Return the methods that are compared, and which see labels that these must do without."""
    apart = [
        method
        for method in dict.fromkeys(cell.method for cell in plan.cells)
        if any(
            stage.config.get("part") == "all"
            for stage in plan.stages_of(next(c for c in plan.cells if c.method == method))
        )
    ]
    return list(
        dict.fromkeys(cell.method for cell in plan.cells if cell.method not in apart)
    ), listing(apart)


def _with_results(
    plan: Plan, results: CellResults, methods: Sequence[str], holes: list[str]
) -> list[str]:
    """Return the methods that have a score at all; say which have none."""
    found = [
        method
        for method in methods
        if any(scores_of(results, cell) for cell in plan.cells if cell.method == method)
    ]
    if len(found) < 2:
        have = f"results of {found[0]} only" if found else "no results yet"
        raise ImBenchError(
            f"{plan.name} has {have}, and statistics compare two methods at least: make more with "
            "im-bench run, or name the folder that has them with --out"
        )
    absent = [method for method in methods if method not in found]
    if absent:
        holes.append(f"Left out, without any result: {listing(absent)}.")
    return found


def _tasks(
    plan: Plan,
    results: CellResults,
    methods: Sequence[str],
    baseline: str | None,
    holes: list[str],
) -> tuple[list[tuple[str, str, tuple[int, ...]]], list[Scores]]:
    """Return the tasks that all methods have, and normalised scores of shape (methods, seeds)."""
    import numpy as np

    from im_bench.report.statistics import estimates as st

    chosen, tasks = [], []
    # By name, so that the draws of the bootstrap do not depend on the suite's order.
    for data in sorted({cell.data for cell in plan.cells}):
        cells = {c.method: c for c in plan.cells if c.data == data and c.method in methods}
        scores = {method: scores_of(results, cells[method]) for method in methods}
        seeds = sorted(set.intersection(*(set(one) for one in scores.values())))
        _say_holes(data, cells, results, seeds, holes)
        if not seeds:
            continue
        column = results.columns[data]
        higher = bool(column.higher)
        table = np.array([[scores[method][seed] for seed in seeds] for method in methods])
        if baseline is None:
            tasks.append(st.min_max(table, higher))
        elif not table[methods.index(baseline)].mean():
            holes.append(f"{data}: left out, because the mean of {baseline} is 0.")
            continue
        else:
            tasks.append(st.relative_to(table, methods.index(baseline), higher))
        chosen.append((data, column.split, tuple(seeds)))
    if not tasks:
        raise ImBenchError(
            f"{plan.name} has no data set of which all of {listing(methods)} have the same seed: "
            "leave some out with --methods"
        )
    return chosen, tasks


def _say_holes(
    data: str,
    cells: dict[str, Cell],
    results: CellResults,
    seeds: Sequence[int],
    holes: list[str],
) -> None:
    lacking = [text for name, cell in cells.items() if (text := missing_seeds(name, results, cell))]
    if lacking:
        counts = f"only seeds {listing(seeds)} count" if seeds else "left out"
        holes.append(f"{data}: {counts}; {'; '.join(lacking)}.")


def _methods(
    plan: Plan, methods: Sequence[str], tasks: Sequence[Scores], bands: bool
) -> tuple[list[MethodSummary], tuple[float, ...]]:
    import numpy as np

    from im_bench.report.statistics import estimates as st

    low = min(float(task.min()) for task in tasks)
    high = max(float(task.max()) for task in tasks)
    taus = np.linspace(min(low, 0.0), max(high, 0.0), PROFILE_POINTS)

    def profiles(*drawn: Scores) -> Scores:
        return np.asarray(st.performance_profile(taus, *drawn))

    iqms = st.estimates(st.interquartile_mean, tasks)
    ranks = st.estimates(st.mean_ranks, tasks)
    shares = profiles(*tasks)
    limits = st.bootstrap_intervals(profiles, tasks) if bands else None
    titles = {cell.method: cell.title for cell in plan.cells}
    return [
        MethodSummary(
            method,
            titles[method],
            iqms[i],
            ranks[i],
            tuple(shares[:, i].tolist()),
            None
            if limits is None
            else (tuple(limits[0][:, i].tolist()), tuple(limits[1][:, i].tolist())),
        )
        for i, method in enumerate(methods)
    ], tuple(taus.tolist())


def _improvements(
    plan: Plan, results: CellResults, methods: Sequence[str], baseline: str | None
) -> tuple[Improvement, ...]:
    """Compare the family of methods with their bases, and correct for its size."""
    from im_bench.report.statistics.estimates import holm, pairs_needed

    if baseline is None:
        pairs = [(m, m.removesuffix(MASKED)) for m in methods if m.endswith(MASKED)]
        pairs = [(method, base) for method, base in pairs if base in methods]
    else:
        pairs = [(method, baseline) for method in methods if method != baseline]
    if not pairs:
        return ()
    comparisons = [
        compare(Side(method, method, results), Side(base, base, results)) for method, base in pairs
    ]
    needed = pairs_needed(len(pairs))
    # What is not tested counts all the same: who looks at it compares it.
    raw = [
        one.overall.p if one.overall and one.overall.p is not None and one.pairs >= needed else None
        for one in comparisons
    ]
    corrected = holm([1.0 if p is None else p for p in raw])
    return tuple(
        Improvement(one, None if p is None else q)
        for one, p, q in zip(comparisons, raw, corrected, strict=True)
    )
