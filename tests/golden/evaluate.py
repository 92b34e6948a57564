"""Evaluation as UniMatch and UniMatch V2 do it: windows, and the IoU of a data set."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from im_bench.data.label_spaces import label_space
from im_bench.evaluation import overlap
from im_bench.evaluation.windows import WindowOptions, centre_crop, predict_windows

from .compare import Adapter, Outputs, Recording

TOLERANCES = {}


def evaluate(recording: Recording) -> Outputs:
    images = torch.from_numpy(recording["in_images"])
    labels = torch.from_numpy(recording["in_masks"])
    weight, bias = (torch.from_numpy(recording[f"in_conv_{n}"]) for n in ("weight", "bias"))
    window = int(recording["in_crop_size"])
    space = label_space("multiclass", len(weight))

    outputs = {}
    for name, options in {
        "v1_original": WindowOptions(),
        "v1_center": WindowOptions("center", window),
        "v1_sliding": WindowOptions("slide", window),
        "v2_original": WindowOptions(),
        "v2_mult14": WindowOptions(multiple=14),
        "v2_sliding": WindowOptions("slide", window, border="shift", batch=4),
    }.items():
        probabilities = predict_windows(
            lambda crops: F.conv2d(crops, weight, bias, padding=1), images, options, space.activate
        )
        truth = centre_crop(labels, window) if options.mode == "center" else labels
        counts = overlap.multiclass_counts(space.discretise(probabilities), truth, space.outputs)
        outputs[f"{name}_out_iou"] = overlap.dataset_iou(counts).nan_to_num(0.0) * 100
        outputs[f"{name}_out_miou"] = overlap.dataset_miou(counts, absent="zero") * 100

    constant = torch.full_like(labels[:1], 3)
    counts = overlap.multiclass_counts(constant, labels[:1], space.outputs)
    areas = torch.cat([counts.intersection, counts.union, counts.truth])
    return {**outputs, "iu_out": areas.long()}


ADAPTERS: dict[str, Adapter] = {"unimatch__evaluate": evaluate}
