"""What a method is to the harness: fields with defaults, and the stages that it needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from im_bench.errors import ImBenchError
from im_bench.methods.ranges import Choice, Range
from im_bench.suites.experiment import Experiment
from im_bench.suites.graph import Stage


def check_teachers(teachers: int, **candidates: int) -> None:
    """Check that there are as many candidates as teachers.

    Args:
        teachers: How many are chosen.
        candidates: Among how many, by the field that says so.

    Raises:
        ValueError: If there are more teachers.
    """
    for field, count in candidates.items():
        if teachers > count:
            raise ValueError(
                f"teachers: {teachers} is more than {field}: {count}, among which the teachers "
                "are chosen"
            )


class Schedule(BaseModel, ABC):
    """Which trainings a method needs, and in which order.

    Subclasses declare their hyperparameters as fields, with the original's values as defaults, and
    build their stages from an :class:`Experiment`. That is all the harness knows of a method.

    Attributes:
        title: What tables call the method.
        source: Where the method is described.
        search: What a search may try, by field.
        label_search: Likewise, for fields that decide which pseudo-labels are kept, and how they
            are corrected: these can be scored on the predictions of trained networks, without
            training anything. See :meth:`label_ranges`.
        method: In a variant, which method it is; the variant has a name of its own in the suite.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: ClassVar[str]
    source: ClassVar[str]
    search: ClassVar[Mapping[str, Range | Choice]] = {}
    label_search: ClassVar[Mapping[str, Range | Choice]] = {}

    method: str | None = None

    def title_of(self, name: str) -> str:
        """Return what tables call the method; a variant also shows its name in the suite."""
        return self.title if self.method is None else f"{self.title}, {name}"

    def ranges(self) -> dict[str, Range | Choice]:
        """Return what a search may try of this method, by the dotted names of fields."""
        return dict(self.search)

    @abstractmethod
    def build(self, name: str, experiment: Experiment) -> Stage:
        """Declare the stages and return the last one, an ``evaluate`` stage.

        Args:
            name: The method's name in the suite, the first part of the names of its own stages.
            experiment: The data set, split and seed, and the stages that can be asked for.
        """

    def label_ranges(self) -> dict[str, Range | Choice]:
        """Return what can be searched for without training, as the method's other fields are.

        Names are fields, or dotted where a field has fields itself: ``im.erode``. Nothing, if the
        method makes no pseudo-labels that predictions of trained networks stand for.
        """
        return dict(self.label_search)

    def label_fields(self) -> dict[str, Any]:
        """Return how pseudo-labels are made and kept; a trial of a search replaces some values.

        Returns:
            The fields of :meth:`label_ranges` with the method's own values, and with them
            ``labels``: ``consensus`` if the teachers' agreement is taught, or ``own`` if it is what
            the best of them says alone.
        """
        return {"labels": "own", **{name: getattr(self, name) for name in self.label_search}}

    def teacher_stages(self, name: str, experiment: Experiment) -> list[Stage]:
        """Declare the trainings among which the first teachers are chosen, and return them.

        Args:
            name: As for :meth:`build`.
            experiment: Likewise.

        Raises:
            ImBenchError: The method has no teachers.
        """
        raise ImBenchError(
            f"method {name!r} ({self.title}) has no teachers whose pseudo-labels could be scored: "
            "choose one that makes pseudo-labels, such as im or fixmatch"
        )
