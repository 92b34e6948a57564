"""Synthetic streets, in the layout of Cityscapes with its label ids.

Streets are seen in perspective, by day, dusk and fog. Vehicles, facades, walls and people take
their colours from the same palette; shadows and wet patches lie over road and sidewalk alike.
"""

from __future__ import annotations

import numpy as np

from im_bench.data.synth.canvas import (
    Bytes,
    Mask,
    Random,
    Size,
    colour,
    fractal,
    grid,
    outline,
    photograph,
    polygon,
    shade,
    soft,
)
from im_bench.data.synth.road_users import paint_traffic
from im_bench.data.synth.street import Id, Street

_CITIES = {"train": ("aachen", "bremen", "ulm"), "val": ("lindau",), "test": ("munster",)}


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
    street = Street(rng, size)
    _sky(street)
    _ground(street)
    _facades(street)
    _plant_trees(street)
    _furniture(street)
    paint_traffic(street)
    _weather(street)
    _own_car(street)
    photo = photograph(rng, street.image, rng.uniform(0, 0.004) * size[0], rng.uniform(0.003, 0.02))
    return photo, (street.labels,)


def _sky(street: Street) -> None:
    _, y = grid(street.size)
    tones = ((0.62, 0.74, 0.88), (0.80, 0.82, 0.84), (0.55, 0.52, 0.55), (0.86, 0.76, 0.66))
    sky = colour(street.rng, tones[street.rng.integers(4)], 0.08)
    clouds = 0.12 * fractal(street.rng, street.size, 4, 3, 0.4) + 0.08 * y
    everywhere = np.ones(street.labels.shape, bool)
    street.put(everywhere, sky * (1 + clouds[..., None]), Id.SKY)


def _ground(street: Street) -> None:
    asphalt = colour(street.rng, (0.36, 0.36, 0.38), 0.15)
    slabs = asphalt * street.rng.uniform(0.9, 1.35) + street.rng.normal(0, 0.02, 3)
    rough = fractal(street.rng, street.size, 40, 2, 0.5)
    grass = street.rng.random(2) < 0.35
    verge = colour(street.rng, (0.32, 0.40, 0.20), 0.2)
    for side, is_grass in zip((-1, 1), grass, strict=True):
        far = [
            (street.vanish, street.horizon),
            (street.column(side * 9 * street.width, 1), street.height),
        ]
        mask = polygon(
            street.size, [*far, (street.column(side * street.half_walk, 1), street.height)]
        )
        label = Id.TERRAIN if is_grass else Id.SIDEWALK
        tone = verge if is_grass else slabs * 0.95
        street.put(mask, tone * (1 + (0.35 if is_grass else 0.06) * rough)[..., None], label)
        walk = [
            (street.vanish, street.horizon),
            (street.column(side * street.half_walk, 1), street.height),
        ]
        mask = polygon(
            street.size, [*walk, (street.column(side * street.half_road, 1), street.height)]
        )
        street.put(mask, slabs * (1 + 0.1 * rough)[..., None], Id.SIDEWALK)
    edge = [street.column(side * street.half_road, 1) for side in (-1, 1)]
    road = [(street.vanish, street.horizon), (edge[1], street.height), (edge[0], street.height)]
    street.put(polygon(street.size, road), asphalt * (1 + 0.12 * rough)[..., None], Id.ROAD)
    for lane in street.rng.uniform(-0.6, 0.6, street.rng.integers(0, 3)) * street.half_road:
        for depth in np.arange(0.08, 1, 0.22) + street.rng.uniform(0, 0.1):
            street.put(_dash(street, lane, depth, depth + 0.1), asphalt * 0.4 + 0.5, Id.ROAD)


def _dash(street: Street, lane: float, near: float, far: float) -> Mask:
    half = 0.012 * street.width
    corners = [(lane - half, near), (lane + half, near), (lane + half, far), (lane - half, far)]
    return polygon(street.size, [(street.column(o, d), street.foot(d)) for o, d in corners])


