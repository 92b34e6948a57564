from __future__ import annotations

from .conftest import Command
from .test_run import LIGHT


def test_shows_stages_scores_and_where_they_come_from(command: Command, light: Command) -> None:
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


def test_a_cell_or_seed_that_is_not_there(command: Command) -> None:
    done = command("show", "lesion/0.1/im")
    assert done.returncode == 2
    assert "unknown cell 'lesion/0.1/im': did you mean 'lesions/0.1/im'?" in done.stderr
    done = command("show", "lesions/0.1/im/s9")
    assert done.stderr == "error: cell lesions/0.1/im has no seed 9 in this plan: it has s1, s2\n"
