"""DAW: the recordings ``daw__*``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from im_bench.data.label_spaces import MulticlassSpace
from im_bench.methods.daw import DAW
from im_bench.methods.fixmatch import unlabelled_loss
from im_bench.semi import losses
from im_bench.semi.alignment import ConfidenceAlignment
from im_bench.semi.ema import update_average
from im_bench.semi.gaussian_threshold import GaussianThreshold, densities_cross
from im_bench.semi.step import Clock, Step, View

from .compare import Adapter, Outputs, Recording, Tolerance
from .imas import prefixes, tensor

STUDENT = ("x", "u_s1", "u_s2", "u_w_fp")
# Of variances that differ by less than 1e-3, as they do at first, float32 leaves the crossing
# uncertain by so much, in the recording as here (the recordings' own advice).
_CROSSING = Tolerance(1e-3, 1e-7)
TOLERANCES: dict[str, Tolerance] = {
    "out_thresh": _CROSSING,
    "c0_out_thresh": _CROSSING,
    **{f"c{case}_out_thresh_safe_stats": _CROSSING for case in range(3)},
}


def distribution_alignment(recording: Recording) -> Outputs:
    labelled, unlabelled = tensor(recording, "in_lb_prob"), tensor(recording, "in_ulb_prob")
    valid, unlabelled_valid = (tensor(recording, f"in_{x}_ignore") != 255 for x in ("lb", "ulb"))
    outputs = {}
    for prefix in prefixes(recording, "in_ema"):
        align = ConfidenceAlignment(1, labelled.shape[2], float(recording[f"{prefix}in_ema"]))
        averages = []
        for x, counted, u, u_counted in zip(
            labelled, valid, unlabelled, unlabelled_valid, strict=True
        ):
            align.update(x, counted, [u], [u_counted])
            averages.append((align.labelled[0].clone(), align.unlabelled[0].clone()))
        for name, each in zip(("lb", "ulb"), zip(*averages, strict=True), strict=True):
            outputs[f"{prefix}out_{name}"] = torch.stack(each)
        outputs[f"{prefix}out_aligned"] = align(unlabelled[-1][: labelled.shape[1]])
    return outputs


def ema(recording: Recording) -> Outputs:
    average, student = (Weights(recording, 0) for _ in range(2))
    average.weight.data = tensor(recording, "in_shadow0")
    made = []
    for row, iteration in enumerate(recording["in_iters"].tolist()):
        student.load(recording, row)
        update_average(average, student, DAW().ema_decay(Clock(iteration)), DAW.ema_buffers)
        made.append((average.weight.detach().clone(), average.statistics.clone()))
    weights, statistics = zip(*made, strict=True)
    return {"out_shadow": torch.stack(weights), "out_shadow_buffers": torch.stack(statistics)}


def loss(recording: Recording) -> Outputs:
    logits = {name: tensor(recording, f"in_pred_{name}").requires_grad_() for name in STUDENT}
    labels = tensor(recording, "in_mask_x")
    space = MulticlassSpace(logits["x"].shape[1])
    # The original asks a mask which labelled pixels count; here their labels say it.
    assert torch.equal(labels == 255, tensor(recording, "in_label_ignore_mask") == 255)
    weak, partner = (tensor(recording, f"in_pred_u_w{which}") for which in ("", "_mix"))
    outputs = {}
    for prefix in prefixes(recording, "in_state"):
        method = DAW()
        state = nn.ModuleDict(method.state(nn.Identity(), space))
        set_state(state, recording, prefix)
        step = recorded_step(recording, space, state)
        label, partner_label, threshold = method.targets(step, logits["x"], weak, partner)
        mixed = {
            view: label.pasted(partner_label, tensor(recording, f"in_cutmix_box{view}") == 1)
            for view in ("1", "2")
        }
        labelled = space.loss(logits["x"], labels.byte())
        strong = [
            unlabelled_loss(space, logits[f"u_s{view}"], each, threshold)
            for view, each in mixed.items()
        ]
        feature = unlabelled_loss(space, logits["u_w_fp"], label, threshold)
        total = sum(method.weighted(labelled, strong, feature).values())
        gradients = torch.autograd.grad(total, [*logits.values()])
        crossing = state["crossing"]
        safe = safe_threshold(crossing.mean, crossing.variance, crossing.alpha, space.outputs)
        outputs |= {
            f"{prefix}out_loss_x": labelled.detach(),
            f"{prefix}out_loss_u_s1": strong[0].detach(),
            f"{prefix}out_loss_u_s2": strong[1].detach(),
            f"{prefix}out_loss_u_w_fp": feature.detach(),
            f"{prefix}out_loss": total.detach(),
            f"{prefix}out_mask_ratio": losses.share(label.confidence >= threshold, label.valid),
            f"{prefix}out_thresh": threshold.clone(),
            f"{prefix}out_safe_thresh": safe,
            f"{prefix}out_conf_cutmixed1": mixed["1"].confidence,
            f"{prefix}out_mask_cutmixed1": mixed["1"].label,
            **{f"{prefix}out_grad_pred_{n}": g for n, g in zip(logits, gradients, strict=True)},
        }
    return outputs


def threshold_solver(recording: Recording) -> Outputs:
    """Each row alone, with a momentum of 1, as the statistics are given."""
    classes = int(recording["in_num_classes"])
    pixel, none = torch.zeros(1), torch.zeros(1, dtype=torch.bool)
    thresholds, safe = [], []
    for row, alpha in zip(tensor(recording, "in_stats"), recording["in_alpha"], strict=True):
        crossing = GaussianThreshold(classes, momentum=1.0, alpha=float(alpha))
        set_statistics(crossing, row)
        thresholds.append(crossing(pixel, none, none).clone())
        safe.append(safe_threshold(crossing.mean, crossing.variance, crossing.alpha, classes))
    return {"out_thresh": torch.stack(thresholds), "out_safe_thresh": torch.stack(safe)}


def threshold_update(recording: Recording) -> Outputs:
    logits, valid = tensor(recording, "in_logits"), tensor(recording, "in_ignore") != 255
    confidence, predicted = logits.softmax(dim=2).max(dim=2)
    correct = predicted == tensor(recording, "in_target")
    outputs = {}
    for prefix in prefixes(recording, "in_ema_alpha"):
        momentum, alpha = recording[f"{prefix}in_ema_alpha"].tolist()
        crossing = GaussianThreshold(logits.shape[2], momentum=momentum, alpha=alpha)
        rows, safe = [], torch.tensor(0.95)
        for batch in zip(confidence, correct, valid, strict=True):
            threshold = crossing(*batch).clone()
            safe = safe_threshold(
                crossing.mean, crossing.variance, alpha, logits.shape[2], previous=safe
            )
            statistics = torch.stack([crossing.mean, crossing.variance], dim=1).flatten()
            rows.append(torch.cat([threshold.view(1), safe.view(1), statistics]))
        outputs[f"{prefix}out_thresh_safe_stats"] = torch.stack(rows)
    return outputs


ADAPTERS: dict[str, Adapter] = {
    "daw__distribution_alignment": distribution_alignment,
    "daw__ema": ema,
    "daw__loss": loss,
    "daw__threshold_solver": threshold_solver,
    "daw__threshold_update": threshold_update,
}


class Weights(nn.Module):
    """A network with one parameter and one buffer, in double precision as far as recorded so.

    The original averages BatchNorm's count of batches, too, which therefore is fractional; here it
    is part of a floating-point buffer.
    """

    weight: nn.Parameter
    statistics: Tensor

    def __init__(self, recording: Recording, row: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(tensor(recording, "in_params")[row])
        self.register_buffer("statistics", tensor(recording, "in_buffers")[row])

    def load(self, recording: Recording, row: int) -> None:
        self.weight.data = tensor(recording, "in_params")[row]
        self.statistics.data = tensor(recording, "in_buffers")[row]


def recorded_step(recording: Recording, space: MulticlassSpace, state: nn.ModuleDict) -> Step:
    """Return what a method sees of a recorded step besides logits, without Inconsistency Masks."""
    labels = tensor(recording, "in_mask_x").byte()
    views = {
        name: View(torch.empty(0), tensor(recording, f"in_ignore_mask{which}") != 255)
        for name, which in (("unlabelled", ""), ("partner", "_mix"))
    }
    return Step(
        labelled=torch.empty(len(labels), 0),
        labels=labels,
        views=views,
        student=None,
        second=None,
        state=state,
        space=space,
        clock=Clock(),
        generator=torch.Generator(),
        normalise=lambda images: images,
        supervise=lambda logits, labels, auxiliary: space.loss(logits, labels),
    )


def set_state(state: nn.ModuleDict, recording: Recording, prefix: str) -> None:
    """Put recorded running values into a method's modules."""
    set_statistics(state["crossing"], tensor(recording, f"{prefix}in_state"))
    labelled, unlabelled = tensor(recording, f"{prefix}in_lb_ulb")
    state["alignment"].labelled.copy_(labelled)
    state["alignment"].unlabelled.copy_(unlabelled)


def set_statistics(crossing: GaussianThreshold, row: Tensor) -> None:
    """Set mean and variance of correct pixels, then those of wrong ones."""
    mean, variance = row.view(2, 2).T
    crossing.mean.copy_(mean)
    crossing.variance.copy_(variance)


def safe_threshold(
    mean: Tensor, variance: Tensor, alpha: float, classes: int, previous: Tensor | float = 0.95
) -> Tensor:
    """Return the second threshold of the original, which it logs and does not use."""
    _, exists = densities_cross(mean, variance, alpha)
    safe = mean[0] - 3 * variance[0].sqrt()
    return safe.clamp(1 / classes, 1).where(exists, previous)
