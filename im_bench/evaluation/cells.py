"""Cells of a position map: where they are, how large they are drawn, how many live.

A position map shows a blob per cell. Networks draw blobs that touch and vary, so positions are
redrawn as circles that keep clear of each other, and counted from their contours. Contours need
OpenCV: these functions take one image at a time, on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

Grey = NDArray[np.uint8]
Points = NDArray[np.int64]

VISIBLE = 10  # grey levels above this are set
MIN_RADIUS = 3
MAX_RADIUS = 8
MEASURING_RANGE = 3


class CellCounts(NamedTuple):
    """Numbers of cells; unclear ones show as much of alive as of dead."""

    alive: int
    dead: int
    unclear: int


def cell_centres(position: Grey, erode: int = 3) -> Points:
    """Return the centre of every contour of a position map.

    Inner contours count too, so that a ring is two cells; contours without an area (single pixels,
    lines) do not. The centroid is truncated and moved by one pixel right and down.

    Args:
        position: ``(H, W)`` grey levels.
        erode: Side of the kernel that separates touching blobs first; 0 is off.

    Returns:
        ``(N, 2)``, columns x and y in pixels.

    Source: original implementation, ``get_pos_contours``.
    """
    if erode:
        position = cv2.erode(position, np.ones((erode, erode), np.uint8))
    visible = (position > VISIBLE).astype(np.uint8)
    contours, _ = cv2.findContours(visible, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    moments = [cv2.moments(contour) for contour in contours]
    centres = [(m["m10"] / m["m00"], m["m01"] / m["m00"]) for m in moments if m["m00"]]
    return np.array(centres).reshape(-1, 2).astype(np.int64) + 1


def nearest_distances(points: Points) -> NDArray[np.float64]:
    """Return the distance of each point, ``(N, 2)``, to the nearest one elsewhere, ``(N,)``.

    Coincident points do not count as neighbours; a point without a neighbour gets 0.

    Source: original implementation, ``get_min_dist``.
    """
    places, inverse = np.unique(points, axis=0, return_inverse=True)
    if len(places) < 2:
        return np.zeros(len(points))
    distances, _ = cKDTree(places).query(places, k=2)
    return np.asarray(distances[:, 1][inverse.reshape(-1)], dtype=np.float64)


def redraw_positions(
    position: Grey, max_radius: int = MAX_RADIUS, min_radius: int = MIN_RADIUS
) -> Grey:
    """Return a position map with a filled circle per cell: the target of pseudo-labels.

    The radius is a quarter of the distance to the nearest other cell, within the two bounds; a lone
    cell gets the largest.

    Args:
        position: ``(H, W)`` grey levels.
        max_radius: Largest radius in pixels.
        min_radius: Smallest radius in pixels.

    Returns:
        ``(H, W)``, 0 or 255.

    Source: original implementation, ``create_pseudo_labels_im_hela``.
    """
    centres = cell_centres(position)
    distances = nearest_distances(centres)
    if len(centres) == 1:
        distances = np.array([4.0 * max_radius])
    return _circles(position, centres, _radii(distances, max_radius, min_radius))


def redraw_positions_for_counting(
    position: Grey, max_radius: int = MAX_RADIUS, min_radius: int = MIN_RADIUS
) -> Grey:
    """Return a position map with a filled circle per cell: what a prediction is judged by.

    As :func:`redraw_positions`, but a lone cell gets the smallest radius, and each blob loses its
    upper row and left column (a 2 x 2 blur of which only full values stay).

    Source: original implementation, ``mod_pos_size``.
    """
    centres = cell_centres(position)
    radii = _radii(nearest_distances(centres), max_radius, min_radius)
    blurred = cv2.blur(_circles(position, centres, radii), (2, 2))
    return np.where(blurred >= 254, blurred, 0).astype(np.uint8)


def count_cells(
    centres: Points, alive: Grey, dead: Grey, reach: int = MEASURING_RANGE
) -> CellCounts:
    """Count the cells that are alive, dead, or neither clearly.

    Each centre looks at a square of twice ``reach`` pixels, rows y - reach to y + reach - 1. Near a
    border the centre is moved inwards first. More alive than dead pixels in it: alive; fewer: dead.

    Args:
        centres: ``(N, 2)``, columns x and y in pixels.
        alive: ``(H, W)`` grey levels.
        dead: ``(H, W)`` grey levels.
        reach: Half the side of the square, in pixels; the image must be at least as large as it.

    Source: original implementation, ``get_cell_count``.
    """
    height, width = alive.shape
    x, y = centres[:, 0], centres[:, 1]
    x = np.where(x <= reach, x + reach, x)  # "<=" here and "<" below, as in the original
    x = np.where(x + reach > width, width - reach, x)
    y = np.where(y < reach, y + reach, y)
    y = np.where(y + reach > height, height - reach, y)

    difference = (alive > VISIBLE).astype(np.int64) - (dead > VISIBLE)
    windows = np.lib.stride_tricks.sliding_window_view(difference, (2 * reach, 2 * reach))
    balance = windows[y - reach, x - reach].sum((1, 2))
    return CellCounts(int((balance > 0).sum()), int((balance < 0).sum()), int((balance == 0).sum()))


def redraw_position_bits(
    labels: Tensor, cells: Mapping[str, int], redraw: Callable[[Grey], Grey] = redraw_positions
) -> Tensor:
    """Return bit masks whose position class is redrawn.

    Runs image by image on the CPU, wherever ``labels`` lie: contours need OpenCV.

    Args:
        labels: uint8 ``(B, H, W)`` bit masks.
        cells: The channel of ``"position"``; others are not touched.
        redraw: How; see also :func:`redraw_positions_for_counting`.
    """
    bit = 1 << cells["position"]
    maps = channel_map(labels, cells["position"])
    for index, position in enumerate(maps):
        maps[index] = redraw(position)
    drawn = torch.from_numpy(maps).to(labels.device)
    return (labels & (0xFF ^ bit)) | (drawn & bit)


def channel_map(labels: Tensor, channel: int) -> Grey:
    """Return one class of bit masks, uint8 ``(B, H, W)``, as grey levels 0 or 255 on the CPU."""
    return (((labels >> channel) & 1) * 255).cpu().numpy()


def _radii(distances: NDArray[np.float64], max_radius: int, min_radius: int) -> NDArray[np.int64]:
    """Return a quarter of the distances, rounded down, within the bounds."""
    return np.clip(distances // 4, min_radius, max_radius).astype(np.int64)


def _circles(position: Grey, centres: Points, radii: NDArray[np.int64]) -> Grey:
    """Return filled circles of 255 on black, of the size of ``position``."""
    canvas = np.zeros(position.shape, np.uint8)
    for (x, y), radius in zip(centres.tolist(), radii.tolist(), strict=True):
        cv2.circle(canvas, (x, y), radius, 255, cv2.FILLED)
    return canvas
