"""What is checked of a machine, on this machine, with limits and a driver that are set."""

from __future__ import annotations

import sys
from importlib import metadata, util
from pathlib import Path

import pytest

from im_bench.runner import doctor
from im_bench.runner.doctor import Level
from im_bench.runner.provenance import device_name, devices_here, is_processor


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that knows of a GPU which PyTorch does not see."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho NVIDIA Imaginary\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_this_python_and_its_libraries_are_fit() -> None:
    assert doctor.check_python().level is not Level.PROBLEM
    assert all(found.level is not Level.PROBLEM for found in doctor.check_libraries())


def test_libraries_that_are_not_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["rich", "typer>=999", "no-such-library", "PyYAML", 'extra-only; extra == "dev"']
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    constraints = tmp_path / "constraints.txt"
    rich = metadata.version("rich")
    constraints.write_text(f"# known\nrich=={rich}\npyyaml==0.1\ntyper==9; python_version < '3'\n")
    found = {(one.level, one.text) for one in doctor.check_libraries(constraints)}
    assert found == {
        (Level.PROBLEM, "no-such-library is not installed"),
        (
            Level.PROBLEM,
            f"typer {metadata.version('typer')} is too old: im-bench needs >=999",
        ),
        (Level.WARNING, f"PyYAML {metadata.version('PyYAML')}: known to work is 0.1"),
        (Level.OK, f"libraries as in {constraints}: rich {rich}"),
    }
    commands = [one.mend for one in doctor.check_libraries(constraints) if one.level != "ok"]
    assert all(mend.startswith(f"{sys.executable} -m pip install") for mend in commands)


def test_a_probe_answers_or_says_what_went_wrong() -> None:
    assert doctor.probe("print('noise'); answer = {'a': 1}") == ({"a": 1}, "")
    assert doctor.probe("import nothing_at_all") == (
        None,
        "ModuleNotFoundError: No module named 'nothing_at_all'",
    )
    assert doctor.probe("import os; os._exit(3)") == (None, "its process ended with status 3")


@pytest.mark.usefixtures("driver")
def test_a_gpu_that_pytorch_does_not_see_is_a_problem() -> None:
    found = doctor.check_torch()
    assert found.level is Level.PROBLEM
    assert "NVIDIA Imaginary" in found.text
    assert found.mend
    here = devices_here()
    assert here == ["NVIDIA Imaginary", device_name("cpu")]
    assert device_name("auto") == device_name("cpu")
    assert [is_processor(name) for name in here] == [False, True]


def test_where_results_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "some" / "runs"
    written, disk, files = doctor.check_out(out)
    assert written.level is Level.OK
    assert f"will be made in {tmp_path}" in written.text
    assert not out.parent.exists()
    assert "GiB are free" in disk.text
    assert "file" in files.text
    monkeypatch.setattr(doctor, "FREE_BYTES", (0, 1 << 80))
    monkeypatch.setattr(doctor, "FREE_FILES", (1 << 80, 1 << 81))
    _, disk, files = doctor.check_out(out)
    assert (disk.level, disk.mend[:8]) == (Level.WARNING, "im-bench")
    if "not limited" not in files.text:
        assert (files.level, files.mend[:5]) == (Level.PROBLEM, "df -i")
    out.parent.touch()
    (found,) = doctor.check_out(out)
    assert (found.level, found.text) == (
        Level.PROBLEM,
        f"--out {out} (will be made in {out.parent}): {out.parent} is no folder",
    )


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_shared_memory(tmp_path / "absent").level is Level.OK
    monkeypatch.setattr(doctor, "SHARED_BYTES", 1 << 80)
    shared = doctor.check_shared_memory(tmp_path)
    assert (shared.level, shared.mend[:5]) == (Level.WARNING, "mount")
    monkeypatch.setattr(doctor, "OPEN_FILES", (0, 1))
    assert doctor.check_open_files().mend == ""


def test_what_engines_lack_matters_to_the_wanted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    levels = {
        engine: [one.level.value for one in doctor.check_engines(engine)]
        for engine in ("local", "ray", "slurm")
    }
    assert levels == {
        "local": ["ok", "ok", "ok"],
        "ray": ["problem", "ok", "ok"],
        "slurm": ["ok", "problem", "problem"],
    }
    assert all(one.mend for one in doctor.check_engines("local"))
