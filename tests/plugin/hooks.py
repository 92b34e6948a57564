"""Teachers whose word is known, and what whole trainings with the hook show."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from im_bench.plugin import TEACHERS, InconsistencyMaskHook, TeacherEnsemble
from im_bench.plugin.teachers import Teacher

from .trainings import CLASSES

CONSTANT = {"type": "ConstantTeachers"}
EMA = {"type": "EmaTeachers", "decays": [0.5, 0.9]}


class Constant(nn.Module):
    """A segmentor that sees each class in one column of the image, or is one column off."""

    out_channels = CLASSES

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset
        self.seen: list[torch.Tensor] = []

    def encode_decode(self, inputs: torch.Tensor, metas: Any) -> torch.Tensor:
        self.seen.append(inputs)
        columns = torch.arange(inputs.shape[-1])
        labels = ((columns + self.offset) // 8 % CLASSES).expand(inputs.shape[-2], -1)
        logits = nn.functional.one_hot(labels, CLASSES).permute(2, 0, 1).float()
        return logits.expand(len(inputs), -1, -1, -1)


@TEACHERS.register_module()
class ConstantTeachers(TeacherEnsemble):
    """Two teachers that disagree in the last column of every eight."""

    online = False

    def prepare(self, student):
        self.teachers = [Teacher(Constant(offset), student) for offset in (0, 1)]

    def state_dict(self):
        return {}

    def load_state_dict(self, state, student):
        pass


def agreement(width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what :class:`ConstantTeachers` agree on, and where they do not."""
    columns = torch.arange(width)
    return columns // 8 % CLASSES, columns % 8 == 7


def trained_batches(training: Any) -> list[dict[str, Any]]:
    """Train, and return the batches as ``train_step`` gets them."""
    batches = []
    step = training.model.train_step

    def spied(data, optim_wrapper):
        batches.append({"inputs": list(data["inputs"]), "data_samples": data["data_samples"]})
        return step(data, optim_wrapper)

    training.model.train_step = spied
    training.train()
    return batches


def parts(training: Any) -> InconsistencyMaskHook:
    return next(each for each in training.hooks if isinstance(each, InconsistencyMaskHook))


def weights(teachers: TeacherEnsemble) -> list[torch.Tensor]:
    return [
        value.clone() for each in teachers.teachers for value in each.network.state_dict().values()
    ]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
