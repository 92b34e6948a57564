"""Any MMSegmentation network in any label space."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from im_bench.data.label_spaces import LabelSpace
from im_bench.data.label_spaces import label_space as build_label_space
from im_bench.evaluation.windows import WindowOptions, centre_crop, predict_windows

Labels = Tensor | Sequence[SegDataSample]


@MODELS.register_module()
class LabelSpaceSegmentor(EncoderDecoder):
    """An encoder-decoder whose outputs, loss and predictions follow a label space.

    The heads' own losses are not used: the segmentor resizes their logits to the labels' size and
    takes the loss from the label space. So every backbone and decode head of MMSegmentation whose
    ``forward`` gives logits works for binary, multi-class and multi-label tasks alike.

    Args:
        backbone: Config of the backbone.
        decode_head: Config of the head; its numbers of classes and outputs are set from the space.
        label_space: ``kind``, ``outputs`` and the options of
            :func:`~im_bench.data.label_spaces.label_space`.
        auxiliary_head: Config, or list of configs, of heads that help in training only.
        auxiliary_weight: Factor of each auxiliary head's loss.
        precision: Of the network's arithmetic, ``float32`` or ``bfloat16`` (autocast); in training,
            validation and prediction alike. Probabilities and losses are float32 always. An
            autocast around a ``float32`` segmentor, such as MMEngine's, holds.
        windows: Fields of :class:`~im_bench.evaluation.windows.WindowOptions`, for ``predict`` and
            ``probabilities``; None: images are passed through whole.
        data_preprocessor: Config or module, usually a ``BatchPreprocessor``.
        kwargs: As for MMSegmentation's ``EncoderDecoder``, such as ``neck``.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        decode_head: dict[str, Any],
        label_space: Mapping[str, Any],
        auxiliary_head: dict[str, Any] | list[dict[str, Any]] | None = None,
        auxiliary_weight: float = 0.4,
        precision: str = "float32",
        windows: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        space = build_label_space(**label_space)
        if isinstance(data_preprocessor, Mapping):  # MMEngine would look in its own registry only
            data_preprocessor = MODELS.build(dict(data_preprocessor))
        if isinstance(auxiliary_head, Mapping):
            auxiliary_head = [auxiliary_head]
        super().__init__(
            backbone=backbone,
            decode_head=_with_outputs(decode_head, space.outputs),
            auxiliary_head=[_with_outputs(head, space.outputs) for head in auxiliary_head or ()]
            or None,
            data_preprocessor=data_preprocessor,
            **kwargs,
        )
        self.space = space
        self.precision = precision
        self.auxiliary_weight = auxiliary_weight
        self.windows = WindowOptions(**windows or {})

    def loss(self, inputs: Tensor, data_samples: Labels) -> dict[str, Tensor]:
        """Return the losses of a batch.

        Args:
            inputs: Images (B, C, H, W) as the preprocessor gives them.
            data_samples: Label bytes (B, H, W), or samples with ``gt_sem_seg``.
        """
        labels = stack_labels(data_samples)
        auxiliary = self.auxiliary_head if self.with_auxiliary_head else ()
        with self.autocast(inputs):
            features = self.extract_feat(inputs)
            logits = self.decode_head(features)
            auxiliary_logits = [head(features) for head in auxiliary]
        losses = {"loss": self._loss(logits, labels)}
        for index, logits in enumerate(auxiliary_logits):
            losses[f"aux_{index}.loss"] = self.auxiliary_weight * self._loss(logits, labels)
        return losses

    def predict(self, inputs: Tensor, data_samples: Labels | None = None) -> list[SegDataSample]:
        """Predict a batch.

        Returns:
            One sample per image with ``pred_sem_seg`` (label bytes, (1, H, W)). Where labels are
            given, as in validation, also ``gt_sem_seg``, ``seg_logits`` and ``seg_probabilities``
            ((C, H, W), float32). With ``windows`` in the mode ``center``, all are of their size.
            Where probabilities of windows are averaged, the logits are the average's.
        """
        maps = self._evaluated(inputs if data_samples is None else stack_labels(data_samples))
        logits, probabilities = self._outputs(inputs, maps.shape[-2:])
        predictions = self.space.discretise(probabilities)
        samples = []
        for index in range(len(inputs)):
            sample = SegDataSample()
            sample.pred_sem_seg = PixelData(data=predictions[index, None])
            if data_samples is not None:
                sample.gt_sem_seg = PixelData(data=maps[index, None])
                sample.seg_logits = PixelData(data=logits[index])
                sample.seg_probabilities = PixelData(data=probabilities[index])
            samples.append(sample)
        return samples

    def probabilities(self, inputs: Tensor) -> Tensor:
        """Return float32 probabilities (B, C, H, W) for preprocessed images (B, C', H, W)."""
        return self._outputs(inputs, self._evaluated(inputs).shape[-2:])[1]

    def logits(self, inputs: Tensor, size: Sequence[int]) -> Tensor:
        """Return float32 logits (B, C, *size) for preprocessed images (B, C', H, W)."""
        with self.autocast(inputs):
            logits = self.decode_head(self.extract_feat(inputs))
        return self._resized(logits, size)

    def _outputs(self, inputs: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities (B, C, *size) of what is evaluated of images."""
        if self.windows == WindowOptions():
            logits = self.logits(inputs, size)
            return logits, self.space.activate(logits)
        probabilities = predict_windows(
            lambda crops: self.logits(crops, crops.shape[-2:]),
            inputs,
            self.windows,
            self.space.activate,
        )
        probabilities = self._resized(probabilities, size)
        return _logits_of(self.space, probabilities), probabilities

    def _evaluated(self, maps: Tensor) -> Tensor:
        """Return the part of images or labels (..., H, W) that is evaluated."""
        if self.windows.mode == "center" and self.windows.window:
            return centre_crop(maps, self.windows.window)
        return maps

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.space.loss(self._resized(logits, labels.shape[-2:]), labels)

    def _resized(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        if tuple(logits.shape[-2:]) == tuple(size):
            return logits.float()
        corners = self.decode_head.align_corners
        return F.interpolate(logits.float(), tuple(size), mode="bilinear", align_corners=corners)

    def autocast(self, inputs: Tensor) -> AbstractContextManager[object]:
        """Return the context in which the network computes, for inputs on some device."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(inputs.device.type, dtype=torch.bfloat16)


def place(model: nn.Module, device: torch.device) -> None:
    """Move a model to a device, in the memory format that convolutions like best."""
    model.to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def deployed(model: nn.Module) -> nn.Module:
    """Return the network that a model is used as: what a semi-supervised method deploys, or it."""
    network: nn.Module = getattr(model, "deployed", model)
    return network


def stack_labels(labels: Labels) -> Tensor:
    """Return label bytes (B, H, W), uint8, of a tensor or of MMSegmentation's samples."""
    if isinstance(labels, Tensor):
        return labels
    stacked = torch.cat([sample.gt_sem_seg.data for sample in labels])
    return stacked.to(torch.uint8)


def _logits_of(space: LabelSpace, probabilities: Tensor) -> Tensor:
    """Return logits of which a label space makes these probabilities."""
    if space.kind == "multiclass":
        return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()
    return probabilities.logit(eps=torch.finfo(probabilities.dtype).eps)


def _with_outputs(head: Mapping[str, Any], outputs: int) -> dict[str, Any]:
    """Return a head's config with as many classes and outputs as the label space has."""
    config = copy.deepcopy(dict(head))
    config["num_classes"] = config["out_channels"] = outputs
    # Neither is used, but MMSegmentation warns about their defaults.
    config.setdefault("threshold", 0.5)
    config.setdefault("loss_decode", {"type": "CrossEntropyLoss", "avg_non_ignore": True})
    return config
