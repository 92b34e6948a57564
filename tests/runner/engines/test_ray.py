"""The Ray engine on a real cluster of several nodes: losses, stops, and what cannot be."""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from test_end_to_end import im_bench, make_suite
from test_kills import outcomes as scores

from im_bench.errors import ImBenchError
from im_bench.files import read_json
from im_bench.planning.plan import Plan
from im_bench.runner.engines.base import Task
from im_bench.runner.engines.choice import engine_options
from im_bench.runner.engines.options import RayOptions
from im_bench.runner.engines.ray.engine import RayEngine
from im_bench.runner.events import Event, EventKind
from im_bench.runner.owner import process_state
from im_bench.runner.scheduler import run_plan
from im_bench.runner.store import Store
from im_bench.suites.graph import Graph
from im_bench.suites.resources import Resources

from ..stage_functions import layered_plan, plan_of, trained
from ..test_kill import ABOVE, attempts, outcomes, processes_of, start, wait_until

pytest.importorskip("ray")

STEPS = 40
RAYLET = "RAY_RAYLET_PID"  # Ray tells each worker, and so each stage


class Cluster:
    """A head without cores, a node with three and what passes for two GPUs, and victims."""

    def __init__(self, folder: str) -> None:
        package = str(__package__)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ABOVE.parent), str(ABOVE)]),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_period_ms": "1000",
        }
        self.log = Path(folder, "cluster.txt")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"{package}.ray_cluster", folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ABOVE,
                env=environment,
                text=True,
                start_new_session=True,
            )
        self.address = self._answer()
        self.add(num_cpus=3, num_gpus=2)

    def add(self, **resources: int) -> int:
        """Start a node, and return the process number of its raylet."""
        raylet: int = self.ask(f"add {json.dumps(resources)}")
        return raylet

    def ask(self, line: str) -> Any:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout
        for line in self.process.stdout:
            try:
                return json.loads(line)
            except ValueError:
                continue  # Ray also speaks there.
        raise AssertionError(self.log.read_text())

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(60)
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster that lives as long as this module's tests."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # names of sockets must be short
    try:
        with closing(Cluster(folder)) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def drivers(address: str) -> list[str]:
    """Return the processes that hold a connection to the cluster."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text()
        except OSError:
            continue
        if "engines.ray.driver" in words and address in words:
            found.append(folder.name)
    return found


def trainings(count: int, gate: Path, seconds: float = 0.02) -> Plan:
    """Return a plan of trainings that do not need each other; all wait half-way for a file."""
    graph = Graph()
    config = {"steps": STEPS, "seconds": seconds, "gate": str(gate)}
    stages = [graph.add("train", f"training{i}", {**config, "number": i}) for i in range(count)]
    return plan_of(graph, {stage.slug: stage for stage in stages})


def steps(store: Store, plan: Plan) -> dict[str, list[tuple[int, int, int]]]:
    """Return each stage's steps so far: number, process, and raylet of its node."""
    found = {}
    for stage in plan.graph:
        file = store.folder(stage).path / "steps.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        found[stage.slug] = [tuple(map(int, line.split())) for line in lines]
    return found  # type: ignore[return-value]


def meanwhile(do: Callable[[], object]) -> threading.Thread:
    """Do something in another thread."""
    thread = threading.Thread(target=do)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"),
        ("head.invalid:6379", "no Ray cluster answers at head.invalid:6379"),
        ("local", "local is no address of a Ray cluster"),
        ("ray://127.0.0.1:10001", "is no address of a Ray cluster"),
    ],
)
def test_a_bad_address_is_one_sentence(address: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match=sentence):
        RayEngine(RayOptions(address=address))
    assert not drivers(address)


def test_auto_starts_no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if "gcs_server" in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout:
        pytest.skip("a Ray cluster runs on this machine")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said = im_bench(
        *("run", "--suite", make_suite(tmp_path), "--engine", "ray", "--out", tmp_path / "runs"),
        status=2,
    )
    assert said.strip().startswith("error: no Ray cluster runs on this machine: start one with")
    assert len(said.splitlines()) == 1


def test_ray_is_an_optional_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImBenchError, match=r"pip install 'im-bench\[ray\]'"):
        engine_options("ray", {}).make(Path("runs"))


