"""The label partitions of Cityscapes that papers compare on, as their authors publish them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from im_bench.data.splits import listed, overlap, repeated
from im_bench.errors import ImBenchError
from im_bench.files import sha256_file

SERVER = "https://raw.githubusercontent.com"

CITYSCAPES = re.compile(r"leftImg8bit/(\w+/([^/\s]+)/\2_\d+_\d+)_leftImg8bit\.png")
"""An image of Cityscapes; its id is ``<split>/<city>/<name>``."""
EXAMPLE = "leftImg8bit/SPLIT/CITY/CITY_000000_000000_leftImg8bit.png"


@dataclass(frozen=True)
class Repository:
    """Where the lists of a family lie.

    Attributes:
        root: Repository and commit, as GitHub's raw addresses name them.
        folder: The folder of the lists in it.
    """

    root: str
    folder: str


@dataclass(frozen=True)
class ListFile:
    """One published list.

    Attributes:
        family: Whose it is, a key of :data:`REPOSITORIES`.
        path: Its path in the folder of the lists.
        sha256: Of its content.
    """

    family: str
    path: str
    sha256: str

    @property
    def url(self) -> str:
        """Its address."""
        repository = REPOSITORIES[self.family]
        return f"{SERVER}/{repository.root}/{repository.folder}/{self.path}"


REPOSITORIES: Mapping[str, Repository] = {
    "u2pl": Repository(
        "Haochen-Wang409/U2PL/ab3d2be313d4d6b2885e7a0213d4fce82a803b79", "data/splits/cityscapes"
    ),
    "unimatch": Repository(
        "LiheYoung/UniMatch/0324f3dd4a22128105a5eb135d2586c0bb3cc647", "splits/cityscapes"
    ),
    "pascal-u2pl": Repository(
        "Haochen-Wang409/U2PL/ab3d2be313d4d6b2885e7a0213d4fce82a803b79", "data/splits/pascal"
    ),
    "pascal-unimatch": Repository(
        "LiheYoung/UniMatch/0324f3dd4a22128105a5eb135d2586c0bb3cc647", "splits/pascal"
    ),
}

# Per family and share: the lists' folder, the SHA-256 of labeled.txt and of unlabeled.txt.
_LISTS: Mapping[tuple[str, str], tuple[str, str, str]] = {
    ("u2pl", "1-16"): (
        "186",
        "b325a363ec870628cbf3265bf48f9d9bf3e6e87a6e5c004ca989cda6279a0fd4",
        "0adcdcf9cf5db4276dfcdba1c207b2e5439ee465102d923eff3eec61573c5393",
    ),
    ("u2pl", "1-8"): (
        "372",
        "a7fa9c926a15c3983a6b2b884dc455bcfaf59ddc2cbe63f895e1d067d5a7f9b4",
        "de6eeec7ec6d43403138d840e91e671af0033dc09a09cbcd14a7b872963b034f",
    ),
    ("u2pl", "1-4"): (
        "744",
        "489d49d7dde31150a862dbd0aabfa8e787b9278ee51978d7d3d2c8e67d666c66",
        "e7b30bf5cee9103f546818e61fd8e26eb63c3a763fdd2a45343744bb6d96618a",
    ),
    ("u2pl", "1-2"): (
        "1488",
        "1c345bd7ed630b201bc3c3cde2604dce0d65df35c142bbf35ffea8a699485488",
        "be9e936decc74da8575cd57974e3b0ed4a669317873a5748125330b7d10409dc",
    ),
    ("unimatch", "1-30"): (
        "1_30",
        "b11041fef70476fb5564af0ef006a8013622da9cf49c7faf4182f3e26eb32742",
        "1b8a9b7bb4f9f6f06a3dffe766efe8b10a14a0137637af1738bbb417a5c85dbe",
    ),
    ("unimatch", "1-16"): (
        "1_16",
        "64195914dce1231133c7dc611fece213bc3a87fe4e0b73fbd96add7dfa8a2f46",
        "7f18e2aefb5e88598910e291a935117daaeef51c6828edeb62f8a6c882be0a79",
    ),
    ("unimatch", "1-8"): (
        "1_8",
        "97291dfc509a8c90ee94e1c5fd1f7668c21205b995f53b963ac133f0ed96ee8e",
        "5d7d33e39a8bda908e12d7f33ecb3299f93a8596fbe3c5e0cc1f2d3f5d358459",
    ),
    ("unimatch", "1-4"): (
        "1_4",
        "8edd24ae817eed7b49d0a06c95b7bfaf769002c98387e4edeab5e221ab7791c3",
        "6fc53258ed2e40f72f4a22b6e20d60a789168fdf6b860033f826e8bee3900e9b",
    ),
    ("unimatch", "1-2"): (
        "1_2",
        "90d8e29d4d182c3b3def3d1fac02e454868c4ca632f73696bb521aa05e937ee4",
        "23d0efaa43a65608b25eb078ed058c53979957e44407d787e3abdda9a795d289",
    ),
}
_VALIDATION: Mapping[str, str] = {
    "u2pl": "8115b5b627fe0b24001c541804788b8c2bb16076b78ad036a9905d471abd11fd",
    "unimatch": "cf5aa35c0e4446bc684b61b6be88e22299ef7b1851852b53fc6a34794f161544",
}


@dataclass(frozen=True)
class Partition:
    """Which training images keep their labels.

    Attributes:
        family: Whose partition it is.
        share: The share that is labelled, such as ``1-16``.
        labelled: Ids ``<split>/<city>/<name>`` of the images with labels, in published order.
        unlabelled: Those of the others.

    Raises:
        ImBenchError: An image stands twice in one list.
    """

    family: str
    share: str
    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]

    def __post_init__(self) -> None:
        twice = [*repeated(self.labelled), *repeated(self.unlabelled)]
        if twice:
            raise ImBenchError(
                f"partition {self.name}: {listed(twice)} would be counted twice: get the original "
                "lists"
            )

    @property
    def overlap(self) -> list[str]:
        """The images in both lists, of which some published partitions have a few."""
        return overlap(self.labelled, self.unlabelled)

    @property
    def name(self) -> str:
        """Family and share, such as ``u2pl-1-16``."""
        return f"{self.family}-{self.share}"


def load_partitions(cache: Path, folders: Iterable[Path] = ()) -> list[Partition]:
    """Return all partitions of both families, verified by checksum.

    Args:
        cache: Where downloads are kept.
        folders: Folders in which to look for the lists first; they are known by their content,
            so that any copy of the repositories will do.

    Raises:
        ImBenchError: A list is in no folder and cannot be downloaded.
    """
    local = text_files(folders)
    partitions = []
    for (family, share), (folder, labelled, unlabelled) in _LISTS.items():
        ids = [
            read_list(fetch(ListFile(family, f"{folder}/{file}.txt", sha256), cache, local))
            for file, sha256 in (("labeled", labelled), ("unlabeled", unlabelled))
        ]
        partitions.append(Partition(family, share, *map(tuple, ids)))
    return partitions


def load_validation(family: str, cache: Path, folders: Iterable[Path] = ()) -> list[str]:
    """Return the ids of the images that a family's papers report on; otherwise as above."""
    file = ListFile(family, "val.txt", _VALIDATION[family])
    return read_list(fetch(file, cache, text_files(folders)))


