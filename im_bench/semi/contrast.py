"""U2PL's contrastive loss: pixels of a class against unreliable pixels from memory.

Everything is done for all classes at once and in tensors of fixed size: a class that is absent is
masked, not skipped, so nothing waits for the device. C counts the classes, N the pixels of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from torch import Tensor

from im_bench.data.label_spaces import IGNORED
from im_bench.semi.memory_bank import MemoryBank

Draw = Callable[[Tensor, int], Tensor]
"""Draws indices below counts, int64 (C,), with replacement: (C, number). A count may be 0, then the
index does not matter."""

_EPSILON = 1e-8


class Candidates(NamedTuple):
    """Which pixels play which part for each class, bool (C, N).

    Attributes:
        anchors: Whose student features are pulled to the positive key.
        positives: Whose teacher features make up the positive key.
        negatives: Whose teacher features join the class's memory bank.
    """

    anchors: Tensor
    positives: Tensor
    negatives: Tensor


class CandidateRules(NamedTuple):
    """Who is a candidate; the defaults are U2PL's.

    Attributes:
        anchor_probability: Above which a teacher's probability makes an anchor.
        negative_probability: Below which it makes a negative.
        low_rank: Position, from 0, in the teacher's descending probabilities from which a class is
            improbable. With K classes at most K - 1, so that two classes have an improbable one.
        high_rank: Position from which a class is too improbable to teach anything.
        any_label: Whether an unreliable pixel is a negative of a class whatever its pseudo-label
            is, and a labelled pixel one of the probable classes that it is not (the paper). The
            original takes only pixels labelled as the class, never those of labelled images.
    """

    anchor_probability: float = 0.3
    negative_probability: float = 1.0
    low_rank: int = 3
    high_rank: int = 20
    any_label: bool = False


def one_hot(
    labels: Tensor, classes: int, first_image: int | None = None, count_ignored: bool = True
) -> Tensor:
    """Turn class indices into one channel per class; ignored pixels have none.

    Args:
        labels: (B, h, w), 255 where ignored.
        classes: K.
        first_image: None, or to repeat the original's mistake: the number of label maps that
            belong to the first image. They get the classes of all images at each pixel, and all
            other images get none.
        count_ignored: Whether an ignored pixel of another image then counts as class 0, which is
            part of the mistake.

    Returns:
        bool (B, K, h, w).

    Source: original implementation, ``label_onehot``, correct there for a batch of one image.
    """
    index = torch.arange(classes, device=labels.device).view(-1, 1, 1)
    if first_image is None:
        return labels.unsqueeze(1) == index
    counted = labels.unsqueeze(1) == index
    if count_ignored:
        counted = labels.masked_fill(labels == IGNORED, 0).unsqueeze(1) == index
    union = counted.view(-1, first_image, *counted.shape[1:]).any(0)
    valid = labels[:first_image].unsqueeze(1) != IGNORED
    return torch.cat([union & valid, torch.zeros_like(counted[first_image:])])


def find_candidates(
    hot: Tensor,
    probabilities: Tensor,
    low: Tensor,
    high: Tensor,
    labelled: int,
    rules: CandidateRules,
    groups: int = 1,
) -> Candidates:
    """Find the candidates of each class.

    The label maps of an image, one for each of the G softmaxes of the label space, stand together.
    Each softmax has classes of its own, C = G * K in all; its maps share the image's pixels.

    Args:
        hot: Of which class a pixel is, bool (B * G, K, h, w), labelled images first.
        probabilities: The teacher's, float32 (B * G, K, h, w).
        low: Reliable pixels, bool (B * G, h, w): labelled, or of low entropy.
        high: Pixels that may be negatives, bool (B * G, h, w): labelled, or of high entropy.
        labelled: Label maps that belong to labelled images.
        rules: Who is a candidate.
        groups: G.

    Source: Wang et al., U2PL, CVPR 2022, section 3.3; original implementation,
    ``compute_contra_memobank_loss``.
    """
    low_rank = min(rules.low_rank, probabilities.shape[1] - 1)
    rank = probabilities.argsort(1, descending=True).argsort(1)
    positives = hot & low.unsqueeze(1)
    improbable = (rank >= low_rank) & (rank < rules.high_rank)
    if rules.any_label:
        roles = torch.cat([~hot[:labelled] & (rank[:labelled] < low_rank), improbable[labelled:]])
    else:  # asking a labelled pixel both to be and not to be of the class, the original finds none
        roles = hot & improbable
        roles[:labelled] = False
    negatives = roles & high.unsqueeze(1) & (probabilities < rules.negative_probability)
    anchors = positives & (probabilities > rules.anchor_probability)
    return Candidates(*(_by_class(each, groups) for each in (anchors, positives, negatives)))


def by_pixel(features: Tensor) -> Tensor:
    """Return features (B, D, h, w) as (N, D), in the order of the candidates' pixels."""
    return features.movedim(1, -1).flatten(0, -2)


