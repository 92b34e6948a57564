"""Agents: few pixels of an image that stand for all others, and the features they are found in."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from im_bench.semi.pseudo_label import paste

# Above any cosine, so that pixels which are no candidates come last and chosen ones never again.
_DISMISSED, _CHOSEN = 2.0, 10.0


@torch.no_grad()
def select_agents(features: Tensor, count: int, draws: Tensor) -> Tensor:
    """Choose pixels of each image that are as orthogonal to each other as can be.

    The first is the candidate of the highest draw. Each further one is the pixel whose greatest
    absolute cosine to those chosen so far is smallest. Pixels that are no candidates are chosen
    only after all candidates.

    Args:
        features: (B, D, h, w).
        count: N, how many; all pixels where there are fewer.
        draws: float32 (B, h * w): random numbers from 0 on, negative where a pixel is no candidate.

    Returns:
        Positions among the h * w pixels, int64 (B, N), ascending, no two alike in a row.

    Source: mai556/RankMatch, ``orthogonal_landmarks``.
    """
    with torch.autocast(features.device.type, enabled=False):
        directions = F.normalize(features.detach().float().flatten(2), dim=1)
        greatest = torch.zeros_like(draws).masked_fill(draws < 0, _DISMISSED)
        chosen = [draws.argmax(1, keepdim=True)]
        for _ in range(min(count, draws.shape[1]) - 1):
            agent = gather_pixels(directions, chosen[-1])
            cosine = torch.bmm(agent, directions).squeeze(1).abs()
            greatest = torch.maximum(greatest, cosine).scatter(1, chosen[-1], _CHOSEN)
            chosen.append(greatest.argmin(1, keepdim=True))
    return torch.cat(chosen, 1).sort(1).values


def gather_pixels(features: Tensor, positions: Tensor) -> Tensor:
    """Return the feature vectors (B, N, D) of pixels.

    Args:
        features: (B, D, h, w) or (B, D, h * w).
        positions: Among the h * w pixels, int64 (B, N).
    """
    features = features.flatten(2)
    index = positions.unsqueeze(1).expand(-1, features.shape[1], -1)
    return features.gather(2, index).transpose(1, 2)


def paste_features(own: Tensor, other: Tensor, box: Tensor) -> Tensor:
    """Paste feature maps inside boxes of the images that they were computed from.

    It is as if the maps were enlarged to the images' size, pasted, and reduced to their own size,
    each time bilinearly with aligned corners. Of the enlarged maps only those pixels are computed
    that the reduction reads, at most four for each of its own.

    Args:
        own: (B, D, h, w).
        other: Of the same shape.
        box: bool (B, H, W), True where ``other`` is taken.

    Returns:
        float32 (B, D, h, w).

    Source: mai556/RankMatch, ``rankmatch.py``.
    """
    (rows, row_share), (columns, column_share) = (
        _taps(coarse, fine, own.device)
        for coarse, fine in zip(own.shape[-2:], box.shape[-2:], strict=True)
    )
    enlarge_rows, enlarge_columns = (
        _enlargement(coarse, fine, own.device).index_select(0, taps)
        for coarse, fine, taps in zip(own.shape[-2:], box.shape[-2:], (rows, columns), strict=True)
    )
    with torch.autocast(own.device.type, enabled=False):
        below, above = (enlarge_rows @ each.float() @ enlarge_columns.T for each in (own, other))
        pasted = paste(below, above, box.index_select(1, rows).index_select(2, columns))
        upper, lower = (pasted * row_share.unsqueeze(1)).chunk(2, dim=-2)
        left, right = ((upper + lower) * column_share).chunk(2, dim=-1)
    return left + right


def _taps(coarse: int, fine: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return which pixels of ``fine`` a reduction to ``coarse`` reads, and with which weights.

    Both have 2 * coarse elements: first the lower neighbour of each, then the upper one.
    """
    scale = (fine - 1) / max(coarse - 1, 1)
    place = torch.arange(coarse, device=device, dtype=torch.float32) * scale
    lower = place.floor().clamp(max=fine - 1)
    share = place - lower
    taps = torch.cat([lower, (lower + 1).clamp(max=fine - 1)]).long()
    return taps, torch.cat([1 - share, share])


def _enlargement(coarse: int, fine: int, device: torch.device) -> Tensor:
    """Return the matrix (fine, coarse) that enlarges by linear interpolation."""
    units = torch.eye(coarse, device=device).unsqueeze(0)
    matrix = F.interpolate(units, fine, mode="linear", align_corners=True)
    return matrix.squeeze(0).T
