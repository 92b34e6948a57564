"""A suite as one W&B run: its cells while it runs, its tables at the end.

Only the mirror process imports this module. Curves are drawn against ``hours`` since the suite was
first begun, so that they go on after a stop.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import wandb

from im_bench.files import read_json, sha256_file, sha256_json, write_json
from im_bench.report.tables.rendering import render_csv
from im_bench.report.tracking.tracker import Tracker
from im_bench.runner.folder import StageFolder

COUNT_SECONDS = 10.0
#: A table at least so long after the one before, later ones when a twentieth more time has passed.
TABLE_SECONDS = 30.0
MOST_TABLE_SECONDS = 1800.0
#: Rows of the table of cells while the suite runs.
LIVE_ROWS = 2000
#: Rows of any table: W&B shows no more, and takes long to take more. The CSV files have all.
MOST_ROWS = 10_000
#: A page up to this size is shown within W&B; as a file it is always there.
PAGE_BYTES = 4_000_000

logger = logging.getLogger(__name__)

#: What events say of a stage: what it counts as from then on.
COUNTED = {
    "present": "done",
    "done": "done",
    "failed": "failed",
    "skipped": "skipped",
    "started": "running",
    "elsewhere": "running",
    "interrupted": "",
    "pruned": "pruned",
    "retrying": "",
    "lost": "",
}


CELLS = ["method", "data", "split", "seed", "state", "metric", "score", "seconds"]
CELLS += ["runs", "link", "reason"]


@dataclass(slots=True)
class CellRow:
    """One cell and seed.

    Attributes:
        method: Name of the method.
        data: Name of the data set.
        split: Share of labels.
        seed: The seed.
        final: Id of the stage that holds its scores.
        folder: Of that stage, relative to the folder of all stages.
        runs: Folders of the stages whose networks or labels it is made of, by run id.
        state: ``planned``, ``running``, ``done``, ``failed``, ``pruned`` or ``no data``.
        reason: Why it has failed or cannot run.
        score: On the test images, or a trial's on the validation images, in the metric's own unit.
        metric: Name of the headline metric.
        seconds: That its stages took, where all are known.
        changed: Number of the event that concerned it last.
    """

    method: str
    data: str
    split: str
    seed: int
    final: str
    folder: str
    runs: dict[str, str]
    state: str = "planned"
    reason: str = ""
    score: float | None = None
    metric: str = ""
    seconds: float | None = None
    changed: int = 0


@dataclass
class Memory:
    """What is kept of a suite's run in ``<out>/wandb/suite-<id>.json``.

    Attributes:
        began: When the suite was first begun, seconds since 1970.
        told: Fingerprint of the tables that were sent.
    """

    began: float = field(default_factory=time.time)
    told: str = ""


class SuiteRun:
    """The W&B run of a suite. It is opened when something happens that is worth telling.

    Args:
        about: ``id``, ``name``, ``tags``, ``config`` and ``total``, the number of stages.
        out: The results folder.
        tracker: Starts runs.
    """

    def __init__(self, about: dict[str, Any], out: Path, tracker: Tracker) -> None:
        self._about = about
        self._out = out
        self._tracker = tracker
        self._run: Any = None
        self._rows: list[CellRow] = []
        self._rows_of: dict[str, list[CellRow]] = {}
        self._unread: deque[CellRow] = deque()
        self._state: dict[str, str] = {}  # what each stage of which something was told counts as
        self._failures: dict[str, list[str]] = {}
        self._live = False  # whether anything of the suite has run
        self._events = 0
        self._counted = (0.0, "")
        self._shown = (0.0, 0)
        self._path = out / "wandb" / f"suite-{about['id']}.json"
        self._memory = Memory(**read_json(self._path)) if self._path.exists() else Memory()

    def note(self, message: dict[str, Any]) -> None:
        """Take note of rows, or of an event."""
        self._about["total"] = message.get("total", self._about["total"])
        for fields in message.get("rows", ()):
            row = CellRow(**fields)
            self._rows.append(row)
            for identity in (row.final, *row.runs):
                self._rows_of.setdefault(identity, []).append(row)
        what, identity = message.get("what"), message.get("id", "")
        if what not in COUNTED:
            return
        self._events += what != "present"
        self._live = self._live or COUNTED[what] == "running"
        self._state[identity] = COUNTED[what]
        if what == "failed":
            self._failures[identity] = [message["slug"], identity, message.get("detail", "")]
        for row in self._rows_of.get(identity, ()):
            if identity == row.final or row.state in ("planned", "running"):
                self._judge(row, message)

    def _judge(self, row: CellRow, message: dict[str, Any]) -> None:
        state = self._state.get(row.final, "")
        running = any(self._state.get(one) == "running" for one in (row.final, *row.runs))
        row.changed = self._events
        if state in ("failed", "skipped", "pruned"):
            row.state = "pruned" if state == "pruned" else "failed"
            row.reason = message.get("detail", "")
        elif state == "done":
            row.state = "done"
            (self._unread.append if message["what"] == "present" else self._unread.appendleft)(row)
        elif row.state != "no data":
            row.state = "running" if running else "planned"

    def update(self, looks: int) -> None:
        """Log what is new, if it is time.

        Args:
            looks: At most so many files are read.
        """
        self._read(looks)
        if not self._live:
            return
        now = time.time()
        counts = self._counts()
        if now - self._counted[0] >= COUNT_SECONDS and str(counts) != self._counted[1]:
            self._open().log({**counts, "hours": self._hours})
            self._counted = (now, str(counts))
        pause = min(max(TABLE_SECONDS, self._hours * 3600 / 20), MOST_TABLE_SECONDS)
        if now - self._shown[0] >= pause and self._events != self._shown[1]:
            self._show(LIVE_ROWS)

    def finish(self, report: dict[str, Any] | None, enough: Callable[[], bool]) -> None:
        """Log how the suite ended, and close the run. What stands there already is not sent again.

        Args:
            report: What the runner left: ``tables``, ``files``, ``notes`` and ``page``. None if it
                died.
            enough: Asked while scores are read for the last table; whether to leave the rest out.
        """
        while self._unread and not enough():
            self._read(100)
        told = self._fingerprint(report) if report else self._memory.told
        if told != self._memory.told or self._live:
            self._open().log({**self._counts(), "hours": self._hours})
            self._show(MOST_ROWS)
        if report and told != self._memory.told:
            self._log_report(report)
            self._memory.told = told
            write_json(self._path, {"began": self._memory.began, "told": told})
        if self._run is not None:
            self._run.finish(exit_code=0 if report else 1)

    @property
    def _hours(self) -> float:
        return (time.time() - self._memory.began) / 3600

    def _open(self) -> Any:
        if self._run is None:
            about = self._about
            write_json(self._path, {"began": self._memory.began, "told": self._memory.told})
            self._run = self._tracker.start(
                about["id"],
                name=about["name"],
                group=about["name"],
                job_type="report",
                tags=about["tags"],
                config=about["config"],
            )
            self._run.define_metric("hours", hidden=True)
            self._run.define_metric("*", step_metric="hours")
        return self._run

    def _counts(self) -> dict[str, int]:
        counts = dict.fromkeys(("done", "running", "failed", "pruned", "skipped"), 0)
        for state in self._state.values():
            if state:
                counts[state] += 1
        waiting = self._about["total"] - sum(counts.values())
        return {f"stages/{name}": n for name, n in {**counts, "waiting": waiting}.items()}

    def _read(self, looks: int) -> None:
        """Read the scores of cells that are done, and how long their stages took."""
        while self._unread and looks > 0:
            row = self._unread.popleft()
            looks -= 1 + len(row.runs)
            folders = [row.folder, *row.runs.values()]
            found = [StageFolder(self._out / "stages" / one).result() for one in folders]
            outcome = (found[0] or {}).get("outcome", {})
            row.metric = outcome.get("metric", "")
            row.score = outcome.get(outcome.get("part", "test"), {}).get(row.metric)
            spent = [one["seconds_in_all"] for one in found if one and "seconds_in_all" in one]
            row.seconds = round(sum(spent), 1) if len(spent) == len(folders) else None

    def _show(self, most: int) -> None:
        """Log the table of cells; of a large suite first what runs, failed or was done last."""
        rows = self._rows
        if len(rows) > most:
            order = {"running": 0, "failed": 1, "done": 2}
            rows = sorted(rows, key=lambda row: (order.get(row.state, 3), -row.changed))[:most]
        data = [[self._entry(row, name) for name in CELLS] for row in rows]
        self._open().log({"cells": _table(CELLS, data), "hours": self._hours})
        self._shown = (time.time(), self._events)

    def _entry(self, row: CellRow, name: str) -> Any:
        if name == "runs":
            return " ".join(row.runs)
        if name == "link":
            home = self._open().project_url
            group = f"{row.data}/{row.split}/{row.method}/s{row.seed}"
            return f"{home}/groups/{quote(group, safe='')}" if home else ""
        return getattr(row, name)

    def _fingerprint(self, report: dict[str, Any]) -> str:
        page = Path(report["page"])
        seen = sha256_file(page) if page.is_file() else ""
        failures = sorted(self._failures.values())
        return sha256_json([self._about["id"], report["tables"], failures, seen])

    def _log_report(self, report: dict[str, Any]) -> None:
        run = self._open()
        failures = {"columns": ["stage", "run", "reason"], "data": list(self._failures.values())}
        tables = {**report["tables"], "failures": failures}
        shown = {name: _table(one["columns"], one["data"]) for name, one in tables.items()}
        run.log({**shown, "hours": self._hours})
        best = report["tables"]["best"]
        for row in (dict(zip(best["columns"], values, strict=True)) for values in best["data"]):
            run.summary[f"best/{row['data']}"] = row["title"]
            run.summary[f"best/{row['data']}/{row['metric']}"] = row["mean"]
        files = wandb.Artifact(f"{self._about['name']}-tables", type="tables")
        cells = [{name: self._entry(row, name) for name in CELLS} for row in self._rows]
        for name, text in {**report["files"], "cells.csv": render_csv(cells)}.items():
            with files.new_file(name, encoding="utf-8") as file:
                file.write(text)
        run.log_artifact(files)
        run.config.update({"notes": report["notes"]}, allow_val_change=True)
        if (page := Path(report["page"])).is_file():
            self._attach(page)

    def _attach(self, page: Path) -> None:
        run = self._open()
        artifact = wandb.Artifact(f"{self._about['name']}-page", type="report")
        artifact.add_file(str(page))
        run.log_artifact(artifact)
        if page.stat().st_size <= PAGE_BYTES:
            run.log({"page": wandb.Html(page, inject=False), "hours": self._hours})


def _table(columns: list[str], data: list[list[Any]]) -> Any:
    return wandb.Table(columns=columns, data=data[:MOST_ROWS], allow_mixed_types=True)
