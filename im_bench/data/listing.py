"""Which image belongs to which mask: the files of a data set, without opening one of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from im_bench.data.description import DataDescription
from im_bench.errors import ImBenchError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Item:
    """One image with its mask.

    Attributes:
        name: The image's file name without its extension.
        image: Path of the image.
        masks: Path of the mask, or of one mask per class in the order of the classes.
    """

    name: str
    image: Path
    masks: tuple[Path, ...]


@dataclass(frozen=True)
class Listing:
    """The pairs of one folder, and what has no partner.

    Attributes:
        items: The pairs, sorted by name.
        images_without_mask: Images that lack one of their masks.
        masks_without_image: Masks whose image does not exist.
        same_name: Images and masks of which another one has the same stem.
    """

    items: tuple[Item, ...]
    images_without_mask: tuple[Path, ...] = ()
    masks_without_image: tuple[Path, ...] = ()
    same_name: tuple[Path, ...] = ()


def list_pairs(description: DataDescription, base: Path, folder: str) -> Listing:
    """Pair the images and masks of one folder by name; extensions do not matter.

    Args:
        description: What the data set is.
        base: The description's folder.
        folder: What replaces ``{split}``; without meaning where nothing does.

    Raises:
        ImBenchError: A folder does not exist or cannot be read.
    """
    root = description.data_root(base)
    image_folder = root / description.images.replace("{split}", folder)
    names = description.classes if description.encoding == "files" else ("",)
    places = [
        (
            root / description.masks.replace("{split}", folder).replace("{class}", name),
            description.mask_suffix.replace("{class}", name),
        )
        for name in names
    ]
    beside = [suffix for place, suffix in places if place == image_folder]
    if "" in beside:
        raise ImBenchError(
            f"{image_folder}: holds both the images and the masks: give a mask_suffix"
        )
    images, same_name = _by_stem(image_folder)
    # Where masks lie beside their images, only the suffix tells one from the other.
    for stem in [stem for stem in images if beside and stem.endswith(tuple(beside))]:
        del images[stem]

    masks: list[dict[str, Path]] = []
    for place, suffix in places:
        files, twice = _by_stem(place)
        same_name += [path for path in twice if path not in same_name]
        masks.append(
            {
                stem.removesuffix(suffix): path
                for stem, path in files.items()
                if stem.endswith(suffix)
            }
        )
    whole = set(images).intersection(*masks)
    return Listing(
        tuple(
            Item(name, images[name], tuple(files[name] for files in masks))
            for name in sorted(whole)
        ),
        tuple(images[name] for name in sorted(set(images) - whole)),
        tuple(files[name] for files in masks for name in sorted(set(files) - set(images))),
        tuple(same_name),
    )


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """Return a folder's image files by stem, and those whose stem is taken already."""
    found: dict[str, Path] = {}
    twice: list[Path] = []
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ImBenchError(f"{folder}: cannot be listed: {error.strerror}") from None
    for path in paths:
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                twice.append(path)
            else:
                found[path.stem] = path
    return found, twice
