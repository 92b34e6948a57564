"""What Inconsistency Masks add to a semi-supervised step.

    python benchmarks/speed/masks_step.py

UniMatch or U2PL on DeepLabV3+ with ResNet-50, one process, one thread, in turns: the step without
masks; with consensus and masks in the batch, as they come from pseudo-labels that were made before
(``cached``); with two teachers that are averages of the student and label each view in the step,
then follow it (``online``); and the forward passes of these teachers alone (``teachers``). Cached
masks should make a step at most 1.02 times as long; online ones should add the teachers' forward
passes and at most 0.05 of a step.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
from steps import METHODS, Ours, Seconds, Setting, spread, stopwatch
from torch import nn

from im_bench.masks import MaskOptions
from im_bench.plugin.masking import TeacherMasks
from im_bench.plugin.networks import Student
from im_bench.plugin.online_teachers import EmaTeachers
from im_bench.training.memory import keep_freed_memory

DISPUTED = 0.2
"""Share of a batch on which cached teachers disagree."""


class Masked(Ours):
    """The step in its three forms; the model is the same."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        student = Student.of(self.model)
        self.ensemble = EmaTeachers((0.99, 0.996))
        self.ensemble.prepare(student)
        for seed, teacher in enumerate(self.ensemble.teachers):
            torch.manual_seed(seed)
            nn.init.normal_(teacher.network.decode_head.conv_seg.weight, std=0.3)
        options = MaskOptions(block_input=False)
        self.masks = TeacherMasks(self.ensemble, student, options, reverse=False)
        self.student = student

    def cached_step(self) -> None:
        """Make a step with masks that the data loader gives."""
        self.step(self.with_masks(self.data()))

    def online_step(self) -> None:
        """Make a step whose masks the teachers make; then they follow the student."""
        self.model.masking = self.masks
        self.step()
        self.model.masking = None
        self.ensemble.after_step(self.student)

    def with_masks(self, data: dict[str, Any]) -> dict[str, Any]:
        """Add what the data set reads of stored pseudo-labels."""
        shape = self.raw.labels.shape
        generator = torch.Generator().manual_seed(0)
        for branch, maps in data["data_samples"].items():
            if branch != "labelled":
                maps["consensus"] = torch.from_numpy(self.raw.labels) % 19
                maps["inconsistent"] = torch.rand(shape, generator=generator) < DISPUTED
        return data

    def forward_passes(self) -> Callable[[], None]:
        """Return what passes the views of a batch, already normalised, through both teachers."""
        inputs = self.model.data_preprocessor(self.data(), True)["inputs"]
        views = [inputs[name] for name in ("unlabelled", "partner") if inputs[name] is not None]
        images = [self.model.data_preprocessor.normalise(view.images) for view in views]

        def passes() -> None:
            with torch.no_grad():
                for each in images:
                    for teacher in self.ensemble.teachers:
                        teacher.network.encode_decode(each, [{"img_shape": each.shape[-2:]}])

        return passes


def measure(setting: Setting, repeats: int) -> dict[str, Any]:
    """Time all in turns; the ratios are of neighbouring steps."""
    side = Masked(setting)
    variants = {
        "without": side.step,
        "cached": side.cached_step,
        "online": side.online_step,
        "teachers": side.forward_passes(),
    }
    seconds: dict[str, list[Seconds]] = {name: [] for name in variants}
    for repeat in range(repeats + 1):
        for name, run in variants.items():
            with stopwatch(seconds[name]):
                run()
        if repeat == 0:  # warms up
            for taken in seconds.values():
                taken.clear()
    result: dict[str, Any] = {}
    for clock in Seconds._fields:
        without, cached, online, teachers = (
            [getattr(each, clock) for each in taken] for taken in seconds.values()
        )
        triples = list(zip(without, online, teachers, strict=True))
        result[clock] = {
            "step in seconds": spread(without),
            "cached": spread([c / w for c, w in zip(cached, without, strict=True)]),
            "cached, fastest": round(min(cached) / min(without), 3),
            "online": spread([o / w for w, o, _ in triples]),
            "teachers": spread([t / w for w, _, t in triples]),
            "online beyond teachers": spread([(o - t) / w - 1 for w, o, t in triples]),
            "online beyond teachers, fastest": round(
                (min(online) - min(teachers)) / min(without) - 1, 3
            ),
        }
    return result


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--crop", type=int, default=161)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    result: dict[str, Any] = {**vars(arguments), "torch": torch.__version__}
    for method in arguments.methods:
        setting = Setting(method, arguments.crop, arguments.batch)
        result[method] = measure(setting, arguments.repeats)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