def test_a_stage_is_shown_its_gpus_and_what_no_node_has_is_refused(
    cluster: Cluster, store: Store
) -> None:
    graph = Graph()
    wanted = {
        "share": Resources(),
        "both": Resources(gpus=2),
        "none": Resources(gpus=0, cpus=2),
        "three": Resources(gpus=3),
        "many": Resources(cpus=4),
    }
    stages = {name: graph.add("tell", name, {"n": name}, needs=n) for name, n in wanted.items()}
    options = RayOptions(address=cluster.address, slots_per_gpu=3)
    with closing(RayEngine(options)) as engine:
        summary = run_plan(plan_of(graph, stages), store, engine)
    told = {}
    for name in ("share", "both", "none"):
        result = store.result(stages[name])
        assert result is not None
        told[name] = (result["outcome"]["visible"], result["outcome"]["device"])
    assert told == {"share": ("0", "cuda"), "both": ("0,1", "cuda"), "none": ("", "cpu")}
    assert "needs 3 CPUs, 3 GPUs, which no node of the Ray cluster has" in summary.failed["three"]
    assert "needs 4 CPUs, 0.3333 GPUs, which no node" in summary.failed["many"]


def test_several_gpus_are_refused_where_stages_get_none(cluster: Cluster, store: Store) -> None:
    task = Task(store._folder(store.stages / "x"), Resources(gpus=2))
    options = RayOptions(address=cluster.address, device="cpu")
    with (
        closing(RayEngine(options)) as engine,
        pytest.raises(ImBenchError, match="x needs 2 GPUs, and stages get none here"),
    ):
        engine.fits(task)


def test_each_process_has_a_core(cluster: Cluster, store: Store) -> None:
    options = RayOptions(address=cluster.address, device="cpu")
    with closing(RayEngine(options)) as engine:
        task = Task(store._folder(store.stages / "x"), Resources(processes=3))
        assert engine._needs(task).cpus == 3


def test_alone_is_a_whole_node_or_gpu(cluster: Cluster, store: Store) -> None:
    folder = store._folder(store.stages / "x")
    for device, needs in (("cpu", (3, 0)), ("cuda", (1, 1))):
        options = RayOptions(address=cluster.address, device=device, slots_per_gpu=4)
        with closing(RayEngine(options)) as engine:
            room = engine._needs(Task(folder, alone=True))
        assert (room.cpus, room.gpus) == needs


def test_small_tasks_do_not_overtake_a_large_one_for_ever(cluster: Cluster, store: Store) -> None:
    graph = Graph()

    def task(kind: str, gpus: int, **config: float) -> Task:
        stage = graph.add(kind, f"{kind}{gpus}", config, needs=Resources(gpus=gpus))
        return Task(store.prepare(stage, graph), stage.needs)

    small, large, other = task("train", 1, steps=1, seconds=2), task("tell", 2), task("add", 1)
    with closing(RayEngine(RayOptions(address=cluster.address))) as engine:
        engine.start(small)
        wait_until(lambda: small.folder.attempts, 60)
        assert engine.fits(other)
        engine.start(large)  # There are two GPUs, so it waits in Ray's queue.
        assert not engine.fits(other)
        assert [ended.folder for ended in engine.wait(60)] == [small.folder]
        assert [ended.folder for ended in engine.wait(60)] == [large.folder]
        wait_until(lambda: engine.fits(other))


