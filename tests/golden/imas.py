"""iMAS: the recordings ``imas__*``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from im_bench.data.label_spaces import MulticlassSpace
from im_bench.methods.imas import IMAS, combined, unlabelled_loss
from im_bench.semi.boxes import boxes_from_corners
from im_bench.semi.ema import update_average
from im_bench.semi.hardness import (
    blend,
    confident_share,
    hardness,
    mean_iou,
    partner_by_hardness,
)
from im_bench.semi.pseudo_label import PseudoLabel, paste
from im_bench.semi.step import Clock

from .compare import Adapter, Outputs, Recording, Tolerance

TOLERANCES: dict[str, Tolerance] = {}


def adaptive_strong(recording: Recording) -> Outputs:
    weak, strong, share, draws = (
        tensor(recording, name) for name in ("in_weak", "in_strong", "in_hardness", "random_in_u")
    )
    return {
        "mixup_out_image": blend(weak, strong, share),
        "random_out_image": blend(weak, strong, draws < share),
        "off_out_image": strong,
    }


def cutmix(recording: Recording) -> Outputs:
    image, target, confidence = (
        tensor(recording, name) for name in ("in_image", "in_target", "in_conf")
    )
    everywhere = torch.ones_like(target, dtype=torch.bool)
    label = PseudoLabel(target, confidence, everywhere, everywhere)
    outputs = {}
    for prefix in ("uniform_", "random_", "gauss_", "plain_"):
        partner = partner_by_hardness(tensor(recording, "in_hardness"))
        if prefix == "plain_":  # drawn, not made of anything
            partner = tensor(recording, "plain_out_partner")
        box = boxes_from_corners(tensor(recording, f"{prefix}in_boxes"), *target.shape[1:])
        mixed = label.pasted(label.take(partner), box)
        outputs |= {
            f"{prefix}out_partner": partner,
            f"{prefix}out_image": paste(image, image[partner], box),
            f"{prefix}out_target": mixed.label,
            f"{prefix}out_conf": mixed.confidence,
        }
    return outputs


def ema(recording: Recording) -> Outputs:
    method = IMAS(supervised_epochs=int(recording["in_sup_only_epoch"]))
    length = int(recording["in_len_loader"])
    teacher, student = Weights(recording, 0), Weights(recording, 0)
    teacher.weight.data = tensor(recording, "in_teacher0")
    made = []
    for row, (epoch, step) in enumerate(recording["in_epoch_step"].tolist()):
        student.load(recording, row)
        decay = method.ema_decay(Clock(epoch * length + step, 1000 * length, length))
        update_average(teacher, student, decay, method.ema_buffers)
        made.append((teacher.weight.detach().clone(), teacher.statistics.clone(), decay))
    weights, statistics, decays = zip(*made, strict=True)
    return {
        "out_teacher": torch.stack(weights),
        "out_teacher_buf": torch.stack(statistics),
        "out_decay": decays,
    }


def image_hardness(recording: Recording) -> Outputs:
    student, teacher = (tensor(recording, name) for name in ("in_student", "in_teacher"))
    by_student, by_teacher = student.argmax(1), teacher.argmax(1)
    outputs = {}
    for prefix in prefixes(recording, "in_thresh_weighted_ignorebg"):
        threshold, *flags = recording[f"{prefix}in_thresh_weighted_ignorebg"].tolist()
        flags = [bool(each) for each in flags]
        classes = student.shape[1]
        ious = [
            mean_iou(by_student, by_teacher, classes, *flags),
            mean_iou(by_teacher, by_student, classes, *flags),
        ]
        shares = [confident_share(each, threshold) for each in (student, teacher)]
        normalised = hardness(student, teacher, threshold, *flags, True)
        outputs |= {
            f"{prefix}out_hardness_v1": hardness(student, teacher, threshold, *flags),
            # Without a confident pixel: NaN in the original, 0 here.
            f"{prefix}out_hardness_v2": normalised.where(sum(shares) > 0, torch.nan),
            f"{prefix}out_ratio_student": shares[0],
            f"{prefix}out_iou_tea_stu": torch.stack(ious),
        }
    return outputs


def total_loss(recording: Recording) -> Outputs:
    weight = tensor(recording, "in_hardness")
    outputs = {}
    for prefix in prefixes(recording, "in_weighted_cutmix_intensity"):
        weighted, drawn, both = recording[f"{prefix}in_weighted_cutmix_intensity"].tolist()
        predicted, losses = [], []
        for view in ("", "_cutmix"):
            predicted.append(tensor(recording, f"in_pred{view or '_strong'}").requires_grad_())
            label = pseudo_label(recording, f"in_label{view}", f"in_conf{view}")
            losses.append(loss_of(predicted[-1], label, 0.7, weight if weighted else None))
        method = IMAS()
        unlabelled = method.unlabelled_weight * combined(*losses, torch.tensor(drawn), both)
        total = unlabelled + float(recording["in_sup_loss"])
        total.backward()
        outputs |= {
            f"{prefix}out_loss": total.detach(),
            f"{prefix}out_unsup": unlabelled.detach(),
            f"{prefix}out_grad_strong": predicted[0].grad,
            f"{prefix}out_grad_cutmix": predicted[1].grad,
        }
    return outputs


def unsup_loss(recording: Recording) -> Outputs:
    label = pseudo_label(recording, "in_target", "in_conf")
    outputs = {}
    for prefix in prefixes(recording, "in_thresh_weighted"):
        threshold, weighted = recording[f"{prefix}in_thresh_weighted"].tolist()
        predicted = tensor(recording, "in_pred").requires_grad_()
        weight = tensor(recording, "in_hardness") if weighted else None
        loss = loss_of(predicted, label, threshold, weight)
        loss.backward()
        outputs |= {f"{prefix}out_loss": loss.detach(), f"{prefix}out_grad": predicted.grad}
    return outputs


ADAPTERS: dict[str, Adapter] = {
    "imas__adaptive_strong": adaptive_strong,
    "imas__cutmix": cutmix,
    "imas__ema": ema,
    "imas__hardness": image_hardness,
    "imas__total_loss": total_loss,
    "imas__unsup_loss": unsup_loss,
}


class Weights(nn.Module):
    """A network with one parameter and one buffer.

    The original averages BatchNorm's count of batches, too, which therefore is fractional; here it
    is part of a floating-point buffer.
    """

    weight: nn.Parameter
    statistics: Tensor

    def __init__(self, recording: Recording, row: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(tensor(recording, "in_student")[row])
        self.register_buffer("statistics", tensor(recording, "in_student_buf")[row])

    def load(self, recording: Recording, row: int) -> None:
        self.weight.data = tensor(recording, "in_student")[row]
        self.statistics.data = tensor(recording, "in_student_buf")[row]


def loss_of(logits: Tensor, label: PseudoLabel, threshold: float, weight: Tensor | None) -> Tensor:
    """Return the loss in the label space of so many classes."""
    return unlabelled_loss(MulticlassSpace(logits.shape[1]), logits, label, threshold, weight)


def pseudo_label(recording: Recording, label: str, confidence: str) -> PseudoLabel:
    """Return recorded labels that may teach everywhere."""
    labels = torch.from_numpy(recording[label].astype(np.uint8))
    everywhere = torch.ones_like(labels, dtype=torch.bool)
    return PseudoLabel(labels, tensor(recording, confidence), everywhere, everywhere)


def prefixes(recording: Recording, name: str) -> list[str]:
    """Return the prefixes ``c0_``, ``c1_``, ... of the configurations in a recording."""
    return sorted(each.removesuffix(name) for each in recording if each.endswith(name))


def tensor(recording: Recording, name: str) -> Tensor:
    """Return a recorded array as a tensor of its own."""
    return torch.from_numpy(recording[name].copy())
