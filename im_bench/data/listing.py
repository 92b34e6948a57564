"""Which image belongs to which mask: the files of a data set, without opening one of them.

Needs neither numpy nor an image library: planning a suite reads it.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from im_bench.data.description import FILE_NAME, DataDescription
from im_bench.data.doubts import Doubt
from im_bench.data.splits import listed
from im_bench.errors import ImBenchError

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
)
#: What systems leave in folders; hidden files are left by systems as well.
_OF_SYSTEMS = frozenset({"thumbs.db", "desktop.ini", "@eadir", "__macosx", "icon\r"})
#: What people keep beside images on purpose, and what im-bench itself writes.
_NOTES = frozenset({".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".sha256"})


@dataclass(frozen=True)
class Item:
    """One image with its mask.

    Attributes:
        name: The image's file name without its extension, in Unicode's form NFC.
        image: Path of the image.
        masks: Path of the mask, or of one mask per class in the order of the classes; none where
            a training image has no mask.
    """

    name: str
    image: Path
    masks: tuple[Path, ...]


@dataclass(frozen=True)
class Listing:
    """The pairs of one folder, and what has no partner.

    Attributes:
        items: The pairs, sorted by name.
        without_mask: Images that have no mask at all, as items.
        images_without_mask: Images that lack one of their masks.
        masks_without_image: Masks whose image does not exist.
        same_name: Images and masks of which another one has the same stem.
        left_out: What lies in the folders and fits no name of an image: sub-folders that hold
            files, and files of other formats; how many files each is.
    """

    items: tuple[Item, ...]
    without_mask: tuple[Item, ...] = ()
    images_without_mask: tuple[Path, ...] = ()
    masks_without_image: tuple[Path, ...] = ()
    same_name: tuple[Path, ...] = ()
    left_out: Mapping[Path, int] = field(default_factory=dict)


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
    places = _mask_places(description, root, folder)
    beside = [suffix for place, suffix in places if place == image_folder]
    if "" in beside:
        raise ImBenchError(
            f"{image_folder}: holds both the images and the masks: give a mask_suffix"
        )
    used = {image_folder, *(place for place, _ in places)}
    for other in description.split_folders.values():
        used.add(root / description.images.replace("{split}", other))
        used.update(place for place, _ in _mask_places(description, root, other))
    own = {base / FILE_NAME, *({base / description.labelled} if description.labelled else ())}
    images, same_name, left_out = _by_stem(image_folder, used, own)
    # Where masks lie beside their images, only the suffix tells one from the other.
    for stem in [stem for stem in images if beside and stem.endswith(tuple(beside))]:
        del images[stem]

    masks: list[dict[str, Path]] = []
    for place, suffix in places:
        files, twice, others = _by_stem(place, used, own)
        same_name += [path for path in twice if path not in same_name]
        left_out |= others
        masks.append(
            {
                stem.removesuffix(suffix): path
                for stem, path in files.items()
                if stem.endswith(suffix)
            }
        )
    whole, some = set(images).intersection(*masks), set(images).intersection(set().union(*masks))
    return Listing(
        tuple(
            Item(name, images[name], tuple(files[name] for files in masks))
            for name in sorted(whole)
        ),
        tuple(Item(name, images[name], ()) for name in sorted(set(images) - some)),
        tuple(images[name] for name in sorted(set(images) - whole)),
        tuple(files[name] for files in masks for name in sorted(set(files) - set(images))),
        tuple(same_name),
        left_out,
    )


def left_out_doubts(listings: Iterable[Listing]) -> list[Doubt]:
    """Return a sentence for each folder in which something lies that is not read.

    It is grave where these may be images or masks.
    """
    left_out = {path: count for listing in listings for path, count in listing.left_out.items()}
    by_folder: dict[Path, list[Path]] = {}
    for path in left_out:
        by_folder.setdefault(path.parent, []).append(path)
    doubts: list[Doubt] = []
    for folder, paths in by_folder.items():
        below = [path for path in paths if path.is_dir()]
        notes = [path for path in paths if path.suffix.lower() in _NOTES and path not in below]
        other = [path for path in paths if path not in below and path not in notes]
        if below:
            count = sum(left_out[path] for path in below)
            said = f"{_files(count, below, 'in sub-folders')}: move them into the folder itself"
            doubts.append(Doubt("left out", f"{folder}: {said}"))
        if other:
            said = f"{_files(len(other), other, 'of other formats')}: save them in one of"
            doubts.append(Doubt("left out", f"{folder}: {said} {', '.join(sorted(SUFFIXES))}"))
        if notes:
            said = _files(len(notes), notes, "beside the images")
            doubts.append(Doubt("left out", f"{folder}: {said}", grave=False))
    return doubts


def _files(count: int, paths: Collection[Path], which: str) -> str:
    """Return that so many files are not read, and where they are, or which."""
    names = listed([path.name for path in paths], most=4)
    said = "files are" if count > 1 else "file is"
    return f"{count} {said} not read, {which} ({names})"


def _mask_places(description: DataDescription, root: Path, folder: str) -> list[tuple[Path, str]]:
    """Return folder and suffix of the masks, one of each, or one per class."""
    names = description.classes if description.encoding == "files" else ("",)
    return [
        (
            root / description.masks.replace("{split}", folder).replace("{class}", name),
            normal(description.mask_suffix.replace("{class}", name)),
        )
        for name in names
    ]


def normal(name: str) -> str:
    """Return a name in Unicode's form NFC; file systems of Apple give others."""
    return unicodedata.normalize("NFC", name)


def _by_stem(
    folder: Path, used: Collection[Path], own: Collection[Path]
) -> tuple[dict[str, Path], list[Path], dict[Path, int]]:
    """Return a folder's image files by stem, those whose stem is taken, and what is left out.

    Args:
        folder: To list.
        used: Folders of images and masks, which may lie in each other.
        own: Files that the data set needs for something else.
    """
    found: dict[str, Path] = {}
    twice: list[Path] = []
    left_out: dict[Path, int] = {}
    try:
        with os.scandir(folder) as entries:
            files = sorted((Path(folder, one.name), one.is_dir()) for one in entries)
    except OSError as error:
        raise ImBenchError(f"{folder}: cannot be listed: {error.strerror}") from None
    for path, is_folder in files:
        if path.name.startswith(".") or path.name.lower() in _OF_SYSTEMS or path in own:
            continue
        if is_folder:
            inside = sum(1 for _ in _files_below(path)) if not _is_used(path, used) else 0
            left_out |= {path: inside} if inside else {}
        elif path.suffix.lower() not in SUFFIXES:
            left_out[path] = 1
        elif (stem := normal(path.stem)) in found:
            twice.append(path)
        else:
            found[stem] = path
    return found, twice, left_out


def _is_used(folder: Path, used: Collection[Path]) -> bool:
    return any(folder == one or folder in one.parents for one in used)


def _files_below(folder: Path) -> Iterator[str]:
    """Give the files of a folder and of the folders in it, but for those of systems."""
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (
            name for name in files if not name.startswith(".") and name.lower() not in _OF_SYSTEMS
        )
