"""CrossMatch: the recordings ``crossmatch__*``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from im_bench.data.label_spaces import label_space
from im_bench.methods.crossmatch import (
    Consistency,
    CrossMatch,
    Streams,
    consistency,
    distillation,
    pasted,
    rising_threshold,
)
from im_bench.semi.losses import dice
from im_bench.semi.thresholds import MovingThreshold

from .compare import Adapter, Outputs, Recording, Tolerance
from .fixmatch import pseudo_label

STREAMS = ("", "_weak", "_strong")
STUDENT = ("x", "u_w_weak", "u_w_strong", "u_s1", "u_s2", "u_s2_weak", "u_s2_strong")
LA_RAMP = 17_000


def acdc_loss(recording: Recording) -> Outputs:
    outputs: dict[str, object] = {}
    for prefix, (threshold, eta) in parameters(recording, "in_thresh_eta"):
        method = CrossMatch(threshold=threshold, eta=eta)
        outputs |= losses(recording, method, prefix, plane=lambda maps: maps)
    return outputs


def la_loss(recording: Recording) -> Outputs:
    outputs: dict[str, object] = {}
    for prefix, (threshold, eta, iteration) in parameters(recording, "in_thresh_eta_iter"):
        method = CrossMatch(
            threshold=threshold, eta=eta, kd_weight=1.0, smooth=1e-5, background=False
        )
        # Slices of a volume one below the other: no loss knows what is beside a pixel.
        outputs |= losses(recording, method, prefix, plane=lambda maps: maps.flatten(-3, -2))
        outputs[f"{prefix}out_next_thresh"] = rising_threshold(0.75, int(iteration) + 1, LA_RAMP)
    return outputs


def losses(
    recording: Recording, method: CrossMatch, prefix: str, plane: Callable[[Tensor], Tensor]
) -> dict[str, object]:
    """Return what was recorded of one configuration.

    Args:
        recording: The item.
        method: With the configuration's numbers.
        prefix: Of the configuration.
        plane: Turns maps into maps with two spatial axes.
    """
    given = {name: torch.from_numpy(value) for name, value in recording.items() if "in_" in name}
    leaves = {name: given[f"in_pred_{name}"].requires_grad_() for name in STUDENT}
    logits = {
        name.removeprefix("in_pred_"): plane(value)
        for name, value in given.items()
        if name.startswith("in_pred_")
    }
    space = label_space("multiclass", logits["x"].shape[1])

    def streams(name: str, suffix: str = "") -> Streams[Tensor]:
        return Streams(*(logits[f"{name}{stream}{suffix}"] for stream in STREAMS))

    nothing = torch.zeros_like(logits["x"][:, 0])  # no pixel is padding
    weak, partner = (
        Streams(*(pseudo_label(space, each.detach(), nothing) for each in streams("u_w", suffix)))
        for suffix in ("", "_mix")
    )
    labels = plane(given["in_mask_x"]).byte()
    labelled = (space.loss(logits["x"], labels) + method.dice(space, logits["x"], labels)) / 2
    terms = consistency(
        partial(method.taught_loss, space, method.threshold),
        logits["u_s1"],
        streams("u_s2"),
        streams("u_w"),
        weak.clean,
        [pasted(weak, partner, plane(given[f"in_cutmix_box{view}"]) == 1) for view in (1, 2)],
    )
    total = sum(method.weighted(labelled, terms).values())
    gradients = torch.autograd.grad(total, [*leaves.values()])
    values = {"x": labelled, **named(terms), "u_w_kd": distillation(terms, method.eta)}
    return {
        f"{prefix}out_loss": total.detach(),
        **{f"{prefix}out_loss_{name}": value.detach() for name, value in values.items()},
        **{f"{prefix}out_grad_pred_{n}": g for n, g in zip(leaves, gradients, strict=True)},
    }


def named(terms: Consistency) -> dict[str, Tensor]:
    """Return the losses under the names of the original."""
    names = (
        ("u_s1", "u_s2"),
        ("weak_dec_w_t", "strong_dec_w_t", "weak_dec_w_s2_t", "strong_dec_w_s2_t"),
        ("weak_dec_w_s2", "strong_dec_w_s2"),
    )
    return {
        name: value
        for group, values in zip(names, terms, strict=True)
        for name, value in zip(group, values, strict=True)
    }


def dice_loss(recording: Recording) -> Outputs:
    probabilities = torch.from_numpy(recording["in_prob"]).requires_grad_()
    labels = torch.from_numpy(recording["in_target"])
    target = torch.nn.functional.one_hot(labels, probabilities.shape[1]).movedim(-1, 1)
    ignore = torch.from_numpy(recording["in_ignore"]) == 1
    outputs: dict[str, object] = {}
    for prefix, left_out in (("none", None), ("ign", ignore), ("all", torch.ones_like(ignore))):
        loss = dice(probabilities, target, left_out)
        outputs[f"{prefix}_out_loss"] = loss.detach()
        (outputs[f"{prefix}_out_grad"],) = torch.autograd.grad(loss, probabilities)
    return outputs


def thresh_controller(recording: Recording) -> Outputs:
    steps = torch.from_numpy(recording["in_logits"])
    ignore = 255 * torch.from_numpy(recording["in_ignore"]).int()
    space = label_space("multiclass", steps.shape[2])

    def thresholds(start: float, momentum: float, ignored: Tensor) -> np.ndarray:
        moving = MovingThreshold(start, momentum)
        labels = (pseudo_label(space, *each) for each in zip(steps, ignored, strict=True))
        return np.array([moving(label).item() for label in labels])

    return {
        "out_thresh": thresholds(0.95, 0.999 / 4, torch.zeros_like(ignore)),
        "out_thresh_ignore": thresholds(0.85, 0.999, ignore),
    }


def parameters(recording: Recording, suffix: str) -> Iterator[tuple[str, list[float]]]:
    """Give the prefix and the numbers of each configuration."""
    for name, value in recording.items():
        if name.endswith(suffix):
            yield name.removesuffix(suffix), value.tolist()


TOLERANCES: dict[str, Tolerance] = {}
ADAPTERS: dict[str, Adapter] = {
    "crossmatch__acdc_loss": acdc_loss,
    "crossmatch__dice": dice_loss,
    "crossmatch__la_loss": la_loss,
    "crossmatch__thresh_controller": thresh_controller,
}
