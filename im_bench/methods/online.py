"""Methods that see labelled and unlabelled images together, in one training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from im_bench.methods.ranges import Choice, Range
from im_bench.own_code import is_ours, source_hash

if TYPE_CHECKING:
    from torch import Tensor, nn

    from im_bench.data.label_spaces import LabelSpace
    from im_bench.semi.step import Clock, Step


class OnlineMethod(BaseModel, ABC):
    """A method as its losses of one step: :meth:`losses` is the method itself.

    A subclass declares hyperparameters as fields, with the original's values as defaults, and what
    it needs. It never touches data loading, checkpoints, Inconsistency Masks or the harness.

    Attributes:
        title: What tables call the method.
        source: Where the method is described.
        search: What a search may try, by field.
        masked_search: Likewise, for fields that count only with Inconsistency Masks on top.
        label_search: Of these, fields that decide which pseudo-labels are kept, and how they are
            corrected: they can be scored on the predictions of trained networks, without training.
        version: Identifies the code of a method outside im-bench in the keys of its results, in the
            place of a hash of its source files. Whoever declares it raises it with each change that
            matters. Subclasses declare their own.
        companion: A second network: ``ema`` (a frozen average of the student), ``twin`` (trained
            as well, with a head that starts elsewhere) or ``none``.
        deployed: Which network is validated, kept and tested.
        ema_buffers: Whether the average also covers buffers, such as BatchNorm statistics.
        needs_unlabelled: Whether there is nothing to train where all images are labelled.
        partner: Whether each unlabelled image comes with a second weak view to paste from: of the
            ``same`` photograph, of an ``other`` one, or ``none``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: ClassVar[str]
    source: ClassVar[str]
    search: ClassVar[Mapping[str, Range | Choice]] = {}
    masked_search: ClassVar[Mapping[str, Range | Choice]] = {}
    label_search: ClassVar[Mapping[str, Range | Choice]] = {}
    version: ClassVar[str | int | None] = None
    companion: ClassVar[Literal["none", "ema", "twin"]] = "none"
    deployed: ClassVar[Literal["student", "companion"]] = "student"
    ema_buffers: ClassVar[bool] = True
    needs_unlabelled: ClassVar[bool] = True

    partner: Literal["none", "same", "other"] = "none"

    @classmethod
    def code(cls) -> dict[str, str]:
        """Return what identifies the method's code, by module; empty for im-bench's own."""
        own = [
            each.__module__
            for each in cls.__mro__
            if issubclass(each, OnlineMethod) and not is_ours(each.__module__)
        ]
        if own and (version := vars(cls).get("version")) is not None:
            return {cls.__module__: f"version {version}"}
        return {module: source_hash(module) for module in own}

    @abstractmethod
    def losses(self, step: Step) -> Mapping[str, Tensor]:
        """Return the losses of one step: scalars, summed where the name contains ``loss``."""

    def label_ranges_of_own(self) -> dict[str, Range | Choice]:
        """Return what decides about the method's own pseudo-labels, as its other fields are."""
        return dict(self.label_search)

    def ema_decay(self, clock: Clock) -> float | None:
        """Return the decay of the average after a step; 0 copies the student, None does nothing.

        Args:
            clock: Its ``iteration`` is that of the step that has just been made.
        """
        return None

    def state(self, student: nn.Module, space: LabelSpace) -> dict[str, nn.Module]:
        """Return modules of the method's own, which are kept in checkpoints.

        A module whose name ends in ``_ema`` follows the one of the name without it as the companion
        follows the student.

        Args:
            student: The segmentor that is trained.
            space: What labels mean.
        """
        return {}

    def twin_state(
        self, student: nn.Module, twin: nn.Module, space: LabelSpace
    ) -> dict[str, nn.Module]:
        """Return modules between two networks, which are kept as those of :meth:`state` are.

        Args:
            student: The segmentor that is trained.
            twin: The other one, which may be of another architecture.
            space: What labels mean.
        """
        return {}
