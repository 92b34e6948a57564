"""What can and what cannot be concluded from a comparison, in plain words."""

from __future__ import annotations

from im_bench.report.statistics.comparison import Comparison, Overall, listing
from im_bench.report.statistics.estimates import Estimate, pairs_needed
from im_bench.report.statistics.summary import Improvement, Summary
from im_bench.report.tables.texts import number

ALPHA = 0.05
SCOPE = (
    "Seeds vary the training, not the labelled images nor the test images: what is said here is "
    "said of these data sets and splits, and of no others."
)


def p_text(p: float) -> str:
    """Return ``p = 0.031`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.{2 if p >= 0.1 else 3}f}"


def estimate_text(estimate: Estimate, unit: str, sign: bool = True) -> str:
    """Return ``+1.2 [−0.3, +2.7]``, or without an interval ``+1.2``."""
    text = number(estimate.value, unit, sign)
    if estimate.interval is None:
        return text
    low, high = (number(limit, unit, sign) for limit in estimate.interval)
    return f"{text} [{low}, {high}]"


def too_few(pairs: int, comparisons: int = 1) -> str:
    """Say why so few pairs get no p, and how many would."""
    needed = pairs_needed(comparisons)
    among = f" among {comparisons} comparisons" if comparisons > 1 else ""
    have = f"{pairs} pair{'s' if pairs != 1 else ''}"
    return (
        f"With {have} no test can tell a difference from chance{among}: even if all agreed, p "
        f"would be {min(1, comparisons * 2 / 2**pairs):.2g}; at least {needed} pairs are needed."
    )


def conclusion(comparison: Comparison) -> str:
    """Return the sentences under a comparison."""
    first, second = comparison.sides
    overall, pairs = comparison.overall, comparison.pairs
    if overall is None:
        return (
            f"Nothing can be concluded: no seed of any data set has results of both {first} and "
            f"{second}."
        )
    if overall.p is None:
        return (
            f"Nothing can be concluded yet: {_counted(comparison)}; {_by(overall)}. "
            f"{too_few(pairs)}"
        )
    if overall.p > ALPHA:
        return (
            f"No difference is shown ({p_text(overall.p)}): {_counted(comparison)}; "
            f"{_by(overall)}. {_hidden(overall)}"
        )
    better, worse = (first, second) if overall.mean.value > 0 else (second, first)
    return " ".join(
        sentence
        for sentence in (
            f"{better} is better than {worse} on average ({p_text(overall.p)}): "
            f"{_counted(comparison)}; {_by(overall)}.",
            _against(comparison, better),
        )
        if sentence
    )


def _counted(comparison: Comparison) -> str:
    ties = comparison.pairs - comparison.wins - comparison.losses
    equal = f", {ties} equal" if ties else ""
    return (
        f"{comparison.sides[0]} is better in {comparison.wins} of {comparison.pairs} pairs{equal}"
    )


def _by(overall: Overall) -> str:
    return f"the mean difference is {number(overall.mean.value, '%', sign=True)} % of the score"


def _hidden(overall: Overall) -> str:
    """Say how large a difference may be that was not shown."""
    if overall.mean.interval is None:
        return "That is no proof that they are equal."
    low, high = (number(limit, "%", sign=True) for limit in overall.mean.interval)
    return f"That is no proof that they are equal: anything from {low} to {high} % is plausible."


def _against(comparison: Comparison, better: str) -> str:
    """Name the data sets on which the other side has the better mean."""
    sign = 1 if better == comparison.sides[0] else -1
    others = [
        task.column.data
        for task in comparison.tasks
        if sign * (1 if task.column.higher else -1) * task.difference.value < 0
    ]
    return f"Not on all: the means on {listing(others)} say the opposite." if others else ""


def family_conclusion(summary: Summary) -> str:
    """Return the sentences under the statistics of all methods."""
    family = summary.improvements
    if not family:
        return (
            "No improvement was tested: there is no METHOD+im beside its METHOD; --baseline METHOD "
            "compares all with one."
        )
    tested = [one for one in family if one.p is not None]
    shown = [one for one in tested if one.p is not None and one.p <= ALPHA]
    better = [
        one for one in shown if one.comparison.overall and one.comparison.overall.mean.value > 0
    ]
    worse = [one for one in shown if one not in better]
    untested = [one for one in family if one.p is None]
    sentences = [
        f"Better than {'their bases' if len(better) > 1 else 'its base'}: {_names(better)}."
        if better
        else "",
        f"Worse than {'their bases' if len(worse) > 1 else 'its base'}: {_names(worse)}."
        if worse
        else "",
        f"No difference shown, which proves none absent: {_names(rest)}."
        if (rest := [one for one in tested if one not in shown])
        else "",
        f"No p for {_names(untested)}: "
        f"{too_few(min(one.comparison.pairs for one in untested), len(family))}"
        if untested
        else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _names(family: list[Improvement]) -> str:
    return listing(
        one.comparison.sides[0] + (f" ({p_text(one.p)})" if one.p is not None else "")
        for one in family
    )