def _facades(street: Street) -> None:
    """Paint a row of buildings, walls, fences and gaps along both sides, far ones first."""
    for side in (-1, 1):
        depth = street.rng.uniform(0.05, 0.15)
        while depth < 1.2:
            nearer = depth * street.rng.uniform(1.3, 2.0) + 0.03
            kind = street.rng.random()
            if kind < 0.62:
                _facade(street, side, depth, nearer)
            elif kind < 0.8:
                _barrier(street, side, depth, nearer)
            depth = nearer


def _wall_points(
    street: Street, side: int, far: float, near: float, tall: float
) -> list[list[float]]:
    """The corners of an upright wall, in the order top far, top near, foot near, foot far."""
    x = [street.column(side * street.half_walk * 1.02, depth) for depth in (far, near)]
    feet = [street.foot(far), street.foot(near)]
    tops = [foot - tall * depth for foot, depth in zip(feet, (far, near), strict=True)]
    return [[x[0], tops[0]], [x[1], tops[1]], [x[1], feet[1]], [x[0], feet[0]]]


def _facade(street: Street, side: int, far: float, near: float) -> None:
    tall = street.height * street.rng.uniform(0.9, 2.6)
    corners = np.array(_wall_points(street, side, far, near, tall))
    depth = min(1.0, (far + near) / 2)
    street.put(polygon(street.size, corners), street.plaster(0.15, 8), Id.BUILDING, depth)
    dark = colour(street.rng, (0.16, 0.18, 0.22), 0.2) + street.rng.choice([0, 0.35], p=[0.7, 0.3])
    columns, rows = street.rng.integers(2, 5), street.rng.integers(2, 6)
    for column in range(columns):
        for row in range(rows):
            u = (column + np.array([0.25, 0.75, 0.75, 0.25])) / columns
            v = (row + np.array([0.25, 0.25, 0.7, 0.7])) / rows
            top = corners[0] + np.outer(u, corners[1] - corners[0])
            foot = corners[3] + np.outer(u, corners[2] - corners[3])
            window = polygon(street.size, top + v[:, None] * (foot - top))
            street.put(window, dark, Id.BUILDING, depth)


def _barrier(street: Street, side: int, far: float, near: float) -> None:
    corners = _wall_points(street, side, far, near, street.height * street.rng.uniform(0.25, 0.5))
    depth = min(1.0, (far + near) / 2)
    if street.rng.random() < 0.5:
        street.put(polygon(street.size, corners), street.plaster(0.2, 14), Id.WALL, depth)
        return
    pixels = street.plaster(0.1, 8)
    stripes = np.sin(np.arange(street.width) * street.rng.uniform(0.9, 1.6)) > 0.2
    pixels[:, stripes] = street.image[:, stripes]
    street.put(polygon(street.size, corners), pixels, Id.FENCE, depth)


def _plant_trees(street: Street) -> None:
    for _ in range(street.rng.integers(0, 6)):
        depth = street.rng.uniform(0.15, 0.9)
        x = street.column(
            street.rng.choice([-1, 1]) * street.half_walk * street.rng.uniform(1, 1.5), depth
        )
        foot, tall = street.foot(depth), street.height * street.rng.uniform(0.5, 1.1) * depth
        trunk = 0.03 * street.width * depth
        bark = colour(street.rng, (0.30, 0.25, 0.20), 0.15)
        street.put(
            street.box(x - trunk / 2, foot - tall, x + trunk / 2, foot), bark, Id.VEGETATION, depth
        )
        crown = np.zeros(street.labels.shape, bool)
        for _ in range(4):
            place = (
                x + street.rng.normal(0, 0.25 * tall),
                foot - tall * street.rng.uniform(0.7, 1.2),
            )
            crown |= polygon(
                street.size, outline(street.rng, place, tall * 0.3, roughness=0.12, waves=10)
            )
        tones = ((0.22, 0.34, 0.14), (0.36, 0.36, 0.16), (0.42, 0.30, 0.16), (0.25, 0.27, 0.22))
        leaves = colour(street.rng, tones[street.rng.integers(4)], 0.2)
        light = 1 + 0.8 * fractal(street.rng, street.size, 28, 2)
        street.put(crown, leaves * light[..., None], Id.VEGETATION, depth)


