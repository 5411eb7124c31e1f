"""Hair behind the head, on the head, and its strands."""

from __future__ import annotations

import numpy as np

from faceclr_cli.core.drawn.canvas import Canvas, Points, Pose, curve, shade
from faceclr_cli.core.drawn.head import SIDES, Look, surface
from faceclr_cli.core.drawn.person import Person


def paint_back_hair(canvas: Canvas, person: Person, pose: Pose, look: Look) -> None:
    """Paints the hair behind the head and the bun on top of it."""
    hair = person.hair
    if hair.bald:
        return
    dark = shade(hair.color, 0.72)
    canvas.fill(pose.place(_crown(person, look.wind, hair.sideburn)), dark, solid=True)
    if hair.bun:
        center = pose.place([(0.0, -1.05 - hair.top - 0.55 * hair.bun, -0.25)])[0]
        canvas.dot(center, hair.bun * pose.scale, shade(hair.color, 0.9), solid=True)
        for k in range(3):
            swirl = np.linspace(0.4 + 2 * k, 2.4 + 2 * k, 9)
            ring = np.stack([np.cos(swirl), np.sin(swirl)], axis=1) * hair.bun * pose.scale * (0.75 - 0.18 * k)
            canvas.line(center + ring, shade(hair.color, 0.68), 0.016 * pose.scale)
    if hair.length < 0.3:
        return
    out = person.head_width + hair.side
    wave = 0.07 * np.sin(np.array([0.0, 2.2, 4.1]) + look.wind)
    right = [
        (out * 0.55, -0.95, -0.1),
        (out * 0.92, -0.60, -0.1),
        (out * 1.00, -0.20, -0.1),
        (out * 1.04 + wave[0] * 0.4, 0.2, -0.1),
        (out * 1.08 + wave[1], 0.5 * hair.length + 0.1, -0.1),
        (out * 1.00 + wave[2], hair.length, -0.05),
        (out * 0.45, hair.length + 0.1, -0.05),
    ]
    left = [(-x, y, z) for x, y, z in reversed(right)]
    canvas.fill(pose.place(curve([*right, *left], closed=True), turn=0.8), dark, solid=True)


def paint_front_hair(canvas: Canvas, person: Person, pose: Pose, look: Look) -> None:
    """Paints the hair on the head and in front of the shoulders."""
    hair = person.hair
    if hair.bald:
        return
    outer, line = _crown(person, look.wind, hair.sideburn), _hairline(person)
    scale = pose.scale
    canvas.soften(pose.place(np.add(line, (0.0, 0.05, 0.0))), (0.86, 0.82, 0.80), 0.05 * scale)
    shape = pose.place(np.concatenate([outer, line[::-1]]))
    canvas.fill(shape, hair.color, solid=True)
    with canvas.inside(shape):
        _paint_strands(canvas, person, pose, outer, line)
    if hair.length > 0.5:
        for s in SIDES:
            x = s * (person.head_width + hair.side)
            lock = curve(
                [
                    (s * 0.86 * person.head_width, -0.42, 0.25),
                    (s * 0.98 * person.head_width, 0.05, 0.15),
                    (s * person.head_width * 0.95, 0.5 * hair.length + 0.1, 0.15),
                    (x * 0.86, hair.length, 0.1),
                    (x * 1.02, hair.length * 0.7, 0.0),
                    (x * 1.03, 0.0, -0.1),
                    (x * 0.97, -0.40, -0.05),
                ],
                closed=True,
            )
            canvas.fill(pose.place(lock, turn=0.9), hair.color, solid=True)


def _crown(person: Person, wind: float, low: float) -> Points:
    """Returns the outer edge of the hair, from the left ear over the crown to the right ear."""
    hair = person.hair
    # Full hair ends below the ears; short hair ends at the ears.
    end = 2.1 if hair.side > 0.12 else np.pi / 2
    angle = np.linspace(-end, end, 57)
    up = np.cos(angle)
    stand = hair.side + (hair.top - hair.side) * np.clip(up, 0, 1) ** 2
    if hair.curl:
        stand = stand + hair.curl * np.abs(np.sin(angle * hair.curls / 2 + wind))
    x = np.sin(angle) * (person.head_width + stand)
    y = low - 0.02 + np.where(up > 0, -1.05 - low - stand, -0.35) * np.abs(up) ** 0.86
    return np.stack([x, y, np.full_like(x, -0.05)], axis=1)


def _hairline(person: Person) -> Points:
    hair, w = person.hair, person.head_width
    side, part = hair.sideburn, hair.parting
    flat = curve(
        [
            (-0.97 * w, side),
            (-0.90 * w, -0.28),
            (-0.70 * w, hair.fringe - 0.05),
            (0.5 * (part - 0.6 * w), hair.fringe),
            (part, hair.line),
            (0.5 * (part + 0.6 * w), hair.fringe),
            (0.70 * w, hair.fringe - 0.05),
            (0.90 * w, -0.28),
            (0.97 * w, side),
        ]
    )
    points = surface(person, flat[:, 0], flat[:, 1], 0.04)
    # At the temples the hair must lie on the silhouette; farther forward, it would stick out of a turned head.
    points[:, 2] *= np.sqrt(np.clip(3.5 * (1 - np.abs(points[:, 0]) / w), 0, 1))
    return points


def _paint_strands(canvas: Canvas, person: Person, pose: Pose, outer: Points, line: Points) -> None:
    """Paints strands from the hairline to the outer edge, bent away from the parting."""
    hair, count = person.hair, 42
    share = np.linspace(0.02, 0.98, count)
    ends = line[(share * (len(line) - 1)).astype(int)]
    bulge = outer[(share * (len(outer) - 1)).astype(int)]
    bend = 0.10 * np.sign(hair.parting) + 0.15 * np.tanh((ends[:, 0] - hair.parting) * 3)
    middle = 0.5 * (ends + bulge) + np.stack([bend, -0.02 + 0 * bend, 0.15 + 0 * bend], axis=1)
    paths = curve(np.stack([ends, middle, bulge]).reshape(3, -1), steps=5).reshape(-1, count, 3)
    placed = pose.place(paths.reshape(-1, 3)).reshape(-1, count, 2).transpose(1, 0, 2)
    light = shade((max(hair.color[0], 44), max(hair.color[1], 40), max(hair.color[2], 38)), 1.13)
    canvas.lines(list(placed[::3]), shade(hair.color, 0.84), 0.016 * pose.scale)
    canvas.lines(list(placed[1::3]), light, 0.022 * pose.scale)
    canvas.lines(list(placed[2::3]), shade(hair.color, 0.91), 0.012 * pose.scale)
    band = np.concatenate([paths[4, 5:-5], paths[6, -6:4:-1]])
    canvas.soften(pose.place(band), (1.24, 1.23, 1.22), 0.05 * pose.scale)
