"""What can be said of a training: its network, optimiser, augmentation, losses and evaluation.

Suites take these fields as they are. Light: planning reads them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from typing_extensions import Self


class Strict(BaseModel):
    """A part of a suite: unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AugmentationSpec(Strict):
    """Photometric and geometric augmentation of the original (its offline copies, ``ALDT``).

    Attributes:
        contrast: Range of the factor on the image.
        brightness: Largest offset, in grey levels of 0..255, either way.
        blur: Largest blur level: 0 none, 1 3x3, 2 5x5, 3 7x7.
        noise: Largest additive noise, in grey levels.
        free_rotation: Also flip vertically and rotate by multiples of 90 degrees.
    """

    contrast: tuple[float, float] = (0.5, 1.5)
    brightness: int = Field(default=25, ge=0)
    blur: int = Field(default=3, ge=0, le=3)
    noise: int = Field(default=25, ge=0, le=255)
    free_rotation: bool = True


class ModelSpec(Strict):
    """The network: the 1x1 U-Net, or any backbone and head that MMSegmentation knows.

    Attributes:
        width: Width factor of the 1x1 U-Net (original: 0.5 on ISIC 2018, 1 elsewhere).
        norm_momentum: Share of the newest batch in the U-Net's running statistics (original: 0.01).
            Default: by the length of a training on the labelled images, 0.01 from 1000 iterations
            on, 10 / iterations in shorter ones, at most 0.1.
        backbone: Config of a registered backbone; with ``decode_head``, instead of the U-Net.
        decode_head: Config of a registered decode head.
        neck: Config of a neck between the two, or none.
        auxiliary_head: Config of a further head, or none.
        mean: Subtracted from each channel, in 0..255; with ``std``, for pretrained backbones.
        std: Divides each channel. Without the two, images go to 0..1 (original).
        custom_imports: Modules to import first, so that they can register what they define.
    """

    width: float = Field(default=1.0, gt=0)
    norm_momentum: float | None = Field(default=None, gt=0, le=1)
    backbone: dict[str, Any] | None = None
    decode_head: dict[str, Any] | None = None
    neck: dict[str, Any] | None = None
    auxiliary_head: dict[str, Any] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    custom_imports: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _backbone_with_head(self) -> Self:
        if (self.backbone is None) != (self.decode_head is None):
            raise ValueError("backbone and decode_head go together")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together")
        return self


class TrainingSpec(Strict):
    """How one network is trained; the same for every method of a suite.

    Attributes:
        batch: Images per step (original: 32); of online methods, labelled and unlabelled each.
        optimizer: ``adamw``, or ``sgd`` with momentum 0.9.
        learning_rate: At the start (original: 0.003).
        schedule: ``constant`` (original), or ``poly``: (1 - t / T) ** 0.9.
        head_factor: Factor on the rate of all that is not the backbone.
        weight_decay: In PyTorch's meaning, multiplied by the rate. The original's 1e-4 is not,
            which is 1e-4 / 3e-3 here.
        validations: How often a training is validated, evenly (original: after each of 50 epochs).
        precision: Of the network's arithmetic. It changes numbers, so that it is said here and does
            not follow the device (original: mixed, float16).
        keep: The network that a training leaves: its ``best`` by validation, or the ``last``.
    """

    batch: PositiveInt = 32
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=0.003, gt=0)
    schedule: Literal["constant", "poly"] = "constant"
    head_factor: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=1 / 30, ge=0)
    validations: PositiveInt = 50
    precision: Literal["float32", "bfloat16"] = "float32"
    keep: Literal["best", "last"] = "best"


class OhemSpec(Strict):
    """Online hard example mining on labelled pixels (multi-class).

    Attributes:
        threshold: Pixels whose true class is at most so probable are always kept.
        min_kept: At least so many pixels of a batch are kept.
    """

    threshold: float = Field(default=0.7, gt=0, le=1)
    min_kept: PositiveInt = 200_000


class EvaluationSpec(Strict):
    """How images are passed through a network in validation and test.

    Attributes:
        mode: ``whole`` images, or ``slide``: overlapping windows.
        window: Side of a window, in pixels.
        stride: Between windows; default two thirds of the window.
        border: What happens to windows that reach over the border: ``truncate`` (UniMatch, iMAS)
            or ``shift`` back inside (U2PL, UniMatch V2).
        combine: What is added up where windows overlap: ``probabilities`` or ``logits`` (U2PL).
    """

    mode: Literal["whole", "slide"] = "whole"
    window: PositiveInt | None = None
    stride: PositiveInt | None = None
    border: Literal["truncate", "shift"] = "truncate"
    combine: Literal["probabilities", "logits"] = "probabilities"

    @model_validator(mode="after")
    def _window_to_slide(self) -> Self:
        if (self.mode == "slide") != (self.window is not None):
            raise ValueError("slide needs a window, and only slide has one")
        return self

    @property
    def text(self) -> str:
        """What stands under a table."""
        if self.window is None:
            return "whole images"
        stride = self.stride or self.window * 2 // 3
        return (
            f"sliding windows of {self.window}, stride {stride}, "
            f"{'cut off' if self.border == 'truncate' else 'shifted inside'} at the border, "
            f"{self.combine} averaged"
        )
