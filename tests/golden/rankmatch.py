"""RankMatch: the recordings ``rankmatch__*``."""

from __future__ import annotations

import torch
from torch import Tensor

from im_bench.data.label_spaces import label_space
from im_bench.methods.fixmatch import unlabelled_loss
from im_bench.methods.rankmatch import RankMatch
from im_bench.semi.agents import gather_pixels, paste_features, select_agents
from im_bench.semi.ranking import rank_loss, rank_probabilities

from .compare import Adapter, Outputs, Recording, Tolerance
from .fixmatch import pseudo_label
from .unimatch import STUDENT

FEW = 7
"""Pixels at a time, so few that the loss is computed in many parts."""


def landmarks(recording: Recording) -> Outputs:
    weak, strong = (torch.from_numpy(recording[f"in_feat_{view}"]) for view in "ws")
    outputs = {}
    for prefix in prefixes(recording, "in_first_index"):
        index = chosen(weak, int(prefix[1:-1]), recording[f"{prefix}in_first_index"])
        outputs |= {
            f"{prefix}out_index": index,
            f"{prefix}out_landmarks_w": gather_pixels(weak, index),
            f"{prefix}out_landmarks_s": gather_pixels(strong, index),
        }
    return outputs


def prob2rank(recording: Recording) -> Outputs:
    outputs = {}
    for prefix in prefixes(recording, "in_prob_w"):
        weak, strong, weight = (
            torch.from_numpy(recording[f"{prefix}in_{name}"])
            for name in ("prob_w", "prob_s", "weight")
        )
        top = weak.topk(int(prefix[1:-1]), dim=-1).indices
        given = rank_probabilities(strong.requires_grad_(), top)
        (gradient,) = torch.autograd.grad((weight * given).sum(), strong)
        outputs |= {
            f"{prefix}out_rank_w": rank_probabilities(weak, top),
            f"{prefix}out_rank_s": given.detach(),
            f"{prefix}out_grad_s": gradient,
        }
    return outputs


def corr_loss(recording: Recording) -> Outputs:
    outputs = {}
    for prefix in prefixes(recording, "in_first_index"):
        weak, strong = (torch.from_numpy(recording[f"{prefix}in_feat_{view}"]) for view in "ws")
        index = chosen(weak, RankMatch().agents, recording[f"{prefix}in_first_index"])
        loss = rank_loss(weak, strong.requires_grad_(), index, RankMatch().ranked, rows=FEW)
        (gradient,) = torch.autograd.grad(loss, strong)
        outputs |= {f"{prefix}out_loss": loss.detach(), f"{prefix}out_grad_s": gradient}
    return outputs


def loss(recording: Recording) -> Outputs:
    given = {name: torch.from_numpy(value) for name, value in recording.items() if "in_" in name}
    logits = {name: given[f"in_pred_{name}"].requires_grad_() for name in STUDENT}
    features = {view: given[f"in_feat_u_s{view}"].requires_grad_() for view in "12"}
    space, threshold = label_space("multiclass", logits["x"].shape[1]), given["in_conf_thresh"]
    weak, partner = (
        pseudo_label(space, given[f"in_pred_u_w{which}"], given[f"in_ignore_mask{which}"])
        for which in ("", "_mix")
    )
    method, outputs, strong, ranks = RankMatch(), {}, [], []
    for view, first in zip("12", recording["in_first_index"], strict=True):
        box = given[f"in_cutmix_box{view}"] == 1
        label = weak.pasted(partner, box)
        strong.append(unlabelled_loss(space, logits[f"u_s{view}"], label, threshold))
        mixed = paste_features(given["in_feat_u_w"], given["in_feat_u_w_mix"], box)
        index = chosen(mixed, method.agents, first)
        ranks.append(rank_loss(mixed, features[view], index, method.ranked, rows=FEW))
        outputs |= {
            f"out_feat_cutmixed{view}": mixed,
            f"out_loss_u_s{view}": strong[-1].detach(),
            f"out_loss_c_s{view}": ranks[-1].detach(),
        }
    labelled = space.loss(logits["x"], given["in_mask_x"].byte())
    perturbed = unlabelled_loss(space, logits["u_w_fp"], weak, threshold)
    parts = method.weighted(labelled, strong, perturbed)
    # A step has both views in one batch, whose mean this is.
    total = sum(parts.values()) + method.rank_weight * torch.stack(ranks).mean()
    wanted = {f"feat_u_s{view}": each for view, each in features.items()}
    wanted |= {"pred_u_s1": logits["u_s1"]}
    gradients = torch.autograd.grad(total, [*wanted.values()])
    return outputs | {
        "out_loss_x": labelled.detach(),
        "out_loss_u_w_fp": perturbed.detach(),
        "out_loss": total.detach(),
        **{f"out_grad_{name}": each for name, each in zip(wanted, gradients, strict=True)},
    }


def chosen(features: Tensor, count: int, first) -> Tensor:
    """Select agents of which the first are given."""
    index = torch.from_numpy(first).unsqueeze(1)
    draws = torch.zeros(len(features), features[0, 0].numel()).scatter(1, index, 1.0)
    return select_agents(features, count, draws)


def prefixes(recording: Recording, name: str) -> list[str]:
    """Return what stands before a name in each configuration of a recording."""
    return [key.removesuffix(name) for key in recording if key.endswith(name)]


TOLERANCES: dict[str, Tolerance] = {}
ADAPTERS: dict[str, Adapter] = {
    "rankmatch__corr_loss": corr_loss,
    "rankmatch__landmarks": landmarks,
    "rankmatch__loss": loss,
    "rankmatch__prob2rank": prob2rank,
}
