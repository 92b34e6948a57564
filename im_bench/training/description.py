"""One training, described whole: what a suite resolves to and what a stage's key contains.

Needs no PyTorch: planning a suite builds these. :func:`im_bench.training.config.build_config` makes
the MMEngine config of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, TypeAdapter

from im_bench.training.specs import (
    AugmentationSpec,
    EvaluationSpec,
    ModelSpec,
    OhemSpec,
    Strict,
    TrainingSpec,
)


class EpochBudget(Strict):
    """A length in passes over the training images.

    Attributes:
        epochs: Passes. An online method passes over the unlabelled images.
    """

    kind: Literal["paper"] = "paper"
    epochs: PositiveInt


class IterationBudget(Strict):
    """A length in steps of the optimiser.

    Attributes:
        iterations: Steps.
    """

    kind: Literal["equal"] = "equal"
    iterations: PositiveInt


class LossSpec(Strict):
    """The loss on labelled pixels.

    Attributes:
        kind: ``mse``, ``bce`` or ``ce``; None: the default of the label space.
        target_scale: Factor on each channel's target, or None.
    """

    kind: Literal["mse", "bce", "ce"] | None = None
    target_scale: tuple[float, ...] | None = None


class MaskingSpec(Strict):
    """How Inconsistency Masks act on an online method.

    Attributes:
        labels: What is taught where the teachers agree: their ``consensus``, or the method's
            ``own`` pseudo-label.
        block_input: Blacken inconsistent pixels of the views that a network learns from.
        block_output: Take inconsistent pixels out of the pseudo-label.
    """

    labels: Literal["consensus", "own"] = "consensus"
    block_input: bool = True
    block_output: bool = True


class _Training(TrainingSpec):
    """What all trainings have: beside what a suite says of all, the following.

    Attributes:
        seed: Of the first weights, the order of the images, and all that is drawn in a step.
        model: The network.
        loss: On labelled pixels.
        budget: How long it lasts.
        monitor: The validation metric that chooses the best moment; None: the data's headline.
        evaluation: How images are passed through the network in validation and test.
        code: What identifies the code outside im-bench that it runs, by module.
    """

    seed: int = Field(ge=0)
    model: ModelSpec = ModelSpec()
    loss: LossSpec = LossSpec()
    budget: Annotated[EpochBudget | IterationBudget, Field(discriminator="kind")]
    monitor: str | None = None
    evaluation: EvaluationSpec = EvaluationSpec()
    code: dict[str, str] = Field(default_factory=dict)


class SupervisedTraining(_Training):
    """A training on images with labels: true ones, and pseudo-labels if its stage has any.

    Attributes:
        part: Training images whose true labels are used: the ``labelled`` ones, or ``all``.
        copies: How often each image counts per epoch, the image itself and its augmented copies.
        augmentation: Of the copies, or None.
    """

    kind: Literal["supervised"] = "supervised"
    part: Literal["labelled", "all"] = "labelled"
    copies: PositiveInt = 1
    augmentation: AugmentationSpec | None = None


class OnlineTraining(_Training):
    """A training that sees labelled and unlabelled images together.

    Attributes:
        method: ``name`` in the registry, and the fields of the method.
        masking: How Inconsistency Masks act, or None.
        twin: The network of the method's twin, if it is another than ``model``.
        crop: Width and height of the crops; None: whole images, flipped at random.
        scale: Smallest and largest factor on the long side before cropping.
        free_rotation: Without crops, also flip vertically and rotate by multiples of 90 degrees.
        ohem: Mining of hard labelled pixels, or None.
    """

    kind: Literal["online"] = "online"
    method: dict[str, Any]
    masking: MaskingSpec | None = None
    twin: dict[str, Any] | None = None
    crop: tuple[PositiveInt, PositiveInt] | None = None
    scale: tuple[NonNegativeFloat, NonNegativeFloat] | None = None
    free_rotation: bool = False
    ohem: OhemSpec | None = None


Training = SupervisedTraining | OnlineTraining
_ADAPTER: TypeAdapter[Training] = TypeAdapter(Annotated[Training, Field(discriminator="kind")])


def parse_training(config: Mapping[str, Any]) -> Training:
    """Return the training that a stage's config describes.

    Raises:
        pydantic.ValidationError: It describes none.
    """
    return _ADAPTER.validate_python(config)
