"""From a raw batch of labelled and unlabelled images to weak views on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from im_bench.data.augment import Augmentation, apply_geometry, draw, generator_at
from im_bench.data.seeds import process_seed
from im_bench.models.preprocessor import BatchPreprocessor
from im_bench.semi.step import View

Raw = Mapping[str, Any]


@MODELS.register_module()
class SemiPreprocessor(BatchPreprocessor):
    """Prepare a batch of labelled and unlabelled images for a semi-supervised method.

    In training it takes ``{"inputs": {branch: images}, "data_samples": {branch: labels}}`` with the
    branches ``labelled``, ``unlabelled`` and maybe ``partner``. Images are uint8 (B, H, W, C).
    Labels are bytes (B, H, W) for ``labelled``; for the others a mapping with ``valid``
    (bool, default everywhere), and with Inconsistency Masks ``consensus`` (bytes) and
    ``inconsistent`` (bool). Elsewhere it does what its base class does.

    Args:
        flip: Flip images at random; right where the data set does not do so itself.
        free_rotation: Also upside down, and by quarter turns.
        kwargs: Of :class:`BatchPreprocessor`.
    """

    def __init__(self, flip: bool = False, free_rotation: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._geometry = (
            Augmentation((1, 1), brightness=0, blur=0, noise=0, free_rotation=free_rotation)
            if flip
            else None
        )

    def forward(self, data: Raw, training: bool = False) -> dict[str, Any]:
        """Return normalised labelled images, views of the others, and the labelled images' bytes.

        The result is ``{"inputs": {"labelled": float32 (B, C, H, W), "unlabelled": View,
        "partner": View or None}, "data_samples": uint8 (B, H, W)}``.
        """
        if not isinstance(data["inputs"], Mapping):
            return super().forward(data, training)
        data = self.cast_data(dict(data))
        images, samples = data["inputs"], data["data_samples"]
        device = images["labelled"].device
        generator = generator_at(process_seed(self.seed), self.iteration, device)
        labelled, labels = self._turned(generator, images["labelled"], samples["labelled"])
        return {
            "inputs": {
                "labelled": self.normalise(self._unit(labelled)),
                "unlabelled": self._view(generator, images, samples, "unlabelled"),
                "partner": self._view(generator, images, samples, "partner"),
            },
            "data_samples": labels,
        }

    def normalise(self, images: Tensor) -> Tensor:
        """Turn float images in 0..1 into what the network takes, in channels_last."""
        normalised: Tensor = (images * 255 - self.mean) / self.std
        return normalised.contiguous(memory_format=torch.channels_last)  # mixing may undo it

    def _view(
        self, generator: torch.Generator, images: Raw, samples: Raw, branch: str
    ) -> View | None:
        if images.get(branch) is None:
            return None
        given = samples.get(branch) or {}
        names = [name for name in ("valid", "consensus", "inconsistent") if name in given]
        turned = self._turned(generator, images[branch], *(given[name] for name in names))
        maps = dict(zip(names, turned[1:], strict=True))
        if "valid" not in maps:
            maps["valid"] = torch.ones(
                turned[0].shape[:3], dtype=torch.bool, device=turned[0].device
            )
        return View(self._unit(turned[0]), **maps)

    def _turned(self, generator: torch.Generator, images: Tensor, *maps: Tensor) -> list[Tensor]:
        if self._geometry is None:
            return [images, *maps]
        draws = draw(self._geometry, images, generator)
        return [apply_geometry(each, draws) for each in (images, *maps)]

    def _unit(self, images: Tensor) -> Tensor:
        """Return uint8 (B, H, W, C) as float32 (B, C, H, W) in 0..1, in channels_last."""
        if self.bgr_to_rgb:
            images = images.flip(-1)
        x = images.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
        return x / 255
