"""Synthetic HeLa cells in bright field, in the layout of the original's photographs.

Living cells are spread, with a fine grain and a faint rim; dead ones are round and coarsely
speckled. Both may be brighter or darker than the background, and air bubbles are round too.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import cKDTree

from im_bench.data.synth.canvas import (
    Bytes,
    Field,
    Mask,
    Random,
    Size,
    fractal,
    outline,
    photograph,
    polygon,
    slope,
    soft,
)

_CHANNELS = ("alive", "dead", "mod_position")


def paths(split: str, index: int) -> tuple[str, tuple[str, ...]]:
    """Return the paths of a photograph and of its masks in the raw data set."""
    return (
        f"{split}/brightfield/hela_{index:05d}.png",
        tuple(f"{split}/{channel}/hela_{index:05d}.png" for channel in _CHANNELS),
    )


def draw(rng: Random, size: Size) -> tuple[Bytes, tuple[Bytes, ...]]:
    """Return a grey photograph ``(H, W, 3)`` and masks ``(H, W)`` of 0 and 255.

    The masks are living cells, dead cells and circles at the centres of both: cells overlap each
    other and the circles, so a pixel may belong to several masks.
    """
    grey = np.full((size[1], size[0]), rng.uniform(0.4, 0.65), np.float32)
    grey += 0.02 * fractal(rng, size, 12, 3)
    radius = max(5.5, min(size) * 0.055) * rng.uniform(0.9, 1.15)
    alive, dead = np.zeros((2, size[1], size[0]), bool)
    centres = _scatter(rng, size, radius)
    death = rng.beta(1.0, 1.3)
    contrast = rng.uniform(0.9, 2.2)
    for centre in centres:
        if rng.random() < death:
            dead |= _dead_cell(rng, grey, centre, radius, contrast)
        else:
            alive |= _living_cell(rng, grey, centre, radius, contrast)
    _debris(rng, grey, radius)
    grey += rng.uniform(0, 0.14) * slope(rng, size) + 0.05 * fractal(rng, size, 2, 1)
    image = np.repeat(grey[..., None], 3, axis=2)
    photo = photograph(rng, image, rng.uniform(0.2, 0.9), 0)
    noise = rng.normal(0, rng.uniform(1, 5), photo.shape[:2])
    photo = np.clip(photo[..., :1] + noise[..., None], 0, 255).astype(np.uint8).repeat(3, axis=2)
    masks = (alive, dead, _positions(centres, size))
    return photo, tuple(mask.astype(np.uint8) * 255 for mask in masks)


def _scatter(rng: Random, size: Size, radius: float) -> list[tuple[int, int]]:
    """Draw cell centres, mostly in clumps, none nearer than 12 pixels to another."""
    room = size[0] * size[1] / (12 * radius**2)
    wanted = max(2, round(room * rng.uniform(0.25, 0.95)))
    clumps = rng.uniform(0, 1, (3, 2)) * size
    centres: list[tuple[int, int]] = []
    for _ in range(6 * wanted):
        if rng.random() < 0.5:
            place = clumps[rng.integers(3)] + rng.normal(0, 3 * radius, 2)
        else:
            place = rng.uniform(0, 1, 2) * size
        x, y = (int(value) for value in place)
        inside = 2 <= x < size[0] - 2 and 2 <= y < size[1] - 2
        gap = max(12.0, 1.7 * radius)
        if inside and all(np.hypot(x - a, y - b) >= gap for a, b in centres):
            centres.append((x, y))
        if len(centres) == wanted:
            break
    return centres


def _living_cell(
    rng: Random, grey: Field, centre: tuple[int, int], radius: float, contrast: float
) -> Mask:
    size = (grey.shape[1], grey.shape[0])
    shape = outline(
        rng,
        centre,
        radius=radius * rng.uniform(0.95, 1.35),
        stretch=rng.uniform(1.0, 2.4),
        angle=rng.uniform(0, np.pi),
        roughness=rng.uniform(0.05, 0.16),
    )
    cell = polygon(size, shape)
    rim = np.clip(soft(cell, 0.8) - soft(cell, 2.2), 0, 1)
    grey += contrast * (0.45 * rim * rng.uniform(0.3, 1))
    grain = fractal(rng, size, size[0] / 5, 2)
    grey += contrast * cell * (0.10 * grain + rng.uniform(-0.07, 0.07))
    nucleus = polygon(size, outline(rng, centre, radius * 0.4, 1.2, roughness=0.05))
    grey -= contrast * 0.16 * (soft(nucleus, 0.9) - 0.8 * soft(nucleus, 2.0))
    return cell


def _dead_cell(
    rng: Random, grey: Field, centre: tuple[int, int], radius: float, contrast: float
) -> Mask:
    size = (grey.shape[1], grey.shape[0])
    shape = outline(rng, centre, radius * rng.uniform(0.65, 0.95), rng.uniform(1, 1.25), 0, 0.04)
    cell = polygon(size, shape)
    ring = np.clip(soft(cell, 1.6) - soft(cell, 0.6), 0, 1)
    grey += contrast * 0.45 * ring * rng.choice([-1, 1])
    speckle = np.sign(fractal(rng, size, size[0] / 3, 1))
    grey += contrast * soft(cell, 0.5) * (0.13 * speckle + rng.uniform(-0.10, 0.10))
    return cell


def _debris(rng: Random, grey: Field, radius: float) -> None:
    """Paint specks, empty rings (bubbles) and blurred dust, none of which is a cell."""
    size = (grey.shape[1], grey.shape[0])
    for _ in range(rng.integers(0, 14)):
        place = rng.uniform(0, 1, 2) * size
        speck = polygon(size, outline(rng, place, radius * rng.uniform(0.1, 0.25)))
        grey += rng.uniform(-0.3, 0.2) * soft(speck, 0.5)
    for _ in range(rng.integers(0, 4)):
        place = rng.uniform(0, 1, 2) * size
        bubble = polygon(size, outline(rng, place, radius * rng.uniform(0.5, 1), roughness=0.01))
        grey += (
            rng.uniform(0.25, 0.5) * rng.choice([-1, 1]) * (soft(bubble, 0.6) - soft(bubble, 1.5))
        )
    for _ in range(rng.integers(0, 4)):
        place = rng.uniform(0, 1, 2) * size
        dust = polygon(size, outline(rng, place, radius * rng.uniform(0.8, 2), 1.5))
        grey += rng.uniform(-0.12, 0.12) * soft(dust, radius * 0.5)


def _positions(centres: list[tuple[int, int]], size: Size) -> Mask:
    """Return filled circles at the centres, of radius clip(floor(d / 4), 3, 8).

    d is the distance to the nearest other centre (``mod_pos_size`` of the original
    implementation; as there, circles that grow together are kept apart by thinning their edges).
    """
    mask = np.zeros((size[1], size[0]), np.uint8)
    distances = np.full(len(centres), 3.0 * 4)
    if len(centres) > 1:
        distances = cKDTree(centres).query(centres, k=2)[0][:, 1]
    for centre, distance in zip(centres, distances, strict=True):
        cv2.circle(mask, centre, int(np.clip(distance // 4, 3, 8)), 255, -1)
    circles: Mask = cv2.blur(mask, (2, 2)) >= 254
    return circles
