"""The studies of a storage, one a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from im_bench.errors import ImBenchError
from im_bench.report.tuning.findings import Findings, findings
from im_bench.report.tuning.texts import counts_text, value_text
from im_bench.terminal import Table
from im_bench.tuning.storage import shown

if TYPE_CHECKING:
    from im_bench.tuning.storage import StudyStorage


def studies_of(storage: StudyStorage) -> list[Findings | str]:
    """Return what the studies of a storage have found; of those of other programs their names."""
    import optuna

    found: list[Findings | str] = []
    for name in optuna.get_all_study_names(storage.optuna):
        study = optuna.load_study(study_name=name, storage=storage.optuna)
        try:
            found.append(findings(study, shown(storage.name)))
        except ImBenchError:
            found.append(name)
    return found


def render_studies(studies: Sequence[Findings | str], where: str) -> Table:
    """Return what ``im-bench tune list`` prints.

    Args:
        studies: What is listed.
        where: Their storage, without its password.
    """
    names = ("study", "suite", "method", "data", "trials", "best")
    table = Table(*names, title=f"Studies in {where}")
    for one in studies:
        if isinstance(one, str):
            table.add_row(one, "", "", "", "not made by im-bench tune", "")
            continue
        it = one.definition
        trials = counts_text(one.counts)
        table.add_row(one.name, it.suite, it.method, ", ".join(it.data), trials, _best(one))
    return table


def _best(found: Findings) -> str:
    if found.best is None:
        return ""
    values = zip(found.objectives, found.best.values, strict=True)
    return ", ".join(f"{name} {value_text(value)}" for name, value in values)
