"""What ``im-bench tune`` says to wrong input: one sentence, and status 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Command, Laboratory


def refused(lab: Laboratory, command: Command, *options: str, **replaced: str) -> str:
    """Run a search that must be refused, and return the sentence."""
    words = {
        "--suite": str(lab.suite), "--method": "fixmatch", "--data": "isic", "--trials": "2",
        "--study": "s", "--out": str(lab.out), "--space": str(lab.space), "--device": "cpu",
        "--storage": lab.storage,
    }  # fmt: skip
    given = dict(zip(options[::2], options[1::2], strict=True))
    flat = [word for pair in {**words, **given}.items() for word in pair]
    done = command("tune", *flat, "--no-tracking")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(lab.store.stages.glob("**/steps.txt")), "nothing was trained"
    return done.stderr.strip()


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--suite", "nosuch", "nosuch"),
        ("--method", "fixmach", "did you mean 'fixmatch'"),
        ("--data", "isi", "did you mean 'isic'"),
        ("--budget", "papr", "did you mean 'paper'"),
        ("--sampler", "tpee", "did you mean 'tpe'"),
        ("--pruner", "mediann", "did you mean 'median'"),
        ("--objective", "trainin", "did you mean 'training'"),
        ("--seeds", "1", "seed 1 is one that suite 'tiny' reports"),
        ("--seeds", "1001,1001", "none twice"),
        ("--seeds", "one", "--seeds one"),
        ("--hold-out", "0", "above 0 and below 1"),
        ("--hold-out", "1", "above 0 and below 1"),
        ("--hold-out", "-0.5", "above 0 and below 1"),
        ("--hold-out", "nan", "above 0 and below 1"),
        ("--study", "My Study", "small letters"),
        ("--study", "../up", "small letters"),
        ("--storage", "sqlite:///studies.db", "SQLite cannot be written by several processes"),
        ("--storage", "sqlite+pysqlite:///studies.db", "SQLite cannot"),
        ("--storage", "postgresql://bench@/none?host=/nowhere", "cannot be opened"),
        ("--storage", "/proc/none/studies", "cannot be opened"),
        ("--space", "nosuch.yaml", "nosuch.yaml"),
        ("--trials", "0", "Error"),
        ("--parallel", "0", "Error"),
        ("--engine", "print", "print"),
        ("--engine", "nosuch", "nosuch"),
    ],
)
def test_wrong_options_are_told_in_a_sentence(
    lab: Laboratory, command: Command, option: str, value: str, sentence: str
) -> None:
    said = refused(lab, command, option, value)
    assert sentence in said
    if sentence != "Error":
        assert said.startswith("error: ")
        assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "space.yaml"),
        ("{}", "names no field"),
        ("[1, 2]", "space.yaml"),
        ("threshold: {low: 0.9, high: 0.1}", "low must be less than high"),
        ("threshold: {low: 0, high: 1, log: true}", "log needs a low above 0"),
        ("threshold: {low: 0.1}", "high"),
        ("threshold: {low: 0.1, high: 2}", "cannot be 2"),
        ("threshold: {low: .nan, high: .nan}", "space.yaml"),
        ("threshold: {low: 0.1, high: .inf}", "cannot be inf"),
        ("threshold: []", "space.yaml"),
        ("threshold: [0.5, high]", "cannot be high"),
        ("threshold: [0.5, 0.5]", "twice"),
        ("threshhold: [0.5, 0.6]", "did you mean 'threshold'"),
        ("im.members: [2, 3]", "METHOD+im"),
        ("threshold: {low: 0.1, high: 0.5", "space.yaml"),
    ],
)
def test_a_broken_space_is_told_in_a_sentence(
    lab: Laboratory, command: Command, text: str, sentence: str
) -> None:
    lab.space.write_text(text)
    said = refused(lab, command)
    assert said.startswith("error: ")
    assert "space.yaml" in said
    assert sentence in said


def test_a_method_without_ranges_wants_a_file(lab: Laboratory, command: Command) -> None:
    words = ("tune", "--suite", str(lab.suite), "--method", "supervised", "--out", str(lab.out))
    done = command(*words, "--trials", "1", "--no-tracking")
    assert done.returncode in (0, 2)
    if done.returncode == 2:
        assert "--space FILE" in done.stderr


def test_a_journal_that_is_none_is_told_in_a_sentence(
    lab: Laboratory, command: Command, tmp_path: Path
) -> None:
    journal = tmp_path / "studies"
    for text in ("no json\nat all\n", '{"op_code": 77}\n', "[]\n", '{"a": 1}\n{"b": 2}\n'):
        journal.write_text(text)
        said = refused(lab, command, "--storage", str(journal))
        assert "is no journal of studies, or is damaged" in said
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "cannot be opened" in refused(lab, command, "--storage", str(folder))


def test_a_journal_whose_end_was_cut_off_is_read_and_goes_on(lab: Laboratory) -> None:
    """As a full disk or a loss of power leaves it."""
    lab.search(2, pruner="none")
    before = lab.records()
    journal = Path(lab.storage)
    with journal.open("ab") as file:
        file.write(b'{"op_code":8,"worker_id":"x')
    assert lab.records() == before
    ran, _ = lab.search(3, pruner="none")
    assert ran.counts == {"complete": 3}
    assert lab.records()[:2] == before


def test_another_definition_under_the_same_name_is_refused(
    lab: Laboratory, command: Command
) -> None:
    lab.search(1, pruner="none")
    lab.space.write_text("threshold: {low: 0.2, high: 0.99}\n")
    words = (
        "tune", "--suite", str(lab.suite), "--method", "fixmatch", "--data", "isic", "--study", "s",
        "--out", str(lab.out), "--space", str(lab.space), "--pruner", "none", "--no-tracking",
    )  # fmt: skip
    done = command(*words)
    assert done.returncode == 2
    assert "the study 's' is another one (space" in done.stderr
    lab.space.write_text("threshold: {low: 0.1, high: 0.99}\n")
    assert "pruner 'none', now 'median'" in command(*words[:-3], "--no-tracking").stderr
    assert len(lab.records()) == 1


def test_validation_images_that_are_test_images_are_refused(
    lab: Laboratory,
) -> None:
    search = lab.start(1, LIGHT_SAME="1")
    assert search.wait(60) == 2
    said = lab.said(search)
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    assert "1 of the 3 validation images of data set 'isic' are also test images" in said
    assert "--hold-out 0.2" in said


def test_nothing_to_tune_is_a_sentence(command: Command) -> None:
    done = command("tune")
    assert done.returncode == 2
    assert "--suite SUITE with --method METHOD" in done.stderr
