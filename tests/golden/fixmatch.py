"""FixMatch for segmentation: the recording ``fixmatch__loss``."""

from __future__ import annotations

import torch

from im_bench.data.label_spaces import label_space
from im_bench.methods.fixmatch import unlabelled_loss
from im_bench.semi import losses
from im_bench.semi.pseudo_label import PseudoLabel, paste

from .compare import Adapter, Outputs, Recording, Tolerance

THRESHOLDS = {"c0_": 0.95, "c1_": 0.0, "c2_": 0.8}  # as the recording's description says


def loss(recording: Recording) -> Outputs:
    given = {name: torch.from_numpy(value) for name, value in recording.items() if "in_" in name}
    logits_x, logits_s = (given[f"in_pred_{x}"].requires_grad_() for x in ("x", "u_s"))
    space = label_space("multiclass", logits_x.shape[1])
    weak, partner = (
        pseudo_label(space, given[f"in_pred_u_w{which}"], given[f"in_ignore_mask{which}"])
        for which in ("", "_mix")
    )
    box = given["in_cutmix_box"] == 1
    outputs = {"out_img_u_s": paste(given["in_img_u_s"], given["in_img_u_s_mix"], box)}
    for prefix, threshold in THRESHOLDS.items():
        labelled = space.loss(logits_x, given["in_mask_x"].byte())
        unlabelled = unlabelled_loss(space, logits_s, weak.pasted(partner, box), threshold)
        total = (labelled + unlabelled) / 2
        gradients = torch.autograd.grad(total, (logits_x, logits_s))
        outputs |= {
            f"{prefix}out_loss_x": labelled.detach(),
            f"{prefix}out_loss_u_s": unlabelled.detach(),
            f"{prefix}out_loss": total.detach(),
            f"{prefix}out_mask_ratio": losses.share(weak.confidence >= threshold, weak.valid),
            f"{prefix}out_grad_pred_x": gradients[0],
            f"{prefix}out_grad_pred_u_s": gradients[1],
        }
    return outputs


def pseudo_label(space, logits: torch.Tensor, ignore_mask: torch.Tensor) -> PseudoLabel:
    """Return the pseudo-label of recorded logits, without Inconsistency Masks."""
    probabilities, valid = space.activate(logits), ignore_mask != 255
    return PseudoLabel(
        label=space.discretise(probabilities),
        confidence=space.confidence(probabilities),
        valid=valid,
        kept=torch.ones_like(valid),
    )


TOLERANCES: dict[str, Tolerance] = {}
ADAPTERS: dict[str, Adapter] = {"fixmatch__loss": loss}
