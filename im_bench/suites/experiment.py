"""What a method builds with: one data set, split and seed, and the stages it can ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from im_bench.errors import ImBenchError
from im_bench.suites.graph import Coordinates, Graph, Stage, generation_role, labels_role
from im_bench.suites.resources import ANY, Resources
from im_bench.suites.schema import DataSpec, Kind, Suite
from im_bench.suites.seeds import seed_of
from im_bench.training.description import (
    LossSpec,
    OnlineTraining,
    SupervisedTraining,
    Training,
)
from im_bench.training.own_code import code_of

_ON_CPU = Resources(gpus=0)


class Experiment:
    """One method on one data set, split and seed, while its stages are being declared.

    Args:
        graph: Receives the stages.
        suite: Says what all trainings have in common.
        budget: ``paper`` or ``equal``.
        data_name: The data set's name in the suite.
        data: The stage that packs the data set.
        spec: The data set's entry in the suite.
        seed: The repetition.
    """

    def __init__(
        self,
        graph: Graph,
        suite: Suite,
        budget: str,
        data_name: str,
        data: Stage,
        spec: DataSpec,
        seed: int,
    ) -> None:
        self.graph = graph
        self.suite = suite
        self.data_name = data_name
        self.data = data
        self.spec = spec
        self.seed = seed
        length = suite.budgets.paper if budget == "paper" else suite.budgets.equal
        self._budget = {"kind": budget, **length.model_dump()}
        self._loss = LossSpec(kind=spec.loss, target_scale=spec.target_scale)

    def seed_for(self, at: Coordinates) -> int:
        """Return the seed of a training of this experiment: its coordinates decide it."""
        return seed_of(self.data_name, self.spec.split, self.seed, at.long_name)

    def train(
        self,
        at: Coordinates,
        *,
        part: Literal["labelled", "all"] = "labelled",
        augmented_copies: int = 0,
        pseudo: Stage | None = None,
    ) -> Stage:
        """Ask for a training from scratch, validated and without a look at the test images.

        Args:
            at: Method, purpose, generation and member. They name the stage and seed it.
            part: Training images whose true labels are used.
            augmented_copies: Augmented copies of each image beside the image itself (ALDT: 9).
            pseudo: A pseudo-label stage whose images are trained on as well.
        """
        training = SupervisedTraining(
            **self._common(at),
            part=part,
            copies=1 + augmented_copies,
            augmentation=self.spec.augmentation if augmented_copies else None,
        )
        return self._add_training(at, training, pseudo)

    def train_online(
        self,
        at: Coordinates,
        method: Mapping[str, Any],
        *,
        overrides: Mapping[str, Any] | None = None,
        pseudo: Stage | None = None,
        masking: Mapping[str, Any] | None = None,
        twin: Mapping[str, Any] | None = None,
        model: Mapping[str, Any] | None = None,
    ) -> Stage:
        """Ask for a training that sees labelled and unlabelled images together.

        Args:
            at: Method, purpose, generation and member. They name the stage and seed it.
            method: ``name`` in the registry and the fields of an online method.
            overrides: Values of the suite's training that the method has otherwise.
            pseudo: A pseudo-label stage with the teachers' consensus on every unlabelled image.
            masking: How Inconsistency Masks act.
            twin: The network of the method's twin, if it is another than the data set's.
            model: Fields of the network that differ from the data set's; modules to import come on
                top of the data set's.
        """
        spec, overrides = self.spec, dict(overrides or {})
        crop = overrides.get("crop") or spec.crop
        training = OnlineTraining(
            **{
                **self._common(at, model),
                "crop": crop,
                "scale": spec.scale if crop else None,
                "free_rotation": spec.augmentation.free_rotation,
                "ohem": spec.ohem,
                **overrides,
                "method": dict(method),
                "masking": masking,
                "twin": twin,
            }
        )
        return self._add_training(at, training, pseudo)

    def _common(self, at: Coordinates, model: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the fields that all trainings have."""
        own, other = self.spec.model, dict(model or {})
        modules = (*own.custom_imports, *other.get("custom_imports", ()))
        return {
            **self.suite.training.model_dump(),
            "seed": self.seed_for(at),
            # Models that were checked before are not checked again.
            "model": {**own.model_dump(), **other, "custom_imports": modules} if other else own,
            "loss": self._loss,
            "budget": self._budget,
            "monitor": self.spec.monitor,
            "evaluation": self.spec.evaluation,
        }

    def _add_training(self, at: Coordinates, training: Training, pseudo: Stage | None) -> Stage:
        workers = needs_of("train", self.suite, self.spec).workers
        if training.batch % workers:
            raise ImBenchError(
                f"{at.method} on {self.data_name}: a batch of {training.batch} images cannot be "
                f"divided among {workers} processes: change `batch`, or `resources` of trainings"
            )
        inputs = {"data": [self.data], **({"pseudo": [pseudo]} if pseudo else {})}
        config = training.model_dump(mode="json")
        return self._add("train", at, {**config, "code": code_of(config)}, inputs)

    def pseudo_label(
        self, at: Coordinates, candidates: Sequence[Stage], config: Mapping[str, Any]
    ) -> Stage:
        """Ask for labels of the unlabelled images, by the best of the candidates.

        Args:
            at: Method, purpose and generation.
            candidates: Trainings among which the teachers are chosen, by validation.
            config: How labels are made: see :mod:`im_bench.stages.pseudo_label`.
        """
        inputs = {"data": [self.data], "candidates": list(candidates)}
        return self._add("pseudo-label", at, dict(config), inputs)

    def predict(self, at: Coordinates, candidates: Sequence[Stage], count: int) -> Stage:
        """Ask for what the best of the candidates say of the validation images, in probabilities.

        Args:
            at: Method and purpose.
            candidates: Trainings among which the best are chosen, by validation.
            count: How many are wanted.
        """
        inputs = {"data": [self.data], "candidates": list(candidates)}
        return self._add("predict", at, {"count": count}, inputs)

    def evaluate(
        self,
        method: str,
        generations: Sequence[Sequence[Stage]],
        labels: Sequence[Stage] = (),
        report: str = "last",
    ) -> Stage:
        """Ask for the final scores: the one time that the test images are read.

        Where the suite's scores are of the validation images, they are not.

        Args:
            method: The method that is scored, by its name in the suite.
            generations: The trainings of each generation; the best by validation is scored.
            labels: The pseudo-label stages, whose shares of kept images are part of the result.
            report: The generation that stands in the table: ``last``, or ``best`` by validation.
        """
        inputs: dict[str, Sequence[Stage]] = {"data": [self.data]}
        inputs.update({generation_role(g): s for g, s in enumerate(generations, 1)})
        inputs.update({labels_role(g): [s] for g, s in enumerate(labels, 1)})
        part = {} if self.suite.scores == "test" else {"part": self.suite.scores}
        return self._add(
            "evaluate", Coordinates("scores", method=method), {"report": report, **part}, inputs
        )

    def _add(
        self,
        kind: Kind,
        at: Coordinates,
        config: Mapping[str, Any],
        inputs: Mapping[str, Sequence[Stage]],
    ) -> Stage:
        needs = needs_of(kind, self.suite, self.spec)
        at = replace(at, data=self.data_name, split=self.spec.split, seed=self.seed)
        return self.graph.add(kind, at, config, inputs, needs=needs)


def needs_of(kind: Kind, suite: Suite, spec: DataSpec) -> Resources:
    """Return what a kind of stage needs of a machine: as the data set says, or else the suite.

    Packing data needs no GPU, unless one of the two says otherwise.
    """
    default = _ON_CPU if kind == "data" else ANY
    return spec.resources.get(kind) or suite.resources.get(kind) or default
