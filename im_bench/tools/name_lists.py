"""Lists of image names (``ann_file``): what they hold that MMSegmentation would take for names."""

from __future__ import annotations

import codecs
import inspect
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from im_bench.errors import ImBenchError

_ENCODINGS = (
    (codecs.BOM_UTF8, "begins with a byte-order mark, which would be part of the first name"),
    (codecs.BOM_UTF16_LE, "is UTF-16"),
    (codecs.BOM_UTF16_BE, "is UTF-16"),
)


def check_name_list(path: Path, dataset: Mapping[str, Any]) -> None:
    """Check a list of image names; names that occur twice are a warning in the log.

    Lists that only a data set of another kind can read are left alone.

    Args:
        path: The list.
        dataset: The config of the data set that reads it.

    Raises:
        ImBenchError: The list has another encoding than UTF-8, no names, blank lines, or names
            with the ending that the data set adds.
    """
    kind = _kind(dataset)
    if kind is None or not path.is_file():
        return
    content = path.read_bytes()
    for mark, what in _ENCODINGS:
        if content.startswith(mark):
            raise ImBenchError(f"list {path} {what}: save it as UTF-8 without byte-order mark")
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise ImBenchError(f"list {path} is no UTF-8 text ({error}): save it as UTF-8") from error
    names = [line.strip() for line in (lines[:-1] if lines[-1] == "" else lines)]
    if not any(names):
        raise ImBenchError(f"list {path} has no names: write one name a line, without its ending")
    if not all(names):
        raise ImBenchError(
            f"line {names.index('') + 1} of list {path} is blank, and would be an image without "
            "name: remove blank lines"
        )
    suffix = dataset.get("img_suffix", _default_suffix(kind))
    ends = [name for name in names if suffix and name.endswith(suffix)]
    if ends:
        raise ImBenchError(
            f"list {path} has the name {ends[0]} with its ending, to which {suffix!r} is added: "
            "write names without it, or set img_suffix='' and a fitting seg_map_suffix"
        )
    _warn_of_repeated(path, names)


def _kind(dataset: Mapping[str, Any]) -> Any:
    """Return the class of a data set that reads lists as MMSegmentation does; None: it does not."""
    from mmseg.datasets import BaseSegDataset
    from mmseg.registry import DATASETS

    kind: Any = DATASETS.get(str(dataset.get("type")))
    own = getattr(kind, "load_data_list", None)
    return kind if own is BaseSegDataset.load_data_list else None


def _default_suffix(kind: Any) -> str:
    parameter = inspect.signature(kind).parameters.get("img_suffix")
    return str(parameter.default) if parameter is not None else ""


def _warn_of_repeated(path: Path, names: list[str]) -> None:
    from mmengine.logging import print_log

    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        print_log(
            f"list {path} has {len(repeated)} names more than once, such as {repeated[0]}: they "
            "count so many times in training and scores",
            logger="current",
            level=logging.WARNING,
        )
