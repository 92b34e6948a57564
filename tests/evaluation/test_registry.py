from __future__ import annotations

import subprocess
import sys

import pytest

from im_bench.errors import ImBenchError
from im_bench.evaluation.registry import (
    METRICS,
    class_iou,
    class_of,
    higher_is_better,
)


@pytest.mark.parametrize(
    ("metric", "higher"),
    [("iou", True), ("val/miou", True), ("test/iou/fish", True), ("mcce", False), ("loss", False)],
)
def test_direction_of_a_metric(metric, higher):
    assert higher_is_better(metric) is higher


def test_unknown_metric_names_the_nearest():
    with pytest.raises(ImBenchError, match="did you mean 'miou'"):
        higher_is_better("val/mIou")


def test_directions_do_not_import_torch():
    code = "import sys, im_bench.evaluation.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", ["dataset", "mcce", "miou", "road/side", "iou/x", "a.b", "iou"])
def test_a_class_may_be_called_whatever_it_likes(name: str) -> None:
    metric = class_iou(name)
    assert class_of(metric) == name
    assert higher_is_better(metric)
    assert higher_is_better(f"val/{metric}")


def test_no_metric_of_a_data_set_is_that_of_a_class() -> None:
    for metric in METRICS:
        assert "/" not in metric
        assert class_of(metric) is None
