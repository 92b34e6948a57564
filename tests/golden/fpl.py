"""Fuzzy Positive Learning: the recordings ``fpl__*``."""

from __future__ import annotations

import torch
from torch import Tensor

from im_bench.semi.fuzzy_positives import (
    adaptive_loss,
    consistency_loss,
    cross_loss,
    fuzzy_positives,
    fuzzy_weight,
    multi_positive_loss,
)
from im_bench.semi.pseudo_label import paste

from .compare import Adapter, Outputs, Recording, Tolerance

TOLERANCES: dict[str, Tolerance] = {}


def topk_loss(recording: Recording) -> Outputs:
    outputs = {}
    for prefix in prefixes(recording, "in_threshold"):
        student = logits(recording, "in_student").requires_grad_()
        weighting = str(recording[f"{prefix}in_weight"])
        threshold = float(recording[f"{prefix}in_threshold"])
        positives = fuzzy_positives(logits(recording, "in_teacher").softmax(1), threshold)
        loss = multi_positive_loss(student, positives)
        weight = fuzzy_weight(positives, weighting)
        mean = (loss * weight).mean()
        mean.backward()
        outputs |= {
            f"{prefix}out_weight_map": weight,
            f"{prefix}out_weight_map_ael": fuzzy_weight(positives, weighting, bend=4),
            f"{prefix}out_weighted_mean": mean.detach(),
            f"{prefix}out_loss_map": loss.detach(),
            f"{prefix}out_num_positive": positives.number,
            f"{prefix}out_grad": student.grad,
        }
    return outputs


def cps_loss(recording: Recording) -> Outputs:
    outputs = {}
    box = logits(recording, "in_mask").squeeze(1) == 1
    mixed = [
        paste(logits(recording, f"in_tea_u0_{i}"), logits(recording, f"in_tea_u1_{i}"), box)
        for i in (1, 2)
    ]
    for prefix in prefixes(recording, "in_threshold_cpsweight"):
        threshold, cps_weight = map(float, recording[f"{prefix}in_threshold_cpsweight"])
        students = [logits(recording, f"in_stu_{i}").requires_grad_() for i in (1, 2)]
        made = cross_loss(
            students,
            [mixed[1].softmax(1), mixed[0].softmax(1)],
            threshold=threshold,
            weighting=str(recording[f"{prefix}in_weight"]),
        )
        loss = cps_weight * made.loss
        loss.backward()
        outputs |= {
            f"{prefix}out_cps_loss": loss.detach(),
            f"{prefix}out_base": made.hard,
            f"{prefix}out_balance": made.balance,
            f"{prefix}out_scalar": made.ratio,
            f"{prefix}out_grad_1": students[0].grad,
            f"{prefix}out_grad_2": students[1].grad,
        }
    return outputs


def ael_criterion(recording: Recording) -> Outputs:
    outputs = {}
    teacher = logits(recording, "in_teacher")
    for prefix in prefixes(recording, "in_sample_gamma_gamma2"):
        sample, gamma, class_gamma = map(float, recording[f"{prefix}in_sample_gamma_gamma2"])
        student = logits(recording, "in_student").requires_grad_()
        made = consistency_loss(
            student,
            teacher,
            logits(recording, "in_class_criterion"),
            logits(recording, f"{prefix}in_rand") if sample else None,
            gamma,
            class_gamma,
        )
        made.loss.backward()
        outputs |= {
            f"{prefix}out_loss": made.loss.detach(),
            f"{prefix}out_scalar": made.ratio,
            f"{prefix}out_grad": student.grad,
        }
    return outputs


def adaptive(recording: Recording) -> Outputs:
    outputs = {}
    uncertain = torch.from_numpy(recording["in_plabel"]) == 255
    for prefix in prefixes(recording, "in_thresholds"):
        student = logits(recording, "in_student").requires_grad_()
        loss = adaptive_loss(
            student,
            logits(recording, "in_teacher"),
            uncertain,
            recording[f"{prefix}in_thresholds"].tolist(),
            int(recording[f"{prefix}in_temp_k"]),
        )
        loss.mean().backward()
        outputs |= {
            f"{prefix}out_loss_map": loss.detach(),
            f"{prefix}out_grad": student.grad,
        }
    return outputs


ADAPTERS: dict[str, Adapter] = {
    "fpl__topk_loss": topk_loss,
    "fpl__cps_loss": cps_loss,
    "fpl__ael_criterion": ael_criterion,
    "fpl__adaptive_loss": adaptive,
}


def prefixes(recording: Recording, name: str) -> list[str]:
    """Return the prefixes ``c0_``, ``c1_``, ... of the configurations in a recording."""
    return sorted(each.removesuffix(name) for each in recording if each.endswith(name))


def logits(recording: Recording, name: str) -> Tensor:
    """Return a recorded array as a tensor of its own."""
    return torch.from_numpy(recording[name].copy())
