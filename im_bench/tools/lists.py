"""The lists of labelled and unlabelled images beside a Cityscapes folder of MMSegmentation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from im_bench.data.partitions import load_partitions
from im_bench.errors import ImBenchError
from im_bench.files import write_text


def write_lists(arguments: Sequence[str] | None = None) -> None:
    """Write ``partitions/<family>-<share>/{labelled,unlabelled}.txt`` below a Cityscapes folder.

    The lists are those of the original repositories, verified by checksum. Their lines are names as
    MMSegmentation's ``ann_file`` has them: ``train/aachen/aachen_000000_000019``.

    Args:
        arguments: Of the command line; default: the process's own.

    Raises:
        ImBenchError: There is no such folder, or the lists cannot be had.
    """
    parser = argparse.ArgumentParser(description="Write the partitions of Cityscapes as lists.")
    parser.add_argument("root", type=Path, help="the folder with leftImg8bit and gtFine")
    parser.add_argument(
        "--from",
        dest="folders",
        type=Path,
        nargs="+",
        default=(),
        help="folders with copies of the original lists, instead of a download",
    )
    options = parser.parse_args(arguments)
    if not options.root.is_dir():
        raise ImBenchError(f"{options.root} is no folder: name the one with leftImg8bit and gtFine")
    lists = options.root / "partitions"
    for partition in load_partitions(lists / "downloads", options.folders):
        for name, images in (
            ("labelled", partition.labelled),
            ("unlabelled", partition.unlabelled),
        ):
            text = "".join(f"{image}\n" for image in images)
            write_text(lists / partition.name / f"{name}.txt", text)
    sys.stdout.write(f"the lists lie in {lists}\n")
