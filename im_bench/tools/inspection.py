"""What the files of a data set hold, as the loading steps of its pipeline read them.

Every file is opened and decoded once. What was found is remembered in the user's cache folder, by
the size and the time of change of the files, so that the next training begins at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import mmcv.transforms
import numpy as np
import pooch
from mmengine.dataset import Compose
from mmengine.dist import all_gather_object, get_dist_info
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from im_bench.data import image_files
from im_bench.data.image_headers import UnreadableImageError
from im_bench.data.loading import LoadLabels
from im_bench.data.mmseg_datasets import files_of, loading
from im_bench.data.plausibility import count_values
from im_bench.data.transforms import LoadPseudoLabels, transforms_of
from im_bench.errors import ImBenchError
from im_bench.files import read_json, write_json

_FORMAT = 1
_KNOWN = ("im_bench.", "mmcv.", "mmengine.", "mmseg.")
_MANY = 500


class Content(NamedTuple):
    """What the files of one image hold; JSON values.

    Attributes:
        digest: Of the image file; "" where it is no local file.
        darkest: The smallest value of the image, None unless it has 8 bits.
        brightest: The largest one.
        counts: The number of pixels of each label; None without labels.
    """

    digest: str
    darkest: int | None
    brightest: int | None
    counts: Mapping[str, int] | None

    @property
    def histogram(self) -> NDArray[np.int64]:
        """The number of pixels of each label byte, int64 (256,)."""
        counts = np.zeros(256, np.int64)
        for label, count in (self.counts or {}).items():
            counts[int(label)] = count
        return counts


class Wrong(NamedTuple):
    """Why the files of one image cannot be trained on, in one sentence."""

    sentence: str


def cache_folder() -> Path:
    """Return where it is remembered what files hold."""
    return Path(pooch.os_cache("im-bench")) / "inspected"


def inspect(dataset: Any, infos: Sequence[Mapping[str, Any]], name: str) -> list[Content | Wrong]:
    """Open the files of all images of a data set; several processes share the work.

    Args:
        dataset: A data set of MMSegmentation that reads files.
        infos: What it knows of each image.
        name: What to call it while the user waits.

    Returns:
        One entry per image, in order.
    """
    read = _reader(dataset)
    memory = cache_folder() / f"{_signature(dataset, infos)}.json"
    known = _remembered(memory)
    stamps = [_stamp(info) for info in infos]
    found: dict[int, Content | Wrong] = {}
    for index, stamp in enumerate(stamps):
        entry = known.get(_key(infos[index]))
        if entry is not None and stamp is not None and entry[0] == stamp:
            found[index] = Content(*entry[1])
    rank, processes = get_dist_info()
    missing = [index for index in range(len(infos)) if index not in found]
    mine = missing[rank::processes]
    results = _in_threads(read, [infos[index] for index in mine], name, processes, rank)
    for share in all_gather_object(list(zip(mine, results, strict=True))):
        found.update(share)
    if missing and rank == 0:
        for index in missing:
            content, stamp = found[index], stamps[index]
            if isinstance(content, Content) and stamp is not None:
                known[_key(infos[index])] = [stamp, list(content)]
        _remember(memory, known)
    return [found[index] for index in range(len(infos))]


def _in_threads(
    read: Callable[[Mapping[str, Any]], Content | Wrong],
    infos: Sequence[Mapping[str, Any]],
    name: str,
    processes: int,
    rank: int,
) -> list[Content | Wrong]:
    threads = max(1, (os.cpu_count() or 1) // processes)
    with ThreadPoolExecutor(threads) as pool:
        results: Iterable[Content | Wrong] = pool.map(read, infos)
        if rank == 0 and len(infos) >= _MANY:
            text = f"Checking {len(infos)} {name} images (once; --no-data-check leaves it out)"
            results = track(results, text, len(infos), console=Console(stderr=True))
        return list(results)


def _reader(dataset: Any) -> Callable[[Mapping[str, Any]], Content | Wrong]:
    """Return what reads the files of an image.

    Steps between loading and packing that are the user's own may convert labels. Then labels are
    taken as they leave the pipeline, at the price of its random crops.
    """
    steps = transforms_of(dataset)
    loaders = [step for step in steps if _loads(step)]
    own = [step for step in steps if not _loads(step) and not _is_known(step)]
    return partial(_read, loaders, Compose(steps) if own else None)


def _read(
    loaders: Sequence[Any], whole: Compose | None, info: Mapping[str, Any]
) -> Content | Wrong:
    try:
        with loading(info):
            labels, image = _loaded(loaders, info)
            if whole is not None and labels is not None:
                labels = _packed(whole, info)
        _check_labels(labels, image, loaders, info, packed=whole is not None)
    except ImBenchError as error:
        return Wrong(str(error))
    path = Path(str(info.get("img_path")))
    eight_bits = image is not None and image.dtype == np.uint8 and image.size
    return Content(
        hashlib.blake2b(path.read_bytes(), digest_size=12).hexdigest() if path.is_file() else "",
        int(image.min()) if eight_bits else None,
        int(image.max()) if eight_bits else None,
        None if labels is None else _counts(labels),
    )


def _loaded(loaders: Sequence[Any], info: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the labels and the image that the loading steps give, or None."""
    # A loader appends to the lists of what it gets.
    results: Any = {key: _copied(value) for key, value in info.items()}
    for step in loaders:
        results = step(results)
        if results is None:
            raise ValueError(f"{type(step).__name__} gives nothing")
    image = results.get("img")
    return results.get("gt_seg_map"), image if isinstance(image, np.ndarray) else None


