"""How many ways to make pseudo-labels are scored in a second, against one image after another.

    python benchmarks/speed/pseudo_label_trials.py

Predictions of four networks are made up: labels of blobs, and noise of each network's own. Both
sides score the same trials in one process, in turns, and must agree: image by image as the stage
``pseudo-label`` makes labels, each trial anew; and by the scorer, which counts pixels once for each
mask. Then samplers are compared, by their time and by the area under the front that they find (of
quality over coverage: larger is better), and the ways to store trials.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from torch import Tensor

from im_bench.data.label_spaces import label_space
from im_bench.evaluation import overlap
from im_bench.masks import inconsistency_masked
from im_bench.stages.pseudo_label import labelling_space, mask_options
from im_bench.tuning.labels import search
from im_bench.tuning.labels.balance import balance
from im_bench.tuning.labels.front import front
from im_bench.tuning.labels.knobs import Knobs
from im_bench.tuning.labels.scorer import LabelScorer, Score
from im_bench.tuning.study import TrialRecord, records_of

NETWORKS = 4
PARTS = ("scoring", "samplers", "search")
SPACE: dict[str, BaseDistribution] = {
    "threshold": FloatDistribution(0.0, 0.99),
    "teachers": CategoricalDistribution((2, 3, 4)),
    "erode": CategoricalDistribution((0, 3, 5)),
    "dilate": CategoricalDistribution((0, 3, 5)),
}
SAMPLERS: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
    "NSGA-II": partial(optuna.samplers.NSGAIISampler, population_size=search.BATCH, seed=0),
    "TPE": partial(optuna.samplers.TPESampler, seed=0),
    "random": partial(optuna.samplers.RandomSampler, seed=0),
}


def make_predictions(space: str, outputs: int, images: int, size: int) -> tuple[Any, Any, Any]:
    """Return probabilities (K, N, C, H, W), label bytes (N, H, W) and what is needed of a meta."""
    generator = torch.Generator().manual_seed(0)

    def smooth(*shape: int) -> Tensor:
        coarse = torch.randn(*shape, size // 16, size // 16, generator=generator)
        return torch.nn.functional.interpolate(coarse, size=size, mode="bicubic")

    labels = label_space(space, outputs)
    shown = smooth(images, outputs) * 4
    probabilities = torch.stack(
        [labels.activate(shown + 2 * smooth(images, outputs)).half() for _ in range(NETWORKS)]
    )
    meta = {"name": "blobs", "space": space, "outputs": outputs, "size": [size, size]}
    return probabilities.numpy(), labels.discretise(labels.activate(shown)).numpy(), meta


def image_by_image(probabilities: Any, truth: Any, meta: Any, knobs: Knobs) -> Score:
    """Score one trial in the straightforward way (binary and multi-class)."""
    kind, outputs = meta["space"], meta["outputs"]
    space, masking = label_space(kind, outputs), labelling_space(meta)
    config = {
        "erode": knobs.erode,
        "dilate": knobs.dilate,
        "block_input": False,
        "block_output": False,
        "blocked_label": "zero",
        "image_filter": knobs.image_filter,
    }
    options = mask_options(config, meta)
    counts, valid_pixels, right = torch.zeros(3, outputs, dtype=torch.float64), 0, 0
    kept_pixels, present = 0, torch.zeros(outputs, dtype=torch.bool)
    for i, true in enumerate(torch.from_numpy(truth)[:, None]):
        said = torch.from_numpy(probabilities[: knobs.teachers, i]).float()[:, None]
        predictions = torch.stack([masking.discretise(each) for each in said])
        masked = inconsistency_masked(predictions[0][:, None], predictions, kind, options)
        own, valid = space.discretise(said[0]), space.valid(true)
        kept = space.confidence(said[0]).half().double() >= knobs.threshold
        kept &= valid & ~masked.inconsistent & masked.keep[:, None, None]
        seen = true.masked_fill(~kept, overlap.IGNORED)
        if kind == "binary":
            image, whole = overlap.binary_counts(own, seen), overlap.binary_counts(own, true)
        else:
            image = overlap.multiclass_counts(own, seen, outputs)
            whole = overlap.multiclass_counts(own, true, outputs)
        counts += torch.stack(tuple(image))[:, 0]
        present |= whole.truth[0] > 0
        valid_pixels += int(valid.sum())
        kept_pixels += int(kept.sum())
        right += int((kept & (own == true)).sum())
    iou = counts[0] / (counts[1] + counts[2] - counts[0]).clamp(min=1)
    return Score(
        float(iou[present].mean()), kept_pixels / valid_pixels, right / max(kept_pixels, 1)
    )


def draw(count: int) -> list[Knobs]:
    """Draw trials at random."""
    rng = random.Random(0)
    return [
        Knobs(rng.uniform(0, 0.99), rng.choice((2, 3, 4)), *rng.choices((0, 3, 5), k=2))
        for _ in range(count)
    ]


def measure_scoring(
    data: tuple[Any, Any, Any], few: int, many: int, repeats: int
) -> dict[str, Any]:
    """Time both sides in turns; the scorer's time includes reading the predictions."""
    plain, ours = [], []
    for repeat in range(repeats + 1):
        trials = draw(many)
        start = time.perf_counter()
        expected = [image_by_image(*data, knobs) for knobs in trials[:few]]
        middle = time.perf_counter()
        scorer = LabelScorer(*data, "own")
        scores = [
            score
            for i in range(0, many, search.BATCH)
            for score in scorer.score(trials[i : i + search.BATCH])
        ]
        end = time.perf_counter()
        np.testing.assert_allclose(scores[:few], expected, atol=1e-12)
        if repeat:  # the first round warms up
            plain.append(few / (middle - start))
            ours.append(many / (end - middle))
    return {
        "trials": many,
        "image by image, trials per second": round(statistics.median(plain), 2),
        "scorer, trials per second": round(statistics.median(ours), 1),
        "ratio": round(statistics.median(o / p for o, p in zip(ours, plain, strict=True))),
    }


