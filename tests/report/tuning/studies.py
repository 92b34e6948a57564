"""Small real studies, made of trials as a search leaves them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from im_bench.tuning.storage import JOURNAL, WORKER, StudyStorage, open_storage
from im_bench.tuning.study import FAILURE, PRUNED_AT, SURPLUS, Definition, open_study

DISTRIBUTIONS = {
    "threshold": FloatDistribution(0.0, 0.99),
    "weight": FloatDistribution(0.25, 4, log=True),
    "im.erode": IntDistribution(0, 3),
    "mode": CategoricalDistribution(("hard", "soft <b>")),
}
OWN = {"threshold": 0.95, "weight": 1.0, "im.erode": 0, "mode": "hard"}


def definition(**changes: Any) -> Definition:
    """Return what a study of ``fixmatch+im`` is."""
    values: dict[str, Any] = {
        "suite": "tiny",
        "budget": "equal",
        "method": "fixmatch+im",
        "data": ("isic", "hela"),
        "seeds": (1001,),
        "objective": "training",
        "metric": "iou",
        "space": {
            "threshold": "0 to 0.99",
            "weight": "0.25 to 4, log",
            "im.erode": "0 to 3",
            "mode": "hard, soft <b>",
        },
        "fields": {"threshold": 0.95, "weight": 1.0, "mode": "hard", "im": {"erode": 0}},
        "protocol": "0" * 64,
        "sampler": "tpe",
        "pruner": "median",
    }
    return Definition(**{**values, **changes})


def begin(storage: StudyStorage, name: str, **changes: Any) -> Study:
    """Begin a study without trials."""
    it = definition(**changes)
    labels, lower = it.objective == "pseudo-labels", it.metric == "mcce"
    directions = ["maximize"] * 2 if labels else ["minimize" if lower else "maximize"]
    return open_study(storage, it, directions, name)  # type: ignore[arg-type]


def add(study: Study, *values: float, state: str = "COMPLETE", **more: Any) -> None:
    """Add a trial.

    Args:
        study: To which.
        values: What came of it.
        state: What became of it.
        more: ``params`` (beside the method's own), ``curve``, ``seconds`` and attributes.
    """
    params: Mapping[str, Any] = {**OWN, **more.pop("params", {})}
    curve, seconds = more.pop("curve", {}), more.pop("seconds", 5)
    trial = create_trial(
        state=TrialState[state],
        values=list(values) or None,
        params=dict(params),
        distributions=DISTRIBUTIONS,
        intermediate_values=curve,
        user_attrs=more,
    )
    trial.datetime_start = datetime(2026, 11, 25, 12)
    trial.datetime_complete = trial.datetime_start + timedelta(seconds=seconds)
    study.add_trial(trial)


def trained(storage: StudyStorage, name: str = "trained") -> Study:
    """Return a study with trials of every kind: the fourth is the best, the first the defaults."""
    study = begin(storage, name)
    add(study, 0.5, curve={1: 0.3, 2: 0.45, 3: 0.5}, seconds=600)
    add(study, 0.4, params={"threshold": 0.2}, curve={1: 0.2, 2: 0.3, 3: 0.4})
    add(
        study,
        state="PRUNED",
        params={"threshold": 0.1, "weight": 3.0},
        curve={1: 0.05, 2: 0.1},
        **{PRUNED_AT: "at step 2 of 8, iou 0.1000"},
    )
    best = {"threshold": 0.7, "weight": 2.0, "im.erode": 1, "mode": "soft <b>"}
    add(study, 0.625, params=best, curve={1: 0.4, 2: 0.6, 3: 0.62})
    add(
        study,
        state="FAIL",
        params={"im.erode": 3},
        **{FAILURE: "isic/0.5/s1001/fixmatch-t4+im/member1: the disk is <i>full</i>"},
    )
    add(study, state="PRUNED", params={"im.erode": 2}, **{PRUNED_AT: "impossible: too many masks"})
    add(study, state="FAIL", **{SURPLUS: True})
    return study


def lose_one(storage: StudyStorage, study: Study) -> int:
    """Let a worker die with a trial; return its number. Another trial waits with its values."""
    trial = study.ask(DISTRIBUTIONS)
    trial.set_user_attr(WORKER, "a-worker-that-left-no-lock")
    with storage:
        assert storage.fail_lost(study) == [trial.number]
    return trial.number


def labelled(storage: StudyStorage, count: int = 40) -> Study:
    """Return a study of quality and coverage, of which more of one is less of the other."""
    study = begin(storage, "labels", objective="pseudo-labels", pruner="none")
    add(study, 0.9, 0.2)
    for k in range(1, count):
        at = k / count
        # Of every two neighbours the second is worse in both.
        add(
            study,
            0.9 - 0.4 * at - 0.1 * (k % 2),
            0.2 + 0.7 * at - 0.1 * (k % 2),
            params={
                "threshold": 0.95 - 0.9 * at,
                "im.erode": k % 4,
            },
        )
    return study


def constrained(storage: StudyStorage, *coverages: float) -> Study:
    """Return a study of trials that shall cover half, of which each covers so much."""
    study = begin(storage, "half", objective="pseudo-labels", pruner="none", min_coverage=0.5)
    for coverage in coverages:
        trial = study.ask(DISTRIBUTIONS)
        trial.set_constraint("coverage", 0.5 - coverage)
        study.tell(trial, [0.9, coverage])
    return study


def spread(storage: StudyStorage, count: int, name: str = "many") -> Study:
    """Return a study of complete trials whose threshold decides and whose weight does not."""
    study = begin(storage, name)
    for k in range(count):
        threshold = 0.99 * (k * 7 % count) / count
        weight = 0.25 * 16 ** ((k * 11 % count) / count)
        add(study, threshold, params={"threshold": threshold, "weight": weight})
    return study


def opened(folder: Path) -> StudyStorage:
    """Return the journal of a results folder."""
    return open_storage(str(folder / JOURNAL))
