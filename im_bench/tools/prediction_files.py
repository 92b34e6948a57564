"""Predicted label maps as files, whatever evaluates them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from PIL import Image

from im_bench.data.label_maps import image_files
from im_bench.errors import ImBenchError


class PredictionWriter(Hook):  # type: ignore[misc]
    """Write each predicted label map (H, W) of a test as a grey PNG, named after its image.

    Values are those of the network's classes. A data set that leaves out class 0
    (``reduce_zero_label``) gets its own values back, which begin at 1, as MMSegmentation does.

    Args:
        folder: Need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def before_test(self, runner: Any) -> None:
        """Make the folder.

        Raises:
            ImBenchError: Two images would have the same file.
        """
        names = Counter(Path(file).stem for file in image_files(runner.test_dataloader.dataset))
        (name, count), *_ = names.most_common(1) or [("", 0)]
        if count > 1:
            raise ImBenchError(
                f"{count} test images are called {name}, and --out would keep one of their label "
                "maps only: give images different names, or leave --out out"
            )
        self._folder.mkdir(parents=True, exist_ok=True)

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] = ()
    ) -> None:
        """Write the label maps of a batch."""
        for sample in outputs:
            labels = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
            if sample.metainfo.get("reduce_zero_label", False):
                labels = labels + 1
            path = self._folder / f"{Path(sample.img_path).stem}.png"
            Image.fromarray(labels.astype(np.uint8)).save(path)
