"""An item of a described data set as an image and its label map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from im_bench.data import image_files
from im_bench.data.description import IGNORED
from im_bench.data.encodings import Labels, read_label
from im_bench.data.image_files import Pixels, WrongLabelError
from im_bench.data.layout import Layout
from im_bench.data.listing import Item


class DataFolder(Layout):
    """A data set on disk, to be read; for its arguments see `Layout`."""

    def read_image(self, item: Item) -> NDArray[np.uint8]:
        """Read an image as ``(H, W, 3)`` RGB or ``(H, W, 1)`` grey, in 0..255.

        Raises:
            UnreadableImageError: The file is missing, damaged, cut off or no image.
        """
        return image_files.read_image(
            item.image, self.description.channels, self.description.reading
        )

    def read_label(self, item: Item, stored: list[Pixels] | None = None) -> Labels:
        """Read a label map: ``(H, W)`` label bytes.

        Args:
            item: With a mask.
            stored: Receives the numbers of each mask as they are stored.

        Raises:
            UnreadableImageError: A mask is missing, damaged, cut off or no image.
            WrongLabelError: A mask holds something that stands for no label.
        """
        return read_label(self.description, item.masks, stored)

    def read_pair(
        self, item: Item, stored: list[Pixels] | None = None
    ) -> tuple[NDArray[np.uint8], Labels]:
        """Read an image and its label map, which have one size.

        Of an image without a mask all pixels are ignored, or, in multi-label data, of no class.
        For ``stored`` see `read_label`.

        Raises:
            UnreadableImageError: As `read_image`.
            WrongLabelError: As `read_label`, or the sizes differ.
        """
        image = self.read_image(item)
        if not item.masks:
            nothing = 0 if self.description.space == "multilabel" else IGNORED
            return image, np.full(image.shape[:2], nothing, np.uint8)
        label = self.read_label(item, stored)
        require_same_size(item, image, label)
        return image, label


def require_same_size(item: Item, image: NDArray[np.uint8], label: Labels) -> None:
    """Raise a `WrongLabelError` where an image and its label map differ in size."""
    if image.shape[:2] != label.shape:
        (height, width), (mask_height, mask_width) = image.shape[:2], label.shape
        raise WrongLabelError(
            f"{item.masks[0]}: is {mask_width}x{mask_height} pixels but its image {item.image} "
            f"is {width}x{height}: replace one of them"
        )
