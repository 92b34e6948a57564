"""How far two networks agree on an image: the "hardness" of iMAS, and what it controls.

The original calls it hardness, although a larger value means an easier image.
"""

from __future__ import annotations

import torch
from torch import Tensor


def hardness(
    student: Tensor,
    teacher: Tensor,
    threshold: float = 0.7,
    weighted: bool = True,
    ignore_background: bool = True,
    normalised: bool = False,
) -> Tensor:
    """Return how easy each image is, float32 (N,) in 0..1.

    It is the IoU of the two predictions, once with either as the reference, times the share of
    confident pixels of that reference; and the mean of both.

    Args:
        student: Logits of softmaxes (N, K, H, W).
        teacher: Of the same images.
        threshold: Probability from which a pixel is confident.
        weighted: See :func:`mean_iou`.
        ignore_background: See :func:`mean_iou`.
        normalised: Weigh the two IoUs by the shares of confident pixels, which then add up to 1,
            instead of multiplying by them; 0 where no pixel is confident.

    Source: ZhenZHAO/iMAS, imas/utils/loss_helper.py, compute_ulb_hardness_all; ``normalised`` is
    its second version, which no published run uses.
    """
    classes = student.shape[1]
    predicted = student.argmax(dim=1), teacher.argmax(dim=1)
    confident = torch.stack([confident_share(each, threshold) for each in (student, teacher)])
    iou = torch.stack(
        [
            mean_iou(each, reference, classes, weighted, ignore_background)
            for each, reference in (predicted[::-1], predicted)
        ]
    )
    agreement = (confident * iou).sum(dim=0)
    if not normalised:
        return agreement / 2
    total = confident.sum(dim=0)
    return agreement / total.where(total > 0, 1.0)


def mean_iou(
    predicted: Tensor,
    reference: Tensor,
    classes: int,
    weighted: bool = True,
    ignore_background: bool = True,
) -> Tensor:
    """Return the mean over classes of each image's IoU, float32 (N,) in 0..1.

    Args:
        predicted: Class indices, int64 (N, H, W).
        reference: Of the same images.
        classes: K.
        weighted: Weigh each class by its share of the reference; otherwise all classes that either
            map shows count alike.
        ignore_background: Give class 0 no weight; an image whose reference shows nothing else has
            0. Without effect if not ``weighted``.

    Source: ZhenZHAO/iMAS, imas/utils/loss_helper.py, compute_ulb_hardness_miou.
    """
    in_reference = _class_counts(reference, classes)
    in_both = _class_counts(reference, classes, where=predicted == reference)
    in_either = in_reference + _class_counts(predicted, classes) - in_both
    iou = in_both / in_either.clamp(min=1)
    weight = in_reference if weighted else (in_either > 0).float()
    if weighted and ignore_background:
        weight[:, 0] = 0
    return (iou * weight).sum(1) / weight.sum(1).clamp(min=1)


def confident_share(logits: Tensor, threshold: float) -> Tensor:
    """Return the share of each image's pixels that are confident, float32 (N,) in 0..1.

    Args:
        logits: Of softmaxes (N, K, H, W).
        threshold: Probability of the most probable class from which a pixel is confident.
    """
    return (logits.float().softmax(dim=1).amax(dim=1) >= threshold).float().mean((1, 2))


def partner_by_hardness(hardness: Tensor) -> Tensor:
    """Return which image each one gets a box of, int64 (B,).

    The easiest is paired with the hardest, and so on; the middle one of an odd number with itself.

    Source: ZhenZHAO/iMAS, imas/dataset/cutmix_tensor.py, cut_mix_by_hardness.
    """
    order = hardness.argsort(stable=True)
    return torch.empty_like(order).scatter_(0, order, order.flip(0))


def blend(weak: Tensor, strong: Tensor, share: Tensor) -> Tensor:
    """Return a mixture of two views of each image, (B, C, H, W).

    Args:
        weak: (B, C, H, W).
        strong: Of the same images.
        share: The share of ``strong`` in 0..1, (B,).
    """
    return torch.lerp(weak, strong, share.to(weak).view(-1, 1, 1, 1))


def _class_counts(classes_of: Tensor, classes: int, where: Tensor | None = None) -> Tensor:
    """Return the number of pixels of each class in each image, float32 (N, K)."""
    index = classes_of.flatten(1)
    ones = torch.ones_like(index) if where is None else where.flatten(1).long()
    counts = torch.zeros(len(index), classes, dtype=torch.int64, device=index.device)
    return counts.scatter_add_(1, index, ones).float()
