"""Brushes that the synthetic data sets share: textures, shapes, blending, the camera.

Images are float32 ``(H, W, 3)`` RGB in 0…1 while they are painted; masks are boolean ``(H, W)``;
points are ``(x, y)`` in pixels and sizes ``(width, height)``.
"""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import numpy.typing as npt

Random = np.random.Generator
Bytes = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Colour = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Size = tuple[int, int]

_SUBPIXEL = 4


def generator(seed: int, split: str, index: int) -> Random:
    """Return the random generator of one image, independent of all other images."""
    return np.random.default_rng([seed, zlib.crc32(split.encode()), index])


def grid(size: Size) -> tuple[Field, Field]:
    """Return the x and y coordinates of all pixels, each ``(H, W)``, in -1…1."""
    x = np.linspace(-1, 1, size[0], dtype=np.float32)
    y = np.linspace(-1, 1, size[1], dtype=np.float32)
    return np.broadcast_to(x, (size[1], size[0])), np.broadcast_to(y[:, None], (size[1], size[0]))


def fractal(rng: Random, size: Size, cells: float, octaves: int = 3, stretch: float = 1.0) -> Field:
    """Return smooth noise ``(H, W)``, roughly in -1…1.

    Args:
        rng: Source of chance.
        size: Width and height in pixels.
        cells: Bumps along the width in the coarsest octave; each octave has twice as many.
        octaves: Number of octaves, each half as strong as the one before.
        stretch: Ratio of bump height to bump width.
    """
    total = np.zeros((size[1], size[0]), np.float32)
    strength = 0.6
    for _ in range(octaves):
        columns = int(np.clip(cells + 1, 2, size[0]))
        rows = int(np.clip(cells / stretch * size[1] / size[0] + 1, 2, size[1]))
        coarse = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
        total += strength * cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        strength, cells = strength / 2, cells * 2
    return total


def slope(rng: Random, size: Size) -> Field:
    """Return a linear gradient ``(H, W)`` of random direction, in -1…1."""
    x, y = grid(size)
    angle = np.float32(rng.uniform(0, 2 * np.pi))
    light: Field = (np.cos(angle) * x + np.sin(angle) * y) / np.float32(np.sqrt(2))
    return light


def polygon(size: Size, points: npt.ArrayLike) -> Mask:
    """Return the filled polygon of ``points`` ``(N, 2)``."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    corners = np.round(np.asarray(points, np.float64) * 2**_SUBPIXEL).astype(np.int32)
    cv2.fillPoly(mask, [corners], 1, shift=_SUBPIXEL)
    return mask.astype(bool)


def outline(
    rng: Random,
    centre: npt.ArrayLike,
    radius: float,
    stretch: float = 1.0,
    angle: float = 0.0,
    roughness: float = 0.1,
    waves: int = 6,
) -> Points:
    """Return the contour ``(N, 2)`` of a random blob.

    Args:
        rng: Source of chance.
        centre: Its middle.
        radius: Its mean radius in pixels.
        stretch: Ratio of its axes.
        angle: Direction of its long axis in radians.
        roughness: Strength of the waves of its border, as a share of the radius.
        waves: Number of harmonics of the border.
    """
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    orders = np.arange(2, 2 + waves)[:, None]
    phases = rng.uniform(0, 2 * np.pi, (waves, 1))
    heights = rng.normal(0, roughness, (waves, 1)) / np.sqrt(orders - 1)
    radii = radius * np.clip(1 + (heights * np.cos(orders * turn + phases)).sum(0), 0.3, 2)
    middle = np.asarray(centre, np.float64)
    x, y = radii * np.cos(turn) * np.sqrt(stretch), radii * np.sin(turn) / np.sqrt(stretch)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([middle[0] + cos * x - sin * y, middle[1] + sin * x + cos * y], axis=1)


def stroke(size: Size, points: npt.ArrayLike, width: float) -> Mask:
    """Return an open line through ``points`` ``(N, 2)``, ``width`` pixels thick."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    corners = np.round(np.asarray(points, np.float64) * 2**_SUBPIXEL).astype(np.int32)
    thickness = max(1, round(width))
    cv2.polylines(mask, [corners], False, 1, thickness, cv2.LINE_8, _SUBPIXEL)
    return mask.astype(bool)


def bend(
    rng: Random, start: npt.ArrayLike, angle: float, length: float, curl: float, steps: int = 8
) -> Points:
    """Return the points ``(steps + 1, 2)`` of a line that turns by about ``curl`` radians."""
    turns = angle + np.cumsum(rng.normal(curl / steps, abs(curl) / steps + 1e-3, steps))
    moves = np.stack([np.cos(turns), np.sin(turns)], axis=1) * (length / steps)
    first = np.asarray(start, np.float64)
    return np.vstack([first, first + np.cumsum(moves, axis=0)])


def soft(mask: Mask, sigma: float) -> Field:
    """Return a mask as opacities 0…1 with a blurred border."""
    alpha = mask.astype(np.float32)
    return cv2.GaussianBlur(alpha, (0, 0), sigma) if sigma > 0 else alpha


def blend(image: Field, alpha: Field | Mask, colour: npt.ArrayLike) -> None:
    """Paint ``colour``, an RGB triple or an image ``(H, W, 3)``, over ``image`` in place."""
    weight = alpha.astype(np.float32)[..., None]
    image += weight * (np.asarray(colour, np.float32) - image)


def around(mask: Mask, margin: int = 3) -> tuple[slice, slice]:
    """Return the window, as slices of rows and columns, that holds a mask and a margin."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    left, top = max(0, x - margin), max(0, y - margin)
    return np.s_[top : y + height + margin, left : x + width + margin]


def shade(image: Field, light: Field, where: Mask | None = None) -> None:
    """Multiply ``image`` by 1 + ``light`` in place, inside ``where``."""
    if where is not None:
        light = light * where
    image *= 1 + light[..., None]


def colour(rng: Random, base: npt.ArrayLike, spread: float = 0.05) -> Colour:
    """Return an RGB colour near ``base``; its brightness varies more than its hue."""
    value = np.asarray(base) * (1 + rng.normal(0, spread)) + rng.normal(0, spread / 3, 3)
    return np.clip(value, 0, 1).astype(np.float32)


def photograph(rng: Random, image: Field, blur: float, noise: float) -> Bytes:
    """Return what a camera makes of a painting: blurred, noisy, uint8 ``(H, W, 3)`` in BGR order.

    Args:
        rng: Source of chance.
        image: The painting.
        blur: Standard deviation of the blur in pixels, 0 for none.
        noise: Standard deviation of the sensor noise, as a share of white.
    """
    if blur > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    noisy = image + rng.standard_normal(image.shape, np.float32) * np.float32(noise)
    return np.ascontiguousarray((np.clip(noisy, 0, 1) * 255).astype(np.uint8)[..., ::-1])