def _furniture(street: Street) -> None:
    for _ in range(street.rng.integers(1, 6)):
        depth = street.rng.uniform(0.45, 1.0)
        side = street.rng.choice([-1, 1])
        x = street.column(side * street.half_road * street.rng.uniform(1.02, 1.2), depth)
        foot, tall = street.foot(depth), street.height * street.rng.uniform(0.6, 1.0) * depth
        thick = max(1.0, 0.03 * street.width * depth)
        metal = colour(street.rng, (0.42, 0.43, 0.44), 0.25)
        street.put(street.box(x, foot - tall, x + thick, foot), metal, Id.POLE, depth)
        unit = 0.09 * street.width * depth
        kind = street.rng.random()
        if kind < 0.35:
            box = street.box(x - unit / 2, foot - tall, x + unit / 2, foot - tall + 2.2 * unit)
            street.put(box, (0.10, 0.11, 0.10), Id.TRAFFIC_LIGHT, depth)
            lamp = foot - tall + unit * street.rng.choice([0.4, 1.1, 1.8])
            glow = polygon(street.size, outline(street.rng, (x, lamp), unit * 0.3, roughness=0))
            street.put(
                glow, ((0.9, 0.2, 0.15), (0.2, 0.9, 0.4))[street.rng.integers(2)], Id.TRAFFIC_LIGHT
            )
        elif kind < 0.75:
            sign = outline(street.rng, (x, foot - tall + unit), unit, roughness=0)
            if street.rng.random() < 0.5:
                sign = sign[:: street.rng.choice([12, 16])]
            tones = ((0.85, 0.85, 0.85), (0.15, 0.3, 0.65), (0.8, 0.2, 0.2), (0.85, 0.75, 0.2))
            street.put(
                polygon(street.size, sign),
                colour(street.rng, tones[street.rng.integers(4)]),
                Id.TRAFFIC_SIGN,
                depth,
            )


def _weather(street: Street) -> None:
    """Lay shadows, wet patches and the light of the day over everything."""
    below = grid(street.size)[1] > 2 * street.horizon / street.height - 1
    for _ in range(street.rng.integers(0, 3)):
        x = street.rng.uniform(0, street.width)
        shape = [(x, street.horizon), (x + street.rng.normal(0, 0.5) * street.width, street.height)]
        shape.append((shape[1][0] + street.rng.uniform(0.1, 0.5) * street.width, street.height))
        shadow = soft(polygon(street.size, shape), 0.8)
        shade(street.image, -street.rng.uniform(0.2, 0.5) * shadow, below)
    light = street.rng.uniform(0.5, 1.15) * (1 + street.rng.normal(0, 0.05, 3))
    street.image *= light.astype(np.float32)
    shade(street.image, 0.12 * fractal(street.rng, street.size, 2, 1))


def _own_car(street: Street) -> None:
    """Paint the bonnet of the recording car and the border of the rectification."""
    if street.rng.random() < 0.7:
        middle = (
            street.width / 2 + street.rng.normal(0, 0.02 * street.width),
            street.height * 1.08,
        )
        across, up = 0.6 * street.width, 0.2 * street.height
        hood = outline(street.rng, middle, np.sqrt(across * up), across / up, roughness=0)
        street.put(polygon(street.size, hood), street.paint() * 0.6, Id.EGO_VEHICLE)
    rim = max(1, round(0.012 * street.width))
    border = np.ones(street.labels.shape, bool)
    border[rim:, rim:-rim] = False
    street.image[border] = 0
    street.labels[border] = Id.RECTIFICATION_BORDER
