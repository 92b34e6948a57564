"""The local engine: slots, devices, environment, and what the server preloads."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path

import pytest

from im_bench.errors import ImBenchError
from im_bench.runner.engines.base import Task
from im_bench.runner.engines.forks import Forks
from im_bench.runner.engines.local import LocalEngine
from im_bench.runner.engines.machine import Place
from im_bench.runner.engines.options import LocalOptions
from im_bench.runner.store import Store
from im_bench.suites.graph import Graph
from im_bench.suites.resources import Resources

from ..stage_functions import LIGHT


def placed(engine: LocalEngine, store: Store, **needs: float) -> Place:
    """Occupy a place for a stage with these needs."""
    return engine.machine.take(Task(store._folder(store.stages / "x"), Resources(**needs)))


def test_one_slot_per_core_with_one_thread_or_the_cores_divided(store: Store) -> None:
    cores = len(os.sched_getaffinity(0))
    engine = LocalEngine(LocalOptions(device="cpu"), LIGHT)
    assert engine.machine.slots == cores
    assert {placed(engine, store).cpus for _ in range(cores)} == {1}
    with pytest.raises(ImBenchError, match="no free slot"):
        placed(engine, store)
    assert placed(LocalEngine(LocalOptions(slots=1, device="cpu"), LIGHT), store).cpus == cores
    crowded = LocalEngine(LocalOptions(slots=cores + 1, device="cpu"), LIGHT)
    assert [placed(crowded, store).cpus for _ in range(cores + 1)] == [1] * (cores + 1)


def test_gpus_are_chosen_by_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Forks, "count_gpus", lambda self: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")
    assert LocalEngine(LocalOptions(), LIGHT)._gpus == ["4", "GPU-7"]
    assert LocalEngine(LocalOptions(gpus=("GPU-7",)), LIGHT)._gpus == ["GPU-7"]
    with pytest.raises(ImBenchError, match="--gpus 0: PyTorch sees no such GPU here"):
        LocalEngine(LocalOptions(gpus=("0",)), LIGHT)
    with pytest.raises(ImBenchError, match="--gpus and --device cpu contradict"):
        LocalEngine(LocalOptions(gpus=("4",), device="cpu"), LIGHT)
    three = LocalEngine(LocalOptions(slots=3, device="cuda"), LIGHT)
    assert sorted(placed(three, store).gpus for _ in range(3)) == [(0,), (0,), (1,)]
    assert LocalEngine(LocalOptions(device="cuda:1"), LIGHT).machine.slots == 1
    monkeypatch.setattr(Forks, "count_gpus", lambda self: 0)
    with pytest.raises(ImBenchError, match="PyTorch sees no GPU here: use --device cpu"):
        LocalEngine(LocalOptions(device="cuda"), LIGHT)


def test_a_stage_is_shown_its_gpus_and_no_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Forks, "count_gpus", lambda self: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")
    engine = LocalEngine(LocalOptions(), LIGHT)
    graph = Graph()
    wanted = {"one": Resources(), "both": Resources(gpus=2), "none": Resources(gpus=0)}
    told = {}
    for name, needs in wanted.items():
        stage = graph.add("tell", name, {"name": name}, needs=needs)
        engine.start(Task(store.prepare(stage, graph), needs))
        assert [ended.code for ended in engine.wait(30)] == [0]
        result = store.result(stage)
        assert result is not None
        told[name] = (result["outcome"]["visible"], result["outcome"]["device"])
    assert told == {"one": ("4", "cuda"), "both": ("4,GPU-7", "cuda"), "none": ("", "cpu")}


def test_a_stage_gets_its_slot_back_and_its_settings(store: Store) -> None:
    graph = Graph()
    engine = LocalEngine(LocalOptions(slots=1, device="cpu"), LIGHT)
    folder = store.prepare(stage := graph.add("add", "one", {"value": 1}), graph)
    engine.start(Task(folder))
    assert (engine.fits(Task(folder)), engine.busy) == (False, True)
    (ended,) = engine.wait(30)
    assert (ended.folder, ended.code) == (folder, 0)
    assert (engine.fits(Task(folder)), engine.busy) == (True, False)
    result = store.result(stage)
    assert result is not None
    assert result["outcome"]["threads"] == len(os.sched_getaffinity(0))
    assert "attempt 1 at one" in folder.log.read_text()


def test_kill_ends_what_does_not_listen(store: Store) -> None:
    graph = Graph()
    engine = LocalEngine(LocalOptions(slots=1, device="cpu"), LIGHT)
    folder = store.prepare(graph.add("stubborn", "one", {}), graph)
    engine.start(Task(folder))
    while not folder.attempts:
        assert engine.wait(0.01) == []
    engine.terminate()
    assert engine.wait(0.2) == []
    engine.kill()
    (ended,) = engine.wait(30)
    assert ended.code == -9


@pytest.mark.parametrize("gpus", [0, 1])
def test_the_death_of_the_server_leaves_stages_to_the_engine(
    store: Store, monkeypatch: pytest.MonkeyPatch, gpus: int
) -> None:
    monkeypatch.setattr(Forks, "count_gpus", lambda self: gpus)
    graph = Graph()
    engine = LocalEngine(LocalOptions(slots_per_gpu=2), LIGHT)
    tasks = [
        Task(store.prepare(graph.add("stubborn", name, {"name": name}), graph))
        for name in ("one", "two")
    ]
    engine.start(tasks[0])
    while not tasks[0].folder.attempts:
        assert engine.wait(0.01) == []
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGKILL)
    engine.start(tasks[1])  # at once: the server is perhaps not gone yet
    while not tasks[1].folder.attempts:
        assert engine.wait(0.01) == []
    # Nobody tells any more how the first one ends, but it does when it must.
    engine.kill()
    ended = engine.wait(10) + engine.wait(10)
    assert {one.folder for one in ended} == {task.folder for task in tasks}
    assert not engine.busy


def test_a_server_that_is_started_again_is_as_deaf_as_the_first(store: Store) -> None:
    engine = LocalEngine(LocalOptions(slots=1, device="cpu"), LIGHT)
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGKILL)
    graph = Graph()
    engine.start(Task(store.prepare(graph.add("add", "one", {"value": 1}), graph)))
    assert [ended.code for ended in engine.wait(30)] == [0]
    again = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    assert again != pid
    status = Path(f"/proc/{again}/status").read_text()
    (blocked,) = re.findall(r"SigBlk:\s*(\w+)", status)
    for number in (signal.SIGINT, signal.SIGTERM):
        assert int(blocked, 16) >> (number - 1) & 1


def test_a_process_whose_runner_is_killed_before_it_has_work_says_nothing(tmp_path: Path) -> None:
    code = (
        "import os; from multiprocessing import forkserver\n"
        "from im_bench.runner.engines.forks import Forks\n"
        "Forks((), ahead=0)\n"
        "sentinel, line = forkserver.connect_to_new_process([])\n"
        "os.close(line)  # as the end of the runner would\n"
        "forkserver.read_signed(sentinel)\n"
        "print(forkserver.read_signed(sentinel))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.returncode == 0


def test_preloading_starts_no_threads_and_does_not_touch_the_gpu(tmp_path: Path) -> None:
    code = (
        "import os, im_bench.stages.preload, torch\n"
        "print(len(os.listdir('/proc/self/task')), torch.cuda.is_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "1 False\n"
    assert done.stderr == ""
