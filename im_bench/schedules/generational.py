"""Self-training in generations: teachers label, students learn, the best become teachers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator
from typing_extensions import Self

from im_bench.schedules.base import Schedule, check_teachers
from im_bench.schedules.references import members
from im_bench.suites.experiment import Experiment
from im_bench.suites.graph import Coordinates, Stage


class Generational(Schedule):
    """The protocol that the model ensemble and Inconsistency Masks share.

    The members of LDT are the candidates for the first teachers. In each generation the best
    candidates by validation label all unlabelled images, students are trained from scratch on these
    and on the labelled images, and become the next candidates.

    Attributes:
        members: Candidates for the first teachers (original: 10).
        teachers: The best candidates, which label together (original: 2, 3 or 4).
        students: Networks trained per generation (original: 5).
        generations: Rounds of self-training (original: 5).
        report: The generation that stands in the table: ``last``, or ``best`` by validation.
    """

    members: PositiveInt = 10
    teachers: int = Field(default=2, ge=2)
    students: PositiveInt = 5
    generations: PositiveInt = 5
    report: Literal["last", "best"] = "last"

    @abstractmethod
    def labelling(self) -> dict[str, Any]:
        """Return how the teachers' predictions become labels (the config of ``pseudo-label``)."""

    @model_validator(mode="after")
    def _teachers_among_candidates(self) -> Self:
        check_teachers(self.teachers, members=self.members, students=self.students)
        return self

    def teacher_stages(self, name: str, experiment: Experiment) -> list[Stage]:
        """Declare the members of LDT."""
        return members(experiment, "ldt", "labelled", 0, self.members)

    def build(self, name: str, experiment: Experiment) -> Stage:
        """Declare labels and students of every generation, and the scores."""
        # A variant's students start as the method's own do: what differs is what the variant says.
        own = self.method or name
        candidates = self.teacher_stages(name, experiment)
        labels, generations = [], []
        for g in range(1, self.generations + 1):
            labels.append(
                experiment.pseudo_label(
                    Coordinates("labels", method=own, generation=g), candidates, self.labelling()
                )
            )
            candidates = [
                experiment.train(
                    Coordinates("student", method=own, generation=g, member=i), pseudo=labels[-1]
                )
                for i in range(1, self.students + 1)
            ]
            generations.append(candidates)
        return experiment.evaluate(name, generations, labels, self.report)
