"""Labelled and unlabelled images side by side, for configs of MMSegmentation."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import InfiniteSampler
from mmengine.dist import sync_random_seed
from mmengine.structures import PixelData
from mmseg.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS
from torch.utils.data import ConcatDataset, Sampler

from im_bench.data.image_files import read_raw
from im_bench.errors import ImBenchError
from im_bench.plugin.cache import label_file
from im_bench.plugin.masking import UNDECIDED

UNLABELLED = "unlabelled"
"""The key in a sample's ``metainfo`` that is true for images without annotation."""

_STREAM_SEED_STRIDE = 7919
"""Between the seeds of the two streams, lest they shuffle alike."""


@TRANSFORMS.register_module()
class LoadPseudoLabels(BaseTransform):
    """Stand where an annotation would be loaded: read a cached pseudo-label, or say "undecided".

    The result ``gt_seg_map`` is uint8 (H, W) of the image's size: class indices and 254 where the
    teachers disagree, or 254 everywhere without a cache. Padding that later steps add is 255.

    Args:
        cache_dir: The folder of an ``InconsistencyMaskHook``, or None.
    """

    def __init__(self, cache_dir: str | None = None) -> None:
        self.cache_dir = cache_dir

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``gt_seg_map`` to ``results``.

        Raises:
            ImBenchError: The cached map is missing, damaged, or not of the image's size.
        """
        size = results["img"].shape[:2]
        labels = np.full(size, UNDECIDED, np.uint8)
        if self.cache_dir is not None:
            path = label_file(Path(self.cache_dir).expanduser(), results["img_path"])
            labels = read_raw(path).astype(np.uint8)
            if labels.shape != size:
                raise ImBenchError(
                    f"pseudo-label {path} is {labels.shape}, its image {size} (rows, columns): "
                    "load pseudo-labels before resizing, and remove the cache if the image changed"
                )
        results["gt_seg_map"] = labels
        results.setdefault("seg_fields", []).append("gt_seg_map")
        return results


@DATASETS.register_module()
class LabelledAndUnlabelled(ConcatDataset[Any]):
    """A labelled data set followed by an unlabelled one, whose samples are flagged.

    Args:
        labelled: Any data set of MMSegmentation, or its config.
        unlabelled: The same, for images only. Its pipeline is the labelled one unless it has its
            own; in both, annotations are not loaded but stand as undecided.
        cache_dir: Where pseudo-labels are read; as the hook's ``cache_dir``.
    """

    def __init__(
        self,
        labelled: Mapping[str, Any] | Any,
        unlabelled: Mapping[str, Any] | Any,
        cache_dir: str | None = None,
    ) -> None:
        self.cache_dir = cache_dir
        if isinstance(unlabelled, Mapping):
            unlabelled = dict(copy.deepcopy(unlabelled))
            steps = unlabelled.get("pipeline")
            if steps is None and isinstance(labelled, Mapping):
                steps = copy.deepcopy(labelled.get("pipeline"))
            if not steps:
                raise ImBenchError(
                    "LabelledAndUnlabelled does not know how to load unlabelled images: "
                    "give the unlabelled data set a pipeline"
                )
            unlabelled["pipeline"] = _without_annotations(steps, cache_dir)
        self.labelled = _built(labelled)
        self.unlabelled = _built(unlabelled)
        super().__init__([self.labelled, self.unlabelled])
        self.metainfo = self.labelled.metainfo

    def __getitem__(self, index: int) -> Any:
        """Return a sample; unlabelled ones have ``unlabelled=True`` in their metainfo."""
        packed = super().__getitem__(index)  # type: ignore[no-untyped-call]
        sample = packed["data_samples"]
        if index % len(self) < len(self.labelled):
            return packed
        sample.set_metainfo({UNLABELLED: True})
        if "gt_sem_seg" not in sample:
            height, width = packed["inputs"].shape[-2:]
            undecided = torch.full((1, height, width), UNDECIDED, dtype=torch.int64)
            sample.gt_sem_seg = PixelData(data=undecided)
        return packed

    def unlabelled_files(self) -> list[str]:
        """Return the unlabelled image files, as the data set names them."""
        data = self.unlabelled
        return [str(data.get_data_info(index)["img_path"]) for index in range(len(data))]


@DATA_SAMPLERS.register_module()
class LabelledUnlabelledSampler(Sampler[int]):
    """Draw every batch with the same numbers of labelled and unlabelled images, without end.

    Both parts are shuffled anew each time that they are through, and divided among processes. The
    loader's ``batch_size`` must be ``labelled + unlabelled``.

    Args:
        dataset: A ``LabelledAndUnlabelled``.
        labelled: Labelled images per batch and process.
        unlabelled: Unlabelled images per batch and process.
        shuffle: Whether to shuffle.
        seed: Of the shuffling; None: drawn, the same in all processes.

    Raises:
        ImBenchError: The data set is another one, or a number is too small.
    """

    def __init__(
        self,
        dataset: LabelledAndUnlabelled,
        labelled: int,
        unlabelled: int,
        shuffle: bool = True,
        seed: int | None = None,
    ) -> None:
        if not isinstance(dataset, LabelledAndUnlabelled):
            raise ImBenchError(
                "LabelledUnlabelledSampler needs a LabelledAndUnlabelled data set, not a "
                f"{type(dataset).__name__}: put the two data sets into one"
            )
        if labelled < 1 or unlabelled < 1:
            raise ImBenchError(
                f"a batch of {labelled} labelled and {unlabelled} unlabelled images does not mix: "
                "LabelledUnlabelledSampler needs at least 1 of each"
            )
        self.batch = (labelled, unlabelled)
        self._size = len(dataset)
        self._first_unlabelled = len(dataset.labelled)
        seed = sync_random_seed() if seed is None else seed
        self._streams = (
            InfiniteSampler(dataset.labelled, shuffle, seed),
            InfiniteSampler(dataset.unlabelled, shuffle, seed + _STREAM_SEED_STRIDE),
        )

    @property
    def batch_size(self) -> int:
        """Images per batch and process."""
        return sum(self.batch)

    def __iter__(self) -> Iterator[int]:
        """Yield indices, batch after batch, the labelled ones of each first."""
        labelled, unlabelled = (iter(stream) for stream in self._streams)
        while True:
            yield from islice(labelled, self.batch[0])
            for index in islice(unlabelled, self.batch[1]):
                yield index + self._first_unlabelled

    def __len__(self) -> int:
        """Return the number of images of the data set."""
        return self._size

    def skip(self, num_samples: int) -> None:
        """Go to where an interrupted training was: so many indices, counted from the start."""
        batches = num_samples // self.batch_size
        for stream, size in zip(self._streams, self.batch, strict=True):
            stream.skip(batches * size)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the stream has no epochs."""


