"""The one way in which an image becomes what a network takes, whoever asks: packing or prediction.

A suite's ``fit`` decides. With ``resize`` an image is brought to the suite's size, and a predicted
label map back to the image's own. Otherwise a network takes an image in its own size: with ``pad``
only the stored arrays are padded, and evaluation reads an image without its padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
"""Width and height, in pixels."""
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class NetworkInput:
    """An image as a network takes it.

    Attributes:
        pixels: uint8 (h, w, C), in 0..255.
        own_size: The size that the image had before.
    """

    pixels: Pixels
    own_size: Size

    def in_own_size(self, labels: Pixels) -> Pixels:
        """Return a label map (h, w) of the network in the image's own size."""
        return resize_labels(labels, self.own_size)


def network_input(image: Pixels, meta: Mapping[str, Any]) -> NetworkInput:
    """Return an image as networks take it that were trained on a packed data set.

    Args:
        image: uint8 (H, W, C), of any size.
        meta: The packed data set's ``meta.json``: its ``fit`` and ``size``.
    """
    resized = meta["fit"] == "resize"
    size = (meta["size"][0], meta["size"][1]) if resized else size_of(image)
    return NetworkInput(resize_image(image, size), size_of(image))


def resize_image(image: Pixels, size: Size) -> Pixels:
    """Return an image (H, W, C) in another size, reduced by pixel area or enlarged bilinearly."""
    if size_of(image) == size:
        return image
    shrinks = all(new <= old for new, old in zip(size, size_of(image), strict=True))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    result: Pixels = resized.reshape(size[1], size[0], image.shape[-1])
    return result


def resize_labels(labels: Pixels, size: Size) -> Pixels:
    """Return a label map (H, W), bits included, in another size: each pixel takes the nearest."""
    if size_of(labels) == size:
        return labels
    # INTER_NEAREST_EXACT samples pixel centres, as the image's interpolation does; INTER_NEAREST
    # would shift labels by up to half a pixel against their image.
    resized: Pixels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return resized


def size_of(image: Pixels) -> Size:
    """Return the size of an image (H, W, C) or label map (H, W)."""
    return image.shape[1], image.shape[0]