def test_a_node_without_the_results_folder_is_named(
    cluster: Cluster, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph()
    stage = graph.add("add", "one", {"value": 1})
    folder = store.prepare(stage, graph)
    (folder.path / "stage.json").unlink()
    with closing(RayEngine(RayOptions(address=cluster.address, device="cpu"))) as engine:
        engine.start(Task(folder))
        ended = engine.wait(60)
    assert [one.code for one in ended] == [1]
    (error,) = folder.errors()
    assert "does not exist on the Ray node" in error["message"]
    assert error["cause"] == "input"


@pytest.mark.parametrize("how", ["kill", "lose"])
def test_a_node_that_dies_costs_only_its_stages_and_these_go_on_elsewhere(
    cluster: Cluster, store: Store, how: str
) -> None:
    victim = cluster.add(num_cpus=2)
    gate = store.out.with_name("gate")
    plan = trainings(5, gate)
    events: list[Event] = []
    struck: dict[str, list[tuple[int, int, int]]] = {}

    def strike() -> None:
        wait_until(lambda: all(len(t) == STEPS // 2 for t in steps(store, plan).values()), 120)
        struck.update(steps(store, plan))
        hit = {pid for taken in struck.values() for _, pid, raylet in taken if raylet == victim}
        cluster.ask(f"{how} {victim}")
        wait_until(lambda: all(process_state(pid) in ("", "Z") for pid in hit), 60)
        gate.touch()

    with closing(RayEngine(RayOptions(address=cluster.address, device="cpu"))) as engine:
        thread = meanwhile(strike)
        summary = run_plan(plan, store, engine, on_event=events.append)
        thread.join()
    assert summary.exit_code == 0
    hit = {slug for slug, taken in struck.items() if taken[0][2] == victim}
    assert len(hit) == 2, "the victim had no work"
    assert {event.stage.slug for event in events if event.what is EventKind.LOST} == hit
    for stage in plan.graph:
        taken = steps(store, plan)[stage.slug]
        processes = [pid for pid, _ in groupby(pid for _, pid, _ in taken)]
        result = store.result(stage)
        assert result is not None
        assert result["outcome"]["value"] == reduce(trained, range(STEPS), 1)
        numbers = [number for number, _, _ in taken]
        if stage.slug in hit:
            # Two processes, one after the other; at most the step amid is done again.
            assert len(processes) == 2
            assert sorted(set(numbers)) == list(range(STEPS))
            assert STEPS <= len(numbers) <= STEPS + 1
            assert taken[-1][2] != victim
            log = store.folder(stage).log.read_text()
            assert how == "kill" or "stopped as asked" in log
        else:
            assert numbers == list(range(STEPS))
            assert len(processes) == 1
            assert result["attempts"] == 1


def test_stages_of_a_killed_runner_stop_and_the_same_command_continues(
    cluster: Cluster, store: Store
) -> None:
    arguments = (2, 2, cluster.address)
    runner = start(store.out, 0, 2.0, *arguments)
    wait_until(lambda: len(list(store.stages.glob("layer0/*/starts.txt"))) == 2, 60)
    runner.kill()
    runner.wait()
    wait_until(lambda: not processes_of(store.out), 60)
    for log in store.stages.glob("layer0/*/log.txt"):
        assert "stopped as asked" in log.read_text()
    wait_until(lambda: not drivers(cluster.address), 60)
    plan = layered_plan(2, 2, 2.0, steps=5)
    assert start(store.out, 0, 2.0, *arguments).wait(120) == 0
    assert attempts(store, plan) == len(plan.graph) + 2
    outcomes(store, plan)  # all are there
    assert not drivers(cluster.address)


def test_asked_to_stop_a_runner_stops_its_stages_cleanly(cluster: Cluster, store: Store) -> None:
    runner = start(store.out, 0, 20, 6, 1, cluster.address)  # more than there are cores
    wait_until(lambda: len(list(store.stages.glob("layer0/*/starts.txt"))) == 3, 60)
    os.killpg(runner.pid, signal.SIGINT)
    assert runner.wait(60) == 130
    assert not processes_of(store.out)
    assert not drivers(cluster.address)
    assert not list(store.stages.glob("**/lock"))
    assert not list(store.stages.glob("**/error-*.json"))
    logs = list(store.stages.glob("layer0/*/log.txt"))
    assert len(logs) == 3
    for log in logs:
        assert "stopped as asked" in log.read_text()


def test_a_lost_cluster_is_one_sentence(cluster: Cluster, store: Store) -> None:
    plan = trainings(1, store.out, seconds=1)
    with closing(RayEngine(RayOptions(address=cluster.address, device="cpu"))) as engine:

        def lose() -> None:
            wait_until(lambda: steps(store, plan)["training0"], 60)
            engine._driver.kill()  # as Ray's library does when the head is gone

        thread = meanwhile(lose)
        with pytest.raises(ImBenchError, match="connection to the Ray cluster is lost"):
            run_plan(plan, store, engine)
        thread.join()
    wait_until(lambda: not processes_of(store.out), 60)


def test_a_real_training_goes_on_from_its_checkpoint_on_another_node(
    cluster: Cluster, tmp_path: Path
) -> None:
    suite = make_suite(tmp_path)
    text = suite.read_text().replace("iterations: 6", "iterations: 160")
    suite.write_text(text.replace("ldt: {members: 2}", "ldt: {members: 1}"))
    engine = tmp_path / "engine.yaml"
    engine.write_text(f"engine: ray\naddress: {cluster.address}\ndevice: cpu\n")
    out, calm = tmp_path / "ray", tmp_path / "calm"
    common = ("run", "--suite", suite, "--data", "spots", "--methods", "ldt", "--no-tracking")
    cluster.add(num_cpus=3, num_gpus=2)  # so that there is another node when one dies

    def strike() -> None:
        wait_until(lambda: glob.glob(f"{out}/stages/**/scratch/last.pth", recursive=True), 240)
        (lock,) = out.glob("stages/**/lock")
        environment = Path(f"/proc/{read_json(lock)['pid']}/environ").read_text().split("\0")
        cluster.ask(f"lose {dict(line.split('=', 1) for line in environment if line)[RAYLET]}")

    thread = meanwhile(strike)
    said = im_bench(*common, "--engine", engine, "--out", out)
    thread.join()
    im_bench(*common, "--device", "cpu", "--out", calm)
    assert "its Ray" in said
    (training,) = (path.parent for path in out.glob("stages/**/best.pth"))
    assert read_json(training / "result.json")["restarts"] == 1
    assert "resumed after iteration" in (training / "log.txt").read_text()
    assert scores(out) == scores(calm)
