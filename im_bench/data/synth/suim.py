"""Synthetic reef scenes, in the layout of SUIM.

Water takes the colours away with depth, differently in every scene, so that classes are told by
shape and texture: reefs, rocks on the sea floor and wrecks may all be grey-green.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from im_bench.data.synth.canvas import (
    Bytes,
    Field,
    Mask,
    Points,
    Random,
    Size,
    around,
    bend,
    blend,
    colour,
    fractal,
    grid,
    outline,
    photograph,
    polygon,
    shade,
    soft,
    stroke,
)

_WATER, _DIVER, _PLANT, _WRECK, _ROBOT, _REEF, _FISH, _FLOOR = range(8)
_SEA = ((0.05, 0.28, 0.48), (0.06, 0.42, 0.45), (0.16, 0.42, 0.34), (0.10, 0.22, 0.38))


def paths(split: str, index: int) -> tuple[str, tuple[str, ...]]:
    """Return the paths of an image and of its mask in the raw data set.

    Images for validation lie among those for training, of which the preparation sets 10 % aside.
    """
    folder = "TEST" if split == "test" else "train_val"
    name = f"{split}_{index:05d}"
    return f"{folder}/images/{name}.jpg", (f"{folder}/masks/{name}.bmp",)


def draw(rng: Random, size: Size) -> tuple[Bytes, tuple[Bytes, ...]]:
    """Return an image and its colour mask, both ``(H, W, 3)`` in BGR order."""
    _, y = grid(size)
    sea = colour(rng, _SEA[rng.integers(len(_SEA))], 0.15)
    image = np.empty((size[1], size[0], 3), np.float32)
    image[:] = sea
    shade(image, -rng.uniform(0.1, 0.6) * y + 0.10 * fractal(rng, size, 3))
    scene = _Scene(rng, image, np.zeros((size[1], size[0]), np.uint8), sea)
    if rng.random() < 0.75:
        scene.floor()
    for paint, chance, most in (
        (scene.wreck, 0.35, 1),
        (scene.reef, 0.7, 3),
        (scene.plants, 0.45, 2),
        (scene.robot, 0.25, 1),
        (scene.diver, 0.4, 1),
        (scene.fish, 0.6, 4),
    ):
        scene.maybe(paint, chance, most)
    scene.water_column()
    photo = photograph(rng, image, rng.uniform(0, 0.006) * size[0], rng.uniform(0.003, 0.02))
    return photo, (_colour_code(scene.labels),)


def _colour_code(labels: Bytes) -> Bytes:
    """Return SUIM's colours, whose red, green and blue are the three bits of the class."""
    return np.stack([(labels >> bit & 1) * 255 for bit in range(3)], axis=2).astype(np.uint8)


