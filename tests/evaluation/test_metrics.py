from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.registry import METRICS
from mmseg.structures import SegDataSample

from im_bench.errors import ImBenchError
from im_bench.evaluation.metrics import (
    BinaryMetric,
    CellMetric,
    MulticlassMetric,
    MultilabelMetric,
    NamedIoUMetric,
)

CELLS = {"alive": 0, "dead": 1, "position": 2}
METRIC_CASES = {
    "binary": (BinaryMetric, {}, 2),
    "multiclass": (MulticlassMetric, {"classes": list("abcd")}, 4),
    "multilabel": (MultilabelMetric, {"classes": list("abc")}, 8),
    "cells": (CellMetric, {"classes": [*CELLS], "cells": CELLS}, 8),
}


def samples(values, count=5, size=(24, 30), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            f"{which}_sem_seg": {"data": torch.randint(values, (1, *size), generator=generator)}
            for which in ("pred", "gt")
        }
        for _ in range(count)
    ]


def evaluate(metric, data_samples, batch=100):
    for start in range(0, len(data_samples), batch):
        metric.process(None, data_samples[start : start + batch])
    return metric.evaluate(len(data_samples))


@pytest.mark.parametrize("name", METRIC_CASES)
def test_the_batch_size_does_not_matter(name):
    metric, arguments, values = METRIC_CASES[name]
    data = samples(values) + samples(values, 2, size=(10, 12))  # and images differ in size
    whole, single = (evaluate(metric(**arguments), data, batch) for batch in (100, 1))
    assert whole == pytest.approx(single, abs=1e-12)


@pytest.mark.parametrize("name", METRIC_CASES)
def test_results_are_plain_numbers_within_range(name):
    metric, arguments, values = METRIC_CASES[name]
    results = evaluate(metric(**arguments), samples(values))
    json.dumps(results, allow_nan=False)
    for key, value in results.items():
        assert value >= 0
        assert value <= 1 or "cells" in key or key == "mcce"


@pytest.mark.parametrize("name", METRIC_CASES)
def test_truth_as_prediction_is_perfect(name):
    metric, arguments, values = METRIC_CASES[name]
    data = samples(values)
    for sample in data:
        sample["pred_sem_seg"] = sample["gt_sem_seg"]
    if name == "cells":
        arguments = {**arguments, "redraw": False}
    results = evaluate(metric(**arguments), data)
    assert results.get("mcce", 0) == 0
    for key, value in results.items():
        if "iou" in key or key in ("dice", "pixel_accuracy"):
            assert value == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", METRIC_CASES)
def test_mmengine_builds_and_drives_them(name):
    metric, arguments, values = METRIC_CASES[name]
    arguments = {key: value for key, value in arguments.items() if key != "classes"}
    evaluator = Evaluator(METRICS.build({"type": metric.__name__, "prefix": "val", **arguments}))
    evaluator.dataset_meta = {"classes": METRIC_CASES[name][1].get("classes", ["lesion"])}
    data = []
    for sample in samples(values):
        fields = {key: PixelData(data=value["data"]) for key, value in sample.items()}
        data.append(SegDataSample(**fields))
    evaluator.process(data)
    expected = evaluate(metric(**METRIC_CASES[name][1]), samples(values))
    assert evaluator.evaluate(len(data)) == {f"val/{key}": v for key, v in expected.items()}


def test_labels_may_lack_the_channel_axis():
    data = samples(2)
    flat = [{key: {"data": value["data"][0]} for key, value in each.items()} for each in data]
    assert evaluate(BinaryMetric(), flat) == evaluate(BinaryMetric(), data)


def label_map(*rows):
    return {"data": torch.tensor(rows).byte()[None]}


