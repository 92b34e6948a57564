"""What RankMatch's loss costs beside its plain forms, in time and memory.

    python benchmarks/speed/rank_correlation.py

One process, one thread, in turns, forwards and backwards; results and gradients are compared first.
Choosing agents and pasting features has no gradient.

* ``loss``: the correlation of pixels with agents against that of every pixel with every pixel, of
  which the agents' columns are used.
* ``parts``: on maps of stride 4, as of heads without a pyramid: all pixels at once against parts
  that are computed again for the gradient.
* ``agents``: from the cosines of all pixels with all against one row of cosines per agent.
* ``paste``: enlarging features to the images' size and reducing them again against the pixels that
  the reduction reads.

Memory is the largest sum of what PyTorch's allocator had given out at a time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from steps import Seconds, spread, stopwatch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from im_bench.semi.agents import paste_features, select_agents
from im_bench.semi.boxes import cutmix_boxes
from im_bench.semi.ranking import rank_loss, rank_probabilities
from im_bench.training.memory import keep_freed_memory

AGENTS, RANKED, CHANNELS, STRIDE, FINE = 64, 4, 256, 16, 4
Variants = dict[str, Callable[[], tuple[Tensor, ...]]]


class Batch(NamedTuple):
    """Features of two views of B images, (B, D, h, w), and what goes with them."""

    weak: Tensor
    strong: Tensor
    agents: Tensor
    draws: Tensor
    box: Tensor


def make(batch: int, crop: int, stride: int = STRIDE) -> Batch:
    """Draw features that are not negative, as after a ReLU."""
    generator = torch.Generator().manual_seed(0)
    side = (crop - 1) // stride + 1
    shape = (batch, CHANNELS, side, side)
    weak, strong = (torch.randn(shape, generator=generator).relu() / 8 for _ in range(2))
    draws = torch.rand(batch, side * side, generator=generator)
    box = cutmix_boxes(batch, crop, crop, generator, probability=1.0)
    return Batch(weak, strong, select_agents(weak, AGENTS, draws), draws, box)


def with_gradient(loss: Callable[[Tensor], Tensor], strong: Tensor) -> tuple[Tensor, Tensor]:
    """Return a loss and its gradient with respect to the strong view."""
    strong = strong.detach().requires_grad_()
    value = loss(strong)
    return value.detach(), *torch.autograd.grad(value, strong)


def dense_loss(data: Batch, strong: Tensor) -> Tensor:
    """Correlate every pixel with every pixel and use the agents' columns."""
    index = data.agents.unsqueeze(1).expand(-1, strong[0, 0].numel(), -1)
    own, other = (
        torch.bmm(maps.flatten(2).transpose(1, 2), maps.flatten(2)).gather(2, index).softmax(2)
        for maps in (data.weak, strong)
    )
    top = own.topk(RANKED, dim=-1).indices
    target, given = rank_probabilities(own, top), rank_probabilities(other, top)
    return F.kl_div((given + 1e-10).log(), target, reduction="none").mean()


def dense_agents(data: Batch) -> Tensor:
    """Choose agents from the cosines of all pixels with all pixels."""
    directions = F.normalize(data.weak.flatten(2), dim=1)
    cosines = torch.bmm(directions.transpose(1, 2), directions).abs()
    rows = torch.arange(len(cosines))
    greatest, chosen = torch.zeros_like(data.draws), [data.draws.argmax(1)]
    for _ in range(AGENTS - 1):
        greatest = torch.maximum(greatest, cosines[rows, chosen[-1]])
        greatest = greatest.scatter(1, chosen[-1].unsqueeze(1), 10.0)
        chosen.append(greatest.argmin(1))
    return torch.stack(chosen, 1).sort(1).values


def enlarged_paste(data: Batch) -> Tensor:
    """Paste at the images' size."""
    size, grid = data.box.shape[-2:], data.weak.shape[-2:]

    def resize(maps: Tensor, to: Any) -> Tensor:
        return F.interpolate(maps, tuple(to), mode="bilinear", align_corners=True)

    own, other = resize(data.weak, size), resize(data.strong, size)
    return resize(torch.where(data.box.unsqueeze(1), other, own), grid)


def sides(data: Batch, fine: Batch, rows: int) -> dict[str, Variants]:
    """Return what is compared; ours comes last each time."""

    def loss(data: Batch, parts: int | None) -> tuple[Tensor, Tensor]:
        return with_gradient(
            lambda strong: rank_loss(data.weak, strong, data.agents, RANKED, rows=parts),
            data.strong,
        )

    return {
        "loss": {
            "every pixel": lambda: with_gradient(lambda s: dense_loss(data, s), data.strong),
            "ours": lambda: loss(data, rows),
        },
        "parts": {"at once": lambda: loss(fine, None), "ours": lambda: loss(fine, rows)},
        "agents": {
            "every pixel": lambda: (dense_agents(data),),
            "ours": lambda: (select_agents(data.weak, AGENTS, data.draws),),
        },
        "paste": {
            "enlarged": lambda: (enlarged_paste(data),),
            "ours": lambda: (paste_features(data.weak, data.strong, data.box),),
        },
    }


def peak(run: Callable[[], Any]) -> float:
    """Return the largest sum of memory that was given out at a time, in MiB."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    events = [
        event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    total = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        total += event.nbytes()
        most = max(most, total)
    return most / 2**20


def measure(variants: Variants, repeats: int) -> dict[str, Any]:
    """Compare the results, then time all in turns; ratios are of neighbouring runs."""
    *plain, ours = (run() for run in variants.values())
    for each in plain:
        for expected, found in zip(each, ours, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    seconds: dict[str, list[Seconds]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            with stopwatch(seconds[name]):
                run()
    clocks = {name: [each.cpu for each in taken] for name, taken in seconds.items()}
    memory = {name: peak(run) for name, run in variants.items()}
    return {
        name: {
            "seconds": spread(clocks[name]),
            "MiB": round(memory[name], 1),
            "ours against it, time": spread(
                [o / t for o, t in zip(clocks["ours"], clocks[name], strict=True)]
            ),
            "ours against it, memory": round(memory["ours"] / memory[name], 3),
        }
        for name in variants
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crop", type=int, default=801)
    parser.add_argument("--batch", type=int, default=2, help="images, both strong views counted")
    parser.add_argument("--rows", type=int, default=1 << 16, help="pixels of the batch at a time")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    data, fine = (make(arguments.batch, arguments.crop, stride) for stride in (STRIDE, FINE))
    result: dict[str, Any] = {**vars(arguments), "torch": torch.__version__}
    for name, variants in sides(data, fine, arguments.rows).items():
        result[name] = measure(variants, arguments.repeats)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
