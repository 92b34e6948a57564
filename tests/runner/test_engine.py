"""The local engine: slots, devices, environment, and what the server preloads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from im_bench.errors import ImBenchError
from im_bench.runner.engine import LocalEngine
from im_bench.runner.store import Store
from im_bench.suites.graph import Graph

from .stage_functions import LIGHT


def test_one_slot_per_core_with_one_thread_or_the_cores_divided() -> None:
    cores = len(os.sched_getaffinity(0))
    engine = LocalEngine(None, "cpu", LIGHT)
    assert engine.slots == engine.free == cores
    assert {slot.settings.threads for slot in engine._free} == {1}
    (slot,) = LocalEngine(1, "cpu", LIGHT)._free
    assert (slot.settings.device, slot.settings.threads) == ("cpu", cores)
    assert LocalEngine(cores + 1, "cpu", LIGHT)._free[0].settings.threads == 1


def test_gpus_are_dealt_to_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalEngine, "_gpus", lambda self: ["4", "GPU-7"])
    engine = LocalEngine(None, "auto", LIGHT)
    visible = [dict(slot.environment)["CUDA_VISIBLE_DEVICES"] for slot in engine._free]
    assert sorted(visible) == ["4", "GPU-7"]
    assert {slot.settings.device for slot in engine._free} == {"cuda"}
    three = [slot.environment for slot in LocalEngine(3, "cuda", LIGHT)._free]
    assert sorted(dict(each)["CUDA_VISIBLE_DEVICES"] for each in three) == ["4", "4", "GPU-7"]
    assert LocalEngine(None, "cuda:1", LIGHT).slots == 1
    monkeypatch.setattr(LocalEngine, "_gpus", lambda self: [])
    with pytest.raises(ImBenchError, match="PyTorch sees no GPU here: use --device cpu"):
        LocalEngine(None, "cuda", LIGHT)


def test_a_stage_gets_its_slot_back_and_its_settings(store: Store) -> None:
    graph = Graph()
    engine = LocalEngine(1, "cpu", LIGHT)
    folder = store.prepare(stage := graph.add("add", "one", {"value": 1}), graph)
    engine.start(folder)
    assert (engine.free, engine.busy) == (0, True)
    (ended,) = engine.wait(30)
    assert (ended.folder, ended.code) == (folder, 0)
    assert (engine.free, engine.busy) == (1, False)
    result = store.result(stage)
    assert result is not None
    assert result["outcome"]["threads"] == len(os.sched_getaffinity(0))
    assert "attempt 1 at one" in folder.log.read_text()


def test_kill_ends_what_does_not_listen(store: Store) -> None:
    graph = Graph()
    engine = LocalEngine(1, "cpu", LIGHT)
    folder = store.prepare(graph.add("stubborn", "one", {}), graph)
    engine.start(folder)
    while not folder.attempts:
        assert engine.wait(0.01) == []
    engine.terminate()
    assert engine.wait(0.2) == []
    engine.kill()
    (ended,) = engine.wait(30)
    assert ended.code == -9


def test_preloading_starts_no_threads_and_does_not_touch_the_gpu(tmp_path: Path) -> None:
    code = (
        "import os, im_bench.stages.preload, torch\n"
        "print(len(os.listdir('/proc/self/task')), torch.cuda.is_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "1 False\n"
    assert done.stderr == ""
