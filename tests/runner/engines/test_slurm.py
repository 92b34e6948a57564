"""The Slurm engine on a real Slurm."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from im_bench.errors import ImBenchError
from im_bench.planning.plan import Plan
from im_bench.runner.engines.base import Task
from im_bench.runner.engines.options import SlurmOptions
from im_bench.runner.events import Event, EventKind, Summary
from im_bench.runner.folder import Status
from im_bench.runner.plan_run import Retries
from im_bench.runner.scheduler import run_plan
from im_bench.runner.store import Store
from im_bench.suites.graph import Graph, Stage
from im_bench.suites.resources import Resources

from ..stage_functions import layered_plan, plan_of
from .slurm_cluster import Cluster

TESTS = Path(__file__).parents[2]
ON_CPUS = SlurmOptions(partition="low", device="cpu", cpus=1, minutes=10, poll_seconds=0.5)


@pytest.fixture(autouse=True)
def in_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs find the stage functions of the tests, as they do the package, by where they run."""
    above = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, above)))


class Running:
    """A plan that runs on Slurm in a thread."""

    def __init__(self, plan: Plan, store: Store, options: SlurmOptions = ON_CPUS) -> None:
        self.events: list[Event] = []
        self._summary: Summary | None = None
        arguments = (plan, store, options)
        self._thread = threading.Thread(target=self._run, args=arguments, daemon=True)
        self._thread.start()

    def _run(self, plan: Plan, store: Store, options: SlurmOptions) -> None:
        with closing(options.make(store.out)) as engine:
            retries = Retries(attempts=1)
            tell = self.events.append
            self._summary = run_plan(plan, store, engine, on_event=tell, retries=retries)

    def summary(self) -> Summary:
        """Wait until the plan is over."""
        self._thread.join(120)
        assert self._summary is not None
        return self._summary

    def details(self, what: EventKind) -> list[str]:
        """Return what was told of this kind."""
        return [event.detail for event in self.events if event.what is what]


def run(plan: Plan, store: Store, options: SlurmOptions = ON_CPUS) -> Running:
    running = Running(plan, store, options)
    running.summary()
    return running


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


def outcome(store: Store, stage: Stage) -> dict[str, Any]:
    result = store.result(stage)
    assert result is not None
    return dict(result["outcome"])


def at_work(out: Path) -> list[Path]:
    """Return the locks of stages that run."""
    # Not by pathlib, which fails where a folder goes while it is searched.
    return [out / one for one in glob.glob("stages/**/lock", root_dir=out, recursive=True)]