def read_list(path: Path, image: re.Pattern[str] = CITYSCAPES, example: str = EXAMPLE) -> list[str]:
    """Return the ids of the images of a list, in its order.

    Args:
        path: The list: of an image, and maybe its label, a line.
        image: What an image's path must match as a whole; its first group is the id.
        example: Such a path.

    Raises:
        ImBenchError: The file cannot be read, or a line names no such image.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImBenchError(f"{path}: cannot be read ({error}): get the original list") from None
    ids = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        # In U2PL's lists nothing follows the image, in UniMatch's its label.
        match = image.fullmatch(line.split()[0])
        if match is None:
            raise ImBenchError(
                f"{path}, line {number}: {line!r} names no image of the data set: expected "
                f"{example}"
            )
        ids.append(match[1])
    return ids


def text_files(folders: Iterable[Path]) -> dict[str, Path]:
    """Return the text files below the folders by the SHA-256 of their content."""
    return {sha256_file(path): path for folder in folders for path in sorted(folder.rglob("*.txt"))}


def fetch(file: ListFile, cache: Path, local: Mapping[str, Path]) -> Path:
    """Return where a list is, after downloading it if need be.

    Args:
        file: The list.
        cache: Where downloads are kept.
        local: Files by the SHA-256 of their content, among which it is looked for first.

    Raises:
        ImBenchError: It cannot be downloaded, or is not what its authors published.
    """
    if file.sha256 in local:
        return local[file.sha256]
    import pooch

    name = f"{file.family}-{file.path.replace('/', '-')}"
    try:
        return Path(
            pooch.retrieve(
                file.url, f"sha256:{file.sha256}", fname=name, path=cache, progressbar=False
            )
        )
    except (OSError, ValueError) as error:
        raise ImBenchError(
            f"{file.url} could not be downloaded ({type(error).__name__}): try again, or give a "
            "folder that holds the original lists"
        ) from error
