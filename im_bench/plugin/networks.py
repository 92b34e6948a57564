"""What the plug-in must know of any segmentor: what it takes, and what its output means."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from im_bench.data.label_spaces import LabelSpace
from im_bench.masks import Space
from im_bench.masks.consensus import check_space
from im_bench.models.segmentor import LabelSpaceSegmentor


class Normalisation(NamedTuple):
    """How a segmentor's preprocessor changes the colours of an image.

    Attributes:
        mean: float32 (C, 1, 1), subtracted; on the scale of images in 0..1.
        std: float32 (C, 1, 1), divides; on the same scale.
        swapped: Whether red and blue change places first. What im-bench loads is RGB already and
            counts as swapped, what MMSegmentation loads is BGR.
    """

    mean: Tensor
    std: Tensor
    swapped: bool

    @classmethod
    def of(cls, preprocessor: Any) -> Normalisation | None:
        """Read a preprocessor of MMSegmentation or im-bench; None if it has no mean."""
        mean, std = getattr(preprocessor, "mean", None), getattr(preprocessor, "std", None)
        if mean is None or std is None:
            return None
        swapped = getattr(preprocessor, "_channel_conversion", True)
        return cls(mean.view(-1, 1, 1) / 255, std.view(-1, 1, 1) / 255, swapped)

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise images (B, C, H, W) in 0..1, whose channels are in the right order."""
        return (images - self.mean) / self.std

    def to(self, device: torch.device) -> Normalisation:
        """Return the same on a device."""
        return self._replace(mean=self.mean.to(device), std=self.std.to(device))

    def same_as(self, other: Normalisation) -> bool:
        """Return whether both give the same image. Compares on the host: not for a step."""
        return (
            self.swapped == other.swapped
            and torch.equal(self.mean.cpu(), other.mean.cpu())
            and torch.equal(self.std.cpu(), other.std.cpu())
        )


RAW = Normalisation(torch.zeros(1, 1, 1), torch.full((1, 1, 1), 1 / 255), swapped=False)
"""Of a preprocessor that normalises nothing: the network takes 0..255."""


class Student(NamedTuple):
    """The network that is trained, as its teachers see it.

    Attributes:
        network: A plain segmentor: the model itself, or what a semi-supervised one trains.
        label_space: Of its labels; None for a model that has only MMSegmentation's conventions.
        outputs: Channels of its output.
        normalisation: What it wants its images like.
        device: Where it is.
    """

    network: nn.Module
    label_space: LabelSpace | None
    outputs: int
    normalisation: Normalisation
    device: torch.device

    @classmethod
    def of(cls, model: nn.Module) -> Student:
        """Describe the model of a runner, wrapped for distributed training or not."""
        model = unwrapped(model)
        network = plain_segmentor(model)
        device = next(model.parameters()).device
        normalisation = Normalisation.of(model.data_preprocessor) or RAW
        return cls(
            network=network,
            label_space=getattr(model, "space", None) or getattr(network, "space", None),
            outputs=outputs_of(network),
            normalisation=normalisation.to(device),
            device=device,
        )

    @property
    def space(self) -> Space:
        """How label bytes are read."""
        if self.label_space is not None:
            return check_space(self.label_space.kind)
        return "binary" if self.outputs == 1 else "multiclass"

    @property
    def label_count(self) -> int:
        """How many label bytes there are, from 0, without the ignored one."""
        if self.label_space is not None:
            return self.label_space.label_count
        return max(self.outputs, 2)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside a wrapper for distributed training."""
    return cast(nn.Module, model.module) if is_model_wrapper(model) else model


def plain_segmentor(model: nn.Module, part: str = "student") -> nn.Module:
    """Return the named network of a semi-supervised segmentor, and any other as it is."""
    network = getattr(model, part, None)
    return network if isinstance(network, nn.Module) else model


def outputs_of(network: Any) -> int:
    """Return the number of channels of a segmentor's output."""
    return int(getattr(network, "out_channels", None) or _head(network).out_channels)


def heads_of(network: Any) -> list[Any]:
    """Return the decode heads of a segmentor, then the auxiliary ones."""
    found = []
    for name in ("decode_head", "auxiliary_head"):
        head = getattr(network, name, None)
        found += list(head) if isinstance(head, nn.ModuleList) else [head] if head else []
    return found


def predict_labels(network: Any, images: Tensor, space: LabelSpace | None) -> Tensor:
    """Return what a segmentor says of normalised images. The whole image is predicted at once.

    Args:
        network: A segmentor in evaluation mode.
        images: float32 (B, C, H, W).
        space: The label space; None: as MMSegmentation, the most probable class, or for a single
            output whatever exceeds the head's ``threshold``.

    Returns:
        Label bytes, uint8 (B, H, W).
    """
    size = images.shape[-2:]
    if isinstance(network, LabelSpaceSegmentor):
        logits: Tensor = network.logits(images, size)
    else:
        meta = {"ori_shape": size, "img_shape": size, "pad_shape": size, "padding_size": [0] * 4}
        logits = network.encode_decode(images, [meta] * len(images))
    if logits.shape[1] > 1 and (space is None or space.kind == "multiclass"):
        return logits.argmax(1).byte()
    if space is None:
        foreground: Tensor = logits.float().sigmoid() > _head(network).threshold
        return foreground.squeeze(1).byte()
    return space.discretise(space.activate(logits))


def _head(network: Any) -> Any:
    head = network.decode_head
    return head[-1] if isinstance(head, nn.ModuleList) else head  # a cascade's last head decides
