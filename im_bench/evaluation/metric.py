"""What a metric is: how it is computed, and all that suites and tables must know of it.

Nothing here imports PyTorch, because planning and tables read these facts. A file that declares
metrics imports it by :func:`im_bench.lazy.lazy_module`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from im_bench.errors import ImBenchError

if TYPE_CHECKING:
    from torch import Tensor

    from im_bench.evaluation.overlap import Counts

Space = Literal["binary", "multiclass", "multilabel"]


class Metric(ABC):
    """The facts about a metric.

    A metric of its own package derives from :class:`ImageMetric`.

    Attributes:
        title: Its name in tables, such as ``"mIoU"``.
        definition: What it is, as a footer says it after "mIoU is".
        higher_is_better: Whether a greater value is a better one.
        unit: ``"%"``: values are fractions in 0..1, and are shown in per cent. Any other unit, such
            as ``"cells"``: values are shown as they are.
        spaces: The label spaces that it can judge.
        headline: Whether a data set may name it as its ``metric``.
    """

    title: ClassVar[str]
    definition: ClassVar[str] = ""
    higher_is_better: ClassVar[bool] = True
    unit: ClassVar[str] = "%"
    spaces: ClassVar[tuple[Space, ...]] = ("binary", "multiclass", "multilabel")
    headline: ClassVar[bool] = True


class CountedMetric(Metric):
    """A metric of im-bench's own that is arithmetic of pixel counts.

    All that fit the label space are computed at once, because pixels are counted only once.
    """

    @classmethod
    @abstractmethod
    def value(cls, counts: Counts, official_rounding: bool = False) -> float:
        """Return the value.

        Args:
            counts: Of all images and classes; each tensor is ``(N, C)``.
            official_rounding: See :class:`im_bench.evaluation.metrics.OverlapMetric`.
        """


class ImageMetric(Metric):
    """A metric that looks at label maps. It is computed where a data set or a suite names it."""

    @abstractmethod
    def measure(
        self, predicted: Tensor, truth: Tensor, space: Space, classes: Sequence[str]
    ) -> Tensor:
        """Return the numbers that are kept of each image, float ``(B, K)``, for any K.

        Args:
            predicted: Label bytes, uint8 ``(B, H, W)``, on the device of the predictions.
            truth: Likewise. In binary and multi-class data, pixels of 255 are to be ignored.
            space: What label bytes mean: 0 and 1, the index of a class, or one bit per class.
            classes: Names of the classes, in the order of indices or bits.
        """

    def summarise(self, images: Tensor) -> float:
        """Return the metric of a data set: by default the mean over images of the first number.

        Images for which it is not-a-number, because it is not defined there, are left out.

        Args:
            images: What :meth:`measure` returned for all images, float64 ``(N, K)`` on the CPU.

        Raises:
            ImBenchError: It is defined for no image.
        """
        value = float(images[:, 0].nanmean())
        if value != value:
            raise ImBenchError(
                f"{self.title} is defined for none of {len(images)} images: choose another metric"
            )
        return value