def check_batch_size(loader: Any) -> None:
    """Raise an ImBenchError if a loader's batches do not have the size that its sampler means."""
    sampler = loader.sampler
    if isinstance(sampler, LabelledUnlabelledSampler) and loader.batch_size != sampler.batch_size:
        labelled, unlabelled = sampler.batch
        raise ImBenchError(
            f"batch_size is {loader.batch_size}, but LabelledUnlabelledSampler draws {labelled} "
            f"labelled and {unlabelled} unlabelled images: set it to {sampler.batch_size}"
        )


def cached_files(dataset: Any, cache_dir: Path) -> list[str]:
    """Return the images of a data set whose pseudo-labels a folder shall hold.

    Raises:
        ImBenchError: The data set reads no pseudo-labels, or from another folder.
    """
    named = getattr(dataset, "cache_dir", None)
    if not isinstance(dataset, LabelledAndUnlabelled) or named is None:
        raise ImBenchError(
            f"InconsistencyMaskHook has cache_dir={str(cache_dir)!r}, but the data set reads no "
            "pseudo-labels: give a LabelledAndUnlabelled data set the same cache_dir"
        )
    if Path(named).expanduser() != cache_dir:
        raise ImBenchError(
            f"InconsistencyMaskHook has cache_dir={str(cache_dir)!r}, the data set {named!r}: "
            "name the same folder"
        )
    return dataset.unlabelled_files()


def _without_annotations(
    steps: Sequence[Mapping[str, Any]], cache_dir: str | None
) -> list[dict[str, Any]]:
    """Return a pipeline that puts :class:`LoadPseudoLabels` where annotations were loaded."""
    pseudo = {"type": "LoadPseudoLabels", "cache_dir": cache_dir}
    result = [dict(step) for step in steps]
    for index, step in enumerate(result):
        if "LoadAnnotations" in str(step["type"]):
            result[index] = pseudo
            return result
    if any("LoadPseudoLabels" in str(step["type"]) for step in result):
        return result
    return [*result[:1], pseudo, *result[1:]]  # after the image is loaded


def _built(dataset: Mapping[str, Any] | Any) -> Any:
    return DATASETS.build(dict(dataset)) if isinstance(dataset, Mapping) else dataset
