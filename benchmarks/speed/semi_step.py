"""How much faster one semi-supervised step is than in the original's order of work.

    python benchmarks/speed/semi_step.py

Both sides train DeepLabV3+ with ResNet-50 (UniMatch's and U2PL's own, 19 classes, random weights,
float32) on the same weak crops, which are in memory already, as in the middle of a training. Strong
views, normalisation, forward and backward passes, the optimiser's step and the averages count on
both sides. ``plain`` is the transcription (``plain_unimatch.py``, ``plain_u2pl.py``), ``ours`` what
a training calls in each iteration.

First both get the same images, boxes, strong views and draws: their losses must be the same. Then
they are timed in turns with their own views, one thread each, in processes of their own because the
allocator's settings belong to a process. Between the two stand the transcription with these
settings (``allocator``), and with channels_last as well (``channels_last``): they tell what each is
worth. The ratio of images per second should be at least 1.3. Seconds are those of the process's CPU
time, which for one thread are those of the clock on an otherwise idle machine; ratios are given for
the clock as well.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from plain_u2pl import PlainU2PL
from plain_unimatch import PlainUniMatch
from steps import METHODS, SGD, Ours, Seconds, Setting, build_model, draw_raw, spread, stopwatch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from transcription import MEAN, STD

from im_bench.methods import u2pl
from im_bench.methods.fixmatch import FixMatch
from im_bench.methods.u2pl import U2PL
from im_bench.semi.network import Network
from im_bench.semi.step import Step
from im_bench.training.memory import keep_freed_memory

VARIANTS = ("plain", "allocator", "channels_last", "ours")
CLOCKS = Seconds._fields
TOLERANCE = 1e-4


class Plain:
    """The transcription, on a copy of the same networks."""

    def __init__(self, setting: Setting, memory_format: torch.memory_format) -> None:
        model = build_model(setting)
        self.raw, self.rng = draw_raw(setting), np.random.default_rng(0)
        self.memory_format = memory_format
        networks = [copy.deepcopy(model.student), copy.deepcopy(model.companion)]
        heads = [
            model.state[name] for name in ("representation", "representation_ema") if model.state
        ]
        for each in (*filter(None, networks), *heads):
            each.to(memory_format=memory_format)
        trained = nn.ModuleList([networks[0], *heads[:1]])
        common: dict[str, Any] = {
            "optimiser": torch.optim.SGD(trained.parameters(), **SGD),
            "min_kept": setting.min_kept,
        }
        self.side: Any
        if setting.method == "unimatch":
            self.side = PlainUniMatch(networks[0], **common)
            return
        method: Any = model.method
        memory: Any = model.state["memory"]
        rows = memory.rows[:-1].split(memory.capacity.tolist())
        self.side = PlainU2PL(
            networks[0],
            heads[0],
            networks[1],
            heads[1],
            capacity=memory.capacity.tolist(),
            contrastive_weight=method.contrastive_weight,
            **common,
        )
        self.side.bank = [each.clone() for each in rows]

    def load(self) -> Any:
        """Return a batch as the data loader gives it."""
        return self.formatted(self.side.load(self.raw, self.rng))

    def formatted(self, batch: Any) -> Any:
        """Return the tensors of a batch in the memory format of the networks."""
        if isinstance(batch, Tensor):
            return batch.contiguous(memory_format=self.memory_format) if batch.ndim == 4 else batch
        parts = [self.formatted(each) for each in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)

    def step(self) -> None:
        """Make one step."""
        batch = self.load()
        if isinstance(self.side, PlainUniMatch):
            self.side.step(batch)
        else:
            self.side.step(batch, self.rng)


def compare_losses(setting: Setting) -> dict[str, Any]:
    """Return the losses of both sides for the same images, views, boxes and draws."""
    ours, plain = Ours(setting), Plain(setting, torch.contiguous_format)
    batch = plain.load()
    with ExitStack() as given:
        if setting.method == "unimatch":
            _give_unimatch(given, batch)
            found = plain.side.losses(batch)
        else:
            rng = np.random.default_rng(1)
            while (box := plain.side.boxes(plain.raw.labels.shape, rng)) is None:
                pass
            _give_u2pl(given, box)
            plain.side.draw = _evenly
            plain.side.network.train()
            found = plain.side.losses(*batch, box)
        own = ours.losses()
    theirs = {name: loss.item() for name, loss in found.items()}
    apart = {name: abs(own[name] - theirs[name]) / abs(theirs[name]) for name in theirs}
    same = max(apart.values()) < TOLERANCE
    return {"ours": own, "plain": theirs, "relative difference": apart, "same": same}


def _give_unimatch(given: ExitStack, batch: Any) -> None:
    """Replace what UniMatch draws by the boxes, strong views and channels of the other side."""
    mean, std = (torch.tensor(numbers).view(3, 1, 1) / 255 for numbers in (MEAN, STD))
    strong = [torch.cat(each.strong) * std + mean for each in (batch.unlabelled, batch.partner)]
    boxes = torch.cat(batch.unlabelled.boxes)
    given.enter_context(patch.object(Step, "strong", side_effect=strong))
    given.enter_context(patch.object(FixMatch, "boxes", lambda *_: boxes))
    given.enter_context(patch.object(PlainUniMatch, "perturbed", staticmethod(_thinned)))
    perturb = staticmethod(lambda features, drop: tuple(map(_thinned, features)))
    given.enter_context(patch.object(Network, "perturb", perturb))


def _thinned(features: Tensor) -> Tensor:
    """Drop every other channel."""
    return features * (torch.arange(features.shape[1]) % 2 * 2).view(-1, 1, 1)


def _give_u2pl(given: ExitStack, box: Tensor) -> None:
    """Replace what U2PL draws by the boxes and indices of the other side, and drop no channels."""
    given.enter_context(patch.object(U2PL, "boxes", lambda *_: box))

    def draw(counts: Tensor, number: int) -> Tensor:
        return torch.stack([_evenly(max(1, count), number) for count in counts.tolist()])

    given.enter_context(patch.object(u2pl.contrast, "uniform_draw", lambda _: draw))
    given.enter_context(patch.object(nn.functional, "dropout2d", lambda features, *_: features))


def _evenly(count: int, number: int) -> Tensor:
    """Return indices that are spread evenly below a count."""
    return torch.arange(number) * 7919 % count


_side: Any = None


def _start(variant: str, setting: Setting) -> None:
    """Build a side in its own process."""
    global _side
    torch.set_num_threads(1)
    if variant != "plain":
        keep_freed_memory()
    if variant == "ours":
        _side = Ours(setting)
    else:
        last = variant == "channels_last"
        _side = Plain(setting, torch.channels_last if last else torch.contiguous_format)


def _step() -> Seconds:
    results: list[Seconds] = []
    with stopwatch(results):
        _side.step()
    return results[0]


def _views() -> Seconds:
    """Time what the data loader does on the plain side."""
    results: list[Seconds] = []
    with stopwatch(results):
        _side.load()
    return results[0]


def _profile() -> dict[str, float]:
    """Return the share of a step's time that groups of operations take themselves."""
    groups = {
        "convolution": ["conv"],
        "batch normalisation": ["batch_norm"],
        "copies": ["copy_", "aten::cat", "aten::index"],
    }
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        _side.step()
    events = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    shares = {
        group: sum(
            event.self_cpu_time_total
            for event in events
            if any(name in event.key.lower() for name in names)
        )
        / total
        for group, names in groups.items()
    }
    return {name: round(share, 3) for name, share in shares.items()}


