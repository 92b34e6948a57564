"""What the mirror to Weights & Biases costs at a large plan.

python -m benchmarks.speed.mirror_load --cells 50000 --running 1000

A suite of drawn data sets is planned; half of its stages are told as present, and so many run. It
is measured how long the mirror takes to know of all, how much memory and processor it takes, and,
with strace, how many operations on files it does per second while the stages run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.speed.large_plan import large_plan
from im_bench.planning.plan import Plan
from im_bench.report.tracking.mirror import Mirror
from im_bench.runner.events import Event, EventKind
from im_bench.runner.owner import Owner
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage


def leave_running(store: Store, plan: Plan, stage: Stage) -> None:
    """Leave the folder of a stage that this process runs, as far as anybody can tell."""
    folder = store.prepare(stage, plan.graph).path
    (folder / "lock").write_text(json.dumps({**vars(Owner.me()), "beat": 0}))
    (folder / "scalars.jsonl").write_text('{"iter": 1, "train/loss": 1.0}\n')


def memory(pid: int) -> int:
    """Return the resident memory of a process, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    return 0


def processor_seconds(pid: int) -> float:
    """Return how long a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def file_operations(pid: int, folder: Path, seconds: float) -> float:
    """Return a process's operations per second on files in a folder, by strace."""
    with tempfile.NamedTemporaryFile("r") as file:
        command = ["strace", "-f", "-e", "trace=%file", "-o", file.name, "-p", str(pid)]
        tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        return sum(str(folder) in line for line in file) / seconds


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--running", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    os.environ["WANDB_MODE"] = "offline"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = large_plan(options.cells, folder)
        store = Store(folder / "out")
        stages = list(plan.graph)
        trainings = [stage for stage in stages if stage.kind == "train"]
        running = trainings[-options.running :]
        for stage in running:
            leave_running(store, plan, stage)
        began = time.perf_counter()
        with Mirror(store.out, plan) as mirror:
            for stage in stages[: len(stages) // 2]:
                mirror(Event(EventKind.PRESENT, stage))
            for stage in running:
                mirror(Event(EventKind.STARTED, stage))
            told = time.perf_counter() - began
            process = mirror._process
            assert process is not None
            while not mirror._events.empty():
                time.sleep(0.1)
            passed_on = time.perf_counter() - began
            while not list(store.out.glob("wandb/offline-run-*/files/media/table/cells*")):
                time.sleep(0.1)
            shown = time.perf_counter() - began
            print(f"{len(plan.cells)} cells, {len(stages)} stages, {len(running)} running")
            print(
                f"the runner was kept for {told:.2f} s, all was passed on after {passed_on:.1f} s, "
                f"the first table stood there after {shown:.1f} s"
            )
            before = processor_seconds(process.pid)
            time.sleep(options.seconds)
            share = (processor_seconds(process.pid) - before) / options.seconds
            print(f"the mirror takes {share:.1%} of a processor")
            if shutil.which("strace"):
                rate = file_operations(process.pid, store.out, options.seconds)
                print(f"{rate:.0f} operations per second on files by name")
            print(f"the mirror has {memory(process.pid)} MiB")
            began = time.perf_counter()
        print(f"the end took {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
