"""Suites that a search writes: its trials, and tuned methods beside the others.

They are suite files as any other, so that every command can show what is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from im_bench.files import write_text
from im_bench.planning.loading import load_suite
from im_bench.planning.plan import Plan
from im_bench.suites.schema import Suite
from im_bench.tuning.study import TrialState, records_of
from im_bench.tuning.trials import trial_name, variant_fields

if TYPE_CHECKING:
    from optuna.study import Study

#: States of trials that have cells.
_WITH_CELLS = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


def study_folder(out: Path, study: str) -> Path:
    """Return where a study's own files lie."""
    return out / "tuning" / study


def write_trials(study: Study, plan: Plan, method: str, out: Path) -> Path:
    """Write the trials of a study as the methods of a suite, and return its file.

    Args:
        study: The study; its name becomes the suite's.
        plan: Of the search: its suite has validation scores, its own seeds, the chosen data sets,
            and its path is the file of the suite that is tuned.
        method: The method that is tuned.
        out: The results folder.
    """
    tuned = load_suite(plan.path)[0]
    fields = tuned.methods[method] or {}
    variants = {
        trial_name(method, record.origin): variant_fields(method, fields, record.params)
        for record in records_of(study)
        if record.state in _WITH_CELLS and record.params
    }
    name = study.study_name
    trials = plan.suite.model_copy(
        update={
            "name": name,
            "description": f"Trials of a search for {method} of suite {tuned.name}.",
            "budget": plan.budget,
            "methods": variants or {method: fields},
        }
    )
    return write_suite(trials, study_folder(out, name) / f"{name}.yaml", plan.path)


def write_suite(suite: Suite, path: Path, origin: Path) -> Path:
    """Write a suite; folders relative to its origin become absolute. Returns the path."""
    value = suite.model_dump(mode="json", exclude_defaults=True)
    base = origin.resolve().parent
    for spec in value["data"].values():
        if str(spec.get("folder", "")).startswith("."):
            spec["folder"] = str((base / spec["folder"]).resolve())
    text = yaml.safe_dump(_plain(value), sort_keys=False, allow_unicode=True, width=100)
    write_text(path, text, durable=False)
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
