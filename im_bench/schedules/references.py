"""The references between which a semi-supervised method must prove itself: LDT, ALDT, FDT, AFDT.

All four train the same network from scratch on true labels only. They differ in which training
images have labels (the labelled 10 %, or all) and in whether augmented copies are added.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt

from im_bench.schedules.base import Schedule
from im_bench.suites.experiment import Experiment
from im_bench.suites.graph import Coordinates, Stage

Part = Literal["labelled", "all"]
SOURCE = "Vorndran and Roeck, Inconsistency Masks, arXiv 2401.14387"


def members(experiment: Experiment, name: str, part: Part, copies: int, count: int) -> list[Stage]:
    """Ask for networks trained alike but for their seeds.

    The name decides the seeds: whoever asks for the members of ``ldt`` gets the same trainings.
    """
    return [
        experiment.train(
            Coordinates("member", method=name, member=i), part=part, augmented_copies=copies
        )
        for i in range(1, count + 1)
    ]


class LabelledOnly(Schedule):
    """LDT: the labelled images only, without augmentation; the lower reference.

    Attributes:
        members: Networks trained; the best by validation is scored (original: 10).
    """

    title: ClassVar[str] = "Labelled only (LDT)"
    source: ClassVar[str] = SOURCE
    shared_name: ClassVar[str] = "ldt"
    part: ClassVar[Part] = "labelled"

    members: PositiveInt = 10

    def build(self, name: str, experiment: Experiment) -> Stage:
        """Declare the members and their scores."""
        copies = getattr(self, "copies", 0)
        trained = members(experiment, self.shared_name, self.part, copies, self.members)
        return experiment.evaluate(name, [trained])


class AugmentedLabelledOnly(LabelledOnly):
    """ALDT: the labelled images and augmented copies of them.

    Attributes:
        copies: Augmented copies of each image (original: 9). They are drawn anew each time they
            are met, where the original draws them once and stores them.
    """

    title: ClassVar[str] = "Augmented labelled only (ALDT)"
    shared_name: ClassVar[str] = "aldt"

    copies: NonNegativeInt = 9


class FullData(LabelledOnly):
    """FDT: the true labels of all training images; the upper reference."""

    title: ClassVar[str] = "Full data set (FDT)"
    shared_name: ClassVar[str] = "fdt"
    part: ClassVar[Part] = "all"


class AugmentedFullData(AugmentedLabelledOnly):
    """AFDT: all true labels and augmented copies; in the paper's tables, not in its code."""

    title: ClassVar[str] = "Augmented full data set (AFDT)"
    shared_name: ClassVar[str] = "afdt"
    part: ClassVar[Part] = "all"
