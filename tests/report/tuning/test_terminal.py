from __future__ import annotations

import io
import re

import optuna
import pytest
from rich.console import Console

from im_bench.report.tuning.findings import Findings, findings, worth_showing
from im_bench.report.tuning.overview import render_studies, studies_of
from im_bench.report.tuning.page import make_page
from im_bench.report.tuning.terminal import render_study
from im_bench.tuning.storage import StudyStorage

from .studies import add, begin, constrained, labelled, lose_one, spread, trained


def printed(found: Findings, every: bool = False, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(render_study(found, every, width))
    return console.file.getvalue()  # type: ignore[attr-defined]


def line_of(text: str, start: str) -> list[str]:
    """Return the words of the only line that begins so."""
    lines, words = [line.split() for line in text.splitlines()], start.split()
    (found,) = [line for line in lines if line[: len(words)] == words]
    return found


def test_a_study_of_trials_of_every_kind(storage: StudyStorage) -> None:
    study = trained(storage)
    lost = lose_one(storage, study)
    text = printed(findings(study, storage.name), width=160)
    assert "fixmatch+im of suite tiny, budget equal" in text
    assert "isic, hela: validation images; seed 1001" in text
    assert "9: 1 waiting, 3 complete, 2 pruned, 1 failed, 1 lost, 1 surplus" in text
    assert line_of(text, "threshold 0 to") == ["threshold", "0", "to", "0.99", "0.95", "0.7"]
    assert line_of(text, "IoU") == ["IoU", "0.5000", "0.6250"]
    assert line_of(text, "3 0.6250")[:7] == ["3", "0.6250", "0.6250", "0.7", "2", "1", "soft"]
    assert line_of(text, "0 0.5000")[-3:] == ["10", "min", "complete"]
    assert "pruned at step 2 of 8, iou 0.1000" in text
    assert "failed isic/0.5/s1001/fixmatch-t4+im/member1" in text
    assert "pruned impossible: too many masks" in text
    assert f"lost its worker ended; trial {lost + 1} goes on for it" in text
    assert "takes 10 complete trials; so far there are 3" in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_number_is_cut(storage: StudyStorage, width: int) -> None:
    text = printed(findings(trained(storage), storage.name), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for number in ("0.6250", "0.5000", "0.4000", "0.95"):
        assert number in text


def test_long_histories_are_cut_unless_all_is_wanted(storage: StudyStorage) -> None:
    found = findings(spread(storage, 60), storage.name)
    few, every = printed(found), printed(found, every=True)
    shown = len(worth_showing(found))
    assert f"Trials ({shown} of 60" in few
    assert "--all" not in every
    assert len(every.splitlines()) - len(few.splitlines()) == 60 - shown
    assert "PED-ANOVA: what the best 10% have in common" in few


def test_the_front_of_two_objectives(storage: StudyStorage) -> None:
    found = findings(labelled(storage, 60), storage.name)
    text = printed(found)
    assert "both higher better" in text
    assert f"best balanced: trial {found.best.number if found.best else ''}" in text
    assert f"Pareto front: none is better in both (20 of {len(found.front)}" in text
    assert "best so far" not in text
    text = printed(found, every=True)
    for one in found.front:
        assert f"{one.values[0]:.4f}    {one.values[1]:.4f}" in text


def test_the_best_trial_is_bold(storage: StudyStorage) -> None:
    found = findings(trained(storage), storage.name)
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard")
    console.print(render_study(found, width=120))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    bold = [line for line in lines if re.search(r"\x1b\[1m *\d+ ", line)]
    assert ["0.6250" in line for line in bold] == [True]


def test_what_covers_too_little_is_not_the_best(storage: StudyStorage) -> None:
    study = constrained(storage, 0.4)
    found = findings(study, storage.name)
    assert (found.best, found.front) == (None, [])
    text = printed(found)
    assert "both higher better; coverage 0.5 at least" in text
    assert "No complete trial (of 1) covers as much as is asked for" in text
    assert "complete covers too little" in text
    assert "covers too little" in make_page(found)
    assert "begin a study with a lower --min-coverage" in make_page(found)


def test_of_what_covers_enough_the_best_is_shown(storage: StudyStorage) -> None:
    found = findings(constrained(storage, 0.4, 0.6, 0.5), storage.name)
    assert [one.number for one in found.front] == [1]
    assert "best balanced: trial 1" in printed(found)


def test_studies_without_a_result_say_so(storage: StudyStorage) -> None:
    empty = begin(storage, "empty")
    assert printed(findings(empty, storage.name)).splitlines()[-1] == "No trial has begun yet."
    add(empty, state="FAIL", failure="it broke")
    text = printed(findings(empty, storage.name))
    assert "No trial is complete yet: 1 failed." in text
    assert "failed it broke" in text
    assert "What was found" not in text


def test_why_the_own_values_have_no_score(storage: StudyStorage) -> None:
    study = begin(storage, "pruned")
    add(study, state="PRUNED", pruned="at step 1 of 8, iou 0.1000")
    add(study, 0.5, params={"threshold": 0.5})
    said = " ".join(printed(findings(study, storage.name)).split())
    assert "have no score: trial 0 is pruned: at step 1 of 8" in said
    study = begin(storage, "outside")
    add(study, 0.5, params={"threshold": 0.5})
    assert "lie outside of what is searched" in printed(findings(study, storage.name))


def test_the_studies_of_a_storage(storage: StudyStorage) -> None:
    trained(storage)
    labelled(storage)
    optuna.create_study(study_name="foreign", storage=storage.optuna)
    console = Console(file=io.StringIO(), width=160, color_system=None)
    console.print(render_studies(studies_of(storage), "there"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Studies in there" in text
    assert "3 complete, 2 pruned, 1 failed, 1 surplus" in text
    assert "IoU 0.6250" in text
    assert "40 complete" in text
    assert "not made by im-bench tune" in text
