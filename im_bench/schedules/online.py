"""The schedule of an online method: one training, or several with Inconsistency Masks between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator
from typing_extensions import Self

from im_bench.methods.names import MASKED, registry_name
from im_bench.methods.ranges import Choice, Range
from im_bench.schedules.base import Schedule, check_teachers
from im_bench.semi.masking import Masking
from im_bench.suites.experiment import Experiment
from im_bench.suites.graph import Coordinates, Stage
from im_bench.training.specs import OhemSpec


class NetworkSpec(BaseModel):
    """A network beside the data set's own: the same fields as in its ``model``.

    Images are normalised as for the data set's own.

    Attributes:
        backbone: Config of a registered backbone.
        decode_head: Config of a registered decode head.
        neck: Config of a neck between the two, or none.
        auxiliary_head: Config of a further head, or none.
        custom_imports: Modules to import first, beside those of the data set's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: dict[str, Any]
    decode_head: dict[str, Any]
    neck: dict[str, Any] | None = None
    auxiliary_head: dict[str, Any] | None = None
    custom_imports: tuple[str, ...] = ()


class GenerationalMasking(Masking):
    """Inconsistency Masks from frozen teachers: the best of several trainings of the method itself.

    The method is trained ``members`` times without masks. The best by validation become teachers
    and label all unlabelled images once; then students are trained with the masks.

    Attributes:
        members: Trainings among which the teachers are chosen.
        networks: Other networks among the members, which have the data set's own and these in
            turn; students have the data set's own. So teachers of several architectures label
            together, where ``teachers`` is ``members``.
        teachers: How many of them label together.
        students: Trainings with masks per generation; the best by validation is scored.
        generations: Rounds: the students of one are the candidates of the next.
        erode: Side of the square that erodes the mask; 0 is off.
        dilate: Side of the square that dilates it afterwards; 0 is off.
        search: What a search may try, by field.
    """

    search: ClassVar[Mapping[str, Range | Choice]] = {
        "teachers": Choice((2, 3, 4)),
        "erode": Choice((0, 3, 5)),
        "dilate": Choice((0, 3, 5)),
    }

    members: PositiveInt = 3
    networks: tuple[NetworkSpec, ...] = ()
    teachers: int = Field(default=2, ge=2)
    students: PositiveInt = 1
    generations: PositiveInt = 1
    erode: NonNegativeInt = 0
    dilate: NonNegativeInt = 0

    @model_validator(mode="after")
    def _teachers_among_candidates(self) -> Self:
        students = {"students": self.students} if self.generations > 1 else {}
        check_teachers(self.teachers, members=self.members, **students)
        return self

    @model_validator(mode="after")
    def _members_for_networks(self) -> Self:
        if len(self.networks) >= self.members:
            raise ValueError(
                f"{len(self.networks)} networks beside the data set's own need more than "
                f"{self.members} members"
            )
        return self

    def network(self, member: int) -> NetworkSpec | None:
        """Return the network of a member, counted from 1; None: the data set's own."""
        return (None, *self.networks)[(member - 1) % (len(self.networks) + 1)]

    def labelling(self) -> dict[str, Any]:
        """Return how labels are made (the config of ``pseudo-label``)."""
        return {
            "mode": "im",
            "teachers": self.teachers,
            "erode": self.erode,
            "dilate": self.dilate,
            "block_input": self.block_input,
            "block_output": True,
            "blocked_label": "zero",
            "image_filter": "none",
        }

    def acting(self) -> dict[str, Any]:
        """Return how the masks act in a training (the fields of :class:`Masking`)."""
        return self.model_dump(include=set(Masking.model_fields))


