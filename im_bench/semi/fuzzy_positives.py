"""Fuzzy Positive Learning: several classes at once may be the right one for a pixel.

The teacher's most probable classes are a pixel's positives, all others its negatives. Everything is
written for softmaxes over K >= 2 classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Weighting = Literal["none", "linear", "convex", "concave"]

_SHARPNESS = 50  # of the concave weight
_TINY = 1e-12


class FuzzyPositives(NamedTuple):
    """What a teacher's probabilities say about the positives of each pixel.

    Attributes:
        positive: Whether a class is a positive, bool (N, K, H, W).
        ranked: The most probable classes, most probable first, int64 (N, R, H, W).
        number: How many of these, from the first, are positives, int64 (N, H, W).
        runner_up: Probability of the most probable negative, float32 (N, H, W).
        mean: Mean probability of the positives and that negative, float32 (N, H, W).
    """

    positive: Tensor
    ranked: Tensor
    number: Tensor
    runner_up: Tensor
    mean: Tensor


@torch.no_grad()
def fuzzy_positives(probabilities: Tensor, threshold: float = 0.9, most: int = 3) -> FuzzyPositives:
    """Choose the positives of each pixel.

    They are the n most probable classes with the smallest n for which these and the next class
    together reach the threshold, at most ``most``. One class always remains negative: of two
    classes one is positive, whatever ``most`` says.

    Args:
        probabilities: A teacher's, (N, K, H, W).
        threshold: Sum of probabilities in 0..1.
        most: Largest number of positives.

    Source: qpc1611094/FPL, topk_ce_FPL.
    """
    most = min(most, probabilities.shape[1] - 1)
    top = probabilities.topk(most + 1, dim=1)
    reached = top.values.cumsum(dim=1)
    number = 1 + (reached[:, 1:most] < threshold).sum(dim=1)
    ranked = top.indices[:, :most]
    positive = torch.zeros_like(probabilities, dtype=torch.bool).scatter_(
        1, ranked, _first(number, most)
    )
    last = number.unsqueeze(1)
    runner_up, total = (each.gather(1, last).squeeze(1) for each in (top.values, reached))
    return FuzzyPositives(positive, ranked, number, runner_up, total / (number + 1))


def multi_positive_loss(logits: Tensor, positives: FuzzyPositives) -> Tensor:
    """Return the loss of each pixel, float32 (N, H, W): every positive above every negative.

    It is ``log(1 + sum over positives p and negatives n of exp(z_n - z_p))``; with one positive,
    the cross-entropy.

    Args:
        logits: z, (N, K, H, W).
        positives: Of :func:`fuzzy_positives`.
    """
    logits = logits.float()
    ranked = logits.gather(1, positives.ranked)
    others = ~_first(positives.number, ranked.shape[1])
    from_positives = (-ranked).masked_fill(others, -torch.inf).logsumexp(dim=1)
    from_negatives = logits.masked_fill(positives.positive, -torch.inf).logsumexp(dim=1)
    return F.softplus(from_positives + from_negatives)


def fuzzy_weight(
    positives: FuzzyPositives, weighting: Weighting = "concave", bend: float = 1.0
) -> Tensor:
    """Return how clearly positives and negatives are apart, float32 (N, H, W) in 0..1.

    Args:
        positives: Of :func:`fuzzy_positives`.
        weighting: A function of ``mean`` and ``runner_up``; ``none`` is 1 everywhere.
        bend: Of the ``convex`` one: 1 in FPL on CPS, 4 in FPL on AEL.
    """
    mean = positives.mean
    gap = mean - positives.runner_up
    if weighting == "none":
        return torch.ones_like(mean)
    if weighting == "linear":
        weight = gap / mean
    elif weighting == "convex":
        weight = gap / (bend * positives.runner_up + mean)
    else:
        weight = (_SHARPNESS * gap).log1p() / (_SHARPNESS * mean).log1p()
    return weight.clamp(max=1)


class RescaledLoss(NamedTuple):
    """A fuzzy loss that was given the value of the ordinary one.

    Attributes:
        loss: Scalar: the fuzzy loss times ``balance``.
        hard: Scalar: the cross-entropy with the teacher's most probable class.
        balance: Scalar: ``hard`` divided by the mean fuzzy loss. No gradient flows through it.
        ratio: Scalar: ``hard`` divided by the mean fuzzy loss without its weights.
    """

    loss: Tensor
    hard: Tensor
    balance: Tensor
    ratio: Tensor


def cross_loss(
    students: Sequence[Tensor],
    teachers: Sequence[Tensor],
    kept: Tensor | None = None,
    threshold: float = 0.9,
    most: int = 3,
    weighting: Weighting = "concave",
) -> RescaledLoss:
    """Return the unlabelled loss of two networks that teach each other, the sum of both.

    Its value is that of plain cross pseudo supervision; the gradient is the fuzzy loss's.

    Args:
        students: Logits of softmaxes of either network, (N, K, H, W).
        teachers: The probabilities that teach either: those of the other network.
        kept: Which pixels may teach, bool (N, H, W), or None: all. Others add nothing to the fuzzy
            loss and nothing to the value that it is given; all count in the denominators.
        threshold: As in :func:`fuzzy_positives`.
        most: As in :func:`fuzzy_positives`.
        weighting: As in :func:`fuzzy_weight`.

    Source: qpc1611094/FPL, FPL_based_on_CPS, train_FPL.py.
    """
    fuzzy, hard, unweighted = [], [], []
    for student, teacher in zip(students, teachers, strict=True):
        positives = fuzzy_positives(teacher, threshold, most)
        loss = multi_positive_loss(student, positives)
        entropy = _hard_loss(student, teacher)
        if kept is not None:
            loss, entropy = (each.where(kept, 0.0) for each in (loss, entropy))
        fuzzy.append((loss * fuzzy_weight(positives, weighting)).mean())
        unweighted.append(loss.mean())
        hard.append(entropy.mean())
    total = torch.stack(fuzzy).sum()
    return _rescaled(total, torch.stack(hard).sum(), total, torch.stack(unweighted).sum())


def consistency_loss(
    student: Tensor,
    teacher: Tensor,
    class_confidence: Tensor | None = None,
    draws: Tensor | None = None,
    gamma: float = 2.0,
    class_gamma: float = 1.0,
    threshold: float = 0.9,
    most: int = 3,
    weighting: Weighting = "concave",
) -> RescaledLoss:
    """Return the unlabelled loss of FPL on AEL.

    A pixel's share of the loss is the teacher's confidence to the power of ``gamma``. With draws,
    pixels that the student assigns to well learnt classes are left out at random.

    Args:
        student: Logits (N, K, H, W).
        teacher: Logits (N, K, H, W).
        class_confidence: How well each class is learnt, 0..1, (K,).
        draws: Uniform in 0..1, one map per class for all images, (K, H, W); None: leave none out.
        gamma: Power of the confidence.
        class_gamma: Power of a class's chance to stay, which is relative to the worst class's.
        threshold: As in :func:`fuzzy_positives`.
        most: As in :func:`fuzzy_positives`.
        weighting: As in :func:`fuzzy_weight`, with a ``bend`` of 4.

    Source: qpc1611094/FPL, FPL_based_on_AEL, loss_helper_topk.py, Criterion_cons.
    """
    probabilities = teacher.detach().float().softmax(dim=1)
    share = probabilities.amax(dim=1) ** gamma
    if class_confidence is not None and draws is not None:
        chance = 1 - class_confidence
        chance = (chance / (chance.max() + _TINY)) ** class_gamma
        stays = draws > 1 - chance.view(-1, 1, 1)
        by_student = student.argmax(dim=1, keepdim=True)
        share = share * stays.expand_as(student).gather(1, by_student).squeeze(1)
    share = share / (share.sum() + _TINY)
    positives = fuzzy_positives(probabilities, threshold, most)
    loss = multi_positive_loss(student, positives)
    weighted = loss * fuzzy_weight(positives, weighting, bend=4.0)
    hard = _hard_loss(student, probabilities).mean()
    return _rescaled((share * weighted).sum(), hard, weighted.mean(), loss.mean())


def adaptive_loss(
    student: Tensor,
    teacher: Tensor,
    uncertain: Tensor,
    thresholds: Sequence[float],
    most: int = 3,
    weighting: Weighting = "concave",
) -> Tensor:
    """Return the loss of adaptive FPL at each uncertain pixel, 0 elsewhere, float32 (N, H, W).

    Each pixel takes the threshold whose positives there agree best with those around.

    Args:
        student: Logits (N, K, H, W).
        teacher: Logits (N, K, H, W).
        uncertain: Which pixels have no reliable hard label, bool (N, H, W).
        thresholds: Candidates. The first wins a tie.
        most: As in :func:`fuzzy_positives`.
        weighting: As in :func:`fuzzy_weight`.

    Source: qpc1611094/FPL, A-FPL, semi_ce_loss_FPL_expand_MC_beyas_dilated.
    """
    probabilities = teacher.detach().float().softmax(dim=1)
    candidates = [fuzzy_positives(probabilities, each, most) for each in thresholds]
    losses = torch.stack(
        [multi_positive_loss(student, each) * fuzzy_weight(each, weighting) for each in candidates]
    )
    divergence = torch.stack([_context_divergence(each.positive) for each in candidates])
    chosen = divergence.argmin(dim=0, keepdim=True)
    return losses.gather(0, chosen).squeeze(0).where(uncertain, 0.0)


def _first(number: Tensor, size: int) -> Tensor:
    """Return a mask of the first so many (N, H, W) of ``size`` entries, bool (N, size, H, W)."""
    return torch.arange(size, device=number.device).view(-1, 1, 1) < number.unsqueeze(1)


def _hard_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the cross-entropy (N, H, W) of logits with the teacher's classes, no gradient."""
    return F.cross_entropy(student.detach().float(), teacher.argmax(dim=1), reduction="none")


def _rescaled(loss: Tensor, hard: Tensor, mean: Tensor, unweighted: Tensor) -> RescaledLoss:
    balance, ratio = (hard / each.detach().clamp(min=_TINY) for each in (mean, unweighted))
    return RescaledLoss(loss * balance, hard, balance, ratio)


def _context_divergence(positive: Tensor, size: int = 5) -> Tensor:
    """Return the KL divergence (N, H, W) of a pixel's positives from those around it."""
    own = positive.float()
    classes = own.shape[1]
    ring = own.new_ones(classes, 1, size, size)
    ring[..., size // 2, size // 2] = 0
    around = F.conv2d(own, ring, padding=size // 2, groups=classes)
    around = around / around.sum(dim=1, keepdim=True).clamp(min=1)
    own = own / own.sum(dim=1, keepdim=True) + 1e-6
    return F.kl_div(own.log(), around, reduction="none").sum(dim=1)
