"""The metrics of every task as mmengine metrics, for any segmentor of MMSegmentation.

A data sample holds ``pred_sem_seg.data`` and ``gt_sem_seg.data``: label bytes, ``(H, W)`` or
``(1, H, W)``. Neighbouring samples of one size are counted together, on the device where the
predictions lie; what is kept of an image is a handful of numbers. Means are over images, as in the
originals, unless a name says ``dataset``. All values are fractions in 0..1 (MCCE: cells).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from numpy.typing import NDArray
from torch import Tensor

from im_bench.errors import ImBenchError
from im_bench.evaluation import overlap
from im_bench.evaluation.cells import (
    CellCounts,
    cell_centres,
    channel_map,
    count_cells,
    redraw_position_bits,
    redraw_positions_for_counting,
)
from im_bench.evaluation.metric import CountedMetric, ImageMetric, Space
from im_bench.evaluation.overlap import Counts
from im_bench.evaluation.registry import BUILT_IN, class_iou, metric_class

Sample = Mapping[str, Any]
ImageCounts = NDArray[np.float64]


class OverlapMetric(BaseMetric):
    """Counts pixels per image and class; what is made of the counts is the subclass's matter.

    Args:
        classes: Names in label order; default: those of the data set.
        official_rounding: Round as the original benchmarks do, with numpy's arithmetic: each
            image's value to 4 decimals, the mean to 3. Half of the last digit goes to the even one.
        **kwargs: Of :class:`mmengine.evaluator.BaseMetric`.
    """

    default_prefix = None

    def __init__(
        self,
        classes: Sequence[str] | None = None,
        official_rounding: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._classes = classes
        self.official_rounding = official_rounding

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in label order."""
        names = self._classes or (self.dataset_meta or {}).get("classes")
        if not names:
            raise ImBenchError(
                f"{type(self).__name__} does not know the classes: "
                "give it `classes`, or the data set's metainfo"
            )
        return list(names)

    def process(self, data_batch: Any, data_samples: Sequence[Sample]) -> None:
        """Count the pixels of a batch; mmengine calls this.

        Args:
            data_batch: Not used.
            data_samples: See the module.
        """
        batch: list[Any] = []
        for samples in _of_one_size(data_samples):
            predicted = _stacked(samples, "pred_sem_seg")[:, 0].byte()
            truth = _stacked(samples, "gt_sem_seg")[:, 0].to(predicted)
            batch += self.measure(samples, predicted, truth)
        self.results.append(batch)  # Several processes gather whole batches, in their order.

    def compute_metrics(self, results: list[list[Any]]) -> dict[str, float]:
        """Return the metrics by name; mmengine calls this with what was kept of each batch."""
        return self.summarise([image for batch in results for image in batch])

    @abstractmethod
    def summarise(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics by name, of what :meth:`measure` kept of each image."""

    def measure(self, samples: list[Sample], predicted: Tensor, truth: Tensor) -> list[Any]:
        """Return what is kept of each image; label maps are ``(B, H, W)``."""
        return _per_image(self.count(predicted, truth))

    @abstractmethod
    def count(self, predicted: Tensor, truth: Tensor) -> Counts:
        """Return the counts of a batch of label maps, ``(B, H, W)``."""

    def mean(self, values: Tensor) -> float:
        """Return the mean over images, rounded as the original rounds it if so asked."""
        return overlap.mean(values, self.official_rounding)


def counted(space: Space, counts: Counts, official_rounding: bool = False) -> dict[str, float]:
    """Return the built-in metrics of a label space that are arithmetic of counts, by name."""
    return {
        name: kind.value(counts, official_rounding)
        for name in BUILT_IN
        if issubclass(kind := metric_class(name), CountedMetric) and space in kind.spaces
    }


@METRICS.register_module()
class BinaryMetric(OverlapMetric):
    """Metrics of a foreground. Ground truth of 255 is ignored.

    * ``iou``, ``dice``: means over images.
    * ``iou_dataset``, ``dice_dataset``: of the pixels of all images together, such as the voxels of
      a volume whose slices they are; images without foreground do not weigh more than others.

    Source of the means: original implementation, ``benchmark_ISIC2018``.
    """

    def count(self, predicted: Tensor, truth: Tensor) -> Counts:
        """Count the foreground."""
        return overlap.binary_counts(predicted, truth)

    def summarise(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics by name."""
        return counted("binary", _joined(results), self.official_rounding)


@METRICS.register_module()
class MulticlassMetric(OverlapMetric):
    """Metrics of class maps. Ground truth of 255 is ignored.

    * ``miou``: mean over images of the mean IoU over the classes of the image's ground truth
      (class 0 included). Not the mIoU of the Cityscapes benchmark, which is the next one.
    * ``miou_dataset``, ``iou/<class>``: of the confusion matrix of all images, as Cityscapes and
      Pascal are reported. Classes that no ground truth has have no ``iou/<class>`` and are left out
      of the mean.
    * ``miou_dataset_mmseg``: the same, but such a class counts as 0 if it is predicted anywhere, as
      in MMSegmentation's ``IoUMetric``.
    * ``miou_dataset_unimatch``: the same, but such a class always counts as 0, as in the
      evaluations of UniMatch and U2PL.
    * ``pixel_accuracy``: mean over images.
    * ``soft_miou``: where samples bring ``seg_probabilities.data``, ``(C, H, W)``: mean over
      classes of the IoU of probabilities, over all images. (The original averages it over batches
      of validation, so that it depends on their size.)

    Source: original implementation, ``benchmark_multiclass``.
    """

    def count(self, predicted: Tensor, truth: Tensor) -> Counts:
        """Count each class."""
        return overlap.multiclass_counts(predicted, truth, len(self.classes))

    def measure(self, samples: list[Sample], predicted: Tensor, truth: Tensor) -> list[Any]:
        """Return the counts of each image, and the soft ones where there are probabilities."""
        hard = super().measure(samples, predicted, truth)
        if "seg_probabilities" not in samples[0]:
            return [(each, None) for each in hard]
        probabilities = _stacked(samples, "seg_probabilities")
        soft = _per_image(overlap.soft_counts(probabilities, truth.to(probabilities.device)))
        return list(zip(hard, soft, strict=True))

    def summarise(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics by name."""
        counts = _joined([hard for hard, _ in results])
        ious = overlap.dataset_iou(counts)
        metrics = {
            "miou": overlap.image_mean(overlap.image_miou(counts), self.official_rounding),
            **counted("multiclass", counts, self.official_rounding),
        }
        for name, value in zip(self.classes, ious.tolist(), strict=True):
            if value == value:
                metrics[class_iou(name)] = value
        soft = [each for _, each in results if each is not None]
        if soft:
            metrics["soft_miou"] = float(overlap.soft_miou(_joined(soft)))
        return metrics


@METRICS.register_module()
class NamedIoUMetric(IoUMetric):
    """MMSegmentation's ``IoUMetric``, which gives other definitions of the mIoU beside its own.

    They bear the names that they have in suites: ``miou_dataset``, ``miou_dataset_mmseg`` (which is
    its ``mIoU``) and ``miou_dataset_unimatch``; see :class:`MulticlassMetric`. All are in per cent
    with two decimals, as ``mIoU`` is.

    Args:
        kwargs: As for ``IoUMetric``.
    """

    def compute_metrics(self, results: list[tuple[Tensor, Tensor, Tensor, Tensor]]) -> Any:
        """Return the metrics by name."""
        metrics = super().compute_metrics(results)
        if not self.format_only:
            intersection, _, predicted, truth = (
                torch.stack(areas).double() for areas in zip(*results, strict=True)
            )
            counts = Counts(intersection, predicted, truth)
            mious = {
                name: value
                for name, value in counted("multiclass", counts).items()
                if name.startswith("miou_dataset")
            }
            metrics |= {name: round(100 * value, 2) for name, value in mious.items()}
        return metrics


@METRICS.register_module()
class MultilabelMetric(OverlapMetric):
    """``miou`` and ``iou/<class>`` of bit masks: means over images.

    A class that is in neither prediction nor ground truth of an image scores 0, as in the original,
    so that images without it lower the mean.
    """

    def count(self, predicted: Tensor, truth: Tensor) -> Counts:
        """Count each class."""
        return overlap.multilabel_counts(predicted, truth, len(self.classes))

    def summarise(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics by name."""
        ious = overlap.rounded(overlap.iou(_joined(results)), self.official_rounding)
        metrics = {"miou": self.mean(ious.mean(1))}
        for name, values in zip(self.classes, ious.unbind(1), strict=True):
            metrics[class_iou(name)] = self.mean(values)
        return metrics


@METRICS.register_module()
class CellMetric(MultilabelMetric):
    """Metrics of cells that are alive or dead and have a position.

    * ``miou``, ``miou_ad`` (alive and dead only), ``iou/<class>``: means over images.
    * ``mcce``: mean cell count error, in cells: per image the difference in living cells plus that
      in dead ones.
    * ``cells_<alive|dead|unclear>`` and ``true_cells_...``: totals over all images.

    Predicted positions are redrawn before they are compared and counted; true ones are as stored.

    Args:
        cells: The channels of ``alive``, ``dead`` and ``position``.
        redraw: Whether predicted positions are redrawn.
        **kwargs: Of :class:`OverlapMetric`.

    Source: original implementation, ``benchmark_hela``.
    """

    def __init__(self, cells: Mapping[str, int], redraw: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        missing = {"alive", "dead", "position"} - set(cells)
        if missing:
            raise ImBenchError(f"`cells` does not name the channel of {', '.join(sorted(missing))}")
        self.cells = dict(cells)
        self.redraw = redraw

    def measure(self, samples: list[Sample], predicted: Tensor, truth: Tensor) -> list[Any]:
        """Return the pixel counts, and the predicted and true cell counts, of each image."""
        if self.redraw:
            predicted = redraw_position_bits(predicted, self.cells, redraw_positions_for_counting)
        pixels = super().measure(samples, predicted, truth)
        counted = zip(self._cell_counts(predicted), self._cell_counts(truth), strict=True)
        return list(zip(pixels, counted, strict=True))

    def summarise(self, results: list[Any]) -> dict[str, float]:
        """Return the metrics by name."""
        pixels = [each for each, _ in results]
        metrics = super().summarise(pixels)
        ious = overlap.rounded(overlap.iou(_joined(pixels)), self.official_rounding)
        metrics["miou_ad"] = self.mean(ious[:, [self.cells["alive"], self.cells["dead"]]].mean(1))

        # (N, predicted and true, alive and dead and unclear)
        cells = torch.tensor([counted for _, counted in results], dtype=torch.float64)
        errors = (cells[:, 0] - cells[:, 1])[:, :2].abs().sum(1)
        metrics["mcce"] = self.mean(errors)
        for prefix, totals in zip(("", "true_"), cells.sum(0).tolist(), strict=True):
            for status, total in zip(CellCounts._fields, totals, strict=True):
                metrics[f"{prefix}cells_{status}"] = total
        return metrics

    def _cell_counts(self, labels: Tensor) -> Iterator[CellCounts]:
        maps = [channel_map(labels, self.cells[name]) for name in ("position", "alive", "dead")]
        for position, alive, dead in zip(*maps, strict=True):
            yield count_cells(cell_centres(position), alive, dead)


@METRICS.register_module()
class NamedMetric(OverlapMetric):
    """A metric that looks at label maps, by its name in the registry of metrics.

    Args:
        name: Of an :class:`~im_bench.evaluation.metric.ImageMetric`.
        space: The label space.
        **kwargs: Of :class:`OverlapMetric`.
    """

    def __init__(self, name: str, space: Space, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.space = space
        kind = metric_class(name)
        if not issubclass(kind, ImageMetric):
            raise ImBenchError(f"metric {name!r} is no ImageMetric: derive it from that")
        self.metric = kind()

    def measure(self, samples: list[Sample], predicted: Tensor, truth: Tensor) -> list[Any]:
        """Return the numbers of each image as the metric gives them.

        Raises:
            ImBenchError: They are not of shape (B, K).
        """
        numbers = self.metric.measure(predicted, truth, self.space, self.classes)
        if numbers.ndim != 2 or len(numbers) != len(samples):
            raise ImBenchError(
                f"metric {self.name!r} measured {tuple(numbers.shape)} of {len(samples)} images: "
                "return one row per image, (B, K)"
            )
        return list(numbers.double().cpu().numpy())

    def count(self, predicted: Tensor, truth: Tensor) -> Counts:
        """Raise an error: label maps are measured as a whole."""
        raise NotImplementedError

    def summarise(self, results: list[Any]) -> dict[str, float]:
        """Return the metric by its name."""
        if not results:
            raise ImBenchError("there is nothing to evaluate: the split has no images")
        return {self.name: self.metric.summarise(torch.from_numpy(np.stack(results)))}


def _of_one_size(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Split samples, in order, where the size of the label map changes."""
    for _, group in groupby(samples, lambda sample: sample["gt_sem_seg"]["data"].shape[-2:]):
        yield list(group)


def _stacked(samples: list[Sample], key: str) -> Tensor:
    """Return one field of all samples as ``(B, C, H, W)``; C is 1 for label maps."""
    maps = [torch.as_tensor(sample[key]["data"]) for sample in samples]
    return torch.stack([each if each.ndim == 3 else each[None] for each in maps])


def _per_image(counts: Counts) -> list[ImageCounts]:
    """Return the counts of each image as a small array, ``(3, C)``, on the CPU."""
    return list(torch.stack(tuple(counts), 1).cpu().numpy())


def _joined(images: list[ImageCounts]) -> Counts:
    """Return the counts of all images, undoing :func:`_per_image`."""
    if not images:
        raise ImBenchError("there is nothing to evaluate: the split has no images")
    return Counts(*torch.from_numpy(np.stack(images)).unbind(1))