class TrainingOverrides(BaseModel):
    """What a method's published recipe has otherwise than the suite; see ``TrainingSpec``.

    Attributes:
        batch: Instead of the suite's; labelled and unlabelled images each.
        learning_rate: Instead of the suite's.
        head_factor: Instead of the suite's.
        weight_decay: Instead of the suite's.
        crop: Instead of the data set's.
        ohem: Instead of the data set's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: PositiveInt | None = None
    learning_rate: float | None = Field(None, gt=0)
    head_factor: float | None = Field(None, gt=0)
    weight_decay: float | None = Field(None, ge=0)
    crop: tuple[int, int] | None = None
    ohem: OhemSpec | None = None


class OnlineSchedule(Schedule):
    """The trainings of an online method.

    :func:`im_bench.schedules.registry.schedule_class` joins it with the method, so that a suite
    gives the fields of both side by side.

    Attributes:
        members: Trainings; the best by validation is scored.
        training: What the method's published recipe has otherwise than the suite.
        twin: The network of the ``twin``, if it is another than the data set's.
        im: Inconsistency Masks on top, or None. ``METHOD+im`` in a suite switches them on.
    """

    if TYPE_CHECKING:  # of the method that this is joined with
        companion: ClassVar[str]
        masked_search: ClassVar[Mapping[str, Range | Choice]]

        def label_ranges_of_own(self) -> dict[str, Range | Choice]:
            """Return what decides about the method's own pseudo-labels."""

    members: PositiveInt = 1
    training: TrainingOverrides | None = None
    twin: NetworkSpec | None = None
    im: GenerationalMasking | None = None

    @model_validator(mode="after")
    def _twin_of_a_network(self) -> Self:
        if self.twin is not None and self.companion != "twin":
            raise ValueError(f"{self.title} trains no second network: remove twin")
        return self

    def masked(self) -> Self:
        """Return the method with Inconsistency Masks on top."""
        return self if self.im else self.model_copy(update={"im": GenerationalMasking()})

    def title_of(self, name: str) -> str:
        """Return what tables call the method; with masks it says so."""
        title = super().title_of(registry_name(name))
        return f"{title} + IM" if self.im else title

    def ranges(self) -> dict[str, Range | Choice]:
        """Return what a search may try; with masks on top, theirs as well."""
        if self.im is None:
            return super().ranges()
        masks = {f"im.{name}": one for name, one in self.im.search.items()}
        return {**super().ranges(), **self.masked_search, **masks}

    def label_ranges(self) -> dict[str, Range | Choice]:
        """Return what decides about pseudo-labels: the method's own fields, and those of the masks.

        Where the teachers' consensus is taught, it counts as certain, so that the method's own
        fields decide nothing; nor do masks that take nothing out of the pseudo-label.
        """
        own = self.label_ranges_of_own()
        if self.im is None:
            return own
        masks = self.im.search if self.im.block_output else {}
        taught = own if self.im.labels == "own" else {}
        return {**taught, **{f"im.{field}": tried for field, tried in masks.items()}}

    def label_fields(self) -> dict[str, Any]:
        """Return the values of what :meth:`label_ranges` names, and what is taught."""
        if self.im is None:
            return super().label_fields()
        own = super().label_fields() if self.im.labels == "own" else {"labels": "consensus"}
        masks = self.im.search if self.im.block_output else ()
        return {**own, **{f"im.{field}": getattr(self.im, field) for field in masks}}

    def teacher_stages(self, name: str, experiment: Experiment) -> list[Stage]:
        """Declare the trainings without masks."""
        own = registry_name(self.method or name)
        count = self.im.members if self.im else self.members
        return [
            self._train(
                experiment,
                Coordinates("member", method=own, member=i),
                network=self.im.network(i) if self.im else None,
            )
            for i in range(1, count + 1)
        ]

    def build(self, name: str, experiment: Experiment) -> Stage:
        """Declare the trainings, with Inconsistency Masks their generations, and the scores."""
        own = registry_name(self.method or name)
        candidates = self.teacher_stages(name, experiment)
        if self.im is None:
            return experiment.evaluate(name, [candidates])
        labels, generations = [], []
        for g in range(1, self.im.generations + 1):
            at = Coordinates("labels", method=f"{own}{MASKED}", generation=g)
            labels.append(experiment.pseudo_label(at, candidates, self.im.labelling()))
            candidates = [
                self._train(experiment, replace(at, purpose="student", member=i), labels[-1])
                for i in range(1, self.im.students + 1)
            ]
            generations.append(candidates)
        return experiment.evaluate(name, generations, labels)

    def _train(
        self,
        experiment: Experiment,
        at: Coordinates,
        pseudo: Stage | None = None,
        network: NetworkSpec | None = None,
    ) -> Stage:
        fields = self.model_dump(mode="json", exclude=set(OnlineSchedule.model_fields))
        return experiment.train_online(
            at,
            {"name": registry_name(at.method), **fields},
            overrides=self.training.model_dump(exclude_none=True) if self.training else None,
            pseudo=pseudo,
            masking=self.im.acting() if self.im and pseudo else None,
            twin=self.twin.model_dump(mode="json") if self.twin else None,
            model=network.model_dump(mode="json") if network else None,
        )
