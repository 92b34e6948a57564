"""Vehicles, people and bicycles for the synthetic Cityscapes."""

from __future__ import annotations

import numpy as np

from im_bench.data.synth.canvas import around, colour, outline, polygon, shade, soft
from im_bench.data.synth.street import Id, Street


def paint_traffic(street: Street) -> None:
    """Paint vehicles, pedestrians and cyclists, far ones first."""
    things = sorted(street.rng.uniform(0.3, 0.95, street.rng.integers(2, 6)))
    for depth in things:
        kind = street.rng.random()
        if kind < 0.35:
            _vehicle(street, depth, Id.CAR)
        elif kind < 0.47:
            _vehicle(street, depth, Id.TRUCK)
        elif kind < 0.59:
            _vehicle(street, depth, Id.BUS)
        elif kind < 0.83:
            _person(street, depth)
        else:
            _cyclist(street, depth)


def _vehicle(street: Street, depth: float, label: Id) -> None:
    offset = street.rng.uniform(-0.85, 0.85) * street.half_road
    x, foot = street.column(offset, depth), street.foot(depth)
    wide = street.width * depth * street.rng.uniform(0.2, 0.32)
    tall = wide * {Id.CAR: 0.7, Id.TRUCK: 1.15, Id.BUS: 1.25}[label] * street.rng.uniform(0.9, 1.1)
    shadow = outline(street.rng, (x, foot), wide * 0.6, 8, roughness=0)
    dark = polygon(street.size, shadow)
    window = around(dark)
    shade(street.image[window], -0.5 * soft(dark[window], 0.6))
    for wheel in (-0.33, 0.33):
        where = street.box(
            x + (wheel - 0.1) * wide, foot - 0.2 * tall, x + (wheel + 0.1) * wide, foot
        )
        street.put(where, (0.06, 0.06, 0.07), label, depth)
    shoulder = 0.45 if label == Id.CAR else 0.0
    body = [
        (-0.5, -0.1),
        (-0.5, -1 + shoulder),
        (-0.38, -1),
        (0.38, -1),
        (0.5, -1 + shoulder),
        (0.5, -0.1),
    ]
    skin = street.paint()
    street.put(polygon(street.size, np.array(body) * (wide, tall) + (x, foot)), skin, label, depth)
    high, low = {Id.CAR: (-0.92, -0.6), Id.TRUCK: (-0.55, -0.4), Id.BUS: (-0.88, -0.45)}[label]
    pane = street.box(x - 0.36 * wide, foot + high * tall, x + 0.36 * wide, foot + low * tall)
    street.put(pane, colour(street.rng, (0.15, 0.19, 0.24), 0.2), label, depth)
    for lamp in (-0.42, 0.36):
        left = x + lamp * wide
        where = street.box(left, foot - 0.4 * tall, left + 0.08 * wide, foot - 0.28 * tall)
        street.put(
            where, ((0.95, 0.9, 0.7), (0.75, 0.1, 0.1))[street.rng.integers(2)], label, depth
        )


def _person(street: Street, depth: float) -> None:
    offset = street.rng.choice([-1, 1]) * street.rng.uniform(0.5, 1.35) * street.half_road
    _figure(street, street.column(offset, depth), street.foot(depth), depth, Id.PERSON)


def _figure(street: Street, x: float, foot: float, depth: float, label: Id) -> None:
    tall = street.height * depth * street.rng.uniform(0.55, 0.7)
    step = street.rng.uniform(0.02, 0.1) * tall
    legs = [(x - step, foot), (x, foot - 0.5 * tall), (x + step, foot)]
    for a, b in ((0, 1), (1, 2)):
        (x0, y0), (x1, y1) = legs[a], legs[b]
        w = 0.05 * tall
        street.put(
            polygon(street.size, [(x0 - w, y0), (x0 + w, y0), (x1 + w, y1), (x1 - w, y1)]),
            colour(street.rng, (0.18, 0.18, 0.25), 0.3),
            label,
            depth,
        )
    torso = street.box(x - 0.12 * tall, foot - 0.85 * tall, x + 0.12 * tall, foot - 0.42 * tall)
    street.put(torso, street.paint(), label, depth)
    head = polygon(
        street.size, outline(street.rng, (x, foot - 0.92 * tall), 0.075 * tall, roughness=0)
    )
    skin = colour(street.rng, (0.70, 0.52, 0.42), 0.2)
    street.put(head, skin, label, depth)


def _cyclist(street: Street, depth: float) -> None:
    offset = street.rng.choice([-1, 1]) * street.rng.uniform(0.4, 1.1) * street.half_road
    x, foot = street.column(offset, depth), street.foot(depth)
    radius = street.height * depth * 0.16
    if street.rng.random() < 0.7:
        _figure(street, x, foot - 0.8 * radius, depth, Id.RIDER)
    frame = street.box(x - 1.2 * radius, foot - 1.5 * radius, x + 1.2 * radius, foot - 1.1 * radius)
    tone = street.paint()
    street.put(frame, tone, Id.BICYCLE, depth)
    for wheel in (-1.1, 1.1):
        centre = (x + wheel * radius, foot - radius)
        ring = polygon(street.size, outline(street.rng, centre, radius, roughness=0))
        hub = polygon(street.size, outline(street.rng, centre, 0.6 * radius, roughness=0))
        street.put(ring & ~hub, (0.1, 0.1, 0.1), Id.BICYCLE, depth)
        street.labels[hub] = Id.BICYCLE
