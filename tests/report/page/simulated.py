"""Results that no training has made, as files of stages, so that a page has something to show."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from im_bench.data.pictures import as_rgb, colour, overlay, strip, write_png
from im_bench.planning.plan import Plan
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage

#: What a hostile file could hold.
MARKUP = "<img src=x onerror=\"document.title='owned'\"></script><script>alert(1)</script>"

SUITE = f"""
name: seen
description: {json.dumps("Simulated numbers, to look at the page. " + MARKUP)}
seeds: [1, 2, 3]
budget: equal
budgets: {{equal: {{iterations: 400}}}}
data:
  isic: {{reference: isic2018, labelled: file}}
  reef: {{synth: {{like: suim}}, size: [64, 64]}}
  cells: {{synth: {{like: hela}}, size: [64, 64]}}
methods:
  ldt: {{members: 2}}
  fdt: {{members: 1}}
  unimatch: {{}}
  unimatch+im: {{im: {{members: 2}}}}
  u2pl: {{}}
  u2pl+im: {{im: {{members: 2}}}}
  me: {{members: 2, students: 2, teachers: 2, generations: 3}}
  im: {{members: 2, students: 2, teachers: 2, generations: 3}}
"""


@dataclass(frozen=True)
class Task:
    """A data set's label space, as ``meta.json`` says it."""

    space: str
    metric: str
    classes: tuple[str, ...]
    cells: bool = False

    @property
    def outputs(self) -> int:
        return 1 if self.space == "binary" else len(self.classes)


LESION = Task("binary", "iou", ("lesion",))
REEF = Task("multiclass", "miou", ("void", "water", "diver", "plants", "fish <b>", "sea_floor"))
CELLS = Task("multilabel", "mcce", ("alive", "dead", "position"), cells=True)
TASKS = (LESION, REEF, CELLS)


