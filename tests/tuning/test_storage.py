"""Journals on one machine, and how the death of a worker is noticed there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im_bench.errors import ImBenchError
from im_bench.tuning.storage import WORKER, open_storage, outages_pass, shown, storage_name

DISTRIBUTIONS = {"x": optuna.distributions.FloatDistribution(0, 1)}


def test_the_default_is_a_journal_in_the_results_folder(tmp_path: Path) -> None:
    assert storage_name(None, tmp_path) == str(tmp_path / "tuning" / "studies.journal")
    assert storage_name("sqlite-like.journal", tmp_path) == "sqlite-like.journal"
    with pytest.raises(ImBenchError, match="PostgreSQL"):
        storage_name("sqlite:////tmp/x.db", tmp_path)


def test_passwords_are_not_shown() -> None:
    assert "geheim" not in shown("postgresql://me:geheim@there/studies")
    assert shown("folder/studies.journal") == "folder/studies.journal"


def test_what_a_dead_process_left_goes_on_at_once_and_what_a_living_one_does_is_left(
    tmp_path: Path,
) -> None:
    name = str(tmp_path / "deep" / "studies")
    script = (
        "import os, sys, time, optuna\n"
        "from im_bench.tuning.storage import WORKER, open_storage\n"
        f"storage = open_storage({name!r}).__enter__()\n"
        "study = optuna.create_study(study_name='s', storage=storage.optuna, load_if_exists=True)\n"
        "trial = study.ask({'x': optuna.distributions.FloatDistribution(0, 1)})\n"
        "trial.set_user_attr(WORKER, storage.worker)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    with open_storage(name) as storage:
        study = optuna.load_study(study_name="s", storage=storage.optuna)
        own = study.ask(DISTRIBUTIONS)
        own.set_user_attr(WORKER, storage.worker)
        assert storage.fail_lost(study, [own.number]) == []
        process.kill()
        process.wait()
        assert storage.fail_lost(study, [own.number]) == [0]
        assert storage.fail_lost(study, [own.number]) == []
        again = study.ask(DISTRIBUTIONS)
        assert again.number == 2
        assert again.params == study.trials[0].params
        assert WORKER not in again.user_attrs
    assert not (Path(f"{name}.workers") / storage.worker).exists()


@settings(max_examples=25)
@given(st.integers(min_value=0))
def test_wherever_a_journal_is_cut_off_its_whole_entries_are_read(cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "studies"
        storage = open_storage(str(path))
        study = optuna.create_study(study_name="s", storage=storage.optuna)
        for value in range(3):
            study.tell(study.ask(DISTRIBUTIONS), float(value))
        content = path.read_bytes()
        kept = cut % (len(content) + 1)
        path.write_bytes(content[:kept])
        whole = content[: content[:kept].rfind(b"\n") + 1]
        again = open_storage(str(path))
        assert path.read_bytes() == whole
        study = optuna.create_study(study_name="s", storage=again.optuna, load_if_exists=True)
        study.tell(study.ask(DISTRIBUTIONS), 9.0)
        third = open_storage(str(path))
        assert optuna.load_study(study_name="s", storage=third.optuna).best_value <= 9


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_journal_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "studies"
    path.touch(mode=0o444)
    with pytest.raises(ImBenchError, match="cannot be opened"):
        open_storage(str(path))


def test_only_outages_pass() -> None:
    with outages_pass():
        raise ConnectionResetError
    with pytest.raises(ZeroDivisionError), outages_pass():
        raise ZeroDivisionError