def in_own_process(variant: str, setting: Setting) -> ProcessPoolExecutor:
    """Return a process that keeps one side."""
    return ProcessPoolExecutor(
        1, get_context("spawn"), initializer=_start, initargs=(variant, setting)
    )


def measure(setting: Setting, repeats: int) -> dict[str, Any]:
    """Time all variants in turns; the ratios are of neighbouring steps."""
    pools = {variant: in_own_process(variant, setting) for variant in VARIANTS}
    seconds: dict[str, list[Seconds]] = {variant: [] for variant in VARIANTS}
    for repeat in range(repeats + 2):
        for variant, pool in pools.items():
            step = pool.submit(_step).result()
            if repeat >= 2:  # the first two warm up
                seconds[variant].append(step)
    result: dict[str, Any] = {}
    for variant, taken in seconds.items():
        result[variant] = {
            "images per second": round(
                2 * setting.batch / statistics.median(each.cpu for each in taken), 3
            ),
            **{f"faster, {clock}": _ratios(seconds["plain"], taken, clock) for clock in CLOCKS},
        }
    views = pools["plain"].submit(_views).result()
    usual = statistics.median(each.cpu for each in seconds["plain"])
    result["plain"]["share of loading"] = round(views.cpu / usual, 3)
    for variant in ("plain", "ours"):
        result[variant]["shares of operations"] = pools[variant].submit(_profile).result()
    for pool in pools.values():
        pool.shutdown()
    return result


def _ratios(slow: list[Seconds], fast: list[Seconds], clock: str) -> dict[str, Any]:
    """Return how many times as fast the second is."""
    a, b = ([getattr(each, clock) for each in side] for side in (slow, fast))
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    return {**spread(ratios), "of the fastest": round(min(a) / min(b), 3)}


def main() -> None:
    """Compare losses, measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--crop", type=int, default=161)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--losses-only", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {**vars(arguments), "torch": torch.__version__}
    for method in arguments.methods:
        setting = Setting(method, arguments.crop, arguments.batch)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            result[method] = {"losses": pool.submit(compare_losses, setting).result()}
        if not arguments.losses_only:
            result[method].update(measure(setting, arguments.repeats))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
