"""A described data set as splits of items, and an item as an image and its label map."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from im_bench.data import image_files
from im_bench.data.description import SPLITS, DataDescription, Split, load_description
from im_bench.data.encodings import Labels, read_label
from im_bench.data.image_files import WrongLabelError
from im_bench.data.listing import Item, Listing, list_pairs
from im_bench.data.splits import divide, listed, read_names
from im_bench.errors import ImBenchError


class DataFolder:
    """A data set on disk.

    Args:
        description: What the data set is.
        base: The folder that the description's paths are relative to.
    """

    def __init__(self, description: DataDescription, base: Path) -> None:
        self.description = description
        self.base = base

    @classmethod
    def load(cls, path: Path) -> DataFolder:
        """Read the description at ``path``: a file, or a folder with a ``dataset.yaml``."""
        return cls(*load_description(path))

    @cached_property
    def root(self) -> Path:
        """The folder of the data.

        Raises:
            ImBenchError: ``root`` names an environment variable that is not set.
        """
        return self.description.data_root(self.base)

    @cached_property
    def listings(self) -> Mapping[Split, Listing]:
        """What lies on disk: by split, or all under ``train`` where one folder is divided.

        Raises:
            ImBenchError: A folder does not exist or cannot be read.
        """
        folders = self.description.split_folders or {"train": ""}
        return {
            split: list_pairs(self.description, self.base, folders[split])
            for split in SPLITS
            if split in folders
        }

    @cached_property
    def pairs(self) -> Mapping[Split, list[Item]]:
        """The items of each split, sorted by name, without regard to files that lack a partner.

        Raises:
            ImBenchError: As `listings`, or there are too few images to be divided.
        """
        splits = {split: list(listing.items) for split, listing in self.listings.items()}
        fractions = self.description.fractions
        if fractions is not None and fractions.splits:
            by_name = {item.name: item for item in splits["train"]}
            for split, names in divide(by_name, fractions).items():
                splits[split] = [by_name[name] for name in names]
        return {split: splits[split] for split in SPLITS}

    def items(self, split: Split) -> list[Item]:
        """Return the items of a split, sorted by name.

        Raises:
            ImBenchError: As `pairs`, or an image of the data set has no mask, a name stands for
                two files, or the split is empty.
        """
        for listing in self.listings.values():
            _require_pairs(listing)
        items = self.pairs[split]
        if not items:
            raise ImBenchError(f"data set {self.description.name}: {split} has no images")
        return items

    def labelled_names(self) -> list[str] | None:
        """Return the names in the description's ``labelled`` file, or None where it has none.

        Raises:
            ImBenchError: The file cannot be read, or a name is no training image.
        """
        if self.description.labelled is None:
            return None
        path = self.base / self.description.labelled
        names = read_names(path)
        strange = set(names) - {item.name for item in self.pairs["train"]}
        if strange:
            raise ImBenchError(
                f"{path}: {listed(strange)} {'is' if len(strange) == 1 else 'are'} not among the "
                "training images: write their names without extension, or remove them"
            )
        return names

    def read_image(self, item: Item) -> NDArray[np.uint8]:
        """Read an image as ``(H, W, 3)`` RGB or ``(H, W, 1)`` grey, in 0..255.

        Raises:
            UnreadableImageError: The file is missing, damaged, cut off or no image.
        """
        return image_files.read_image(
            item.image, self.description.channels, self.description.reading
        )

    def read_label(self, item: Item) -> Labels:
        """Read a label map: ``(H, W)`` label bytes.

        Raises:
            UnreadableImageError: A mask is missing, damaged, cut off or no image.
            WrongLabelError: A mask holds something that stands for no label.
        """
        return read_label(self.description, item.masks)

    def read_pair(self, item: Item) -> tuple[NDArray[np.uint8], Labels]:
        """Read an image and its label map, which have one size.

        Raises:
            UnreadableImageError: As `read_image`.
            WrongLabelError: As `read_label`, or the sizes differ.
        """
        image, label = self.read_image(item), self.read_label(item)
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


def _require_pairs(listing: Listing) -> None:
    if listing.same_name:
        paths = [str(path) for path in listing.same_name]
        raise ImBenchError(f"another file has the same name as {listed(paths)}: rename one")
    if listing.images_without_mask:
        names = [path.name for path in listing.images_without_mask]
        folder = listing.images_without_mask[0].parent
        raise ImBenchError(
            f"{folder}: no mask for {listed(names)}: add the masks or remove the images"
        )
