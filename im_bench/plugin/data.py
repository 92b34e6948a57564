"""Labelled and unlabelled images side by side, for configs of MMSegmentation."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import sync_random_seed
from mmengine.structures import PixelData
from mmseg.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import ConcatDataset, Sampler

from im_bench.data.label_maps import UNDECIDED, image_files
from im_bench.data.mmseg_datasets import build_dataset, check_labels, loading
from im_bench.data.transforms import read_pseudo_labels
from im_bench.errors import ImBenchError

UNLABELLED = "unlabelled"
"""The key in a sample's ``metainfo`` that is true for images without annotation."""

_STREAM_SEED_STRIDE = 7919
"""Between the seeds of the two streams, lest they shuffle alike."""


@DATASETS.register_module()
class LabelledAndUnlabelled(ConcatDataset[Any]):
    """A labelled data set followed by an unlabelled one, whose samples are flagged.

    Attributes:
        label_count: How many classes labels may name, from 0; None: any. What trains says so.

    Args:
        labelled: Any data set of MMSegmentation, or its config.
        unlabelled: The same, for images only. Its pipeline is the labelled one unless it has its
            own; in both, annotations are not loaded but stand as undecided.
        cache_dir: Where pseudo-labels are read. The hook's ``cache_dir`` counts here, too.

    Raises:
        ImBenchError: A data set is empty, or does not say how to load unlabelled images.
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
        self.labelled = build_dataset("labelled", labelled)
        self.unlabelled = build_dataset("unlabelled", unlabelled)
        super().__init__([self.labelled, self.unlabelled])
        self.metainfo = self.labelled.metainfo
        self.label_count: int | None = None

    def __getitem__(self, index: int) -> Any:
        """Return a sample; unlabelled ones have ``unlabelled=True`` in their metainfo."""
        index %= len(self)
        is_labelled = index < len(self.labelled)
        part = self.labelled if is_labelled else self.unlabelled
        info = part.get_data_info(index if is_labelled else index - len(self.labelled))
        with loading(info):
            packed = super().__getitem__(index)  # type: ignore[no-untyped-call]
        sample = packed["data_samples"]
        if is_labelled:
            check_labels(sample.gt_sem_seg.data.numpy(), self.label_count, info)
            return packed
        sample.set_metainfo({UNLABELLED: True})
        if "gt_sem_seg" not in sample:
            height, width = packed["inputs"].shape[-2:]
            undecided = torch.full((1, height, width), UNDECIDED, dtype=torch.int64)
            sample.gt_sem_seg = PixelData(data=undecided)
        return packed

    def set_pseudo_labels(self, folder: str | Path) -> None:
        """Take pseudo-labels from a folder from now on; see :class:`LoadPseudoLabels`.

        Worker processes that run already do not learn of it.

        Raises:
            ImBenchError: The data set names another folder, or the pipeline of the unlabelled
                images has no place for pseudo-labels.
        """
        if self.cache_dir is not None and Path(self.cache_dir).expanduser() != Path(folder):
            raise ImBenchError(
                f"InconsistencyMaskHook has cache_dir={str(folder)!r}, the data set "
                f"{str(self.cache_dir)!r}: name the same folder, or leave out the data set's"
            )
        read_pseudo_labels(self.unlabelled, folder)

    def unlabelled_files(self) -> list[str]:
        """Return the unlabelled image files, as the data set names them, each once."""
        return image_files(self.unlabelled)


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


class PseudoLabelled(Protocol):
    """A data set whose unlabelled images can come with pseudo-labels.

    Attributes:
        unlabelled: The unlabelled images, a data set of MMSegmentation.
    """

    unlabelled: Any

    def unlabelled_files(self) -> list[str]:
        """Return the unlabelled image files, each once."""

    def set_pseudo_labels(self, folder: str | Path) -> None:
        """Take pseudo-labels from a folder from now on."""


def reading_cache(dataset: Any, cache_dir: Path) -> PseudoLabelled:
    """Let a data set read the pseudo-labels that a folder has, or soon will have.

    Returns:
        The data set.

    Raises:
        ImBenchError: It has no unlabelled images, or no place for their pseudo-labels.
    """
    if getattr(dataset, "unlabelled", None) is None or not hasattr(dataset, "set_pseudo_labels"):
        raise ImBenchError(
            f"InconsistencyMaskHook has cache_dir={str(cache_dir)!r}, but the "
            f"{type(dataset).__name__} has no unlabelled images that could be pseudo-labelled: "
            "use LabelledAndUnlabelled or SemiDataset"
        )
    dataset.set_pseudo_labels(cache_dir)
    found: PseudoLabelled = dataset
    return found


def _without_annotations(
    steps: Sequence[Mapping[str, Any]], cache_dir: str | None
) -> list[dict[str, Any]]:
    """Return a pipeline that puts :class:`LoadPseudoLabels` where annotations were loaded."""
    pseudo = {"type": "LoadPseudoLabels", "cache_dir": cache_dir}
    result = [dict(step) for step in steps]
    for index, step in enumerate(result):
        if any(name in str(step["type"]) for name in ("LoadAnnotations", "LoadLabels")):
            result[index] = pseudo
            return result
    if any("LoadPseudoLabels" in str(step["type"]) for step in result):
        return result
    return [*result[:1], pseudo, *result[1:]]  # after the image is loaded
