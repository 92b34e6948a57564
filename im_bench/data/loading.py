"""Loading transforms that read files as suites do, in place of those of MMSegmentation."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmseg.registry import TRANSFORMS

from im_bench.data.description import IGNORED, Reading
from im_bench.data.encodings import read_label_bytes
from im_bench.data.image_files import inspect, read_image

with contextlib.redirect_stdout(io.StringIO()):  # it prints that an optional package is missing
    from mmseg.datasets.transforms import LoadAnnotations


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """Load an image by the rules of a data set's description: 8-bit BGR, or an error that says why.

    Upright 8-bit files give what ``LoadImageFromFile`` gives. The arguments are the description's
    fields (``docs/your-own-data.md``).

    Args:
        scale: The raw values that become 0 and 255, in images of more than 8 bits.
        page: Which page of files of several, from 0.
        orientation: Whether orientation tags are applied.
        alpha: ``drop`` to read colours alone where transparency hides them.
    """

    def __init__(
        self,
        scale: Sequence[float] | None = None,
        page: int | None = None,
        orientation: Literal["apply", "ignore"] = "apply",
        alpha: Literal["refuse", "drop"] = "refuse",
    ) -> None:
        super().__init__()
        limits = None if scale is None else (float(scale[0]), float(scale[1]))
        self.reading = Reading(limits, page, orientation, alpha)

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Add ``img``, uint8 (H, W, 3), and its shapes.

        Raises:
            UnreadableImageError: The file cannot be read, or not exactly.
        """
        path = Path(results["img_path"])
        # OpenCV decodes PNG faster than Pillow does, but takes a JPEG that is cut off for whole.
        facts = inspect(path)
        if facts.format == "PNG" and facts.is_plain:
            loaded: dict[str, Any] | None = super().transform(results)
            return loaded
        image = np.ascontiguousarray(read_image(path, "rgb", self.reading)[..., ::-1])
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return results


@TRANSFORMS.register_module()
class LoadLabels(LoadAnnotations):
    """Load a label map by the rules of a data set's description, exactly as it is stored.

    ``reduce_zero_label`` and the classes of the data set count as with ``LoadAnnotations``.

    Args:
        ignore: Stored values, such as -1, that become 255.
        page: Which page of files of several, from 0.
        orientation: Whether orientation tags are applied.
        alpha: ``drop`` to read colours alone where transparency hides them.
        reduce_zero_label: As of ``LoadAnnotations``: 0 becomes 255, and others one less.
    """

    def __init__(
        self,
        ignore: Sequence[int] = (),
        page: int | None = None,
        orientation: Literal["apply", "ignore"] = "apply",
        alpha: Literal["refuse", "drop"] = "refuse",
        reduce_zero_label: bool | None = None,
    ) -> None:
        super().__init__(reduce_zero_label=reduce_zero_label)
        self.ignore = tuple(ignore)
        self.reading = Reading(None, page, orientation, alpha)

    def _load_seg_map(self, results: dict[str, Any]) -> None:
        table = np.arange(256, dtype=np.uint8)
        reduced = self.reduce_zero_label
        if reduced is None:
            reduced = results.get("reduce_zero_label", False)
        if reduced:
            table = np.concatenate([[IGNORED], table[:254], [IGNORED]]).astype(np.uint8)
        classes = np.arange(256, dtype=np.uint8)
        for old, new in (results.get("label_map") or {}).items():
            classes[old] = new
        labels = read_label_bytes(Path(results["seg_map_path"]), self.ignore, self.reading)
        results["gt_seg_map"] = classes[table][labels]
        results.setdefault("seg_fields", []).append("gt_seg_map")