def test_mean_of_images_and_iou_of_the_data_set_differ():
    data = [
        {"pred_sem_seg": label_map([0, 0, 0, 1]), "gt_sem_seg": label_map([0, 0, 0, 0])},
        {"pred_sem_seg": label_map([1, 1, 1, 1]), "gt_sem_seg": label_map([1, 1, 255, 0])},
    ]
    results = evaluate(MulticlassMetric(["sky", "sea", "ship"]), data)
    assert results["miou"] == pytest.approx((3 / 4 + (2 / 3 + 0) / 2) / 2, abs=1e-6)
    assert results["iou/sky"] == pytest.approx(3 / 5)
    assert results["iou/sea"] == pytest.approx(2 / 4)
    assert results["miou_dataset"] == pytest.approx((3 / 5 + 2 / 4) / 2)
    assert results["pixel_accuracy"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert "iou/ship" not in results  # no ground truth has it
    assert "soft_miou" not in results


def test_definitions_of_miou_differ_in_classes_that_no_truth_has():
    data = [{"pred_sem_seg": label_map([0, 0, 1, 3]), "gt_sem_seg": label_map([0, 0, 0, 1])}]
    classes = ["present", "missed", "in neither", "only predicted"]
    results = evaluate(MulticlassMetric(classes), data)
    assert results["miou_dataset"] == pytest.approx((2 / 3 + 0) / 2)
    assert results["miou_dataset_mmseg"] == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert results["miou_dataset_unimatch"] == pytest.approx((2 / 3 + 0 + 0 + 0) / 4)


def official_miou(predicted, truth, classes):
    """UniMatch's evaluation: histograms without ignored pixels, IoU = I / (U + 1e-10)."""
    intersection, union = np.zeros(classes), np.zeros(classes)
    for output, target in zip(predicted, truth, strict=True):
        valid = target != 255
        for k in range(classes):
            mine, other = (output == k) & valid, (target == k) & valid
            intersection[k] += (mine & other).sum()
            union[k] += (mine | other).sum()
    return float(np.mean(intersection / (union + 1e-10)))


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_named_definitions_agree_with_those_whose_name_they_bear(seed, images, classes):
    rng = np.random.default_rng(seed)
    known = rng.integers(1, classes + 1)  # classes beyond are in neither, or only predicted
    predicted = rng.integers(0, rng.integers(1, classes + 1), (images, 5, 6))
    truth = rng.integers(0, known, (images, 5, 6))
    truth[rng.random(truth.shape) < 0.2] = 255
    truth[:, 0, 0] = 0
    samples = [
        {"pred_sem_seg": label_map(*p.tolist()), "gt_sem_seg": label_map(*t.tolist())}
        for p, t in zip(predicted, truth, strict=True)
    ]
    names = [str(k) for k in range(classes)]
    ours = evaluate(MulticlassMetric(names), samples)
    assert ours["miou_dataset_unimatch"] == pytest.approx(official_miou(predicted, truth, classes))
    theirs = NamedIoUMetric()
    theirs.dataset_meta = {"classes": names}
    theirs.process({}, samples)
    with np.errstate(invalid="ignore"):
        found = theirs.compute_metrics(theirs.results)
    assert found["miou_dataset_mmseg"] == pytest.approx(found["mIoU"], abs=0.011)
    for name in ("miou_dataset", "miou_dataset_mmseg", "miou_dataset_unimatch"):
        assert found[name] == pytest.approx(100 * ours[name], abs=0.006)


def test_probabilities_bring_a_soft_miou():
    truth = torch.tensor([[[0, 1]]])
    probabilities = torch.tensor([[[0.75, 0.5]], [[0.25, 0.5]]])
    data = [
        {
            "pred_sem_seg": {"data": probabilities.argmax(0, keepdim=True)},
            "gt_sem_seg": {"data": truth},
            "seg_probabilities": {"data": probabilities},
        }
    ]
    results = evaluate(MulticlassMetric(["a", "b"]), data)
    assert results["soft_miou"] == pytest.approx((0.75 / 1.5 + 0.5 / 1.25) / 2)


def test_official_rounding_rounds_images_then_their_mean():
    data = [
        {"pred_sem_seg": label_map([1, 1, 1, 0]), "gt_sem_seg": label_map([1, 0, 0, 0])},
        {"pred_sem_seg": label_map([1, 0, 0, 0]), "gt_sem_seg": label_map([1, 0, 0, 0])},
    ]
    assert evaluate(BinaryMetric(official_rounding=True), data)["iou"] == 0.667
    assert evaluate(BinaryMetric(), data)["iou"] == pytest.approx(2 / 3, abs=1e-6)


def test_official_rounding_gives_halves_to_the_even_digit():
    """Of 0.1 and 0.055, as numpy does; Python's own rounding of their mean gives 0.077."""
    data = [
        {
            "pred_sem_seg": {"data": (torch.arange(200) < pixels).byte().view(1, 10, 20)},
            "gt_sem_seg": {"data": torch.ones(1, 10, 20).byte()},
        }
        for pixels in (20, 11)
    ]
    assert evaluate(BinaryMetric(official_rounding=True), data)["iou"] == 0.078


def test_cells_are_counted():
    truth = torch.zeros(64, 64).byte()
    truth[8:20, 8:20] = 0b101  # a living cell
    truth[40:52, 8:20] = 0b110  # and a dead one
    predicted = truth.clone()
    predicted[40:52, 8:20] = 0b101  # taken for a living one
    data = [{"pred_sem_seg": {"data": predicted}, "gt_sem_seg": {"data": truth}}]
    results = evaluate(CellMetric(CELLS, classes=[*CELLS]), data)
    assert results["mcce"] == 2
    assert (results["cells_alive"], results["cells_dead"], results["cells_unclear"]) == (2, 0, 0)
    assert (results["true_cells_alive"], results["true_cells_dead"]) == (1, 1)
    assert results["iou/alive"] == pytest.approx(0.5, abs=1e-6)
    assert results["miou_ad"] == pytest.approx(0.25, abs=1e-6)


def test_missing_classes_cells_and_images_are_told():
    with pytest.raises(ImBenchError, match="MulticlassMetric does not know the classes"):
        evaluate(MulticlassMetric(), samples(4))
    with pytest.raises(ImBenchError, match="dead, position"):
        CellMetric({"alive": 0})
    with pytest.raises(ImBenchError, match="nothing to evaluate"):
        evaluate(BinaryMetric(), [])


def test_pixels_of_a_volume_are_counted_together():
    """An empty slice costs its false pixels, and a full one weighs as much as its foreground."""
    truth = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    truth[0, 0, :2] = 1  # 8 pixels
    truth[1, 0, 0, 0] = 1  # 1 pixel
    predicted = torch.zeros_like(truth)
    predicted[0, 0, :1] = 1  # 4 of them
    predicted[2, 0, 0, :2] = 1  # where there is nothing
    truth[2, 0, 0, 1] = 255  # one of which is ignored
    data = [
        {"pred_sem_seg": {"data": one}, "gt_sem_seg": {"data": other}}
        for one, other in zip(predicted, truth, strict=True)
    ]
    found = evaluate(BinaryMetric(), data)
    assert found["iou_dataset"] == pytest.approx(4 / 10)
    assert found["dice_dataset"] == pytest.approx(8 / 14)
    assert found["iou"] == pytest.approx((4 / 8 + 0 + 0) / 3)


def test_without_any_foreground_in_a_volume_an_empty_prediction_is_the_best_dice():
    empty = {"data": torch.zeros(1, 4, 4, dtype=torch.uint8)}
    found = evaluate(BinaryMetric(), [{"pred_sem_seg": empty, "gt_sem_seg": empty}])
    assert found["iou_dataset"] == 0  # as the IoU of a single such image
    assert found["dice_dataset"] == 1
