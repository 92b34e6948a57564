"""Stage folders as Weights & Biases runs. Only the mirror process imports this module.

W&B's own step counter starts anew with every process, so it is never relied on: each row carries
``iter``, against which all curves are drawn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import wandb

from im_bench.files import read_json, write_json
from im_bench.report.tracking.cards import StageCard
from im_bench.report.tracking.tracker import Tracker
from im_bench.runner.folder import StageFolder, Status

MOST_SAMPLES = 8
#: What the panels of a sample show, by kind of stage.
CAPTIONS = {
    "train": "image, truth, prediction",
    "pseudo-label": "image, each teacher, inconsistency, a student's image and label",
}


@dataclass
class Mirrored:
    """How much of a stage W&B already has: ``wandb.json`` in its folder.

    Attributes:
        id: Of the run.
        mode: ``online`` or ``offline``, when it was last written.
        iters: Last iteration sent, by name of the curve.
        samples: Names of the pictures sent.
        finished: Whether the stage is done and all of it was sent.
        checkpoint: Whether the network was sent.
    """

    id: str
    mode: str = ""
    iters: dict[str, int] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)
    finished: bool = False
    checkpoint: bool = False


class StageMirror:
    """The W&B run of one stage.

    Args:
        card: The stage.
        stages: The folder of all stages.
        tracker: Starts runs.
        checkpoints: Whether to log the network that a training leaves.
    """

    def __init__(
        self, card: StageCard, stages: Path, tracker: Tracker, checkpoints: bool = False
    ) -> None:
        self.card = card
        self._folder = StageFolder(stages / card.folder)
        self._tracker = tracker
        self._checkpoints = checkpoints and card.kind == "train"
        self._run: Any = None
        self._status = Status.PLANNED
        self._memory = self._folder.path / "wandb.json"
        self._seen = (0, 0)
        self._sent = Mirrored(card.id)
        if self._memory.exists():
            self._sent = Mirrored(**read_json(self._memory))

    @property
    def finished(self) -> bool:
        """Whether W&B has all that there will ever be."""
        return self._sent.finished and (self._sent.checkpoint or not self._checkpoints)

    @property
    def is_open(self) -> bool:
        """Whether a run is open."""
        return self._run is not None

    @property
    def is_over(self) -> bool:
        """Whether nobody worked on the stage at the last look, and no run is open."""
        return not self.is_open and (self.finished or self._status is not Status.RUNNING)

    def update(self, may_open: bool = True) -> None:
        """Send what is new; close the run when nobody works on the stage any more.

        Args:
            may_open: Whether a run may be opened that will stay open.
        """
        if self.finished:
            return
        status = self._status = self._folder.status
        if status is Status.PLANNED and not self.is_open:
            return
        if status is Status.DONE or self.is_open or may_open:
            self._send(status is Status.DONE)
        if self.is_open and status is not Status.RUNNING:
            if status is Status.FAILED:
                self._run.summary["failure"] = self._folder.errors()[-1]["message"]
            self.close(status is Status.DONE)

    def close(self, done: bool = False) -> None:
        """Close the run, if one is open; a run that is not done is marked as crashed."""
        if self._run is not None:
            self._run.finish(exit_code=0 if done else 1)
            self._run = None
        if done:
            self._sent.finished = True
            write_json(self._memory, asdict(self._sent))

    def _send(self, done: bool) -> None:
        rows = list(self._new_rows())
        samples = self._new_samples() if done else []
        if not (rows or samples or done):
            return
        run = self._open()
        checkpoint = done and self._checkpoints and not self._sent.checkpoint
        # Remembered before it is sent: after a kill in between, points are missing, none is double.
        self._sent.mode = self._tracker.mode
        for row in rows:
            self._sent.iters.update(dict.fromkeys(row.keys() - {"iter"}, row["iter"]))
        self._sent.samples += [path.name for path in samples]
        self._sent.checkpoint |= checkpoint
        write_json(self._memory, asdict(self._sent))
        for row in rows:
            run.log(row)
        if samples:
            shown = CAPTIONS[self.card.kind]
            pictures = [wandb.Image(str(path), caption=f"{path.stem}: {shown}") for path in samples]
            run.log({"samples": pictures, "iter": max(self._sent.iters.values(), default=0)})
        if done:
            self._send_result(run, checkpoint)

    def _send_result(self, run: Any, checkpoint: bool) -> None:
        result = self._folder.result() or {}
        run.summary.update(dict(_numbers(result.get("outcome", {}))))
        spent = {
            name: result[name]
            for name in ("seconds_in_all", "attempts", "restarts")
            if name in result
        }
        run.summary.update(spent)
        if checkpoint and (path := self._folder.path / "best.pth").is_file():
            name = re.sub(r"[^\w.-]", "-", f"{self.card.slug.replace('/', '.')}-{self.card.id}")
            model = wandb.Artifact(
                name,
                type="model",
                metadata={
                    **self.card.config,
                    "slug": self.card.slug,
                    "outcome": result.get("outcome"),
                    "stage": dict(self._folder.spec().config),
                },
            )
            # Not copied: under its stage's key it never changes.
            model.add_file(str(path), policy="immutable", skip_cache=True)
            run.log_artifact(model)

    def _open(self) -> Any:
        if self._run is None:
            self._run = self._tracker.start(
                self._sent.id,
                name=self.card.slug,
                group=self.card.group,
                job_type=self.card.kind,
                tags=[tag[:64] for tag in self.card.tags],
                config={**self.card.config, "stage": dict(self._folder.spec().config)},
            )
            self._run.define_metric("iter", hidden=True)
            self._run.define_metric("*", step_metric="iter")
        return self._run

    def _new_rows(self) -> Iterator[dict[str, Any]]:
        """Yield what was appended; a resumed training writes old rows again, which are skipped."""
        path = self._folder.path / "scalars.jsonl"
        try:
            stat = path.stat()
            if (stat.st_size, stat.st_mtime_ns) == self._seen:
                return
            self._seen = (stat.st_size, stat.st_mtime_ns)
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        whole, _, _ = text.rpartition("\n")
        for line in whole.splitlines():
            row = json.loads(line)
            new = {
                name: value
                for name, value in row.items()
                if name != "iter" and row["iter"] > self._sent.iters.get(name, -1)
            }
            if new:
                yield {"iter": row["iter"], **new}

    def _new_samples(self) -> list[Path]:
        found = sorted((self._folder.path / "samples").glob("*.png"))[:MOST_SAMPLES]
        return [path for path in found if path.name not in self._sent.samples]


def _numbers(value: Mapping[str, Any], prefix: str = "result") -> Iterator[tuple[str, float]]:
    """Yield the numbers of an outcome under flat names: ``result/val/iou``."""
    for name, part in value.items():
        if isinstance(part, Mapping):
            yield from _numbers(part, f"{prefix}/{name}")
        elif isinstance(part, (int, float)):
            yield f"{prefix}/{name}", part