def keys(features: Tensor, negatives: Tensor, per_pixel: int = 1) -> tuple[Tensor, Tensor]:
    """Collect the feature vectors that join the memory bank, of all processes.

    Args:
        features: The teacher's, float32 (N, D).
        negatives: bool (C, N).
        per_pixel: How many classes a pixel may join on average. Labels of one class per pixel, also
            as the original mistakes them, never exceed 1; what exceeds it is left out.

    Returns:
        Rows (M, D), and the class of each, int64 (M,): C for rows that are no keys.
    """
    classes, pixels = negatives.shape
    count = negatives.flatten().cumsum(0)
    wanted = torch.arange(1, pixels * min(per_pixel, classes) + 1, device=features.device)
    pair = torch.searchsorted(count, wanted)  # the position of the 1st, 2nd, ... True, or the end
    rows = features.index_select(0, pair % pixels)
    return torch.cat(all_gather(rows)), torch.cat(all_gather(pair // pixels))


def uniform_draw(generator: torch.Generator) -> Draw:
    """Return a draw in which all indices are equally likely."""

    def draw(counts: Tensor, number: int) -> Tensor:
        shape = (len(counts), number)
        # Whole numbers so large that the remainder favours no index noticeably.
        numbers = torch.randint(2**62, shape, generator=generator, device=counts.device)
        return numbers % counts.clamp(min=1).unsqueeze(1)

    return draw


def contrastive_loss(
    features: Tensor,
    teacher_features: Tensor,
    candidates: Candidates,
    bank: MemoryBank,
    draw: Draw,
    queries: int = 256,
    negatives: int = 50,
    temperature: float = 0.5,
    align_classes: bool = False,
) -> Tensor:
    """Pull anchors to their class's mean feature and away from features in memory.

    A class is present if it has positives. Of each present class ``queries`` anchors are drawn,
    and as many times ``negatives`` rows of its memory, all with replacement. With one class or none
    the loss is 0; a class without anchors or without memory adds 0.

    Args:
        features: The student's, float32 (N, D).
        teacher_features: Of the same shape; no gradient flows back.
        candidates: Which pixels play which part.
        bank: The memory of each class, to which this step's keys have been added.
        draw: See :data:`Draw`; asked for anchors, then for rows of memory.
        queries: Q, anchors per class.
        negatives: Rows of memory per anchor.
        temperature: Divides the cosine similarities.
        align_classes: Whether anchors meet the memory of their own class. In the original the j-th
            present class gives the memory, but class j the anchors and the positive key: if a class
            is absent, those after it are exchanged.

    Returns:
        The mean over the present classes, a float32 scalar.

    Source: Wang et al., U2PL, CVPR 2022, section 3.3; original implementation,
    ``compute_contra_memobank_loss``.
    """
    size, total = candidates.positives.sum(1), candidates.anchors.sum(1)
    present = size > 0
    found = present.sum()
    if align_classes:
        memory, active = torch.arange(len(present), device=present.device), present
    else:
        memory = present.logical_not().argsort(stable=True)  # those that are present first
        active = torch.arange(len(present), device=present.device) < found
    length = bank.length[memory]
    active = active & (total > 0) & (length > 0) & (found > 1)

    pixels = _nth_true(candidates.anchors, draw(total.where(active, 0), queries))
    rows = bank.read(memory, draw(length.where(active, 0), queries * negatives))
    with torch.autocast(features.device.type, enabled=False):
        sums = candidates.positives.to(teacher_features) @ teacher_features.detach()
        positives = sums / size.clamp(min=1).unsqueeze(1)
        rows = rows.view(-1, queries, negatives, rows.shape[-1])
        anchors = features.index_select(0, pixels.flatten()).view(*pixels.shape, features.shape[1])
        terms = _info_nce(anchors, positives, rows, temperature)
    return terms.mean(1).where(active, 0.0).sum() / found.clamp(min=1)


def _info_nce(anchors: Tensor, positives: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Return the loss of each anchor, (C, Q).

    Args:
        anchors: (C, Q, D).
        positives: (C, D).
        negatives: (C, Q, n, D); without gradient.
        temperature: Divides the cosine similarities.
    """
    anchors = F.normalize(anchors, dim=-1, eps=_EPSILON)
    positives = F.normalize(positives, dim=-1, eps=_EPSILON)
    # Dividing the products and not the many negatives saves a copy of these.
    norms = negatives.norm(dim=-1).clamp(min=_EPSILON)
    away = (negatives @ anchors.unsqueeze(-1)).squeeze(-1) / norms
    towards = anchors @ positives.unsqueeze(-1)
    similarities = torch.cat([towards, away], -1) / temperature
    return similarities.logsumexp(-1) - similarities[..., 0]


def _by_class(masks: Tensor, groups: int) -> Tensor:
    """Turn (B * G, K, h, w) into (G * K, B * h * w)."""
    count, classes, height, width = masks.shape
    by_image = masks.reshape(count // groups, groups * classes, height, width)
    return by_image.transpose(0, 1).flatten(1)


def _nth_true(masks: Tensor, index: Tensor) -> Tensor:
    """Return the position of the n-th True of each row; some position where there is none.

    Args:
        masks: bool (C, N).
        index: n, from 0, int64 (C, Q).
    """
    count = masks.cumsum(1)
    return torch.searchsorted(count, index + 1).clamp(max=masks.shape[1] - 1)