def _packed(whole: Compose, info: Mapping[str, Any]) -> Any:
    results = whole({key: _copied(value) for key, value in info.items()})
    if results is None or "data_samples" not in results:
        return None if results is None else results.get("gt_seg_map")
    sample = results["data_samples"]
    return sample.gt_sem_seg.data.numpy().squeeze() if "gt_sem_seg" in sample else None


def _check_labels(
    labels: Any, image: Any, loaders: Sequence[Any], info: Mapping[str, Any], packed: bool
) -> None:
    if labels is None:
        return
    mask = info.get("seg_map_path") or files_of(info)
    plain = any(isinstance(step, mmcv.transforms.LoadAnnotations) for step in loaders)
    if labels.ndim != 2 and plain:
        raise ImBenchError(
            f"{mask} is read with the shape {labels.shape}, as colours and not as numbers of "
            "classes: save masks of one channel (palette files are read as numbers with "
            "imdecode_backend='pillow')"
        )
    if image is not None and plain and not packed and labels.shape != image.shape[:2]:
        raise ImBenchError(
            f"{mask} has {labels.shape[0]} rows and {labels.shape[1]} columns, its image "
            f"{image.shape[0]} and {image.shape[1]}: give each image a mask of its own size"
        )
    if not np.issubdtype(labels.dtype, np.integer) and labels.dtype != bool:
        raise ImBenchError(
            f"{mask} is read as {labels.dtype}: save masks that hold whole numbers, one per class"
        )
    path = Path(str(info.get("seg_map_path")))
    if any(_keeps_eight_bits(step) for step in loaders) and _is_deep(path):
        stored = image_files.read_mask(path)
        if (stored != stored.astype(np.uint8)).any():
            raise ImBenchError(
                f"{path} holds the values {stored.min()} to {stored.max()}, of which "
                "LoadAnnotations keeps the lower 8 bits: save masks whose values are 0 to 255"
            )
    if not packed and (labels.min(initial=0) < 0 or labels.max(initial=0) > 255):
        raise ImBenchError(
            f"{mask} holds the labels {labels.min()} to {labels.max()}: labels are 0 to 255"
        )


def _keeps_eight_bits(step: Any) -> bool:
    return isinstance(step, mmcv.transforms.LoadAnnotations) and not isinstance(step, LoadLabels)


def _is_deep(path: Path) -> bool:
    try:
        return image_files.inspect(path).bits > 8
    except UnreadableImageError:  # nothing that im-bench knows
        return False


def _counts(labels: NDArray[Any]) -> dict[str, int]:
    counts = count_values(labels.astype(np.uint8))
    return {str(label): int(counts[label]) for label in np.flatnonzero(counts)}


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


def _loads(step: Any) -> bool:
    kinds = (mmcv.transforms.LoadImageFromFile, mmcv.transforms.LoadAnnotations)
    if isinstance(step, LoadPseudoLabels):
        return False
    return isinstance(step, kinds) or type(step).__name__.startswith("Load")


def _is_known(step: Any) -> bool:
    return type(step).__module__.startswith(_KNOWN)


def _stamp(info: Mapping[str, Any]) -> list[int] | None:
    """Return what changes when the files of an image do; None: they are no local files."""
    stamp = []
    for key in ("img_path", "seg_map_path"):
        if info.get(key):
            try:
                status = Path(str(info[key])).stat()
            except OSError:
                return None
            stamp += [status.st_size, status.st_mtime_ns]
    return stamp


def _key(info: Mapping[str, Any]) -> str:
    return "|".join(
        str(Path(str(info.get(key))).absolute()) for key in ("img_path", "seg_map_path")
    )


def _signature(dataset: Any, infos: Sequence[Mapping[str, Any]]) -> str:
    """Return what tells apart the ways of reading, and roughly the folders."""
    first = infos[0]
    parts = [
        _FORMAT,
        Path(str(first.get("img_path"))).parent.absolute(),
        *map(repr, transforms_of(dataset)),
        first.get("label_map"),
        first.get("reduce_zero_label"),
    ]
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def _remembered(path: Path) -> dict[str, Any]:
    try:
        known = read_json(path)
    except (OSError, ValueError):  # damaged, or written by nobody yet
        return {}
    return known if isinstance(known, dict) else {}


def _remember(path: Path, known: Mapping[str, Any]) -> None:
    try:
        write_json(path, known, durable=False)
    except OSError:  # then the files are opened again
        return
