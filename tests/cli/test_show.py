from __future__ import annotations

import re
from pathlib import Path

from im_bench.files import write_json
from im_bench.planning.plan import make_plan
from im_bench.runner.store import Store

from .conftest import Command
from .test_run import LIGHT


def test_shows_stages_scores_and_where_they_come_from(
    command: Command, light: Command, tmp_path: Path
) -> None:
    light("run", "--data", "lesions", "--seeds", "1", *LIGHT)
    done = command("show", "lesions/0.1/im/s1")
    assert done.returncode == 0, done.stderr
    assert "members 2, teachers 2, students 2, generations 2, report last, erode 0" in done.stdout
    assert "teachers of lesions/0.1/s1/im/g2-labels: im/g1-student1-" in done.stdout
    assert "lesions/0.1/s1/im/g2-student1-" in done.stdout
    (reported,) = [line for line in done.stdout.splitlines() if "(reported)" in line]
    assert reported.replace("│", " ").split()[:6] == [
        *("2", "(reported)", "0.7000", "0.6000", "0.6000", "0.7500")
    ]
    assert "torch " in done.stdout
    assert "im/scores-" in done.stdout.splitlines()[-1]
    both = command("show", "lesions/0.1/ldt")
    assert "s1" in both.stdout
    assert "planned" in both.stdout
    stages = tmp_path / "runs" / "stages"
    for word in both.stdout.split():
        if word.startswith("lesions/"):
            named = re.fullmatch(r".*-[0-9a-f]{8}", word) is not None
            assert (stages / word).is_dir() is named, word


def test_of_what_was_never_run_no_folder_is_named(command: Command, tmp_path: Path) -> None:
    done = command("show", "lesions/0.1/im/s1")
    assert done.returncode == 0
    assert str(tmp_path) not in done.stdout
    assert "labelled: 10%, data not packed yet" in done.stdout
    assert done.stdout.splitlines()[-1] == "no scores yet: planned"


def test_says_which_images_are_labelled(command: Command, suite: Path, tmp_path: Path) -> None:
    plan, store = make_plan(suite, tmp_path / "runs", tmp_path), Store(tmp_path / "runs")
    (packed,) = (stage for stage in plan.graph if stage.slug == "lesions/data")
    folder = store.prepare(packed, plan.graph).path
    write_json(folder / "result.json", {"key": packed.key, "outcome": {}})
    meta = {"labelled": ["a", "b"], "names": {"train": ["a", "b", "c"]}}
    write_json(folder / "arrays" / "meta.json", meta)
    said = command("show", "lesions/0.1/im/s1").stdout
    assert "labelled: 2 of 3 images (split_seed 42), listed under" in said
    assert str(folder / "arrays" / "meta.json") in said
    assert "Labelled: 2 of 3 images (split_seed 42) of lesions" in command("table").stdout


def test_a_cell_or_seed_that_is_not_there(command: Command) -> None:
    done = command("show", "lesion/0.1/im")
    assert done.returncode == 2
    assert "unknown cell 'lesion/0.1/im': did you mean 'lesions/0.1/im'?" in done.stderr
    done = command("show", "lesions/0.1/im/s9")
    assert done.stderr == "error: cell lesions/0.1/im has no seed 9 in this plan: it has s1, s2\n"
