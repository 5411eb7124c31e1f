"""The head and what is painted below the features: body, ears and skin."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from faceclr_cli.core.drawn.canvas import Canvas, Points, Pose, curve, shade
from faceclr_cli.core.drawn.person import Color, Person

SIDES = (-1.0, 1.0)


@dataclass(frozen=True)
class Look:
    """Expression and clothes of a person in one picture."""

    smile: float  # -0.3 (sad) to 1 (broad smile)
    open: float  # mouth: 0 (closed) to 1 (wide open)
    brows: float  # -1 (frowning) to 1 (raised)
    lids: float  # 0.45 (sleepy) to 1.1 (wide open)
    gaze: tuple[float, float]  # displacement of the irises, in eye widths
    shirt: Color
    trim: Color
    pattern: str  # plain, stripes, collar or vest
    wind: float  # phase of the waves of the hair


def surface(person: Person, x: ArrayLike, y: ArrayLike, out: float = 0.0) -> Points:
    """Returns points on the front of the head, `out` above the skin. Shape: (n, 3)."""
    points = np.empty((np.size(x), 3))
    points[:, 0], points[:, 1] = x, y
    points[:, 2] = 1 - (points[:, 0] / (1.12 * person.head_width)) ** 2 - (points[:, 1] / 1.3) ** 2
    points[:, 2] = 0.72 * np.sqrt(np.maximum(points[:, 2], 0.02)) + out
    return points


def ring(person: Person, x: float, y: float, width: float, height: float) -> Points:
    """Returns an ellipse on the skin in head units. Shape: (16, 3)."""
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return surface(person, x + width * np.cos(angle), y + height * np.sin(angle))


def face_outline(person: Person) -> Points:
    """Returns the outline of the face, clockwise from the crown, in head units. Shape: (n, 3)."""
    w, chin = person.head_width, person.chin
    right = [
        (0.52 * w, -0.97, 0.0),
        (0.90 * w, -0.66, 0.0),
        (1.00 * w, -0.22, 0.0),
        (person.cheek, 0.18, 0.06),
        (person.jaw, 0.60, 0.22),
        (0.5 * (person.jaw + person.chin_width), 0.62 + 0.72 * (chin - 0.62), 0.34),
        (person.chin_width * 0.62, chin - 0.02, 0.42),
    ]
    left = [(-x, y, z) for x, y, z in reversed(right)]
    return curve([(0.0, -1.05, 0.0), *right, (0.0, chin + 0.005, 0.44), *left], closed=True)


def paint_body(canvas: Canvas, person: Person, pose: Pose, look: Look) -> None:
    """Paints neck, shoulders and clothes."""
    n = person.neck
    neck_skin = shade(person.skin, 0.90, (1.0, 0.97, 0.95))
    slope = 1.45
    shoulders = [
        (-2.3, 3.6, 0.0),
        (-2.05, 2.15, 0.0),
        (-1.25, slope + 0.22, 0.0),
        (-n - 0.12, slope - 0.06, 0.0),
        (n + 0.12, slope - 0.06, 0.0),
        (1.25, slope + 0.22, 0.0),
        (2.05, 2.15, 0.0),
        (2.3, 3.6, 0.0),
    ]
    body = pose.place(curve(shoulders, steps=4), turn=0.25)
    canvas.fill(body, look.shirt, solid=True)
    if look.pattern == "stripes":
        with canvas.inside(body):
            for k in range(5):
                y = 1.75 + 0.32 * k
                canvas.line(
                    pose.place([(-2.4, y + 0.25, 0.0), (0.0, y, 0.3), (2.4, y + 0.25, 0.0)], 0.25),
                    look.trim,
                    0.11 * pose.scale,
                )
    depth = 2.05 if look.pattern == "collar" else 1.78 if look.pattern == "vest" else 1.66
    opening = [(-n - 0.14, slope - 0.10, 0.1), (0.0, depth, 0.35), (n + 0.14, slope - 0.10, 0.1)]
    if look.pattern != "collar":
        opening = curve([opening[0], (-0.6 * n, depth - 0.07, 0.3), (0.6 * n, depth - 0.07, 0.3), opening[2]]).tolist()
    # Head and shoulders turn by different amounts; the neck connects the openings of both.
    top = pose.place([(n, 0.35, -0.05), (n * 0.97, 0.95, -0.05), (-n * 0.97, 0.95, -0.05), (-n, 0.35, -0.05)])
    low = pose.place(opening, turn=0.25)
    hull = cv2.convexHull(np.concatenate([top, low]).astype(np.float32))
    canvas.fill(hull[:, 0].astype(np.float64), neck_skin, solid=True)
    with canvas.inside(body):
        canvas.line(low, shade(look.trim if look.pattern != "plain" else look.shirt, 0.85), 0.05 * pose.scale)
    if look.pattern == "collar":
        for s in SIDES:
            flap = [
                (s * (n + 0.15), slope - 0.16, 0.1),
                (s * 0.03, depth - 0.02, 0.4),
                (s * 0.42, depth + 0.02, 0.3),
                (s * (n + 0.36), slope + 0.12, 0.1),
            ]
            canvas.fill(pose.place(flap, turn=0.25), shade(look.shirt, 1.18))
    chin = pose.place(curve([(-n * 1.3, 0.8, 0.1), (0.0, person.chin + 0.34, 0.3), (n * 1.3, 0.8, 0.1)]))
    canvas.soften(chin, (0.62, 0.55, 0.52), 0.10 * pose.scale)


def paint_head(canvas: Canvas, person: Person, pose: Pose, side: float) -> None:
    """Paints ears, skin, blush and freckles."""
    skin = person.skin
    for s in SIDES:
        # Ears turn less than the face.
        x, e = s * (person.head_width + 0.02), person.ear
        ear = curve(
            [
                (x - s * 0.08, -0.16, -0.1),
                (x + s * 0.42 * e, -0.20, -0.2),
                (x + s * 0.62 * e, 0.0, -0.2),
                (x + s * 0.25 * e, 0.16 + 0.3 * e, -0.1),
                (x - s * 0.10, 0.18, -0.1),
            ],
            closed=True,
        )
        placed = pose.place(ear, turn=0.6)
        canvas.fill(placed, shade(skin, 0.93, (1.0, 0.94, 0.92)), solid=True)
        middle = placed.mean(axis=0)
        canvas.fill(middle + 0.5 * (placed - middle), shade(skin, 0.74, (1.0, 0.92, 0.9)))
    outline = pose.place(face_outline(person))
    canvas.fill(outline, skin, solid=True)
    for s in SIDES:
        cheek = ring(person, s * 0.40, 0.24, 0.17, 0.13)
        canvas.soften(pose.place(cheek), _blush(person.blush), 0.09 * pose.scale)
        socket = ring(person, s * person.eye_x, person.eye_y - 0.06, person.eye_width * 1.15, 0.11)
        canvas.soften(pose.place(socket), (0.88, 0.83, 0.82), 0.06 * pose.scale)
    # Shade the underside of the chin, slightly more on the side away from the light.
    canvas.soften(
        pose.place(ring(person, -0.06 * side, person.chin - 0.01, 0.3, 0.05)),
        (0.85, 0.8, 0.78),
        0.05 * pose.scale,
    )
    for x, y, radius in person.freckles:
        spot = pose.place(surface(person, [x], [y]))[0]
        canvas.dot(spot, radius * pose.scale, shade(skin, 0.80, (1.0, 0.90, 0.84)))


def _blush(amount: float) -> Color:
    return 1.0 + 0.04 * amount, 1.0 - 0.26 * amount, 1.0 - 0.24 * amount
