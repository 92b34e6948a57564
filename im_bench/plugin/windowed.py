"""Teachers that predict whole images in the windows of their evaluation."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from im_bench.data.label_spaces import LabelSpace
from im_bench.evaluation.windows import WindowOptions, predict_windows
from im_bench.models.segmentor import LabelSpaceSegmentor


class Windowed(nn.Module):
    """A segmentor in evaluation mode, as :func:`~im_bench.plugin.networks.predict_labels` asks it.

    Without windows of its own it passes images through the network as they are evaluated: by the
    network's ``windows``, where it has some, and else by MMSegmentation's ``test_cfg``. Windows
    that show only the centre of an image label nothing else, so that images are passed whole then.

    Args:
        network: A segmentor.
        space: The label space; None: MMSegmentation's conventions.
        windows: Used instead of the network's own; None: those.
    """

    def __init__(
        self, network: Any, space: LabelSpace | None, windows: WindowOptions | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.decode_head = network.decode_head
        self._space = space
        test_cfg = ConfigDict(getattr(network, "test_cfg", None) or {})
        windows = windows or getattr(network, "windows", None)
        self._slides = windows is None and test_cfg.get("mode") == "slide"
        if self._slides:
            network.test_cfg = test_cfg  # MMSegmentation reads its attributes
        windows = windows or WindowOptions()
        self._windows = WindowOptions() if windows.mode == "center" else windows

    @property
    def description(self) -> dict[str, Any]:
        """What determines the windows, as JSON values."""
        if self._slides:
            config = self.network.test_cfg
            return {
                "mode": "slide",
                "crop_size": list(config.crop_size),
                "stride": list(config.stride),
            }
        options = self._windows
        stride = None if options.window is None else options.step
        return asdict(replace(options, stride=stride, batch=1))

    def encode_decode(self, images: Tensor, metas: list[dict[str, Any]]) -> Tensor:
        """Return logits (B, C, H, W) of normalised images; of probabilities, where these count."""
        if self._slides:
            logits: Tensor = self.network.slide_inference(images, metas)
            return logits
        if self._windows.combine == "logits" or self._windows.window is None:
            return predict_windows(self._logits, images, self._windows, lambda logits: logits)
        probabilities = predict_windows(self._logits, images, self._windows, self._activate)
        if self._exclusive(probabilities):
            return probabilities.clamp(min=torch.finfo(torch.float32).tiny).log()
        return probabilities.logit(eps=torch.finfo(torch.float32).eps)

    def _logits(self, images: Tensor) -> Tensor:
        size = images.shape[-2:]
        if isinstance(self.network, LabelSpaceSegmentor):
            return self.network.logits(images, size)
        logits: Tensor = self.network.encode_decode(images, [{"img_shape": size}] * len(images))
        return logits

    def _activate(self, logits: Tensor) -> Tensor:
        if self._space is not None:
            return self._space.activate(logits)
        return logits.softmax(1) if self._exclusive(logits) else logits.sigmoid()

    def _exclusive(self, scores: Tensor) -> bool:
        """Return whether the channels of (B, C, H, W) exclude each other."""
        return scores.shape[1] > 1 and (self._space is None or self._space.kind == "multiclass")
