"""What a method is to the harness: fields with defaults, and the stages that it needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from im_bench.errors import ImBenchError
from im_bench.suites.experiment import Experiment
from im_bench.suites.graph import Stage
from im_bench.suites.own_code import is_ours, source_hash


@dataclass(frozen=True)
class Range:
    """Numbers that a search may try for a field.

    Attributes:
        low: The smallest.
        high: The largest.
        log: Whether orders of magnitude are equally likely.
    """

    low: float
    high: float
    log: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """Values that a search may try for a field."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """All of them, which have no order."""
        return self.values

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


class Method(BaseModel, ABC):
    """How a model learns from labelled and unlabelled images.

    Subclasses declare their hyperparameters as fields, with the original's values as defaults, and
    build their stages from an :class:`Experiment`. That is all the harness knows of a method.

    Attributes:
        title: What tables call the method.
        source: Where the method is described.
        search: What a search may try, by field.
        label_search: Likewise, for fields that decide which pseudo-labels are kept, and how they
            are corrected: these can be scored on the predictions of trained networks, without
            training anything. See :meth:`label_ranges`.
        version: Identifies the code of a method outside im-bench in the keys of its results, in the
            place of a hash of its source files. Whoever declares it raises it with each change that
            matters. Subclasses declare their own.
        method: In a variant, which method it is; the variant has a name of its own in the suite.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: ClassVar[str]
    source: ClassVar[str]
    search: ClassVar[Mapping[str, Range | Choice]] = {}
    label_search: ClassVar[Mapping[str, Range | Choice]] = {}

    version: ClassVar[str | int | None] = None

    method: str | None = None

    @classmethod
    def code(cls) -> dict[str, str]:
        """Return what identifies the method's code, by module; empty for im-bench's own."""
        own = [
            each.__module__
            for each in cls.__mro__
            if issubclass(each, Method) and not is_ours(each.__module__)
        ]
        if own and (version := vars(cls).get("version")) is not None:
            return {cls.__module__: f"version {version}"}
        return {module: source_hash(module) for module in own}

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
