"""The label partitions of Pascal VOC 2012 that papers compare on, as their authors publish them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from im_bench.data.partitions import ListFile, Partition, fetch, read_list, text_files

IMAGE = re.compile(r"(?:JPEGImages/)?(\d{4}_\d{6})(?:\.jpg)?")
"""An image as UniMatch's lists (a path) and U2PL's (its name) write it; the name is its id."""

# Per family and share: repository, the lists' folder, the SHA-256 of labeled.txt and unlabeled.txt.
_LISTS: Mapping[tuple[str, str], tuple[str, str, str, str]] = {
    ("classic", "92"): (
        "pascal-unimatch",
        "92",
        "8a02aa6a1253178b105bd25b36f0a27daeedf6b3959f399aa47d24783f3a8306",
        "a3eb5ef8d2ae547f131bfa60b8111d21700d458b545741336633d5aa209254d5",
    ),
    ("classic", "183"): (
        "pascal-unimatch",
        "183",
        "de3f4680391cb15324402dae17ac0919933d0d9004c11a641c924f3f67147f9f",
        "39aa3fd2997799c57c7d68d1ab342e2ebf53224ab10c1766a9fcd1554afbfd6a",
    ),
    ("classic", "366"): (
        "pascal-unimatch",
        "366",
        "74f6bd1e459a8b46fc204529d70b603769f8a45aef4553df8a5c04b5698e77b7",
        "591c593546d1dbb65bd4d08ae99fabc1e9958d614c8079c8961422b8b7df7433",
    ),
    ("classic", "732"): (
        "pascal-unimatch",
        "732",
        "02c8ec5b62e27364f5bc91eb95bccf54debaa721e9d31c50c07507aea258fd0f",
        "8ddf828ec616b551447dc402c2c53eb7d0044697a0b6bacd6190ee843ffbf340",
    ),
    ("classic", "1464"): (
        "pascal-unimatch",
        "1464",
        "b20486876df309c57c8230e957b2957fff5392ff5cb11f225e8453ed6c50ba3e",
        "3ba331d08fee0751486a8be3f9f269f9efc09faa82a32a703bbb7deda4d66544",
    ),
    ("u2pl", "1-16"): (
        "pascal-u2pl",
        "662",
        "e9bb5d18af8041799389ad0c2274f043161a912837416c2c6403d9d901dee4c1",
        "a9a7e39271779ccaacced31633d32d55a0dc27f61a451ac5e3a7a1403cdfb5af",
    ),
    ("u2pl", "1-8"): (
        "pascal-u2pl",
        "1323",
        "112dcea11e1a1d211e03db87c743989ffb29c16f90ce30da7c118b3c28f8d697",
        "669ca8dc16acaf33a9db723d40e914f93d8d4ab5edab121148fbf30861128694",
    ),
    ("u2pl", "1-4"): (
        "pascal-u2pl",
        "2646",
        "4cc769f75d69c74e4eabdb1dff7cb93ac22a4c30a9b759a7cedec3e3c6b7ed28",
        "4fd8e0bc7304c99ac884c6876a8f5d23ce6d9468fa55601334982ad4fa631f4f",
    ),
    ("u2pl", "1-2"): (
        "pascal-u2pl",
        "5291",
        "989051b20c885ee09c37b5e5d005c067a6cd1bbcf40b06df6eb4af9e41992296",
        "7594c243192ee8decac87d733eb977fea16ede88f9b0cf7759c73251e7f0a82c",
    ),
    ("cps", "1-16"): (
        "pascal-unimatch",
        "1_16",
        "0f5e114e6504c8afec6523db91f05503f120d1365cf505e6f4ef99f316d5873b",
        "29b30bf7adb5d39e642c57e3a3f4f26f9d4fb8f145098c430a597ef99160e36f",
    ),
    ("cps", "1-8"): (
        "pascal-unimatch",
        "1_8",
        "c5ea9bb095158a137e4c1db739b07d54a89af697de24ffd9e576493a4189653f",
        "5246f6e0bec70363a5b898e0d685d37b0afcfab4a71c010e7026555294d9eca9",
    ),
    ("cps", "1-4"): (
        "pascal-unimatch",
        "1_4",
        "a4573ca0fa8f97c4013dba5f8b233e77a1a8dc7877539b1eb18c8206d37227d0",
        "832ccd3a7971b1ed79e77f606a6736fa58d85f88aaf2eb88c856b27af74c847b",
    ),
}
_VALIDATION = ListFile(
    "pascal-unimatch",
    "val.txt",
    "df002e3a730c57678f63aa3e46a4c827a4066f1dc1814e24d0e8b215075e0c6c",
)


def load_partitions(cache: Path, folders: Iterable[Path] = ()) -> list[Partition]:
    """Return all partitions, verified by checksum; ids are names of images.

    ``classic``: images of VOC 2012 itself are labelled, in U2PL's repository the same ones.
    ``u2pl`` and ``cps``: the labels of VOC 2012 and SBD are blended; UniMatch has lists of both.

    Args:
        cache: Where downloads are kept.
        folders: Folders in which to look for the lists first, known by their content.

    Raises:
        ImBenchError: A list is in no folder and cannot be downloaded.
    """
    local = text_files(folders)
    partitions = []
    for (family, share), (repository, folder, *checksums) in _LISTS.items():
        labelled, unlabelled = (
            _read(fetch(ListFile(repository, f"{folder}/{file}.txt", sha256), cache, local))
            for file, sha256 in zip(("labeled", "unlabeled"), checksums, strict=True)
        )
        partitions.append(Partition(family, share, tuple(labelled), tuple(unlabelled)))
    return partitions


def load_validation(cache: Path, folders: Iterable[Path] = ()) -> list[str]:
    """Return the names of the images that papers report on; otherwise as above."""
    return _read(fetch(_VALIDATION, cache, text_files(folders)))


def _read(path: Path) -> list[str]:
    return read_list(path, IMAGE, "JPEGImages/0000_000000.jpg or 0000_000000")
