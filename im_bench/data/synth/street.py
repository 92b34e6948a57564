"""A street in perspective, its label ids and its colours, for the synthetic Cityscapes."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from im_bench.data.synth.canvas import (
    Colour,
    Field,
    Mask,
    Random,
    Size,
    around,
    blend,
    colour,
    fractal,
    polygon,
    soft,
)

_PAINT = (
    (0.45, 0.44, 0.43),
    (0.70, 0.68, 0.64),
    (0.25, 0.26, 0.28),
    (0.55, 0.30, 0.24),
    (0.30, 0.38, 0.50),
    (0.62, 0.55, 0.42),
)


class Id(IntEnum):
    """The label ids that occur (cityscapesScripts, ``helpers/labels.py``)."""

    EGO_VEHICLE = 1
    RECTIFICATION_BORDER = 2
    STATIC = 4
    ROAD = 7
    SIDEWALK = 8
    BUILDING = 11
    WALL = 12
    FENCE = 13
    POLE = 17
    TRAFFIC_LIGHT = 19
    TRAFFIC_SIGN = 20
    VEGETATION = 21
    TERRAIN = 22
    SKY = 23
    PERSON = 24
    RIDER = 25
    CAR = 26
    TRUCK = 27
    BUS = 28
    BICYCLE = 33


class Street:
    """A painting and its labels. Things are placed by depth: 0 at the horizon, 1 at the camera.

    Attributes:
        rng: Source of chance.
        size: Width and height in pixels; also ``width`` and ``height``.
        image: ``(H, W, 3)``, painted in place.
        labels: ``(H, W)`` label ids.
        horizon: Row of the horizon.
        vanish: Column of the vanishing point.
        half_road: Half the width of the road at the camera, in pixels.
        half_walk: The same with its sidewalks.
    """

    def __init__(self, rng: Random, size: Size) -> None:
        self.rng, self.size = rng, size
        self.width, self.height = size
        self.image = np.zeros((size[1], size[0], 3), np.float32)
        self.labels = np.full((size[1], size[0]), Id.STATIC, np.uint8)
        self.horizon = self.height * rng.uniform(0.36, 0.5)
        self.vanish = self.width * rng.uniform(0.35, 0.65)
        self.haze = colour(rng, (0.72, 0.76, 0.80), 0.08)
        self.fog = rng.uniform(0.1, 0.7) if rng.random() < 0.5 else 0.1
        self.half_road = rng.uniform(0.45, 0.75) * self.width
        self.half_walk = self.half_road * rng.uniform(1.25, 1.6)

    def put(self, mask: Mask, pixels: npt.ArrayLike, label: int, depth: float = 1.0) -> None:
        """Paint something through the fog of its depth."""
        fog = self.fog * (1 - depth)
        window = around(mask)
        tone = np.asarray(pixels, np.float32)
        tone = tone[window] if tone.ndim == 3 else tone
        blend(self.image[window], soft(mask[window], 0.5), tone * (1 - fog) + self.haze * fog)
        self.labels[window][mask[window]] = label

    def paint(self, spread: float = 0.18) -> Colour:
        """One of the colours that vehicles, facades, walls and clothes share."""
        return colour(self.rng, _PAINT[self.rng.integers(len(_PAINT))], spread)

    def plaster(self, strength: float, cells: float) -> Field:
        """The same with a texture, ``(H, W, 3)``."""
        texture: Field = (
            self.paint() * (1 + strength * fractal(self.rng, self.size, cells, 2))[..., None]
        )
        return texture

    def foot(self, depth: float) -> float:
        """The row where something of this depth stands."""
        return self.horizon + depth * (self.height - self.horizon)

    def column(self, offset: float, depth: float) -> float:
        """The column of something ``offset`` pixels (at the camera) beside the vanishing point."""
        return self.vanish + offset * depth

    def box(self, left: float, top: float, right: float, bottom: float) -> Mask:
        """A rectangle by its edges in pixels."""
        return polygon(self.size, [(left, top), (right, top), (right, bottom), (left, bottom)])