class _Scene:
    """A painting and its labels; every method paints one thing at a random place."""

    def __init__(self, rng: Random, image: Field, labels: Bytes, sea: Field) -> None:
        self.rng, self.image, self.labels, self.sea = rng, image, labels, sea
        self.size = (labels.shape[1], labels.shape[0])
        self.side = min(self.size)
        self.horizon = self.size[1] * 0.95

    def maybe(self, paint: Callable[[], None], chance: float, most: int) -> None:
        if self.rng.random() < chance:
            for _ in range(self.rng.integers(1, most + 1)):
                paint()

    def _place(self, low: float = 0.1, high: float = 0.9) -> tuple[float, float]:
        width, height = self.size
        return self.rng.uniform(0, width), self.rng.uniform(low, high) * height

    def _put(self, mask: Mask, pixels: Field, label: int, haze: float) -> None:
        """Paint ``pixels`` where ``mask`` is, through ``haze`` (0…1) of water."""
        window = around(mask)
        tone = pixels[window] * (1 - haze) + self.sea * haze
        blend(self.image[window], soft(mask[window], 0.6), tone)
        self.labels[mask] = label

    def _texture(self, base: Field, strength: float, cells: float, stretch: float = 1.0) -> Field:
        light = 1 + strength * fractal(self.rng, self.size, cells, 3, stretch)
        return base * light[..., None]

    def _drab(self) -> Field:
        """A colour that reefs, wrecks, rocks and plants share."""
        tones = ((0.42, 0.40, 0.30), (0.30, 0.38, 0.28), (0.50, 0.36, 0.30), (0.36, 0.36, 0.40))
        return colour(self.rng, tones[self.rng.integers(len(tones))], 0.2)

    def floor(self) -> None:
        width, height = self.size
        self.horizon = height * self.rng.uniform(0.6, 0.92)
        x = np.linspace(0, width, 12)
        hills = self.horizon + self.rng.normal(0, 0.03 * height, 12)
        mask = polygon(
            self.size, [*zip(x, hills, strict=True), (width + 1, height + 1), (0, height + 1)]
        )
        sandy = self.rng.random() < 0.75
        base = colour(self.rng, (0.72, 0.68, 0.55), 0.15) if sandy else self._drab()
        pixels = self._texture(base, 0.25 if sandy else 0.6, 14 if sandy else 8, 0.35)
        self._put(mask, pixels, _FLOOR, self.rng.uniform(0.05, 0.4))

    def reef(self) -> None:
        width, height = self.size
        mask = np.zeros((height, width), bool)
        middle, base = self.rng.uniform(0, width), self.horizon + 0.1 * height
        for _ in range(self.rng.integers(3, 8)):
            lump = (
                middle + self.rng.normal(0, 0.13 * width),
                base - abs(self.rng.normal(0, 0.12)) * height,
            )
            radius = self.side * self.rng.uniform(0.06, 0.17)
            mask |= polygon(self.size, outline(self.rng, lump, radius, roughness=0.12, waves=12))
        vivid = ((0.62, 0.30, 0.42), (0.70, 0.45, 0.25), (0.45, 0.35, 0.55))
        base_colour = (
            colour(self.rng, vivid[self.rng.integers(3)], 0.15)
            if self.rng.random() < 0.6
            else self._drab()
        )
        pixels = self._texture(base_colour, 0.9, 13)
        self._put(mask, pixels, _REEF, self.rng.uniform(0, 0.4))

    def plants(self) -> None:
        width, _ = self.size
        mask = np.zeros(self.labels.shape, bool)
        root = self.rng.uniform(0, width)
        tall = self.side * self.rng.uniform(0.15, 0.45)
        for _ in range(self.rng.integers(6, 13)):
            foot = (root + self.rng.normal(0, 0.07 * width), self.horizon + 0.06 * self.side)
            angle = -np.pi / 2 + self.rng.normal(0, 0.25)
            length = tall * self.rng.uniform(0.6, 1.2)
            blade = bend(self.rng, foot, angle, length, self.rng.normal(0, 0.8))
            mask |= stroke(self.size, blade, self.side * self.rng.uniform(0.025, 0.05))
        base = (0.25, 0.45, 0.15) if self.rng.random() < 0.6 else (0.42, 0.36, 0.18)
        pixels = self._texture(colour(self.rng, base, 0.25), 0.5, 20, 4)
        self._put(mask, pixels, _PLANT, self.rng.uniform(0, 0.35))

    def wreck(self) -> None:
        place = np.array((self._place()[0], self.horizon))
        long, high = (
            self.side * self.rng.uniform(0.3, 0.6),
            self.side * self.rng.uniform(0.15, 0.35),
        )
        tilt = self.rng.normal(0, 0.2)
        hull = np.array(
            [
                (-1, -0.5),
                (-0.4, -0.6),
                (-0.35, -1.1),
                (0.1, -1.1),
                (0.15, -0.6),
                (1, -0.8),
                (0.7, 0.5),
                (-0.8, 0.5),
            ]
        )
        hull = hull * (long / 2, high) * (self.rng.choice([-1, 1]), 1)
        mask = polygon(self.size, _turned(hull, tilt) + place)
        pixels = self._texture(self._drab(), 0.35, 5, 5)
        for shift in np.linspace(-0.7, 0.6, self.rng.integers(3, 7)):
            hole = _turned(
                outline(self.rng, (shift * long / 2, -0.1 * high), high * 0.09, 1.2), tilt
            )
            pixels[polygon(self.size, hole + place)] *= 0.25
        for shift in np.linspace(-0.9, 0.9, 9):
            seam = _turned(np.array([(shift, -1.0), (shift, 0.5)]) * (long / 2, high), tilt)
            pixels[stroke(self.size, seam + place, 1)] *= 0.7
        self._put(mask, pixels, _WRECK, self.rng.uniform(0, 0.4))

    def robot(self) -> None:
        place = np.array(self._place(0.2, 0.75))
        length = self.side * self.rng.uniform(0.2, 0.4)
        tilt = self.rng.normal(0, 0.3)
        body = np.array([(-1, -0.35), (1, -0.35), (1, 0.3), (0.6, 0.45), (-1, 0.45)]) * length / 2
        mask = polygon(self.size, _turned(body, tilt) + place)
        tones = ((0.85, 0.70, 0.15), (0.80, 0.25, 0.15), (0.75, 0.75, 0.75), (0.25, 0.25, 0.30))
        pixels = self._texture(colour(self.rng, tones[self.rng.integers(4)], 0.15), 0.1, 4)
        for shift in (-0.6, 0.1, 0.75):
            thruster = _turned(np.array([(shift, 0.0)]) * length / 2, tilt)[0] + place
            ring = polygon(self.size, outline(self.rng, thruster, length * 0.11, roughness=0))
            pixels[ring] = (0.06, 0.06, 0.08) if shift < 0.5 else (1, 1, 0.9)
            mask |= ring
        if self.rng.random() < 0.5:
            tether = bend(self.rng, place, -np.pi / 2 + self.rng.normal(0, 0.4), self.side, 1)
            blend(self.image, stroke(self.size, tether, 1), (0.6, 0.6, 0.5))
        self._put(mask, pixels, _ROBOT, self.rng.uniform(0, 0.3))

    def diver(self) -> None:
        place = np.array(self._place(0.15, 0.7))
        length = self.side * self.rng.uniform(0.3, 0.55)
        tilt = self.rng.uniform(-0.7, 0.7) + (np.pi if self.rng.random() < 0.5 else 0)
        suit = colour(
            self.rng, (0.10, 0.10, 0.13) if self.rng.random() < 0.6 else self._drab(), 0.2
        )
        parts: list[tuple[Mask, npt.ArrayLike]] = []

        def limb(points: list[tuple[float, float]], width: float, tone: npt.ArrayLike) -> None:
            line = _turned(np.array(points) * length, tilt) + place
            parts.append((stroke(self.size, line, width * length), tone))

        knee = self.rng.normal(0, 0.12)
        limb([(-0.1, 0.02), (-0.32, 0.05 + knee), (-0.5, 0.03)], 0.09, suit)
        limb([(-0.1, -0.02), (-0.32, -0.05 - knee), (-0.5, -0.03)], 0.09, suit * 0.9)
        limb([(-0.5, 0.03), (-0.68, 0.08)], 0.12, colour(self.rng, self.rng.uniform(0, 0.9, 3)))
        limb([(-0.5, -0.03), (-0.68, -0.06)], 0.12, suit * 0.6)
        limb([(0.12, 0.05), (0.22, 0.2), (0.34, 0.2 + knee)], 0.07, suit)
        limb([(-0.12, 0), (0.18, 0)], 0.19, suit)
        limb([(-0.08, -0.11), (0.14, -0.11)], 0.11, colour(self.rng, (0.75, 0.7, 0.2), 0.4))
        limb([(0.27, 0), (0.30, 0)], 0.14, (0.55, 0.42, 0.35))
        mask, pixels = np.zeros(self.labels.shape, bool), np.zeros(self.image.shape, np.float32)
        for part, tone in parts:
            pixels[part] = tone
            mask |= part
        self._put(mask, pixels, _DIVER, self.rng.uniform(0, 0.3))

    def fish(self) -> None:
        place = np.array(self._place(0.08, 0.85))
        length = self.side * self.rng.uniform(0.15, 0.35)
        flip, tilt = self.rng.choice([-1, 1]), self.rng.normal(0, 0.25)
        turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        slim = self.rng.uniform(0.18, 0.34)
        body = np.stack([0.4 * np.cos(turn), slim * np.sin(turn) * (1 + 0.3 * np.cos(turn))], 1)
        tail = np.array([(-0.35, 0), (-0.6, -0.2), (-0.52, 0), (-0.6, 0.2)])
        mask = np.zeros(self.labels.shape, bool)
        for part in (body, tail):
            mask |= polygon(self.size, _turned(part * length * (flip, 1), tilt) + place)
        tones = ((0.85, 0.75, 0.25), (0.70, 0.72, 0.75), (0.30, 0.32, 0.35), (0.85, 0.45, 0.2))
        pixels = self._texture(colour(self.rng, tones[self.rng.integers(4)], 0.2), 0.15, 10)
        if self.rng.random() < 0.5:
            for shift in (-0.15, 0.05, 0.22):
                stripe = np.array([(shift, -0.4), (shift, 0.4)]) * length * (flip, 1)
                pixels[stroke(self.size, _turned(stripe, tilt) + place, 0.07 * length)] *= 0.3
        self._put(mask, pixels, _FISH, self.rng.uniform(0, 0.3))

    def water_column(self) -> None:
        """Paint what hangs in the water over everything: light rays, bubbles, snow, murk."""
        width, height = self.size
        if self.rng.random() < 0.35:
            rays = np.clip(fractal(self.rng, self.size, 7, 1, 20), 0, 1)
            shade(self.image, 0.35 * rays * np.linspace(1, 0, height, dtype=np.float32)[:, None])
        if self.rng.random() < 0.5:
            snow = np.zeros((height, width), np.uint8)
            for x, y in self.rng.uniform(0, 1, (self.rng.integers(5, 40), 2)) * self.size:
                cv2.circle(snow, (int(x), int(y)), int(self.rng.uniform(0, 0.012) * width), 1, -1)
            blend(self.image, soft(snow.astype(bool), 0.5) * 0.5, (0.8, 0.9, 0.9))
        murk = self.rng.uniform(0, 0.25) * np.clip(0.6 + fractal(self.rng, self.size, 2, 1), 0, 1)
        blend(self.image, murk, self.sea * self.rng.uniform(0.8, 1.4))
        self.image *= np.float32(self.rng.uniform(0.75, 1.3))


def _turned(points: Points, angle: float) -> Points:
    cos, sin = np.cos(angle), np.sin(angle)
    turned: Points = points @ np.array([[cos, sin], [-sin, cos]])
    return turned
