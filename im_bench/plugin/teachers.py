"""Teacher ensembles: who labels the unlabelled images.

An ensemble is a plain object, not a module of the trained model: so no ``model.train()`` reaches
its networks, no optimiser finds them and no checkpoint repeats them.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.config import Config
from mmengine.registry import Registry
from mmseg.registry import MODELS
from torch import Tensor, nn
from typing_extensions import override

from im_bench.errors import ImBenchError, unknown_name
from im_bench.files import sha256_file
from im_bench.models.checkpoints import load_checkpoint
from im_bench.models.weights import PARTS, fitted, network_weights
from im_bench.plugin.networks import (
    Normalisation,
    Student,
    outputs_of,
    plain_segmentor,
    predict_labels,
)

_AUXILIARY = "auxiliary_head."

TEACHERS = Registry("teacher ensemble", scope="mmseg")
"""Kinds of teacher ensembles."""


class Teacher:
    """One frozen network, in evaluation mode.

    Args:
        network: A plain segmentor.
        student: Whose images it will get.
        normalisation: What it wants them like; None: as the student does.
    """

    def __init__(
        self, network: nn.Module, student: Student, normalisation: Normalisation | None = None
    ) -> None:
        self.network = network.requires_grad_(False).eval().to(student.device)
        self.normalisation: Normalisation | None = None
        self._space = student.label_space
        self._swap = False
        if normalisation is not None and not normalisation.same_as(student.normalisation):
            self.normalisation = normalisation.to(student.device)
            self._swap = normalisation.swapped != student.normalisation.swapped

    def labels(self, images: Tensor, normalised: Tensor) -> Tensor:
        """Return label bytes, uint8 (B, H, W); see :meth:`TeacherEnsemble.labels`."""
        if self.normalisation is not None:
            normalised = self.normalisation(images.flip(1) if self._swap else images)
        return predict_labels(self.network, normalised, self._space)


class TeacherEnsemble(ABC):
    """Several networks that label images for a student.

    Attributes:
        online: Whether the teachers come from the training itself.
        teachers: As many as there are so far.
    """

    online: ClassVar[bool]

    def __init__(self) -> None:
        self.teachers: list[Teacher] = []

    @property
    def ready(self) -> bool:
        """Whether there are teachers enough to disagree."""
        return len(self.teachers) > 1

    @abstractmethod
    def prepare(self, student: Student) -> None:
        """Build or load the networks; the student has its first weights."""

    def after_step(self, student: Student) -> None:  # noqa: B027, for online teachers
        """Follow the student; called after each step of the optimiser."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, on the CPU."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any], student: Student) -> None:
        """Continue from :meth:`state_dict`; comes after :meth:`prepare`."""

    @torch.no_grad()
    def labels(self, images: Tensor, normalised: Tensor) -> Tensor:
        """Return what each teacher says.

        Args:
            images: float32 (B, C, H, W) in 0..1, channels in the student's order.
            normalised: The same as the student takes them.

        Returns:
            Label bytes, uint8 (K, B, H, W).
        """
        return torch.stack([teacher.labels(images, normalised) for teacher in self.teachers])