class Simulation:
    """Writes the files of done stages.

    Args:
        plan: The stages.
        store: Where they go.
        tasks: Of the data sets, in their order, again and again.
        rows: Training rows of a curve.
        pictures: Strips that a stage leaves.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        tasks: tuple[Task, ...] = TASKS,
        rows: int = 100,
        pictures: int = 3,
    ) -> None:
        self.plan, self.store = plan, store
        names = dict.fromkeys(cell.data for cell in plan.cells)
        self.tasks = {name: tasks[i % len(tasks)] for i, name in enumerate(names)}
        self.rows, self.pictures = rows, pictures

    def finish(self, stages: Iterable[Stage]) -> None:
        for stage in stages:
            random = np.random.default_rng(zlib.crc32(stage.slug.encode()))  # as keys may change
            task = self.tasks[stage.slug.partition("/")[0]]
            outcome = getattr(self, "_" + stage.kind.replace("-", "_"))(stage, task, random)
            path = self.store.folder(stage).path
            write(path / "provenance-1.json", PROVENANCE)
            seconds = float(random.uniform(20, 90)) * (30 if stage.kind == "train" else 1)
            result = {
                "key": stage.key,
                "slug": stage.slug,
                "kind": stage.kind,
                "outcome": outcome,
                "seconds": seconds,
                "seconds_in_all": seconds,
                "attempts": 1,
                "restarts": 0,
                "finished": "2026-11-25T18:00:00+00:00",
            }
            write(path / "result.json", result)

    def fail(self, stage: Stage, message: str, attempts: int = 2) -> None:
        path = self.store.folder(stage).path
        for k in range(1, attempts + 1):
            error = {
                "type": "RuntimeError",
                "cause": "error",
                "message": message,
                "traceback": f"Traceback (most recent call last):\n  {message}",
                "seconds": 3.0,
            }
            write(path / f"provenance-{k}.json", PROVENANCE)
            write(path / f"error-{k}.json", error)

    def quality(self, stage: Stage, task: Task, random: np.random.Generator) -> float:
        """Return a score in 0..1: the same for all members of a family, but for some noise."""
        family = stage.slug.split("/")[3] if stage.slug.count("/") > 2 else ""
        gain = 0.05 if family.endswith("im") else 0.0
        level = 0.4 + 0.3 * (zlib.crc32(family.removesuffix("+im").encode()) % 100) / 100
        return float(np.clip(level + gain + random.normal(0, 0.012), 0, 1))

    def scores(self, quality: float, task: Task, random: np.random.Generator) -> dict[str, float]:
        if task.space == "binary":
            return {"iou": quality, "dice": quality**0.6, "iou_dataset": quality**1.1}
        classes = {
            f"iou/{name}": float(np.clip(quality + random.normal(0, 0.15), 0, 1))
            for name in task.classes[task.space == "multiclass" :]
        }
        return {"miou": quality, **classes, **({"mcce": 9 - 8 * quality} if task.cells else {})}

    def _data(self, stage: Stage, task: Task, random: np.random.Generator) -> dict[str, Any]:
        meta = {
            "name": stage.slug,
            "space": task.space,
            "classes": task.classes,
            "outputs": task.outputs,
            "metric": task.metric,
            "size": [64, 64],
            "labelled": [f"image-{k}" for k in range(10)],
            "names": {"train": [f"image-{k}" for k in range(100)], "val": [], "test": []},
        }
        write(self.store.folder(stage).path / "arrays" / "meta.json", meta)
        return {"train": 100}

    def _train(self, stage: Stage, task: Task, random: np.random.Generator) -> dict[str, Any]:
        path = self.store.folder(stage).path
        quality = self.quality(stage, task, random)
        lines: list[dict[str, float]] = []
        total = 400
        for k in range(1, self.rows + 1):
            at = k * total // self.rows
            share = {"train/inconsistent": 0.3 * 0.99**k} if "+im/" in stage.slug else {}
            loss = 1 / k + float(random.uniform(0, 0.02))
            lines.append({"iter": at, "train/loss": loss, **share, "images_per_second": 100.0})
            if k % max(1, self.rows // 20) == 0:
                now = quality * (1 - 0.9 * float(np.exp(-5 * k / self.rows)))
                now += float(random.normal(0, 0.01))
                scores = self.scores(now, task, random)
                lines.append({"iter": at, **{f"val/{n}": v for n, v in scores.items()}})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        path.mkdir(parents=True, exist_ok=True)
        (path / "scalars.jsonl").write_text(text)
        for k in range(self.pictures):
            image, truth, said = picture(k, task), label(k, task), label(k, task, random)
            panels = [
                image,
                overlay(image, truth, task.space, task.outputs),
                overlay(image, said, task.space, task.outputs),
            ]
            write_png(path / "samples" / f"{k:04d}.png", strip(panels))
            if "pseudo" in stage.inputs:
                image, truth = picture(k + 50, task), label(k + 50, task)
                said = label(k + 50, task, random)
                maps = [colour(each, task.space, task.outputs) for each in (truth, said)]
                write_png(path / "samples" / f"unlabelled-{k}.png", strip([image, *maps]))
        return {
            "val": self.scores(quality, task, random),
            "best_iteration": total,
            "iterations": total,
            "images_per_second": float(random.uniform(80, 120)),
            "final_loss": 0.01,
        }

    def _pseudo_label(
        self, stage: Stage, task: Task, random: np.random.Generator
    ) -> dict[str, Any]:
        path = self.store.folder(stage).path
        for k in range(self.pictures):
            image, truth = picture(k + 50, task), label(k + 50, task)
            first, second = label(k + 50, task, random), label(k + 50, task, random)
            apart = first != second
            agreed = np.where(apart, 0, first).astype(np.uint8)
            maps = [colour(m, task.space, task.outputs) for m in (truth, first, second)]
            mask = as_rgb(apart[..., None].astype(np.uint8) * 255)
            blanked = (image * ~apart[..., None]).astype(np.uint8)
            panels = [image, *maps, mask, blanked, colour(agreed, task.space, task.outputs)]
            write_png(path / "samples" / f"labels-{k}.png", strip(panels))
        g = 1 + (zlib.crc32(stage.slug.encode()) % 3)
        names = [self.plan.graph[key].folder for key in stage.inputs["candidates"][:2]]
        return {
            "teachers": [name.rpartition("/")[2] for name in names],
            "unlabelled": 90,
            "images_kept": min(1.0, 0.6 + 0.1 * g),
            "pixels_kept": 0.85 + 0.03 * g,
            "label_accuracy": 0.9 + 0.02 * g,
        }

    def _evaluate(self, stage: Stage, task: Task, random: np.random.Generator) -> dict[str, Any]:
        generations = []
        rounds = sum(role.startswith("generation-") for role in stage.inputs)
        for g in range(1, rounds + 1):
            keys = stage.inputs[f"generation-{g}"]
            selected = self.plan.graph[keys[0]].folder.rpartition("/")[2]
            quality = min(1.0, self.quality(stage, task, random) + 0.02 * g)
            shares = {}
            if f"labels-{g}" in stage.inputs:
                kept = 0.8 + 0.05 * g + float(random.normal(0, 0.01))
                shares = {"images_kept": kept, "pixels_kept": kept - 0.05, "label_accuracy": kept}
            generations.append(
                {
                    "generation": g,
                    "selected": selected,
                    "iterations": 400,
                    "val": self.scores(quality, task, random),
                    "test": self.scores(quality, task, random),
                    **{name: min(1.0, share) for name, share in shares.items()},
                }
            )
        last = generations[-1]
        return {
            "metric": task.metric,
            "report": "last",
            "selected_generation": rounds,
            **{name: last[name] for name in ("selected", "val", "test")},
            "test_images": 40,
            "generations": generations,
        }


PROVENANCE = {
    "commit": "0123456789abcdef",
    "dirty": False,
    "versions": {"im-bench": "0.1.0", "python": "3.11.7", "torch": "2.13.0"},
    "device": "Simulated GPU <b>",
    "spent_before": 0.0,
}


def write(path: Path, value: Any) -> None:
    """Write JSON without waiting for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def label(k: int, task: Task, random: np.random.Generator | None = None) -> np.ndarray:
    """Return the k-th label map; with randomness a prediction of it."""
    y, x = np.mgrid[:64, :64]
    maps = np.zeros((64, 64), np.uint8)
    classes = 1 if task.space == "binary" else len(task.classes) - (task.space == "multiclass")
    for c in range(classes):
        centre = np.array([18 + 11 * ((k + c) % 4), 16 + 9 * ((3 * k + 2 * c) % 5)], float)
        radius = 15.0 - 2 * c
        if random is not None:
            centre += random.normal(0, 2, 2)
            radius += random.normal(0, 1.5)
        inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
        if task.space == "multilabel":
            maps[inside] |= 1 << c
        else:
            maps[inside] = c + 1
    return maps


def picture(k: int, task: Task) -> np.ndarray:
    """Return the k-th image, (64, 64, 3), with texture."""
    random = np.random.default_rng(k)
    truth = label(k, task)
    ground = np.array([196, 160, 128]) + np.linspace(-25, 25, 64)[:, None, None]
    image = np.where(truth[..., None] > 0, ground * (0.8 - 0.08 * truth[..., None]), ground)
    return np.clip(image + random.normal(0, 7, (64, 64, 1)), 0, 255).astype(np.uint8)
