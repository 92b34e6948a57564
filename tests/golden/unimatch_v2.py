"""UniMatch V2: the recordings ``unimatchv2__*``."""

from __future__ import annotations

import torch
from torch import nn

from im_bench.data.label_spaces import label_space
from im_bench.methods.fixmatch import unlabelled_loss
from im_bench.methods.unimatch_v2 import UniMatchV2, mirrored_places
from im_bench.semi import losses
from im_bench.semi.channel_dropout import complementary_masks
from im_bench.semi.ema import update_average
from im_bench.semi.pseudo_label import paste
from im_bench.semi.step import Clock

from .compare import Adapter, Outputs, Recording, Tolerance
from .fixmatch import pseudo_label

THRESHOLDS = {"c0_": 0.95, "c1_": 0.0, "c2_": 0.8}  # as the recording's description says


def comp_dropout(recording: Recording) -> Outputs:
    drawn, order = (torch.from_numpy(recording[f"in_{name}"]) for name in ("binomial", "perm"))
    mask = complementary_masks(drawn == 1, order)
    return {
        "out_mask": mask,
        "out_features": torch.from_numpy(recording["in_features"]) * mask.unsqueeze(1),
    }


def ema(recording: Recording) -> Outputs:
    """Follow the student; the last buffer is BatchNorm's count of batches.

    Nothing reads that count, and averages here take it over. The original averages it and drops
    the fraction, which is done here beside them, with the decay that they have.
    """
    method = UniMatchV2()
    teacher = Weights(recording, "teacher0", None)
    count = torch.from_numpy(recording["in_teacher0_buf"])[-1].long()
    made = []
    for row, iteration in enumerate(recording["in_iters"].tolist()):
        student = Weights(recording, "student", row)
        decay = method.ema_decay(Clock(iteration))
        update_average(teacher, student, decay, method.ema_buffers)
        count = (count * decay + student.count * (1 - decay)).long()
        made.append(
            (
                teacher.weight.detach().clone(),
                torch.cat([teacher.statistics, count.view(1)]),
                torch.tensor(decay, dtype=torch.float64),
            )
        )
    weights, buffers, decays = (torch.stack(each) for each in zip(*made, strict=True))
    return {"out_teacher": weights, "out_teacher_buf": buffers, "out_ratio": decays}


def loss(recording: Recording) -> Outputs:
    given = {name: torch.from_numpy(value) for name, value in recording.items() if "in_" in name}
    logits = {name: given[f"in_pred_{name}"].requires_grad_() for name in ("x", "u_s1", "u_s2")}
    space = label_space("multiclass", logits["x"].shape[1])
    weak = pseudo_label(space, given["in_pred_u_w"], given["in_ignore_mask"])
    mirrored = mirrored_places(len(weak.label), 1, weak.label.device)
    outputs, mixed = {}, []
    for view in ("1", "2"):
        box, images = given[f"in_cutmix_box{view}"] == 1, given[f"in_img_u_s{view}"]
        mixed.append(weak.pasted(weak.take(mirrored), box))
        outputs |= {
            f"out_img_u_s{view}": paste(images, images[mirrored], box),
            f"out_mask_cutmixed{view}": mixed[-1].label,
            f"out_ignore_cutmixed{view}": 255 * (~mixed[-1].valid).byte(),
        }
    for prefix, threshold in THRESHOLDS.items():
        labelled = space.loss(logits["x"], given["in_mask_x"].byte())
        strong = [
            unlabelled_loss(space, logits[f"u_s{view}"], label, threshold)
            for view, label in enumerate(mixed, 1)
        ]
        total = sum(UniMatchV2().weighted(labelled, strong).values())
        gradients = torch.autograd.grad(total, [*logits.values()])
        outputs |= {
            f"{prefix}out_loss_x": labelled.detach(),
            f"{prefix}out_loss_u_s1": strong[0].detach(),
            f"{prefix}out_loss_u_s2": strong[1].detach(),
            f"{prefix}out_loss_u_s": torch.stack(strong).mean().detach(),
            f"{prefix}out_loss": total.detach(),
            f"{prefix}out_mask_ratio": losses.share(weak.confidence >= threshold, weak.valid),
            **{f"{prefix}out_grad_pred_{n}": g for n, g in zip(logits, gradients, strict=True)},
        }
    return outputs


class Weights(nn.Module):
    """A network with one parameter, floating-point buffers, and BatchNorm's count beside them."""

    statistics: torch.Tensor

    def __init__(self, recording: Recording, which: str, row: int | None) -> None:
        super().__init__()
        weights, buffers = (
            torch.from_numpy(recording[f"in_{which}{kind}"].copy())[... if row is None else row]
            for kind in ("", "_buf")
        )
        self.weight = nn.Parameter(weights)
        self.register_buffer("statistics", buffers[:-1].clone())
        self.count = buffers[-1].long()


TOLERANCES: dict[str, Tolerance] = {}
ADAPTERS: dict[str, Adapter] = {
    "unimatchv2__comp_dropout": comp_dropout,
    "unimatchv2__ema": ema,
    "unimatchv2__loss": loss,
}