class Counting:
    """A stage that pauses half-way for the test, and goes on from its checkpoint."""

    def __init__(self, store: Store, steps: int = 20) -> None:
        self.gate = store.out.parent / "gate"
        self.steps = steps
        self.store = store
        graph = Graph()
        config = {"steps": steps, "gate": str(self.gate)}
        self.stage = graph.add("count", "counting", config)
        self.plan = plan_of(graph, {"a": self.stage})
        self.folder = store.folder(self.stage)

    def wait_until_amid(self) -> None:
        """Wait until it pauses."""
        path = self.folder.path / "steps.txt"
        wait_until(lambda: path.exists() and len(path.read_text().split()) == self.steps // 2)

    def let_go_on(self) -> None:
        """End the pause, once the attempt that was in it has stopped."""
        wait_until(lambda: "stopped as asked" in self.folder.log.read_text())
        self.gate.touch()

    def assert_resumed(self) -> None:
        """Check that each step was done once over all attempts, with the undisturbed result."""
        steps = (self.folder.path / "steps.txt").read_text().split()
        assert steps == [str(step) for step in range(self.steps)]
        value = 1
        for step in range(self.steps):
            value = (31 * value + step) % 1_000_003
        assert outcome(self.store, self.stage) == {"value": value}
        result = self.store.result(self.stage)
        assert result is not None
        assert result["restarts"] == result["attempts"] - 1 >= 1
        assert not self.folder.errors()


def release(cluster: Cluster) -> None:
    """Spare a requeued job the two minutes that Slurm lets it wait."""
    (job,) = wait_until(lambda: cluster.jobs("--states=PENDING"))
    # Not within the second in which its first credential was revoked.
    cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now+2")


def test_a_plan_runs_in_arrays_and_leaves_nothing_behind(slurm: Cluster, store: Store) -> None:
    before = set(slurm.jobs("--states=all"))
    plan = layered_plan(width=7, depth=1)
    running = run(plan, store)
    assert running.summary().exit_code == 0
    assert sorted(running.summary().done) == sorted(stage.slug for stage in plan.graph)
    for stage in plan.graph:
        assert store.folder(stage).attempts == 1
        assert "Slurm job " in store.folder(stage).log.read_text()
    jobs = set(slurm.jobs("--states=all")) - before
    assert len(jobs) == 9
    # Slurm takes no array above four jobs here, so that of seven was halved.
    arrays = sorted(job.partition("_")[2] for job in jobs)
    assert arrays == ["", "", "", "0", "0", "1", "1", "2", "2"]
    assert not (store.out / "slurm").exists()


def test_a_stage_is_given_what_it_needs(
    slurm: Cluster, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph()
    needs = {
        "none": Resources(gpus=0),
        "default": Resources(),
        "share": Resources(gpus=0.25, cpus=2, memory=0.5),
        "both": Resources(gpus=2),
        "many": Resources(gpus=8),
    }
    stages = {
        name: graph.add("tell", name, {"name": name}, needs=need) for name, need in needs.items()
    }
    # As if the runner itself ran in a job of some array.
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "1")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    running = run(plan_of(graph, stages), store, ON_CPUS.model_copy(update={"device": "cuda"}))
    told = {}
    for name, stage in stages.items():
        if name != "many":
            told[name] = [outcome(store, stage)[key] for key in ("visible", "device")]
    assert told.pop("default")[0] in ("0", "1")
    assert told.pop("share")[0] in ("0", "1")
    assert told == {"none": [None, "cpu"], "both": ["0,1", "cuda"]}
    assert store.folder(stages["share"]).settings().threads == 2
    failed = running.summary().failed
    assert list(failed) == ["many"]
    why = "(Requested node configuration is not available): mend the engine's options or the suite"
    assert failed["many"].startswith(f"Slurm takes no such job of partition low {why}")


def test_a_preempted_stage_goes_on_where_it_was(slurm: Cluster, store: Store) -> None:
    counting = Counting(store)
    running = Running(counting.plan, store)
    counting.wait_until_amid()
    rival = slurm.ask(
        "sbatch", "--parsable", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=:"
    )
    wait_until(lambda: rival not in slurm.jobs())
    counting.let_go_on()
    release(slurm)
    assert running.summary().exit_code == 0
    counting.assert_resumed()
    assert not running.details(EventKind.LOST), "the job itself went on"


def test_a_stage_with_time_to_stop_puts_its_own_job_back(slurm: Cluster, store: Store) -> None:
    counting = Counting(store)
    running = Running(counting.plan, store, ON_CPUS.model_copy(update={"partition": "graceful"}))
    counting.wait_until_amid()
    rival = slurm.ask(
        "sbatch", "--parsable", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=:"
    )
    # Long before the partition's grace of a minute is over.
    wait_until(lambda: rival not in slurm.jobs(), 30)
    counting.let_go_on()
    release(slurm)
    assert running.summary().exit_code == 0
    counting.assert_resumed()
    assert not running.details(EventKind.LOST)


def test_at_the_end_of_its_time_a_job_is_put_back(slurm: Cluster, store: Store) -> None:
    counting = Counting(store)
    running = Running(counting.plan, store)
    counting.wait_until_amid()
    (job,) = slurm.jobs()
    slurm.ask("scancel", "--signal=USR2", job)  # as Slurm does shortly before
    counting.let_go_on()
    release(slurm)
    assert running.summary().exit_code == 0
    counting.assert_resumed()
    assert not running.details(EventKind.LOST)


def test_a_cancelled_job_is_submitted_again(slurm: Cluster, store: Store) -> None:
    counting = Counting(store)
    running = Running(counting.plan, store)
    counting.wait_until_amid()
    (job,) = slurm.jobs()
    slurm.ask("scancel", job)
    counting.let_go_on()
    assert running.summary().exit_code == 0
    counting.assert_resumed()
    assert running.details(EventKind.LOST) == [f"its Slurm job {job} was cancelled"]
    assert "CANCELLED" in counting.folder.log.read_text()


def test_while_slurm_does_not_answer_nothing_is_concluded(
    slurm: Cluster, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage, asked = tmp_path / "outage", tmp_path / "asked"
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(
        f"#!/bin/sh\n[ ! -e {outage} ] || {{ echo >> {asked}; exit 1; }}\n"
        f'exec {shutil.which("squeue")} "$@"\n'
    )
    squeue.chmod(0o755)
    counting = Counting(store)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    running = Running(counting.plan, store)
    counting.wait_until_amid()
    outage.touch()
    counting.gate.touch()
    wait_until(lambda: store.result(counting.stage))
    wait_until(lambda: asked.exists() and len(asked.read_text()) >= 2)
    assert not running.details(EventKind.DONE)
    outage.unlink()
    assert running.summary().exit_code == 0
    assert not running.details(EventKind.LOST)


def test_a_stage_keeps_to_its_own_limit(slurm: Cluster, store: Store) -> None:
    graph = Graph()
    slow = graph.add("slow", "slow", {"listens": True}, needs=Resources(minutes=0.01))
    running = run(plan_of(graph, {"a": slow}), store)
    assert "took longer than its limit of 0.01 minutes" in running.summary().failed["slow"]
    assert store.status(slow) is Status.FAILED


def test_how_a_stage_died_is_known(slurm: Cluster, store: Store) -> None:
    graph = Graph()
    killed = graph.add("die", "killed", {})
    running = run(plan_of(graph, {"a": killed}), store)
    assert running.summary().failed["killed"].startswith("killed by signal 9 (SIGKILL)")
    assert len(store.errors(killed)) == 1


def test_what_a_job_said_that_could_not_start_its_stage_is_kept(
    slurm: Cluster, store: Store
) -> None:
    options = ON_CPUS.model_copy(update={"setup": ("echo no such module; exit 3",)})
    plan = layered_plan(1, 0)
    running = run(plan, store, options)
    (source, _) = plan.graph
    assert "its process ended with status 3" in running.summary().failed["source"]
    assert "no such module" in store.folder(source).log.read_text()


def test_several_gpus_are_refused_where_jobs_get_none(slurm: Cluster, store: Store) -> None:
    task = Task(store._folder(store.stages / "x"), Resources(gpus=4))
    with (
        closing(ON_CPUS.make(store.out)) as engine,
        pytest.raises(
            ImBenchError, match="x needs 4 GPUs, and the engine's options give jobs none"
        ),
    ):
        engine.fits(task)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"partition": "gpuu"},
            "Slurm takes no such job of partition gpuu .Invalid partition name specified.: see ",
        ),
        ({"extra": {"fast": ""}}, "unrecognized option '--fast'"),
    ],
)
def test_what_slurm_refuses_is_one_sentence(
    slurm: Cluster, store: Store, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ImBenchError, match=sentence) as error:
        ON_CPUS.model_copy(update=options).make(store.out)
    assert "\n" not in str(error.value)
    assert not store.out.exists()