def measure_search(data: tuple[Any, Any, Any], trials: int) -> dict[str, Any]:
    """Time searches by where they are stored, and the same if every value were written by itself.

    The scorer has counted all masks before, so that what remains is the sampler and the storage.
    """
    scorer = LabelScorer(*data, "own")
    scorer.score(draw(trials))
    spent = 0.0

    def score(asked: Iterable[Any]) -> Sequence[Score]:
        nonlocal spent
        start = time.perf_counter()
        scores = scorer.score([Knobs(**params) for params in asked])
        spent += time.perf_counter() - start
        return scores

    def one_by_one(study: optuna.Study) -> None:
        study.sampler = SAMPLERS["NSGA-II"]()
        for _ in range(0, trials, search.BATCH):
            asked = [study.ask(SPACE) for _ in range(search.BATCH)]
            for trial, result in zip(asked, score([each.params for each in asked]), strict=True):
                trial.set_user_attr(search.ACCURACY, result.accuracy)
                study.tell(trial, result[:2])

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        journal = JournalStorage(JournalFileBackend(f"{folder}/studies.journal"))
        for name, storage in {
            "memory": None,
            "journal": journal,
            "SQLite": f"sqlite:///{folder}/studies.db",
        }.items():
            for way, run in {
                "batches": lambda study: search.search(study, SPACE, score, trials),
                "one by one": one_by_one,
            }.items():
                study = optuna.create_study(storage=storage, directions=["maximize"] * 2)
                start, spent = time.perf_counter(), 0.0
                run(study)
                seconds = time.perf_counter() - start
                found[f"{name}, {way}"] = {
                    "trials per second": round(trials / seconds, 1),
                    "share of scoring": round(spent / seconds, 3),
                }
    return found


def measure_samplers(data: tuple[Any, Any, Any], trials: int) -> dict[str, Any]:
    """Compare samplers by the time they take, without scoring, and by the fronts they find."""
    scorer = LabelScorer(*data, "own")
    found = {}
    for name, sampler in SAMPLERS.items():
        study = optuna.create_study(directions=["maximize"] * 2, sampler=sampler())
        spent = 0.0
        for _ in range(0, trials, search.BATCH):
            start = time.perf_counter()
            asked = [study.ask(SPACE) for _ in range(search.BATCH)]
            spent += time.perf_counter() - start
            for trial, score in zip(
                asked, scorer.score([Knobs(**each.params) for each in asked]), strict=True
            ):
                study.tell(trial, score[:2])
        shown = front(records_of(study))
        found[name] = {
            "trials asked per second": round(trials / spent),
            "area under the front": round(area(shown), 5),
            "trials on the front": len(shown),
            "best balance": round(max(balance(*one.values) for one in shown), 5),
        }
    return found


def area(front: Sequence[TrialRecord]) -> float:
    """Return what part of the unit square trials, by rising coverage, dominate."""
    total, before = 0.0, 0.0
    for trial in front:
        quality, coverage = trial.values
        total += quality * (coverage - before)
        before = coverage
    return total


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--few", type=int, default=5, help="trials that are scored image by image")
    parser.add_argument("--many", type=int, default=1000, help="trials of the scorer")
    parser.add_argument("--searched", type=int, default=500, help="trials of each stored search")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    result: dict[str, Any] = {**vars(arguments), "networks": NETWORKS, "torch": torch.__version__}
    for space, outputs in (("binary", 1), ("multiclass", 19)):
        if space != "binary" and "scoring" not in arguments.parts:
            continue
        data = make_predictions(space, outputs, arguments.images, arguments.size)
        if "scoring" in arguments.parts:
            result[space] = measure_scoring(data, arguments.few, arguments.many, arguments.repeats)
        if "samplers" in arguments.parts and space == "binary":
            result["samplers"] = measure_samplers(data, arguments.many)
        if "search" in arguments.parts and space == "binary":
            result["search"] = measure_search(data, arguments.searched)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
