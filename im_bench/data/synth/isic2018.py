"""Synthetic skin lesions, in the layout of ISIC 2018 task 1.

A lesion is told from its surroundings by texture and border, not by colour alone: shadows,
reddened skin, freckles, ink and stickers may be as dark, and lesions may be as pale as skin.
"""

from __future__ import annotations

import cv2
import numpy as np

from im_bench.data.synth.canvas import (
    Bytes,
    Field,
    Mask,
    Random,
    Size,
    bend,
    blend,
    colour,
    fractal,
    grid,
    outline,
    photograph,
    polygon,
    shade,
    slope,
    soft,
    stroke,
)

_SKIN = ((0.93, 0.76, 0.67), (0.87, 0.66, 0.55), (0.80, 0.58, 0.47), (0.66, 0.46, 0.35))
_PIGMENT = ((0.35, 0.20, 0.12), (0.50, 0.30, 0.18), (0.22, 0.14, 0.12), (0.62, 0.30, 0.28))
_TITLES = {"train": "Training", "val": "Validation", "test": "Test"}


def paths(split: str, index: int) -> tuple[str, tuple[str, ...]]:
    """Return the paths of an image and of its masks in the raw data set."""
    title, number = _TITLES[split], {"train": 0, "val": 100_000, "test": 200_000}[split] + index
    return (
        f"ISIC2018_Task1-2_{title}_Input/ISIC_{number:07d}.jpg",
        (f"ISIC2018_Task1_{title}_GroundTruth/ISIC_{number:07d}_segmentation.png",),
    )


def draw(rng: Random, size: Size) -> tuple[Bytes, tuple[Bytes, ...]]:
    """Return an image ``(H, W, 3)`` in BGR order and its lesion mask ``(H, W)`` of 0 and 255."""
    skin = colour(rng, _SKIN[rng.integers(len(_SKIN))], 0.06)
    image = np.empty((size[1], size[0], 3), np.float32)
    image[:] = skin
    shade(image, 0.06 * fractal(rng, size, 3) + 0.05 * fractal(rng, size, 24, 2))
    lesion = _lesion_outline(rng, size)
    _look_alikes(rng, image, lesion)
    _paint_lesion(rng, image, skin, lesion)
    if rng.random() < 0.6:
        _hair(rng, image)
    if rng.random() < 0.3:
        _bubbles(rng, image)
    if rng.random() < 0.25:
        _ruler(rng, image)
    shade(image, rng.uniform(0, 0.3) * slope(rng, size) + 0.12 * fractal(rng, size, 2, 1))
    if rng.random() < 0.35:
        _vignette(rng, image)
    photo = photograph(rng, image, rng.uniform(0, 0.008) * size[0], rng.uniform(0.005, 0.04))
    return photo, (lesion.astype(np.uint8) * 255,)


def _lesion_outline(rng: Random, size: Size) -> Mask:
    side = min(size)
    centre = np.asarray(size) / 2 + rng.normal(0, 0.12 * side, 2)
    return polygon(
        size,
        outline(
            rng,
            centre,
            radius=side * rng.uniform(0.10, 0.34),
            stretch=rng.uniform(1, 1.9),
            angle=rng.uniform(0, np.pi),
            roughness=rng.uniform(0.03, 0.16),
        ),
    )


def _paint_lesion(rng: Random, image: Field, skin: Field, lesion: Mask) -> None:
    size = (lesion.shape[1], lesion.shape[0])
    side = min(size)
    contrast = rng.uniform(0.15, 0.85)
    alpha = soft(lesion, side * rng.uniform(0.004, 0.03)) * contrast
    first, second = (colour(rng, _PIGMENT[rng.integers(len(_PIGMENT))], 0.1) for _ in range(2))
    patches = np.clip(0.5 + 1.2 * fractal(rng, size, 3), 0, 1)[..., None]
    pigment = first * patches + second * (1 - patches)
    # Scar-like pale regions inside, so that dark does not mean lesion.
    if rng.random() < 0.4:
        pale = np.clip(2 * fractal(rng, size, 2, 2) - rng.uniform(-0.2, 0.4), 0, 1)[..., None]
        pigment = pigment * (1 - pale) + (skin + 0.08) * pale
    blend(image, alpha, pigment)
    # The pigment network: what tells a pale lesion from a shadow.
    ridges = np.abs(fractal(rng, size, rng.uniform(9, 14), 2))
    network = np.clip(0.35 - ridges, 0, 1) * rng.uniform(0.4, 1.0)
    shade(image, -network.astype(np.float32), lesion)


