"""Which files make up the splits of a described data set, without opening one of them.

Needs neither numpy nor an image library: planning a suite reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from typing_extensions import Self

from im_bench.data.description import SPLITS, DataDescription, Split, load_description
from im_bench.data.doubts import Doubt
from im_bench.data.listing import Item, Listing, left_out_doubts, list_pairs, normal
from im_bench.data.splits import divide, listed, read_names, require_once
from im_bench.errors import ImBenchError


class Layout:
    """The files of a data set on disk.

    Args:
        description: What the data set is.
        base: The folder that the description's paths are relative to.
    """

    def __init__(self, description: DataDescription, base: Path) -> None:
        self.description = description
        self.base = base

    @classmethod
    def load(cls, path: Path) -> Self:
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
        """The images of each split that have masks, sorted by name; what is wrong is left out.

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

    @cached_property
    def unmasked(self) -> list[Item]:
        """The training images without a mask, sorted by name: they can only be unlabelled.

        Raises:
            ImBenchError: As `listings`.
        """
        return list(self.listings["train"].without_mask)

    def items(self, split: Split) -> list[Item]:
        """Return the items of a split, sorted by name.

        Raises:
            ImBenchError: As `pairs`, an image lacks a mask that it needs, a name stands for two
                files, or the split is empty.
        """
        for one, listing in self.listings.items():
            self._require_pairs(one, listing)
        items = self.pairs[split]
        if not items:
            raise ImBenchError(f"data set {self.description.name}: {split} has no images")
        if split == "train" and self.unmasked:
            return sorted([*items, *self.unmasked], key=lambda item: item.name)
        return items

    def labelled_names(self) -> list[str] | None:
        """Return the names in the description's ``labelled`` file, or None where it has none.

        Raises:
            ImBenchError: The file cannot be read, or a name is no training image with a mask.
        """
        if self.description.labelled is None:
            return None
        path = self.base / self.description.labelled
        names = read_names(path)
        train = {item.name for item in self.pairs["train"]}
        unmasked = {item.name for item in self.unmasked}
        by_file = {
            normal(item.image.name): item.name for item in (*self.pairs["train"], *self.unmasked)
        }
        names = [
            name if name in train or name in unmasked else by_file.get(name, name) for name in names
        ]
        require_once(path, names)
        strange = set(names) - train - unmasked
        if strange:
            raise ImBenchError(
                f"{path}: {listed(strange)} {'is' if len(strange) == 1 else 'are'} not among the "
                "training images: write their names without folder, or remove them"
            )
        bare = set(names) - train
        if bare:
            raise ImBenchError(
                f"{path}: {listed(bare)} {'has' if len(bare) == 1 else 'have'} no mask: add the "
                "masks, or remove the names"
            )
        return names

    def doubts(self) -> list[Doubt]:
        """Return what of the files is hardly meant: what is not read, what has no partner.

        Raises:
            ImBenchError: As `listings`.
        """
        doubts = left_out_doubts(self.listings.values())
        if self.unmasked:
            count = len(self.unmasked)
            verb = "has no mask and counts" if count == 1 else "have no mask and count"
            doubts.append(
                Doubt(
                    "missing mask",
                    f"{self.unmasked[0].image.parent}: {count} training "
                    f"image{'s' if count > 1 else ''} {verb} as unlabelled: "
                    f"{listed([item.image.name for item in self.unmasked])}",
                )
            )
        for listing in self.listings.values():
            if alone := listing.masks_without_image:
                doubts.append(
                    Doubt(
                        "missing image",
                        f"{alone[0].parent}: no image for {listed([p.name for p in alone])}: add "
                        f"the image{'s' if len(alone) > 1 else ''} or remove the masks",
                    )
                )
        return doubts

    def _require_pairs(self, split: Split, listing: Listing) -> None:
        if listing.same_name:
            paths = [str(path) for path in listing.same_name]
            raise ImBenchError(f"another file has the same name as {listed(paths)}: rename one")
        needed = set(listing.images_without_mask)
        if self.may_lack_masks(split):
            needed -= {item.image for item in listing.without_mask}
        if needed:
            folder = next(iter(needed)).parent
            names = listed([path.name for path in needed])
            alone = listing.masks_without_image
            beside = (
                f", while {listed([path.name for path in alone])} has no image" if alone else ""
            )
            raise ImBenchError(
                f"{folder}: no mask for {names}{beside}: add the masks or remove the images"
            )

    def may_lack_masks(self, split: Split) -> bool:
        """Return whether images of a split without a mask are taken as unlabelled.

        Those of ``train`` are, if others have one. Where masks lack their image as well, names do
        not fit, unless a list names the labelled images.
        """
        listing = self.listings[split]
        return (
            split == "train"
            and bool(listing.items)
            and (self.description.labelled is not None or not listing.masks_without_image)
        )
