"""Synthetic streets, in the layout of Cityscapes with its label ids.

Streets are seen in perspective, by day, dusk and fog. Vehicles, facades, walls and people take
their colours from the same palette; shadows and wet patches lie over road and sidewalk alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from im_bench.data.synth.canvas import (
    Bytes,
    Colour,
    Field,
    Mask,
    Random,
    Size,
    around,
    blend,
    colour,
    fractal,
    grid,
    outline,
    photograph,
    polygon,
    shade,
    soft,
)

_EGO, _BORDER, _STATIC = 1, 2, 4
_ROAD, _SIDEWALK, _PARKING = 7, 8, 9
_BUILDING, _WALL, _FENCE = 11, 12, 13
_POLE, _LIGHT, _SIGN = 17, 19, 20
_TREE, _TERRAIN, _SKY = 21, 22, 23
_PERSON, _RIDER, _CAR, _TRUCK, _BUS, _BICYCLE = 24, 25, 26, 27, 28, 33

_CITIES = {"train": ("aachen", "bremen", "ulm"), "val": ("lindau",), "test": ("munster",)}
_PAINT = (
    (0.45, 0.44, 0.43),
    (0.70, 0.68, 0.64),
    (0.25, 0.26, 0.28),
    (0.55, 0.30, 0.24),
    (0.30, 0.38, 0.50),
    (0.62, 0.55, 0.42),
)


def paths(split: str, index: int) -> tuple[str, tuple[str, ...]]:
    """Return the paths of an image and of its label ids in the raw data set.

    Images for the test lie among those for validation, which the preparation halves: the labels of
    the official test set are not public.
    """
    cities = _CITIES[split]
    city = cities[index % len(cities)]
    folder = "train" if split == "train" else "val"
    stem = f"{folder}/{city}/{city}_{index:06d}_000000"
    return f"leftImg8bit/{stem}_leftImg8bit.png", (f"gtFine/{stem}_gtFine_labelIds.png",)


def draw(rng: Random, size: Size) -> tuple[Bytes, tuple[Bytes, ...]]:
    """Return an image ``(H, W, 3)`` in BGR order and its label ids ``(H, W)``."""
    street = _Street(rng, size)
    street.sky()
    street.ground()
    street.facades()
    street.plant_trees()
    street.furniture()
    street.traffic()
    street.weather()
    street.own_car()
    photo = photograph(rng, street.image, rng.uniform(0, 0.004) * size[0], rng.uniform(0.005, 0.03))
    return photo, (street.labels,)


class _Street:
    """A painting and its labels. Things are placed by depth: 0 at the horizon, 1 at the camera."""

    def __init__(self, rng: Random, size: Size) -> None:
        self.rng, self.size = rng, size
        self.width, self.height = size
        self.image = np.zeros((size[1], size[0], 3), np.float32)
        self.labels = np.full((size[1], size[0]), _STATIC, np.uint8)
        self.horizon = self.height * rng.uniform(0.36, 0.5)
        self.vanish = self.width * rng.uniform(0.35, 0.65)
        self.haze = colour(rng, (0.72, 0.76, 0.80), 0.08)
        self.fog = rng.uniform(0.1, 0.85) if rng.random() < 0.5 else 0.15
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
        return polygon(self.size, [(left, top), (right, top), (right, bottom), (left, bottom)])

    def sky(self) -> None:
        _, y = grid(self.size)
        tones = ((0.62, 0.74, 0.88), (0.80, 0.82, 0.84), (0.55, 0.52, 0.55), (0.86, 0.76, 0.66))
        sky = colour(self.rng, tones[self.rng.integers(4)], 0.08)
        clouds = 0.12 * fractal(self.rng, self.size, 4, 3, 0.4) + 0.08 * y
        everywhere = np.ones(self.labels.shape, bool)
        self.put(everywhere, sky * (1 + clouds[..., None]), _SKY)

    def ground(self) -> None:
        asphalt = colour(self.rng, (0.36, 0.36, 0.38), 0.15)
        slabs = asphalt * self.rng.uniform(0.9, 1.35) + self.rng.normal(0, 0.02, 3)
        rough = fractal(self.rng, self.size, 40, 2, 0.5)
        grass = self.rng.random(2) < 0.35
        verge = colour(self.rng, (0.32, 0.40, 0.20), 0.2)
        for side, is_grass in zip((-1, 1), grass, strict=True):
            far = [
                (self.vanish, self.horizon),
                (self.column(side * 9 * self.width, 1), self.height),
            ]
            mask = polygon(self.size, [*far, (self.column(side * self.half_walk, 1), self.height)])
            label = _TERRAIN if is_grass else (_PARKING if self.rng.random() < 0.2 else _SIDEWALK)
            tone = verge if is_grass else slabs * 0.95
            self.put(mask, tone * (1 + (0.35 if is_grass else 0.06) * rough)[..., None], label)
            walk = [
                (self.vanish, self.horizon),
                (self.column(side * self.half_walk, 1), self.height),
            ]
            mask = polygon(self.size, [*walk, (self.column(side * self.half_road, 1), self.height)])
            self.put(mask, slabs * (1 + 0.1 * rough)[..., None], _SIDEWALK)
        edge = [self.column(side * self.half_road, 1) for side in (-1, 1)]
        road = [(self.vanish, self.horizon), (edge[1], self.height), (edge[0], self.height)]
        self.put(polygon(self.size, road), asphalt * (1 + 0.12 * rough)[..., None], _ROAD)
        for lane in self.rng.uniform(-0.6, 0.6, self.rng.integers(0, 3)) * self.half_road:
            for depth in np.arange(0.08, 1, 0.22) + self.rng.uniform(0, 0.1):
                self.put(self._dash(lane, depth, depth + 0.1), asphalt * 0.4 + 0.5, _ROAD)

    def _dash(self, lane: float, near: float, far: float) -> Mask:
        half = 0.012 * self.width
        corners = [(lane - half, near), (lane + half, near), (lane + half, far), (lane - half, far)]
        return polygon(self.size, [(self.column(o, d), self.foot(d)) for o, d in corners])

    def facades(self) -> None:
        """Paint a row of buildings, walls, fences and gaps along both sides, far ones first."""
        for side in (-1, 1):
            depth = self.rng.uniform(0.05, 0.15)
            while depth < 1.2:
                nearer = depth * self.rng.uniform(1.3, 2.0) + 0.03
                kind = self.rng.random()
                if kind < 0.62:
                    self._facade(side, depth, nearer)
                elif kind < 0.8:
                    self._barrier(side, depth, nearer)
                depth = nearer

    def _wall_points(self, side: int, far: float, near: float, tall: float) -> list[list[float]]:
        """The corners of an upright wall, in the order top far, top near, foot near, foot far."""
        x = [self.column(side * self.half_walk * 1.02, depth) for depth in (far, near)]
        feet = [self.foot(far), self.foot(near)]
        tops = [foot - tall * depth for foot, depth in zip(feet, (far, near), strict=True)]
        return [[x[0], tops[0]], [x[1], tops[1]], [x[1], feet[1]], [x[0], feet[0]]]

    def _facade(self, side: int, far: float, near: float) -> None:
        tall = self.height * self.rng.uniform(0.9, 2.6)
        corners = np.array(self._wall_points(side, far, near, tall))
        depth = min(1.0, (far + near) / 2)
        self.put(polygon(self.size, corners), self.plaster(0.15, 8), _BUILDING, depth)
        dark = colour(self.rng, (0.16, 0.18, 0.22), 0.2) + self.rng.choice([0, 0.35], p=[0.7, 0.3])
        columns, rows = self.rng.integers(2, 5), self.rng.integers(2, 6)
        for column in range(columns):
            for row in range(rows):
                u = (column + np.array([0.25, 0.75, 0.75, 0.25])) / columns
                v = (row + np.array([0.25, 0.25, 0.7, 0.7])) / rows
                top = corners[0] + np.outer(u, corners[1] - corners[0])
                foot = corners[3] + np.outer(u, corners[2] - corners[3])
                window = polygon(self.size, top + v[:, None] * (foot - top))
                self.put(window, dark, _BUILDING, depth)

    def _barrier(self, side: int, far: float, near: float) -> None:
        corners = self._wall_points(side, far, near, self.height * self.rng.uniform(0.25, 0.5))
        depth = min(1.0, (far + near) / 2)
        if self.rng.random() < 0.5:
            self.put(polygon(self.size, corners), self.plaster(0.2, 14), _WALL, depth)
            return
        pixels = self.plaster(0.1, 8)
        stripes = np.sin(np.arange(self.width) * self.rng.uniform(0.9, 1.6)) > 0.2
        pixels[:, stripes] = self.image[:, stripes]
        self.put(polygon(self.size, corners), pixels, _FENCE, depth)

    def plant_trees(self) -> None:
        for _ in range(self.rng.integers(0, 6)):
            depth = self.rng.uniform(0.15, 0.9)
            x = self.column(
                self.rng.choice([-1, 1]) * self.half_walk * self.rng.uniform(1, 1.5), depth
            )
            foot, tall = self.foot(depth), self.height * self.rng.uniform(0.5, 1.1) * depth
            trunk = 0.03 * self.width * depth
            bark = colour(self.rng, (0.30, 0.25, 0.20), 0.15)
            self.put(self.box(x - trunk / 2, foot - tall, x + trunk / 2, foot), bark, _TREE, depth)
            crown = np.zeros(self.labels.shape, bool)
            for _ in range(4):
                place = (
                    x + self.rng.normal(0, 0.25 * tall),
                    foot - tall * self.rng.uniform(0.7, 1.2),
                )
                crown |= polygon(
                    self.size, outline(self.rng, place, tall * 0.3, roughness=0.12, waves=10)
                )
            tones = ((0.22, 0.34, 0.14), (0.36, 0.36, 0.16), (0.42, 0.30, 0.16), (0.25, 0.27, 0.22))
            leaves = colour(self.rng, tones[self.rng.integers(4)], 0.2)
            light = 1 + 0.8 * fractal(self.rng, self.size, 28, 2)
            self.put(crown, leaves * light[..., None], _TREE, depth)

    def furniture(self) -> None:
        for _ in range(self.rng.integers(1, 6)):
            depth = self.rng.uniform(0.25, 0.95)
            side = self.rng.choice([-1, 1])
            x = self.column(side * self.half_road * self.rng.uniform(1.02, 1.2), depth)
            foot, tall = self.foot(depth), self.height * self.rng.uniform(0.6, 1.0) * depth
            thick = max(1.0, 0.016 * self.width * depth)
            metal = colour(self.rng, (0.42, 0.43, 0.44), 0.25)
            self.put(self.box(x, foot - tall, x + thick, foot), metal, _POLE, depth)
            unit = 0.05 * self.width * depth
            kind = self.rng.random()
            if kind < 0.35:
                box = self.box(x - unit / 2, foot - tall, x + unit / 2, foot - tall + 2.2 * unit)
                self.put(box, (0.10, 0.11, 0.10), _LIGHT, depth)
                lamp = foot - tall + unit * self.rng.choice([0.4, 1.1, 1.8])
                glow = polygon(self.size, outline(self.rng, (x, lamp), unit * 0.3, roughness=0))
                self.put(glow, ((0.9, 0.2, 0.15), (0.2, 0.9, 0.4))[self.rng.integers(2)], _LIGHT)
            elif kind < 0.75:
                sign = outline(self.rng, (x, foot - tall + unit), unit, roughness=0)
                if self.rng.random() < 0.5:
                    sign = sign[:: self.rng.choice([12, 16])]
                tones = ((0.85, 0.85, 0.85), (0.15, 0.3, 0.65), (0.8, 0.2, 0.2), (0.85, 0.75, 0.2))
                self.put(
                    polygon(self.size, sign),
                    colour(self.rng, tones[self.rng.integers(4)]),
                    _SIGN,
                    depth,
                )

    def traffic(self) -> None:
        things = sorted(self.rng.uniform(0.12, 0.8, self.rng.integers(2, 9)))
        for depth in things:
            kind = self.rng.random()
            if kind < 0.5:
                self._vehicle(depth, _CAR)
            elif kind < 0.58:
                self._vehicle(depth, _TRUCK)
            elif kind < 0.66:
                self._vehicle(depth, _BUS)
            elif kind < 0.9:
                self._person(depth)
            else:
                self._cyclist(depth)

    def _vehicle(self, depth: float, label: int) -> None:
        offset = self.rng.uniform(-0.85, 0.85) * self.half_road
        x, foot = self.column(offset, depth), self.foot(depth)
        wide = self.width * depth * self.rng.uniform(0.2, 0.32)
        tall = wide * {_CAR: 0.7, _TRUCK: 1.15, _BUS: 1.25}[label] * self.rng.uniform(0.9, 1.1)
        shadow = outline(self.rng, (x, foot), wide * 0.6, 8, roughness=0)
        dark = polygon(self.size, shadow)
        window = around(dark)
        shade(self.image[window], -0.5 * soft(dark[window], 0.6))
        for wheel in (-0.33, 0.33):
            where = self.box(
                x + (wheel - 0.1) * wide, foot - 0.2 * tall, x + (wheel + 0.1) * wide, foot
            )
            self.put(where, (0.06, 0.06, 0.07), label, depth)
        shoulder = 0.45 if label == _CAR else 0.0
        body = [
            (-0.5, -0.1),
            (-0.5, -1 + shoulder),
            (-0.38, -1),
            (0.38, -1),
            (0.5, -1 + shoulder),
            (0.5, -0.1),
        ]
        skin = self.paint()
        self.put(polygon(self.size, np.array(body) * (wide, tall) + (x, foot)), skin, label, depth)
        high, low = {_CAR: (-0.92, -0.6), _TRUCK: (-0.55, -0.4), _BUS: (-0.88, -0.45)}[label]
        pane = self.box(x - 0.36 * wide, foot + high * tall, x + 0.36 * wide, foot + low * tall)
        self.put(pane, colour(self.rng, (0.15, 0.19, 0.24), 0.2), label, depth)
        for lamp in (-0.42, 0.36):
            left = x + lamp * wide
            where = self.box(left, foot - 0.4 * tall, left + 0.08 * wide, foot - 0.28 * tall)
            self.put(
                where, ((0.95, 0.9, 0.7), (0.75, 0.1, 0.1))[self.rng.integers(2)], label, depth
            )

    def _person(self, depth: float) -> None:
        offset = self.rng.choice([-1, 1]) * self.rng.uniform(0.5, 1.35) * self.half_road
        self._figure(self.column(offset, depth), self.foot(depth), depth, _PERSON)

    def _figure(self, x: float, foot: float, depth: float, label: int) -> None:
        tall = self.height * depth * self.rng.uniform(0.38, 0.5)
        step = self.rng.uniform(0.02, 0.1) * tall
        legs = [(x - step, foot), (x, foot - 0.5 * tall), (x + step, foot)]
        for a, b in ((0, 1), (1, 2)):
            (x0, y0), (x1, y1) = legs[a], legs[b]
            w = 0.05 * tall
            self.put(
                polygon(self.size, [(x0 - w, y0), (x0 + w, y0), (x1 + w, y1), (x1 - w, y1)]),
                colour(self.rng, (0.18, 0.18, 0.25), 0.3),
                label,
                depth,
            )
        torso = self.box(x - 0.12 * tall, foot - 0.85 * tall, x + 0.12 * tall, foot - 0.42 * tall)
        self.put(torso, self.paint(), label, depth)
        head = polygon(
            self.size, outline(self.rng, (x, foot - 0.92 * tall), 0.075 * tall, roughness=0)
        )
        skin = colour(self.rng, (0.70, 0.52, 0.42), 0.2)
        self.put(head, skin, label, depth)

    def _cyclist(self, depth: float) -> None:
        offset = self.rng.choice([-1, 1]) * self.rng.uniform(0.4, 1.1) * self.half_road
        x, foot = self.column(offset, depth), self.foot(depth)
        radius = self.height * depth * 0.1
        if self.rng.random() < 0.7:
            self._figure(x, foot - 0.8 * radius, depth, _RIDER)
        frame = self.box(
            x - 1.2 * radius, foot - 1.5 * radius, x + 1.2 * radius, foot - 1.1 * radius
        )
        tone = self.paint()
        self.put(frame, tone, _BICYCLE, depth)
        for wheel in (-1.1, 1.1):
            centre = (x + wheel * radius, foot - radius)
            ring = polygon(self.size, outline(self.rng, centre, radius, roughness=0))
            hub = polygon(self.size, outline(self.rng, centre, 0.6 * radius, roughness=0))
            self.put(ring & ~hub, (0.1, 0.1, 0.1), _BICYCLE, depth)
            self.labels[hub] = _BICYCLE

    def weather(self) -> None:
        """Lay shadows, wet patches and the light of the day over everything."""
        below = grid(self.size)[1] > 2 * self.horizon / self.height - 1
        for _ in range(self.rng.integers(0, 3)):
            x = self.rng.uniform(0, self.width)
            shape = [(x, self.horizon), (x + self.rng.normal(0, 0.5) * self.width, self.height)]
            shape.append((shape[1][0] + self.rng.uniform(0.1, 0.5) * self.width, self.height))
            shadow = soft(polygon(self.size, shape), 0.8)
            shade(self.image, -self.rng.uniform(0.2, 0.5) * shadow, below)
        self.image *= self.rng.uniform(0.35, 1.1) * np.float32(
            [1, 1, 1] + self.rng.normal(0, 0.05, 3)
        )
        shade(self.image, 0.12 * fractal(self.rng, self.size, 2, 1))

    def own_car(self) -> None:
        """Paint the bonnet of the recording car and the border of the rectification."""
        if self.rng.random() < 0.7:
            middle = self.width / 2 + self.rng.normal(0, 0.02 * self.width)
            hood = outline(
                self.rng, (middle, self.height * 1.12), self.width * 0.27, 5, roughness=0
            )
            self.put(polygon(self.size, hood), self.paint() * 0.6, _EGO)
        rim = max(1, round(0.012 * self.width))
        border = np.ones(self.labels.shape, bool)
        border[rim:, rim:-rim] = False
        self.image[border] = 0
        self.labels[border] = _BORDER
