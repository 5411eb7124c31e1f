"""Features of a face: eyes, brows, nose, mouth, beard and glasses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.drawn.canvas import Canvas, Points, Pose, curve, shade
from faceclr_cli.core.drawn.head import SIDES, Look, face_outline, ring, surface
from faceclr_cli.core.drawn.person import Person


def paint_eye(canvas: Canvas, person: Person, pose: Pose, look: Look, s: float) -> NDArray[np.float64]:
    """Paints the eye and the brow on one side and returns the eye's center in pixels. Shape: (2,)."""
    w, h = person.eye_width, person.eye_height * look.lids
    x0, y0, slant = person.eye_x * s, person.eye_y, person.eye_slant * s

    def at(points: ArrayLike) -> Points:
        u, v = np.asarray(points, np.float64).T  # u points to the temple on both sides
        return pose.place(surface(person, x0 + s * u * w, y0 + v - u * w * slant * s, -0.03))

    squint = 0.25 * max(look.smile, 0.0)
    upper = curve([(-1.0, 0.022), (-0.5, -0.82 * h), (0.1, -1.05 * h), (0.65, -0.62 * h), (1.0, -0.01)])
    lower = curve(
        [
            (1.0, -0.01),
            (0.55, (0.62 - squint) * h),
            (-0.1, (0.80 - squint) * h),
            (-0.65, 0.45 * h),
            (-1.0, 0.022),
        ]
    )
    eye = at(np.concatenate([upper, lower[1:-1]]))
    scale = pose.scale
    center: Points = pose.place(surface(person, x0, y0, -0.03))[0]
    white = shade((236, 233, 230), 0.97, (1.0, 0.98, 0.97))
    iris = pose.place(surface(person, [x0 + look.gaze[0] * w], [y0 + look.gaze[1] * w - 0.008], -0.03))[0]
    radius = person.iris_size * scale
    with canvas.inside(eye):
        canvas.fill(eye, white)
        canvas.dot(iris, radius, shade(person.iris, 0.45))
        canvas.dot(iris, radius * 0.86, person.iris)
        canvas.dot(iris + np.array([0.0, 0.28]) * radius, radius * 0.52, shade(person.iris, 1.35))
        canvas.dot(iris, radius * 0.44, (16, 13, 14))
        # The upper lid casts a shadow on the eyeball; without it, eyes look glued on.
        canvas.line(at(upper) + np.array([0.0, 0.014]) * scale, shade((128, 112, 108), 0.9), 0.026 * scale)
        canvas.dot(iris + np.array([0.32, -0.38]) * radius, radius * 0.24, (252, 252, 252))
    lash = shade(person.skin, 0.26, (1.0, 0.85, 0.8))
    lid = np.concatenate([upper, (upper - (0.0, 0.012 + 0.6 * person.lashes * 0.5))[::-1]])
    canvas.fill(at(lid), lash)
    if person.lashes:
        for u in (0.72, 0.98):
            tip = [(u, -0.35 * h), (u + 0.32, -0.35 * h - 1.1 * person.lashes)]
            canvas.line(at(tip), lash, 0.014 * scale)
    fold = upper[2:-1] * (1.02, 1.0) - (0.0, person.lid)
    canvas.line(at(fold), shade(person.skin, 0.70, (1.0, 0.92, 0.9)), 0.010 * scale)
    canvas.line(at(np.add(lower[3:-3], (0.0, 0.006))), shade(person.skin, 0.78, (1.0, 0.9, 0.88)), 0.008 * scale)
    _paint_brow(canvas, person, pose, look, s)
    return center


def _paint_brow(canvas: Canvas, person: Person, pose: Pose, look: Look, s: float) -> None:
    u = np.linspace(-1, 1, 9)
    lift = 0.05 * look.brows
    arch = person.brow_arch * (1 - (u - 0.25) ** 2)
    y = person.eye_y - person.brow_y - lift - arch - person.brow_tilt * u
    y = y + 0.02 * max(-look.brows, 0.0) * np.clip(-u, 0, 1)
    thick = person.brow_thickness * (1.0 - 0.75 * np.clip(u, 0, 1) ** 1.6) * (1 - 0.35 * np.clip(-u - 0.6, 0, 1))
    x = s * (person.eye_x + 0.01 + u * person.brow_width)
    top, low = surface(person, x, y - thick, 0.03), surface(person, x, y + thick, 0.03)
    canvas.fill(pose.place(np.concatenate([top, low[::-1]])), person.brow_color)
    # A few hairs in another tone keep the brow from looking like a sticker.
    hairs = pose.place(np.stack([low[:-1], top[1:]], axis=1).reshape(-1, 3)).reshape(-1, 2, 2)
    canvas.lines(list(hairs), shade(person.brow_color, 0.90), 0.009 * pose.scale)


