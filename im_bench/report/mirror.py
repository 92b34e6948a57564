"""Mirrors a running suite to Weights & Biases, beside it and never in its way.

Training does not know of W&B. A process of its own, :mod:`im_bench.report.mirror_process`, reads
the stage folders and writes runs. Whatever becomes of it, the suite goes on: its failure is one
line of warning, and the runner waits for it at the end no longer than :data:`WAIT_SECONDS`.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from im_bench.files import sha256_json, write_json
from im_bench.report.rendering import flat_rows
from im_bench.report.tables import long_rows, results_table
from im_bench.runner.store import Store
from im_bench.suites.plan import Plan

#: How long the runner waits at the end; the mirror process gives up on stages somewhat earlier.
WAIT_SECONDS = 20.0
KINDS = ("train", "pseudo-label")

logger = logging.getLogger(__name__)


class Mirror:
    """Runs the mirror process while a suite runs.

    Use it as a context manager around the run. It raises nothing.

    Args:
        out: The results folder.
        plan: What runs.
        enabled: Whether to do anything; ``WANDB_MODE=disabled`` says no as well.
    """

    def __init__(self, out: Path, plan: Plan, enabled: bool = True) -> None:
        self._out = out
        self._plan = plan
        self._enabled = enabled and os.environ.get("WANDB_MODE") != "disabled"
        self._folder = out / "wandb"
        self._log = self._folder / "mirror.log"
        self._stages = self._folder / f"{plan.name}-stages.json"
        self._report = self._folder / f"{plan.name}-report.json"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._enabled:
            try:
                self._start()
            except Exception as error:
                logger.warning("Weights & Biases: not mirrored: %r", error)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is None:
            return
        try:
            if kind is None:
                write_json(self._report, report(self._plan, self._out))
        except Exception as problem:
            logger.warning("Weights & Biases: the tables are not mirrored: %r", problem)
        self._stop(self._process)

    def _start(self) -> None:
        write_json(self._stages, cards(self._plan))
        self._report.unlink(missing_ok=True)
        module = "im_bench.report.mirror_process"
        environment = {
            "WANDB_SILENT": "true",
            "WANDB_ERROR_REPORTING": "false",  # Else W&B reports on itself, even without a key.
            "WANDB_DATA_DIR": str(self._folder.resolve()),
            "WANDB_CACHE_DIR": str(self._folder.resolve()),
            **os.environ,
        }
        with self._log.open("ab") as log:
            # Its standard input is a lifeline: it ends when the runner closes it, or dies.
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, self._out, self._stages, self._report],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            process.stdin.close()
        try:
            status = process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            logger.warning(
                "Weights & Biases: gave up waiting; the next run, or `wandb sync`, sends the rest"
            )
            return
        if status != 0:
            logger.warning("Weights & Biases: not all was mirrored; %s says why", self._log)


def cards(plan: Plan) -> list[dict[str, Any]]:
    """Return what the mirror must know of each stage: a StageCard's fields."""
    methods: dict[str, list[str]] = {}
    for cell in plan.cells:
        for stage in plan.stages_of(cell):
            methods.setdefault(stage.key, []).append(cell.method)
    found = []
    for stage in plan.graph:
        if stage.kind not in KINDS or stage.key not in methods:
            continue
        data, split, seed, name, *_ = stage.slug.split("/")
        tags = [plan.suite.name, f"budget-{plan.budget}", data, seed, *methods[stage.key]]
        found.append(
            {
                "folder": stage.folder,
                "kind": stage.kind,
                "slug": stage.slug,
                "key": stage.key,
                "group": f"{data}/{split}/{name}",
                "tags": list(dict.fromkeys(tags)),
            }
        )
    return found


def report(plan: Plan, out: Path) -> dict[str, Any]:
    """Return the tables of a suite for the run that it ends with."""
    store = Store(out)
    finals = sorted(key for cell in plan.cells for key in cell.finals.values())
    table = results_table(plan, store)
    return {
        "id": sha256_json(["report", plan.name, finals])[:16],
        "name": plan.name,
        "tags": [plan.suite.name, f"budget-{plan.budget}"],
        "config": {"suite": plan.suite.model_dump(mode="json"), "notes": list(table.notes)},
        "tables": {
            "results": _columns(flat_rows(table)),
            "generations": _columns(long_rows(plan, store)),
        },
    }


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {"columns": list(rows[0]) if rows else [], "data": [list(row.values()) for row in rows]}
