"""The words in which the terminal and the page tell of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from im_bench.report.page.cost import duration
from im_bench.report.tuning.findings import Findings
from im_bench.tuning.study import TrialRecord, TrialState


def value_text(value: float) -> str:
    """Return a score as searches tell it: shares between 0 and 1, four decimals."""
    return f"{value:.4f}".replace("-", "−")


def field_text(value: Any) -> str:
    """Return a field's value."""
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def params_text(params: Mapping[str, Any]) -> str:
    """Return ``threshold 0.95, im.erode 2``."""
    return ", ".join(f"{name} {field_text(value)}" for name, value in params.items())


def counts_text(counts: Mapping[TrialState, int]) -> str:
    """Return ``7 complete, 5 pruned``."""
    return ", ".join(f"{count} {state.value}" for state, count in counts.items()) or "none yet"


def seconds_text(record: TrialRecord) -> str:
    """Return how long a trial took; what took less than a second took no time."""
    return duration(record.seconds or 0) if (record.seconds or 0) >= 1 else ""


def reason_text(record: TrialRecord) -> str:
    """Return why a trial has no value, or why its values do not count."""
    return record.reason if record.feasible else "covers too little"


def description(found: Findings) -> list[tuple[str, str]]:
    """Return what a study is, as names and what stands for them."""
    it = found.definition
    share = f"{it.hold_out:.0%} of the labelled images, held out" if it.hold_out else ""
    labels = it.objective == "pseudo-labels"
    if labels:
        score = "quality and coverage of pseudo-labels from cached predictions, both higher better"
        if it.min_coverage is not None:
            score += f"; coverage {it.min_coverage:g} at least"
    else:
        better = "higher" if found.higher else "lower"
        score = f"{found.objectives[0]} of trained networks, {better} is better"
    seeds = f"seed{'s' if len(it.seeds) > 1 else ''} {', '.join(map(str, it.seeds))}"
    return [
        ("tunes", f"{it.method} of suite {it.suite}, budget {it.budget}"),
        ("score", score),
        ("on", f"{', '.join(it.data)}: {share or 'validation images'}; {seeds}"),
        ("search", f"sampler {it.sampler}, pruner {it.pruner}"),
        ("trials", f"{len(found.records)}: {counts_text(found.counts)}"),
        ("storage", found.where),
    ]


def own_text(found: Findings) -> str:
    """Return what became of the method's own values, if they have no score to compare with."""
    own = found.own
    if own is None:
        if found.own_pending:
            return "The method's own values are still to be tried."
        return "The method's own values lie outside of what is searched, so they have no score."
    if own.values:
        return ""
    reason = f": {own.reason}" if own.reason else ""
    return f"The method's own values have no score: trial {own.number} is {own.state.value}{reason}"


def nothing_text(found: Findings) -> str:
    """Return what to say where there is no best trial; an empty string where there is one."""
    if found.best is not None:
        return ""
    if found.complete:
        return (
            f"No complete trial (of {len(found.complete)}) covers as much as is asked for: "
            "begin a study with a lower --min-coverage."
        )
    if not found.records:
        return "No trial has begun yet."
    return f"No trial is complete yet: {counts_text(found.counts)}."