def _look_alikes(rng: Random, image: Field, lesion: Mask) -> None:
    """Paint what is no lesion: reddened skin, shadows, freckles, ink, a sticker."""
    size = (lesion.shape[1], lesion.shape[0])
    side = min(size)
    if rng.random() < 0.5:
        blend(image, soft(lesion, 0.09 * side) * rng.uniform(0.2, 0.6), (0.75, 0.36, 0.33))
    for _ in range(rng.integers(0, 4)):
        shape = outline(rng, _anywhere(rng, size), side * rng.uniform(0.08, 0.28), 1.6, 1, 0.2)
        shade(image, -rng.uniform(0.15, 0.5) * soft(polygon(size, shape), 0.05 * side))
    for _ in range(rng.integers(0, 9)):
        freckle = outline(rng, _anywhere(rng, size), side * rng.uniform(0.01, 0.035))
        blend(image, soft(polygon(size, freckle), 0.7) * 0.7, colour(rng, _PIGMENT[1], 0.1))
    if rng.random() < 0.2:
        ink = stroke(size, bend(rng, _anywhere(rng, size), 6 * rng.random(), side, 2), 0.03 * side)
        blend(image, soft(ink, 0.8) * 0.8, (0.28, 0.2, 0.55))
    if rng.random() < 0.2:
        edge = np.asarray(size) * rng.integers(0, 2, 2)
        sticker = polygon(size, outline(rng, edge, side * rng.uniform(0.15, 0.35), roughness=0))
        blend(image, sticker & ~lesion, colour(rng, rng.uniform(0.1, 0.9, 3)))


def _anywhere(rng: Random, size: Size) -> tuple[float, float]:
    return rng.uniform(0, size[0]), rng.uniform(0, size[1])


def _hair(rng: Random, image: Field) -> None:
    height, width = image.shape[:2]
    tone = colour(rng, (0.16, 0.11, 0.09) if rng.random() < 0.75 else (0.8, 0.75, 0.68))
    direction = rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(2, 14)):
        angle = direction + rng.normal(0, 0.5)
        line = bend(rng, _anywhere(rng, (width, height)), angle, width * rng.uniform(0.3, 1), 0.9)
        hair = stroke((width, height), line, width * rng.uniform(0.004, 0.014))
        blend(image, soft(hair, 0.5) * rng.uniform(0.5, 0.95), tone)


def _bubbles(rng: Random, image: Field) -> None:
    height, width = image.shape[:2]
    rings = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(2, 8)):
        x, y = _anywhere(rng, (width, height))
        cv2.circle(rings, (int(x), int(y)), int(width * rng.uniform(0.015, 0.06)) + 1, 1, 1)
    blend(image, soft(rings.astype(bool), 0.5) * 0.6, (1, 0.97, 0.95))


def _ruler(rng: Random, image: Field) -> None:
    height, width = image.shape[:2]
    ticks = np.zeros((height, width), np.uint8)
    step = max(3, round(width * rng.uniform(0.05, 0.08)))
    top = round(height * rng.uniform(0, 0.9))
    for number, x in enumerate(range(0, width, step)):
        length = round(height * (0.09 if number % 5 == 0 else 0.045))
        cv2.line(ticks, (x, top), (x, top + length), 1, 1)
    if rng.random() < 0.5:
        ticks = np.ascontiguousarray(cv2.resize(ticks.T, (width, height), interpolation=0))
    blend(image, ticks.astype(bool), (0.12, 0.1, 0.1))


def _vignette(rng: Random, image: Field) -> None:
    height, width = image.shape[:2]
    x, y = grid((width, height))
    offset = rng.normal(0, 0.08, 2)
    distance = np.hypot(x - offset[0], y - offset[1])
    edge = rng.uniform(1.0, 1.25)
    image *= (1 / (1 + np.exp(np.clip((distance - edge) * 40, -50, 50))))[..., None]
