"""``im-bench tune --objective pseudo-labels``: teachers are trained once, then trials are cheap."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from im_bench.tuning.storage import open_storage
from im_bench.tuning.study import TrialState, load_study, records_of
from im_bench.tuning.tuned import tuned_of

SUITE = """
name: tiny
seeds: [1]
budget: equal
budgets: {equal: {iterations: 6}}
training: {batch: 4, validations: 1}
data:
  drawn:
    synth: {like: isic2018, train: 12, val: 4, test: 4}
    size: [32, 32]
    labelled: 0.5
    model: {width: 0.25, norm_momentum: 0.1}
methods:
  fixmatch: {}
  ldt: {members: 1}
"""


def tune(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    suite = folder / "tiny.yaml"
    suite.write_text(SUITE)
    command = [sys.executable, "-c", "from im_bench.cli.app import main; main()", "tune"]
    command += ["--suite", str(suite), "--out", str(folder / "runs"), *words]
    command += ["--objective", "pseudo-labels"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_search_on_cached_predictions_is_continued(tmp_path: Path) -> None:
    first = tune(tmp_path, "--method", "fixmatch", "--trials", "20", "--study", "mine")
    second = tune(tmp_path, "--method", "fixmatch", "--trials", "30", "--study", "mine")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "started" not in second.stdout
    study = load_study(open_storage(str(tmp_path / "runs/tuning/studies.journal")), "mine")
    records = records_of(study)
    assert len(records) == 30
    assert {record.state for record in records} == {TrialState.COMPLETE}
    assert records[0].params == {"threshold": 0.95}  # the method's own
    tuned = tuned_of(study)
    assert tuned.default_score == records[0].values
    assert len(tuned.score) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--method", "ldt"], "can be scored on cached predictions"),
        (["--method", "fixmatch", "--min-coverage", "1.5"], "--min-coverage is a share"),
        (["--method", "fixmatch", "--seeds", "1001,1002"], "one data set and seed at a time"),
        (["--fair"], "--fair compares by training"),
    ],
)
def test_what_cannot_be_searched_so_is_one_sentence(
    tmp_path: Path, words: list[str], sentence: str
) -> None:
    done = tune(tmp_path, *words)

    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "word", ["postgresql://me:secret@host/x", "--storage=mysql://a:secret@b/c"]
)
def test_commands_that_are_printed_show_no_password(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from im_bench.cli import tune

    monkeypatch.setattr(sys, "argv", ["im-bench", "tune", "--suite", "x", word])

    assert "secret" not in tune._given()
    assert "***" in tune._given()
    assert "--suite x" in tune._given()