def test_a_job_that_could_never_start_fails(slurm: Cluster, store: Store) -> None:
    # By default, Slurm takes jobs that are longer than their partition allows, and lets them wait.
    running = run(layered_plan(1, 0), store, ON_CPUS.model_copy(update={"partition": "short"}))
    assert "can never start (PartitionTimeLimit): mend" in running.summary().failed["source"]
    assert not slurm.jobs()


def test_without_slurm_or_submitit_the_sentence_says_what_to_do(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImBenchError, match="there is no sbatch here: run this where"):
        SlurmOptions().make(store.out)
    monkeypatch.delitem(sys.modules, "im_bench.runner.engines.slurm.engine")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ImBenchError, match=r"pip install 'im-bench\[slurm\]'"):
        SlurmOptions().make(store.out)


SUITE = """
name: tiny
seeds: [1]
budget: equal
data:
  lesions: {synth: {like: isic2018, train: 20, val: 4, test: 4}, size: [32, 32]}
methods:
  ldt: {members: 3}
"""
ENGINE = """
engine: slurm
cpus: 1
device: cpu
poll_seconds: 0.5
minutes: 10
"""


def command_line(folder: Path, seconds: float) -> subprocess.Popen[str]:
    """Run the command line with light stages."""
    (folder / "tiny.yaml").write_text(SUITE)
    (folder / "slurm.yaml").write_text(ENGINE)
    words = ["run", "--suite", folder / "tiny.yaml", "--out", folder / "runs", "--no-tracking"]
    words += ["--engine", folder / "slurm.yaml", "--partition", "low"]
    return subprocess.Popen(
        [sys.executable, "-m", "cli.light", *map(str, words)],
        cwd=TESTS,
        env={**os.environ, "LIGHT_SECONDS": str(seconds), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_after_the_runner_was_killed_the_same_command_takes_up_its_jobs(
    slurm: Cluster, tmp_path: Path
) -> None:
    before = set(slurm.jobs("--states=all"))
    blocker = slurm.ask(
        "sbatch", "--parsable", "--cpus-per-task=3", "--output=/dev/null", "--wrap=sleep 600"
    )
    runner = command_line(tmp_path, 2)
    # One job at work, others in the queue.
    wait_until(lambda: len(slurm.jobs("--states=PENDING")) == 2 and at_work(tmp_path / "runs"))
    runner.kill()
    runner.wait()
    again = command_line(tmp_path, 2)
    wait_until(lambda: len(list((tmp_path / "runs" / "slurm").iterdir())) == 2)
    slurm.ask("scancel", blocker)
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert "LDT" in output
    results = list((tmp_path / "runs" / "stages").glob("**/result.json"))
    assert len(results) == 5
    for result in results:
        assert len(list(result.parent.glob("provenance-*.json"))) == 1
    assert len(set(slurm.jobs("--states=all")) - before) == 1 + len(results)
    assert not (tmp_path / "runs" / "slurm").exists()


def test_asked_to_stop_the_runner_cancels_its_jobs(slurm: Cluster, tmp_path: Path) -> None:
    runner = command_line(tmp_path, 60)
    wait_until(lambda: at_work(tmp_path / "runs"))
    runner.send_signal(signal.SIGINT)
    output, _ = runner.communicate(timeout=60)
    assert runner.returncode == 130, output
    assert "nothing that was finished is lost" in output
    assert not slurm.jobs()
    (log,) = (tmp_path / "runs" / "stages").glob("**/log.txt")
    assert "stopped as asked" in log.read_text()
    assert not at_work(tmp_path / "runs")
