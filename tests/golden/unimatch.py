"""UniMatch: the recordings ``unimatch__*`` but for its evaluation."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from im_bench.data.label_spaces import label_space
from im_bench.methods.fixmatch import unlabelled_loss
from im_bench.methods.unimatch import UniMatch
from im_bench.semi import losses
from im_bench.semi.boxes import cutmix_boxes
from im_bench.semi.pseudo_label import paste

from .compare import Adapter, Outputs, Recording, Tolerance
from .fixmatch import pseudo_label

STUDENT = ("x", "u_s1", "u_s2", "u_w_fp")
# As the recording's description says: the threshold, and OHEM's smallest number of pixels.
CONFIGURATIONS = {"c0_": (0.95, None), "c1_": (0.0, 300), "c2_": (0.7, None)}


def loss(recording: Recording) -> Outputs:
    given = {name: torch.from_numpy(value) for name, value in recording.items() if "in_" in name}
    logits = {name: given[f"in_pred_{name}"].requires_grad_() for name in STUDENT}
    space = label_space("multiclass", logits["x"].shape[1])
    weak, partner = (
        pseudo_label(space, given[f"in_pred_u_w{which}"], given[f"in_ignore_mask{which}"])
        for which in ("", "_mix")
    )
    outputs: dict[str, torch.Tensor | NDArray] = {}
    mixed = {}
    for view in ("1", "2"):
        box = given[f"in_cutmix_box{view}"] == 1
        mixed[view] = weak.pasted(partner, box)
        images = given[f"in_img_u_s{view}"], given[f"in_img_u_s{view}_mix"]
        outputs |= {
            f"out_img_u_s{view}": paste(*images, box),
            f"out_mask_cutmixed{view}": mixed[view].label,
            f"out_conf_cutmixed{view}": mixed[view].confidence,
            f"out_ignore_cutmixed{view}": 255 * (~mixed[view].valid).byte(),
        }
    for prefix, (threshold, min_kept) in CONFIGURATIONS.items():
        labelled = (
            space.loss(logits["x"], given["in_mask_x"].byte())
            if min_kept is None
            else losses.ohem(logits["x"], given["in_mask_x"], 0.7, min_kept)
        )
        strong = [
            unlabelled_loss(space, logits[f"u_s{view}"], label, threshold)
            for view, label in mixed.items()
        ]
        feature = unlabelled_loss(space, logits["u_w_fp"], weak, threshold)
        total = sum(UniMatch().weighted(labelled, strong, feature).values())
        gradients = torch.autograd.grad(total, [*logits.values()])
        outputs |= {
            f"{prefix}out_loss_x": labelled.detach(),
            f"{prefix}out_loss_u_s1": strong[0].detach(),
            f"{prefix}out_loss_u_s2": strong[1].detach(),
            f"{prefix}out_loss_u_w_fp": feature.detach(),
            f"{prefix}out_loss": total.detach(),
            f"{prefix}out_mask_ratio": losses.share(weak.confidence >= threshold, weak.valid),
            **{f"{prefix}out_grad_pred_{n}": g for n, g in zip(logits, gradients, strict=True)},
        }
    return outputs


def ohem(recording: Recording) -> Outputs:
    logits = torch.from_numpy(recording["in_pred"]).requires_grad_()
    labels = torch.from_numpy(recording["in_target"])
    nothing = torch.full_like(labels, 255)
    outputs = {
        "ce_out_loss": losses.ohem(logits, labels, min_kept=0).detach(),
        # A mean of nothing: NaN in the original, 0 here unless asked for.
        "allignore_out_loss": losses.ohem(logits, nothing, 0.7, 100, empty=math.nan).detach(),
    }
    for name in recording:
        if not name.endswith("in_thresh_minkept"):
            continue
        prefix = name.removesuffix("in_thresh_minkept")
        threshold, min_kept = recording[name]
        mined = losses.ohem(logits, labels, float(threshold), int(min_kept))
        (gradient,) = torch.autograd.grad(mined, logits)
        outputs |= {
            f"{prefix}out_loss": mined.detach(),
            f"{prefix}out_kept": gradient.ne(0).any(dim=1).byte(),
            f"{prefix}out_grad": gradient,
        }
    logits = torch.from_numpy(recording["w_in_pred"]).requires_grad_()
    labels, weight = (torch.from_numpy(recording[f"w_{n}"]) for n in ("in_target", "param_weight"))
    mined = losses.ohem(logits, labels, 0.7, 60, weight)
    (outputs["w_out_grad"],) = torch.autograd.grad(mined, logits)
    return outputs | {"w_out_loss": mined.detach()}


def cutmix_box_stats(recording: Recording) -> Outputs:
    """Draw boxes as often as half of the recording; compare within what sampling leaves open."""
    outputs: dict[str, NDArray | float] = {}
    for size in (int(name[1:].partition("_")[0]) for name in recording if "p_box" in name):
        drawn = []
        for seed in range(20):
            box = cutmix_boxes(100, size, size, torch.Generator().manual_seed(seed))
            rows, columns = box.any(2), box.any(1)
            height, width = rows.sum(1).double(), columns.sum(1).double()
            top, left = rows.byte().argmax(1) / size, columns.byte().argmax(1) / size
            drawn.append(torch.stack([height * width / size**2, height / width, top, left], 1))
        every = torch.cat(drawn)
        shown = every[every[:, 0] > 0].numpy()
        outputs[f"s{size}_out_p_box"] = len(shown) / len(every)
        outputs[f"s{size}_out_quantiles"] = np.quantile(shown, np.linspace(0, 1, 21), axis=0)
    return outputs


_SAMPLED = ("s321_out_p_box", "s513_out_p_box", "s321_out_quantiles", "s513_out_quantiles")
TOLERANCES: dict[str, Tolerance] = dict.fromkeys(_SAMPLED, Tolerance(0.1, 0.06))
ADAPTERS: dict[str, Adapter] = {
    "unimatch__loss": loss,
    "unimatch__ohem": ohem,
    "unimatch__cutmix_box_stats": cutmix_box_stats,
}
