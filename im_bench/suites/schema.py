"""What a suite file may say: every field that changes a number, with its default."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator
from typing_extensions import Self

from im_bench.suites.resources import Resources
from im_bench.training.specs import (
    AugmentationSpec,
    EvaluationSpec,
    ModelSpec,
    OhemSpec,
    Strict,
    TrainingSpec,
)
from im_bench.yaml_files import FieldError

Share = Annotated[float, Field(gt=0, le=1)]
Size = tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]]


class PaperBudget(Strict):
    """Epochs, as the original counts them: more images mean more iterations.

    Attributes:
        epochs: Passes over the training images (original: 50). One pass is ``images // batch``
            iterations, at least one.
    """

    epochs: PositiveInt = 50


class EqualBudget(Strict):
    """The same number of iterations for every training.

    Attributes:
        iterations: Optimiser steps.
    """

    iterations: PositiveInt = 1000


class Budgets(Strict):
    """How long a training lasts, under each of the two ways to count."""

    paper: PaperBudget = PaperBudget()
    equal: EqualBudget = EqualBudget()


BudgetName = Literal["paper", "equal"]


class SynthSpec(Strict):
    """Built-in data: drawn, not downloaded.

    Attributes:
        like: Data set whose task, layout and preparation it has.
        train: Number of training images.
        val: Number of validation images.
        test: Number of test images.
        seed: Seed of the drawing.
    """

    like: Literal["isic2018", "hela", "suim", "cityscapes"]
    train: PositiveInt = 200
    val: PositiveInt = 40
    test: PositiveInt = 60
    seed: int = 0


Kind = Literal["data", "train", "pseudo-label", "predict", "evaluate"]


def _one_gpu(needs: dict[Kind, Resources]) -> dict[Kind, Resources]:
    for kind, each in needs.items():
        if each.workers > 1 and kind != "train":
            raise FieldError(
                (kind,),
                f"only trainings use several processes, not {kind}: ask for one GPU or process",
            )
    return needs


Needs = Annotated[dict[Kind, Resources], AfterValidator(_one_gpu)]


class Enters(Enum):
    """What a field of a data set enters, and so which stages get other keys when it changes."""

    SOURCE = "the data stage, by the content of the files or by the drawing"
    PACKING = "the data stage"
    TRAINING = "the trainings"
    NOTHING = "no key"


class DataSpec(Strict):
    """A data set within a suite, and what the original varies from data set to data set.

    Attributes:
        synth: Built-in data, drawn by the package. Otherwise the data are read from ``folder``.
        folder: The folder of ``dataset.yaml``, or a YAML file that describes a data set. A relative
            path is looked for beside the suite file, then below the data root. Default: the data
            set's name, below the data root.
        size: Width and height, in pixels, that images are resized to (or drawn in). Default: their
            own size, which must be the same for all.
        fit: ``resize`` images to ``size``, or ``pad`` them, on the right and below: then crops are
            cut from what is image, and images are evaluated at their own sizes, one at a time.
        labelled: Share of the training images that keep their labels (original: 0.1), or ``file``
            for the list that the data set brings.
        split_seed: Seed of the draw of labelled images, and of the images that ``limit`` keeps. The
            suite's ``seeds`` do not change it.
        limit: Most images that are taken of ``train``, ``val`` and ``test``. Default: all.
        model: The network; by default the 1x1 U-Net of the original.
        augmentation: Augmentation of the methods ALDT and AFDT.
        crop: Width and height of the crops that online methods train on, at a random scale;
            default: whole images, flipped at random.
        scale: Smallest and largest factor on the long side before cropping.
        ohem: Mining of hard labelled pixels in online methods.
        evaluation: How images are passed through a network in validation and test.
        loss: ``mse``, ``bce`` or ``ce``. Default, as in the original: ``mse`` for binary and
            multi-label data, ``ce`` for multi-class data.
        target_scale: Factor on each channel's target (original on HeLa: 3 for positions).
        monitor: Metric of the validation images that chooses the best moment of a training, such
            as ``iou``, ``iou_dataset``, ``miou`` or ``loss``. Default: the data set's headline
            metric.
        reference: What the data are in the reference tables, if they are the real ones: ``DATA``,
            or ``DATA/FAMILY/SPLIT``, such as ``cityscapes/u2pl/1/16``, where the labelled images
            are those of a published list. Numbers of other families and splits are not compared.
        hold_out: Share of the labelled images that become the validation images, instead of the
            data set's own: for a search where those are also the test images.
        group: What tables put the data set's column under, together with others of that group.
            Without it, names such as ``cityscapes-1-16`` and ``cityscapes-1-8`` make a group.
        resources: What each kind of stage needs of a machine, instead of what the suite says. It
            changes no result and no key.

    Each field says beside its type which keys it enters.
    """

    synth: Annotated[SynthSpec | None, Enters.SOURCE] = None
    folder: Annotated[str | None, Enters.SOURCE] = None
    size: Annotated[Size | None, Enters.PACKING] = None
    fit: Annotated[Literal["resize", "pad"], Enters.PACKING] = "resize"
    labelled: Annotated[Share | Literal["file"], Enters.PACKING] = 0.1
    split_seed: Annotated[int, Enters.PACKING] = 42
    limit: Annotated[dict[Literal["train", "val", "test"], PositiveInt], Enters.PACKING] = Field(
        default_factory=dict
    )
    model: Annotated[ModelSpec, Enters.TRAINING] = ModelSpec()
    augmentation: Annotated[AugmentationSpec, Enters.TRAINING] = AugmentationSpec()
    crop: Annotated[Size | None, Enters.TRAINING] = None
    scale: Annotated[tuple[float, float], Enters.TRAINING] = (0.5, 2.0)
    ohem: Annotated[OhemSpec | None, Enters.TRAINING] = None
    evaluation: Annotated[EvaluationSpec, Enters.TRAINING] = EvaluationSpec()
    loss: Annotated[Literal["mse", "bce", "ce"] | None, Enters.TRAINING] = None
    target_scale: Annotated[tuple[float, ...] | None, Enters.TRAINING] = None
    monitor: Annotated[str | None, Enters.TRAINING] = None
    reference: Annotated[str | None, Enters.NOTHING] = Field(
        default=None, pattern=r"^[^/]+(/[^/]+/.+)?$"
    )
    hold_out: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, Enters.PACKING] = None
    group: Annotated[str | None, Enters.NOTHING] = Field(default=None, min_length=1)
    resources: Annotated[Needs, Enters.NOTHING] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.synth is not None and self.folder is not None:
            raise ValueError("give either synth or folder, not both")
        if self.synth is not None and self.size is None:
            raise ValueError("synth needs a size, such as [64, 64]")
        if self.fit == "pad" and self.size is None:
            raise ValueError("fit: pad needs a size that no image exceeds, such as [500, 500]")
        return self

    @classmethod
    def entering(cls, what: Enters) -> set[str]:
        """Return the names of the fields that enter the same keys."""
        return {name for name, field in cls.model_fields.items() if what in field.metadata}

    @property
    def split(self) -> str:
        """Name of the split: the labelled share, or ``file``."""
        return str(self.labelled)


class Suite(Strict):
    """Methods × data sets × seeds, and how long each training lasts.

    Attributes:
        name: Name of the suite, which is that of its file without ``.yaml``.
        description: One or two sentences about it.
        seeds: One repetition of everything for each. Scores are means over them.
        budget: Which of ``budgets`` holds: ``paper`` counts epochs, ``equal`` iterations.
            The option ``--budget`` takes precedence.
        budgets: How long a training lasts, under each of the two.
        scores: Which images are scored: ``test``, or ``val`` for the trials of a search, which
            never reads the test images.
        notes: Sentences that stand under the tables, such as where tuned values come from.
        training: What all trainings have in common.
        data: Data sets by name.
        resources: What each kind of stage needs of a machine. It changes no result and no key.
        methods: Methods by name, with their fields. A variant has a name of its own and says which
            method it is: ``im-3: {method: im, teachers: 3}``.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str = ""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(1, 2, 3), min_length=1)
    budget: BudgetName = "paper"
    budgets: Budgets = Budgets()
    scores: Literal["test", "val"] = "test"
    notes: tuple[str, ...] = ()
    training: TrainingSpec = TrainingSpec()
    resources: Needs = Field(default_factory=dict)
    data: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")], DataSpec] = Field(
        min_length=1
    )
    methods: dict[
        Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+_-]*$")], dict[str, Any] | None
    ] = Field(min_length=1)

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must differ from each other")
        return self