@TEACHERS.register_module()
class CheckpointTeachers(TeacherEnsemble):
    """Trained networks of any architecture: the generational protocol.

    Args:
        checkpoints: Files of MMEngine or im-bench, at least two. They are read as data only.
        models: The segmentor of each, as a config or the path of one; None: as the student. A
            config with ``data_preprocessor`` says how its teacher wants images to be normalised.
        part: Of semi-supervised checkpoints: ``student`` or ``companion``, for all or for each.

    Raises:
        ImBenchError: The numbers of files, models and parts do not fit, or a part is unknown.
    """

    online = False

    def __init__(
        self,
        checkpoints: Sequence[str],
        models: Sequence[Mapping[str, Any] | str | None] | None = None,
        part: str | Sequence[str] = "student",
    ) -> None:
        super().__init__()
        self.checkpoints = [Path(path).expanduser() for path in checkpoints]
        check_count(len(self.checkpoints), "checkpoints")
        self._models = [None] * len(self.checkpoints) if models is None else list(models)
        if len(self._models) != len(self.checkpoints):
            raise ImBenchError(
                f"CheckpointTeachers has {len(self.checkpoints)} checkpoints but "
                f"{len(self._models)} models: give one model for each, None for the student's"
            )
        self.parts = [part] * len(self.checkpoints) if isinstance(part, str) else list(part)
        if len(self.parts) != len(self.checkpoints):
            raise ImBenchError(
                f"CheckpointTeachers has {len(self.checkpoints)} checkpoints but "
                f"{len(self.parts)} parts: give one part for all, or one for each"
            )
        for each in self.parts:
            if each not in PARTS:
                raise unknown_name("part of a checkpoint", each, PARTS)
        self._hashes: list[str] | None = None

    def __str__(self) -> str:
        return f"the same {len(self.checkpoints)} trained teachers"

    @property
    def hashes(self) -> list[str]:
        """The SHA-256 of each checkpoint."""
        if self._hashes is None:
            self._hashes = [sha256_file(path) for path in self.checkpoints]
        return self._hashes

    @override
    def prepare(self, student: Student) -> None:
        for path, config, part in zip(self.checkpoints, self._models, self.parts, strict=True):
            network, normalisation = self._build(config, part, student)
            _load_weights(network, path, part)
            if outputs_of(network) != student.outputs:
                raise ImBenchError(
                    f"teacher {path} has {outputs_of(network)} outputs, the student "
                    f"{student.outputs}: train both for the same classes"
                )
            self.teachers.append(Teacher(network, student, normalisation))
        if len(set(self.hashes)) < len(self.hashes):
            raise ImBenchError(
                f"two of the teachers {', '.join(map(str, self.checkpoints))} are the same file, "
                "and would always agree: name different checkpoints"
            )

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"hashes": self.hashes}

    @override
    def load_state_dict(self, state: Mapping[str, Any], student: Student) -> None:
        if list(state["hashes"]) != self.hashes:
            raise ImBenchError(
                "this training began with other teachers than the checkpoints named now: "
                "name those again, or start anew"
            )

    def _build(
        self, config: Mapping[str, Any] | str | None, part: str, student: Student
    ) -> tuple[nn.Module, Normalisation | None]:
        if config is None:
            return copy.deepcopy(student.network), None
        config = Config.fromfile(config).model if isinstance(config, str) else config
        fields = copy.deepcopy(dict(config))
        if isinstance(fields.get("data_preprocessor"), Mapping):
            # MMEngine would look in its own registry only.
            fields["data_preprocessor"] = MODELS.build(fields["data_preprocessor"])
        model = MODELS.build(fields)
        return plain_segmentor(model, part), Normalisation.of(model.data_preprocessor)


def check_count(count: int, what: str) -> None:
    """Raise an ImBenchError for fewer than two of what teachers are made of."""
    if count < 2:
        raise ImBenchError(
            f"an ensemble needs at least 2 {what}, not {count}: one teacher always agrees with "
            "itself"
        )


def _load_weights(network: nn.Module, path: Path, part: str) -> None:
    """Load a checkpoint into a segmentor.

    Auxiliary heads may be missing on either side, since they predict nothing.

    Raises:
        ImBenchError: The file is missing, broken or holds code, or does not fit the network.
    """
    fit = fitted(network_weights(load_checkpoint(path), path, part), network)
    fit = fit._replace(
        missing=[name for name in fit.missing if not name.startswith(_AUXILIARY)],
        unused=[name for name in fit.unused if not name.startswith(_AUXILIARY)],
    )
    if not fit.exact:
        raise ImBenchError(
            f"teacher {path} does not fit a {type(network).__name__} ({fit}): give its own config "
            "in 'models'"
        )
    network.load_state_dict(fit.weights, strict=False)
