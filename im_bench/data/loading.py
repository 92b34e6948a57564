"""Loading images with the channels in the order that the rest of the package uses."""

from __future__ import annotations

from typing import Any

from mmcv.transforms import LoadImageFromFile
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadRGBImage(LoadImageFromFile):
    """``LoadImageFromFile``, but RGB where that gives BGR.

    What makes strong views on the device wants RGB, and so do the means of ImageNet.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Add ``img``, uint8 (H, W, 3), to ``results``."""
        loaded: dict[str, Any] | None = super().transform(results)
        if loaded is not None:
            loaded["img"] = loaded["img"][..., ::-1]
        return loaded