def paint_nose(canvas: Canvas, person: Person, pose: Pose, side: float) -> NDArray[np.float64]:
    """Paints the nose and returns its tip in pixels. Shape: (1, 2)."""
    _shade_nose(canvas, person, pose, side)
    _paint_nostrils(canvas, person, pose)
    _light_nose(canvas, person, pose)
    return _place_on_nose(person, pose, [(0.0, person.nose_y, person.nose_out)])


def _place_on_nose(person: Person, pose: Pose, points: ArrayLike) -> NDArray[np.float64]:
    """Returns points in pixels, given their height over the surface of the head as the third coordinate."""
    x, ys, z = np.asarray(points, np.float64).T
    return pose.place(surface(person, x, ys) + np.stack([0 * z, 0 * z, z], axis=1))


def _shade_nose(canvas: Canvas, person: Person, pose: Pose, side: float) -> None:
    """Darkens the flank away from the light, which shows how far the nose protrudes, and the underside."""
    w, y, out = person.nose_width, person.nose_y, person.nose_out
    top = person.eye_y + 0.02
    dark = -1.0 if side > 0 else 1.0
    flank = [
        (0.0, top, 0.06),
        (0.0, y - 0.02, out),
        (dark * 0.7 * w, y + 0.05, 0.4 * out),
        (dark * 0.8 * w, y - 0.08, 0.0),
        (dark * 0.10, top, 0.0),
    ]
    deep = 0.10 + 0.22 * abs(side)
    color = (1 - deep, 1 - 1.15 * deep, 1 - 1.2 * deep)
    canvas.soften(_place_on_nose(person, pose, flank), color, 0.025 * pose.scale)
    under = [
        (-0.75 * w, y + 0.05, 0.3 * out),
        (0.0, y + 0.03, out),
        (0.75 * w, y + 0.05, 0.3 * out),
        (0.0, y + 0.15, 0.0),
    ]
    canvas.soften(_place_on_nose(person, pose, under), (0.78, 0.72, 0.70), 0.03 * pose.scale)


def _paint_nostrils(canvas: Canvas, person: Person, pose: Pose) -> None:
    """Paints the wings and the nostrils, and the line between them."""
    w, y, out = person.nose_width, person.nose_y, person.nose_out
    line = shade(person.skin, 0.66, (1.0, 0.90, 0.87))
    for s in SIDES:
        wing = [
            (s * 0.82 * w, y - 0.07, 0.05),
            (s * 1.02 * w, y + 0.01, 0.05),
            (s * 0.80 * w, y + 0.065, 0.25 * out),
        ]
        canvas.line(_place_on_nose(person, pose, curve(wing)), line, 0.013 * pose.scale)
        nostril = [
            (s * 0.25 * w, y + 0.062, 0.6 * out),
            (s * 0.50 * w, y + 0.040, 0.55 * out),
            (s * 0.68 * w, y + 0.060, 0.4 * out),
            (s * 0.45 * w, y + 0.075, 0.5 * out),
        ]
        hole = _place_on_nose(person, pose, curve(nostril, closed=True, steps=3))
        canvas.fill(hole, shade(person.skin, 0.36, (1.0, 0.8, 0.78)))
    base = [
        (-0.22 * w, y + 0.075, 0.75 * out),
        (0.0, y + 0.095, 0.75 * out),
        (0.22 * w, y + 0.075, 0.75 * out),
    ]
    canvas.line(_place_on_nose(person, pose, curve(base)), line, 0.010 * pose.scale)


