"""Statistics as JSON: the numbers behind the text, shares and relative differences as fractions."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from im_bench.report.statistics.comparison import Comparison
from im_bench.report.statistics.conclusions import conclusion, family_conclusion
from im_bench.report.statistics.summary import Summary
from im_bench.report.statistics.text import Page


def comparison_values(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON values."""
    overall = comparison.overall
    return {
        "name": comparison.name,
        "sides": list(comparison.sides),
        "tasks": [
            {
                "data": task.column.data,
                "split": task.column.split,
                "metric": task.column.metric,
                "higher_is_better": task.column.higher,
                "seeds": task.seeds,
                "scores": task.scores,
                "means": task.means,
                "difference": asdict(task.difference),
                "wins": task.wins,
                "losses": task.losses,
            }
            for task in comparison.tasks
        ],
        "pairs": comparison.pairs,
        "wins": comparison.wins,
        "losses": comparison.losses,
        "overall": None if overall is None else asdict(overall),
        "holes": comparison.holes,
        "conclusion": conclusion(comparison),
    }


def summary_values(summary: Summary) -> dict[str, Any]:
    """Return the statistics of all methods as JSON values."""
    return {
        "name": summary.name,
        "baseline": summary.baseline or None,
        "tasks": [
            {"data": data, "split": split, "seeds": seeds} for data, split, seeds in summary.tasks
        ],
        "methods": [asdict(one) for one in summary.methods],
        "taus": summary.taus,
        "improvements": [
            {**comparison_values(one.comparison), "p_holm": one.p} for one in summary.improvements
        ],
        "holes": summary.holes,
        "interval_problem": summary.interval_problem,
        "conclusion": family_conclusion(summary),
    }


def render_json(values: dict[str, Any], page: Page) -> str:
    """Return values with the notes of their page as readable JSON."""
    return json.dumps({**values, "notes": page.notes}, indent=2, allow_nan=False) + "\n"
