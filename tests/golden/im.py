"""Inconsistency Masks: the recordings ``im__*``.

An adapter takes the recorded arrays and returns, under the recorded names, what the library makes
of the inputs. The originals keep channels last and masks as 0/255; here they meet label bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from im_bench import masks
from im_bench.evaluation import cells, overlap, presence
from im_bench.evaluation.metrics import BinaryMetric, CellMetric, MulticlassMetric
from im_bench.masks import MaskedBatch, MaskOptions

from .compare import Adapter, Outputs, Recording, Tolerance

HELA = {"alive": 0, "dead": 1, "position": 2}
FLOATS = Tolerance(0, 1e-6)
TOLERANCES = {"out_meaniou_running": Tolerance(0, 1e-5)}  # float32 in the original


def binary(recording: Recording) -> Outputs:
    outputs = {}
    for prefix in prefixes(recording):
        predictions = labels_of(recording[f"{prefix}in_prob"] > 0.5)[:, None]
        agreed, inconsistent = masks.consensus(predictions, "binary")
        outputs |= {
            f"{prefix}out_pred": picture(agreed[0]),
            f"{prefix}out_im": picture(inconsistent[0]),
            f"{prefix}out_im_size": masks.inconsistent_sizes(predictions, "binary")[0],
            f"{prefix}out_pred_size": masks.foreground_sizes(agreed)[0],
        }
    return outputs


def multiclass(recording: Recording) -> Outputs:
    outputs = {}
    for prefix in prefixes(recording):
        probabilities = torch.from_numpy(recording[f"{prefix}in_prob"])
        predictions = probabilities.argmax(-1).byte()[:, None]
        agreed, inconsistent = masks.consensus(predictions, "multiclass")
        outputs |= {
            f"{prefix}out_pred": agreed[0],
            f"{prefix}out_im": picture(inconsistent[0]),
            f"{prefix}out_im_size": masks.inconsistent_sizes(predictions, "multiclass")[0],
            f"{prefix}out_class_sets_equal": masks.same_classes(predictions, "multiclass")[0],
        }
    return outputs


def hela_combine(recording: Recording) -> Outputs:
    outputs = {}
    for prefix in prefixes(recording):
        predictions = labels_of(recording[f"{prefix}in_prob"] >= 0.5)[:, None]
        agreed, inconsistent = masks.consensus(predictions, "multilabel")
        outputs |= channels(
            agreed, {"alive": "alive", "dead": "dead", "pos": "position"}, prefix, 0
        )
        outputs[f"{prefix}out_im"] = picture(inconsistent[0])
        outputs[f"{prefix}out_im_size"] = masks.inconsistent_sizes(predictions, "multilabel")[0]
    return outputs


def dilate_mask(recording: Recording) -> Outputs:
    labels = torch.from_numpy(recording["in_mask"])
    sizes = {name: map(int, re.findall(r"\d+", name)) for name in recording if "out_k" in name}
    return {name: masks.dilate_classes(labels, *size) for name, size in sizes.items()}


def create_isic(recording: Recording) -> Outputs:
    images = torch.from_numpy(recording["in_images_bgr"]).permute(0, 3, 1, 2)
    predictions = labels_of(recording["in_prob"] > 0.5).transpose(0, 1)
    outputs = {}
    for prefix, options in configurations(recording, image_filter="foreground"):
        made = masks.inconsistency_masked(images, predictions, "binary", options)
        outputs |= written(made, prefix, labels=picture(made.labels))
    return outputs


def create_multiclass(recording: Recording) -> Outputs:
    images = torch.from_numpy(recording["in_images_bgr"]).permute(0, 3, 1, 2)
    predictions = torch.from_numpy(recording["in_classmap"]).transpose(0, 1)
    outputs = {}
    for prefix, options in configurations(recording, image_filter="classes"):
        made = masks.inconsistency_masked(images, predictions, "multiclass", options)
        outputs |= written(made, prefix, labels=made.labels.numpy())
    return outputs


def create_hela(recording: Recording) -> Outputs:
    images = torch.from_numpy(recording["in_images"])[:, None]
    predictions = labels_of(recording["in_prob"] >= 0.5).transpose(0, 1)
    outputs = {}
    for prefix, options in configurations(recording, growing_bits=0b011):
        made = masks.inconsistency_masked(
            images,
            predictions,
            "multilabel",
            options,
            relabel=lambda labels: cells.redraw_position_bits(labels, HELA),
        )
        names = {"alive": "alive", "dead": "dead", "mod_position": "position"}
        outputs |= channels(made.labels, names, prefix) | {
            f"{prefix}out_brightfield": made.images[:, 0],
            f"{prefix}out_im": picture(made.inconsistent),
            f"{prefix}out_mean_im_size": made.inconsistent_sizes.double().mean().round().numpy(),
        }
    return outputs


def ensembles(recording: Recording) -> Outputs:
    soft_classes = torch.from_numpy(recording["in_mc_prob"]).permute(0, 3, 1, 2)[:, None]
    soft_cells = torch.from_numpy(recording["in_hela_prob"]).permute(0, 3, 1, 2)[:, None]
    votes = labels_of(recording["in_bin_prob"] > 0.5)[:, None]
    depth = torch.from_numpy(recording["in_depth"])[..., 0][:, None]
    hela = cells.redraw_position_bits(masks.mean_ensemble(soft_cells, "multilabel"), HELA)
    hard = masks.unanimous_ensemble(soft_classes.argmax(2).byte(), "multiclass")
    return {
        "out_bin": picture(masks.unanimous_ensemble(votes, "binary")[0]),
        "out_mc_hard": hard[0],
        "out_mc_soft": masks.mean_ensemble(soft_classes, "multiclass")[0],
        **channels(hela, {"alive": "alive", "dead": "dead", "pos": "position"}, "hela_", 0),
        **{
            name: masks.deviating(depth, int(name.rpartition("_t")[2]))[..., None]
            for name in recording
            if name.startswith("out_depth_im_t")
        },
    }


def positions(recording: Recording) -> Outputs:
    maps, alive, dead = (recording[f"in_{name}"] for name in ("gray", "alive", "dead"))
    eroded = [cells.cell_centres(each) for each in maps]
    plain = [cells.cell_centres(each, erode=0) for each in maps]
    counts = [cells.count_cells(*each) for each in zip(eroded, alive, dead, strict=True)]
    explicit = recording["in_pos_explicit"]
    return {
        "out_positions": padded(eroded, recording["out_positions"].shape),
        "out_n_positions": [len(each) for each in eroded],
        "out_positions_noerode": padded(plain, recording["out_positions_noerode"].shape),
        "out_n_positions_noerode": [len(each) for each in plain],
        "out_mod": [cells.redraw_positions_for_counting(each) for each in maps],
        "out_mod_max5_min2": [cells.redraw_positions_for_counting(each, 5, 2) for each in maps],
        "out_counts": counts,
        "out_counts_explicit_each": [
            cells.count_cells(each[None], alive[0], dead[0]) for each in explicit
        ],
        "out_min_dist": cells.nearest_distances(recording["in_points"]),
        "out_min_dist_single": cells.nearest_distances(recording["in_points"][:1])[0],
    }


def metrics(recording: Recording) -> Outputs:
    tensors = {name: torch.from_numpy(value) for name, value in recording.items() if "in_" in name}
    predicted, truth = tensors["in_bin_pred"], tensors["in_bin_gt"]
    binary = overlap.binary_counts(predicted != 0, truth != 0)
    bright = overlap.binary_counts(predicted >= 128, truth >= 128)

    classes = recording["out_classwise_iou"].shape[1]
    counts = overlap.multiclass_counts(tensors["in_mc_pred"], tensors["in_mc_gt"], classes)
    soft = overlap.soft_counts(tensors["in_soft_prob"].permute(0, 3, 1, 2), tensors["in_soft_gt"])
    batches = [
        overlap.Counts(*half) for half in zip(*(each.chunk(2) for each in soft), strict=True)
    ]
    running = torch.stack([overlap.soft_miou(batch) for batch in batches]).cumsum(0)

    target, probability = (tensors[f"in_dice_{name}"][..., 0] for name in "tp")
    # Of two classes, the foreground.
    both = overlap.soft_counts(torch.stack([1 - probability, probability], 1), target.long())
    return {
        "out_iou_binary": overlap.iou(binary)[:, 0],
        "out_dice_binary": overlap.dice(bright)[:, 0],
        "out_iou_multi_unique": overlap.image_miou(counts),
        "out_pixel_acc": overlap.pixel_accuracy(counts),
        "out_classwise_iou": presence.class_ious(counts).round(decimals=4),
        "out_classwise_detection": presence.shown_classes(counts),
        "out_classwise_confluence": presence.class_shares(counts).round(decimals=4),
        **{
            name: presence.surviving_classes(counts, float(name.rpartition("_t")[2]))
            for name in recording
            if name.startswith("out_detection_im_t")
        },
        "out_meaniou_running": running / torch.tensor([1, 2]),
        "out_dice_loss": 1 - overlap.dice(both)[:, 1].mean(),
    }


def benchmarks(recording: Recording) -> Outputs:
    predicted = labels_of(recording["in_bin_prob"] > 0.5)
    isic = evaluated(BinaryMetric(official_rounding=True), predicted, recording["in_bin_gt"] != 0)
    predicted, truth = recording["in_mc_pred"], recording["in_mc_gt"]
    names = [str(index) for index in range(int(max(predicted.max(), truth.max())) + 1)]
    classes = evaluated(MulticlassMetric(names, official_rounding=True), predicted, truth)
    return {
        "out_isic_miou_mdice": [isic["iou"], isic["dice"]],
        "out_multiclass_mpa_miou": [classes["pixel_accuracy"], classes["miou"]],
    }


def benchmark_hela(recording: Recording) -> Outputs:
    predicted = labels_of(recording["in_prob"] > 0.5)
    truth = np.stack([recording[f"in_gt_{n}"] for n in ("alive", "dead", "mod_position")], -1)
    truth = labels_of(truth != 0)
    outputs = channels(predicted, {"pred_alive": "alive", "pred_dead": "dead"})
    redraw = cells.redraw_positions_for_counting
    redrawn = cells.redraw_position_bits(predicted, HELA, redraw)
    for prefix, labels in (("mod_", redrawn), ("raw_", predicted)):
        metric = CellMetric(HELA, prefix == "mod_", classes=[*HELA], official_rounding=True)
        values = evaluated(metric, predicted, truth)
        counted = np.concatenate([cell_counts(labels), cell_counts(truth)], 1)
        outputs |= channels(labels, {"pred_position": "position"}, prefix) | {
            f"{prefix}out_miou_mioud_mcce": [values[name] for name in ("miou", "miou_ad", "mcce")],
            f"{prefix}out_counts_per_image": counted,
            f"{prefix}out_iou_per_image": overlap.iou(overlap.multilabel_counts(labels, truth, 3)),
        }
    return outputs


ADAPTERS: dict[str, Adapter] = {
    "im__benchmark_hela": benchmark_hela,
    "im__benchmarks": benchmarks,
    "im__binary": binary,
    "im__create_hela": create_hela,
    "im__create_isic": create_isic,
    "im__create_multiclass": create_multiclass,
    "im__dilate_mask": dilate_mask,
    "im__ensembles": ensembles,
    "im__hela_combine": hela_combine,
    "im__metrics": metrics,
    "im__multiclass": multiclass,
    "im__positions": positions,
}


def prefixes(recording: Recording) -> list[str]:
    """Return the prefixes ``m2_``, ``m3_``, ... of the configurations in a recording."""
    return sorted(name.removesuffix("in_prob") for name in recording if name.endswith("in_prob"))


def configurations(recording: Recording, **fixed: object) -> Iterator[tuple[str, MaskOptions]]:
    """Give the prefix and the options of each row of ``in_config``."""
    for index, (erode, dilate, block_input, block_output) in enumerate(recording["in_config"]):
        yield (
            f"c{index}_",
            MaskOptions(int(erode), int(dilate), bool(block_input), bool(block_output), **fixed),
        )


def written(made: MaskedBatch, prefix: str, labels: NDArray) -> dict[str, NDArray]:
    """Return what the originals write of colour images."""
    return {
        f"{prefix}out_written_filtered": made.keep.numpy(),
        f"{prefix}out_mean_im_size": made.inconsistent_sizes.double().mean().round().numpy(),
        f"{prefix}out_images": made.images.permute(0, 2, 3, 1).numpy(),
        f"{prefix}out_masks": labels,
        f"{prefix}out_im": picture(made.inconsistent),
    }


def labels_of(present: NDArray) -> torch.Tensor:
    """Return label bytes ``(..., H, W)`` of boolean channels ``(..., H, W, C)``."""
    return masks.pack_bits(torch.from_numpy(np.moveaxis(present, -1, -3)))


def picture(mask: torch.Tensor) -> NDArray:
    """Return a mask as the originals write it, 0 or 255."""
    return (mask != 0).numpy().astype(np.uint8) * 255


def channels(
    labels: torch.Tensor, names: dict[str, str], prefix: str = "", image: int | None = None
) -> dict[str, NDArray]:
    """Return channels of bit masks as pictures, under ``out_`` names; of one image or of all."""
    infix = "out_" + prefix if prefix == "hela_" else prefix + "out_"
    maps = {key: cells.channel_map(labels, HELA[channel]) for key, channel in names.items()}
    return {infix + key: value if image is None else value[image] for key, value in maps.items()}


def cell_counts(labels: torch.Tensor) -> NDArray:
    """Return alive, dead and unclear cells of each image, ``(B, 3)``."""
    maps = (cells.channel_map(labels, HELA[name]) for name in ("position", "alive", "dead"))
    return np.array(
        [cells.count_cells(cells.cell_centres(p), a, d) for p, a, d in zip(*maps, strict=True)]
    )


def padded(points: list[NDArray], shape: tuple[int, ...]) -> NDArray:
    """Return points of several images in one array, padded with -1."""
    result = np.full(shape, -1)
    for row, each in zip(result, points, strict=True):
        row[: len(each)] = each
    return result


def evaluated(metric, predicted, truth) -> dict[str, float]:
    """Return what an mmengine metric says of label maps ``(B, H, W)``."""
    samples = [
        {"pred_sem_seg": {"data": p}, "gt_sem_seg": {"data": t}}
        for p, t in zip(torch.as_tensor(predicted), torch.as_tensor(truth), strict=True)
    ]
    metric.process(None, samples)
    return metric.evaluate(len(samples))