def _light_nose(canvas: Canvas, person: Person, pose: Pose) -> None:
    """Brightens the tip and the bridge."""
    w, y, out = person.nose_width, person.nose_y, person.nose_out
    top = person.eye_y + 0.02
    tip = [(-0.3 * w, y - 0.03, out), (0.0, y - 0.09, out), (0.3 * w, y - 0.03, out), (0.0, y + 0.03, out)]
    glow = curve(np.array(tip), closed=True, steps=3)
    canvas.soften(_place_on_nose(person, pose, glow), (1.12, 1.11, 1.10), 0.03 * pose.scale)
    bridge = [(-0.03, top, 0.05), (0.03, top, 0.05), (0.045, y - 0.1, out), (-0.045, y - 0.1, out)]
    canvas.soften(_place_on_nose(person, pose, bridge), (1.08, 1.07, 1.06), 0.025 * pose.scale)


def paint_mouth(canvas: Canvas, person: Person, pose: Pose, look: Look) -> Points:
    """Paints the mouth and returns its corners, top and bottom in head units. Shape: (4, 3)."""
    w = person.mouth_width * (1 + 0.20 * look.smile - 0.10 * look.open)
    y = person.mouth_y - 0.02 * look.smile
    rise = 0.02 + 0.075 * look.smile  # height of the corners above the middle
    gap_up, gap_low = 0.020 * look.open, 0.150 * look.open
    upper_lip = person.lip_upper * (1 - 0.25 * max(look.smile, 0))
    lower_lip = person.lip_lower * (1 - 0.20 * max(look.smile, 0))
    u = np.linspace(-1, 1, 17)
    bow = 1 - person.lip_bow * np.exp(-((u / 0.16) ** 2))
    round_ = 1 - np.abs(u) ** 2.4
    seam = y - rise * u**2
    top_in, low_in = seam - gap_up * round_, seam + gap_low * round_
    top_out = top_in - upper_lip * bow * (1 - np.abs(u) ** 1.7)
    low_out = low_in + lower_lip * (1 - np.abs(u) ** 2.2)

    def at(ys: NDArray[np.float64]) -> Points:
        return pose.place(surface(person, u * w, ys, 0.02))

    scale = pose.scale
    canvas.soften(np.concatenate([at(low_out + 0.03), at(low_out + 0.08)[::-1]]), (0.84, 0.79, 0.78), 0.04 * scale)
    lip = person.lip_color
    canvas.fill(np.concatenate([at(low_in), at(low_out)[::-1]]), shade(lip, 1.06))
    canvas.fill(np.concatenate([at(top_out), at(top_in)[::-1]]), shade(lip, 0.86))
    if look.open > 0.08:
        hole = np.concatenate([at(top_in), at(low_in)[::-1]])
        with canvas.inside(hole):
            canvas.fill(hole, (74, 24, 30))
            tongue = low_in - 0.35 * gap_low * round_
            canvas.fill(np.concatenate([at(tongue), at(low_in + 0.02)[::-1]]), (170, 82, 84))
            canvas.fill(np.concatenate([at(top_in - 0.01), at(top_in + 0.062 * round_)[::-1]]), (238, 234, 226))
    else:
        canvas.line(at(seam), shade(lip, 0.48), 0.015 * scale)
    shine = slice(5, 12)
    canvas.soften(
        np.concatenate([at(low_in + 0.3 * lower_lip)[shine], at(low_in + 0.6 * lower_lip)[shine][::-1]]),
        (1.14, 1.13, 1.13),
        0.02 * scale,
    )
    corner = seam[[0, -1]]
    for s, cy in zip(SIDES, corner, strict=True):
        canvas.soften(pose.place(ring(person, s * (w + 0.012), cy, 0.03, 0.03)), (0.82, 0.76, 0.75), 0.02 * scale)
        if look.smile > 0.35:
            crease = curve(
                [
                    (s * (person.nose_width + 0.05), person.nose_y + 0.05),
                    (s * (w + 0.05), y - 0.15),
                    (s * (w + 0.08), y - 0.03),
                    (s * (w + 0.05), y - 0.12),
                ],
                closed=True,
            )
            deep = 1 - 0.5 * look.smile
            canvas.soften(
                pose.place(surface(person, crease[:, 0], crease[:, 1])),
                (deep, deep * 0.96, deep * 0.95),
                0.02 * scale,
            )
    ends = surface(person, [-w, w], corner, 0.02)
    return np.concatenate([ends, surface(person, [0.0, 0.0], [top_out[8], low_out[8]], 0.02)])


