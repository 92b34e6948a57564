"""Mirrors a running suite to Weights & Biases, beside it and never in its way.

Training does not know of W&B. A process of its own (``mirror_process``) reads the stage folders
that it is told of, and writes runs. Whatever becomes of it, the suite goes on: its failure is one
line of warning, and the runner waits for it at the end no longer than :data:`WAIT_SECONDS`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from typing_extensions import Self

from im_bench.files import sha256_json, write_json
from im_bench.planning.plan import Cell, Plan
from im_bench.report.tables.build import long_rows, results_table
from im_bench.report.tables.rendering import flat_rows, render_csv
from im_bench.report.tracking.cards import Cards, StageCard, cell_rows, run_id
from im_bench.runner.events import Event, EventKind
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage

#: How long the runner waits at the end; the mirror process gives up on stages somewhat earlier.
WAIT_SECONDS = 20.0
#: Where ``im-bench report`` leaves its page, in the results folder.
PAGE = Path("report", "index.html")
ROWS_AT_ONCE = 1000

logger = logging.getLogger(__name__)


class Mirror:
    """Runs the mirror process while a suite runs.

    Use it as a context manager around the run, and call it with each event. It raises nothing, and
    what it does for an event takes no time: a thread passes it on.

    Args:
        out: The results folder.
        plan: What runs.
        enabled: Whether to do anything; ``WANDB_MODE=disabled`` says no as well.
        checkpoints: Whether to log the network of each training.
        patience: Seconds that the mirror has at the end; without limit if None.
        page: The report for a browser that is attached at the end, if it is there.
        group: What W&B puts the runs of all stages under; by default each cell and seed is a group.
    """

    def __init__(
        self,
        out: Path,
        plan: Plan,
        enabled: bool = True,
        checkpoints: bool = False,
        patience: float | None = WAIT_SECONDS,
        page: Path | None = None,
        group: str | None = None,
    ) -> None:
        self._out = out
        self._plan = plan
        self._enabled = enabled and os.environ.get("WANDB_MODE") != "disabled"
        self._checkpoints = checkpoints
        self._patience = patience
        self._page = page or out / PAGE
        self._folder = out / "wandb"
        self._log = self._folder / "mirror.log"
        self._report = self._folder / f"{plan.name}-report.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._group = group
        self._cards: list[Cards] = []
        self._events: SimpleQueue[Event | list[dict[str, Any]] | None] = SimpleQueue()

    def __enter__(self) -> Self:
        if self._enabled:
            try:
                self._start()
            except Exception as error:
                logger.warning("Weights & Biases: not mirrored: %r", error)
        return self

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if self._process is not None:
            self._events.put(event)

    def extend(self, cells: Sequence[Cell], total: int) -> None:
        """Take note of cells that came to the plan while it runs.

        Args:
            cells: The new ones.
            total: Stages of the run by now.
        """
        if self._process is None:
            return
        part = replace(self._plan, cells=list(cells))
        self._cards.append(Cards(part))
        self._events.put([{"total": total, "rows": list(cell_rows(part))}])

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
                ending = {**report(self._plan, self._out), "page": str(self._page)}
                write_json(self._report, ending)
        except Exception as problem:
            logger.warning("Weights & Biases: the tables are not mirrored: %r", problem)
        self._stop(self._process)

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._cards = [Cards(self._plan)]
        # The plan may grow while the thread reads of it.
        self._first = replace(self._plan, cells=list(self._plan.cells))
        self._suite = suite_run(self._first)
        self._report.unlink(missing_ok=True)
        module = "im_bench.report.tracking.mirror_process"
        haste = [] if self._patience is not None else ["--no-haste"]
        with self._log.open("ab") as log:
            # Its standard input is a lifeline: it ends when the runner closes it, or dies.
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, self._out, self._report, *haste],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=wandb_environment(self._out),
                start_new_session=True,
            )
        self._thread = threading.Thread(target=self._write, name="mirror", daemon=True)
        self._thread.start()

    def _write(self) -> None:
        pipe = self._process.stdin if self._process else None
        if pipe is None:
            return
        try:
            with pipe:
                for message in self._messages():
                    pipe.write(json.dumps(message).encode() + b"\n")
                    if self._events.empty():
                        pipe.flush()
        except (OSError, ValueError):
            pass  # The mirror is gone, and its exit status and log say why.
        except Exception as error:
            logger.warning("Weights & Biases: not all is mirrored: %r", error)

    def _messages(self) -> Iterator[dict[str, Any]]:
        """Yield what the mirror process is told, see its ``read``; end when the run does."""
        yield {"suite": self._suite, "checkpoints": self._checkpoints}
        rows = cell_rows(self._first)
        while chunk := list(islice(rows, ROWS_AT_ONCE)):
            yield {"rows": chunk}
        sent = read_sent(sent_file(self._out, self._checkpoints))
        while (event := self._events.get()) is not None:
            if isinstance(event, list):
                yield from event
                continue
            stage, identity = event.stage, run_id(event.stage.key)
            card = None
            if event.what is not EventKind.PRESENT or identity not in sent:
                card = self._card(stage)
            yield {
                "what": event.what.value,
                "id": identity,
                **({"card": asdict(card)} if card else {}),
                **({"slug": stage.slug} if event.what is EventKind.FAILED else {}),
                **({"detail": event.detail} if event.detail else {}),
            }

    def _card(self, stage: Stage) -> StageCard | None:
        cards = (each.card(stage) for each in reversed(self._cards))
        card = next((one for one in cards if one is not None), None)
        return replace(card, group=self._group) if card and self._group else card

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        self._events.put(None)
        try:
            status = process.wait(self._patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            logger.warning(
                "Weights & Biases: gave up waiting; the next run, or `im-bench sync`, sends the "
                "rest"
            )
            return
        finally:
            self._thread.join(1)
        if status != 0:
            logger.warning("Weights & Biases: not all was mirrored; %s says why", self._log)


def wandb_environment(out: Path) -> dict[str, str]:
    """Return the environment of processes that use W&B, whose files go to the results folder."""
    folder = str((out / "wandb").resolve())
    return {
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",  # Else W&B reports on itself, even without a key.
        "WANDB_DIR": str(out.resolve()),
        "WANDB_DATA_DIR": folder,
        "WANDB_CACHE_DIR": folder,
        **os.environ,
    }


def sent_file(out: Path, checkpoints: bool) -> Path:
    """Return the list of the runs that W&B has in full, one id a line.

    It spares a look at each stage of a suite that is run again; the truth stands in the stages'
    own ``wandb.json``.
    """
    return out / "wandb" / ("sent-with-checkpoints.txt" if checkpoints else "sent.txt")


def read_sent(path: Path) -> set[str]:
    """Return the ids in such a list; none if there is no list."""
    try:
        return set(path.read_text(encoding="utf-8").split())
    except FileNotFoundError:
        return set()


def suite_run(plan: Plan) -> dict[str, Any]:
    """Return what the run of a suite says of it."""
    finals = sorted(key for cell in plan.cells for key in cell.finals.values())
    runnable = [cell for cell in plan.cells if not cell.problem]
    wanted = plan.closure([key for cell in runnable for key in cell.finals.values()])
    return {
        "id": sha256_json(["report", plan.name, finals])[:16],
        "name": plan.name,
        "tags": [plan.suite.name, f"budget-{plan.budget}"],
        "config": {
            "suite": plan.suite.name,
            "budget": plan.budget,
            "cells": len(plan.cells),
            "declared": plan.suite.model_dump(mode="json"),
        },
        "total": len(wanted),
    }


def report(plan: Plan, out: Path) -> dict[str, Any]:
    """Return what the run of a suite ends with."""
    store = Store(out)
    table = results_table(plan, store)
    results, generations = flat_rows(table), long_rows(plan, store)
    columns = ("data", "split", "method", "title", "metric", "mean", "std", "n")
    best = [{name: row[name] for name in columns} for row in results if row["rank"] == 1]
    return {
        "notes": list(table.notes),
        "tables": {
            "results": _columns(results),
            "generations": _columns(generations),
            "best": _columns(best),
        },
        "files": {"results.csv": render_csv(results), "generations.csv": render_csv(generations)},
    }


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {"columns": list(rows[0]) if rows else [], "data": [list(row.values()) for row in rows]}