def paint_beard(canvas: Canvas, person: Person, pose: Pose, mouth: Points) -> None:
    """Paints stubble, beard and moustache around the mouth. `mouth` is the result of `paint_mouth`."""
    hair = person.hair
    scale = pose.scale
    if person.stubble:
        tint = 1 - person.stubble * (1 - np.array(hair.color) / 255) * 0.8
        jaw = face_outline(person)
        jaw = jaw[jaw[:, 1] > 0.22] * (0.97, 1.0, 1.0)
        top = curve(
            [
                (-0.6 * person.jaw, 0.50),
                (-0.9 * person.mouth_width, person.nose_y + 0.16),
                (0.0, person.nose_y + 0.16),
                (0.9 * person.mouth_width, person.nose_y + 0.16),
                (0.6 * person.jaw, 0.50),
            ]
        )
        r, g, b = (float(v) for v in tint)
        canvas.soften(pose.place(np.concatenate([jaw, surface(person, top[:, 0], top[:, 1])])), (r, g, b), 0.05 * scale)
    low = float(mouth[3, 1])
    if person.beard:
        outline = face_outline(person)
        edge = outline[outline[:, 1] > 0.30]
        start = low + person.beard * 0.6
        inner = curve(
            [
                (-person.cheek * 0.93, 0.30),
                (-person.jaw * 0.74, 0.52),
                (-person.mouth_width * 0.8, start),
                (0.0, start + 0.03),
                (person.mouth_width * 0.8, start),
                (person.jaw * 0.74, 0.52),
                (person.cheek * 0.93, 0.30),
            ]
        )
        grown = edge * (1.02, 1.0, 1.0) + (0.0, 0.05, 0.0)
        canvas.fill(pose.place(np.concatenate([grown, edge[::-1]])), hair.color, solid=True)
        with canvas.inside(pose.place(outline)):
            canvas.fill(
                pose.place(np.concatenate([edge, surface(person, inner[:, 0], inner[:, 1], 0.02)])),
                hair.color,
            )
        roots = pose.place(grown[4:-4:2])
        middle = pose.place([(0.0, 0.35, 0.5)])[0]
        canvas.lines([np.stack([r, r + 0.22 * (middle - r)]) for r in roots], shade(hair.color, 0.75), 0.012 * scale)
    if person.moustache:
        lip, w, t = float(mouth[2, 1]), person.mouth_width, person.moustache
        left, right = float(mouth[0, 1]), float(mouth[1, 1])
        shape = curve(
            [
                (0.0, lip - 1.1 * t),
                (0.35 * w, lip - 1.9 * t),
                (0.85 * w, lip - 0.9 * t),
                (1.16 * w, right + 0.02),
                (0.6 * w, lip + 0.01),
                (0.0, lip - 0.01),
                (-0.6 * w, lip + 0.01),
                (-1.16 * w, left + 0.02),
                (-0.85 * w, lip - 0.9 * t),
                (-0.35 * w, lip - 1.9 * t),
            ],
            closed=True,
        )
        canvas.fill(pose.place(surface(person, shape[:, 0], shape[:, 1], 0.05)), shade(hair.color, 0.95))


def paint_glasses(canvas: Canvas, person: Person, pose: Pose) -> None:
    """Paints glasses."""
    size, color, scale = person.glasses, person.glasses_color, pose.scale
    for s in SIDES:
        angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        x = s * (person.eye_x + 0.02) + size * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.75
        y = person.eye_y + 0.015 + 0.80 * size * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.75
        rim = pose.place(surface(person, x, y, 0.10))
        canvas.line(rim, color, 0.034 * scale, closed=True)
        canvas.soften(rim, (1.05, 1.06, 1.08), 0.01 * scale)
        hinge = s * (person.eye_x + 0.02 + size)
        temple = pose.place(
            [
                *surface(person, [hinge], [person.eye_y - 0.02], 0.10),
                (s * (person.head_width + 0.03), person.eye_y - 0.04, 0.0),
            ]
        )
        canvas.line(temple, color, 0.030 * scale)
    x = (person.eye_x + 0.02 - size) * np.array([-1.0, -0.5, 0.5, 1.0])
    y = person.eye_y - np.array([0.0, 0.035, 0.035, 0.0])
    canvas.line(pose.place(surface(person, x, y, 0.13)), color, 0.032 * scale)
