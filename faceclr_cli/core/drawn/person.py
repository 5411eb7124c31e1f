"""Drawn people: the parameters of a drawn portrait that are the same in every picture of a person.

Lengths are in head units: the origin is the middle of the head, the crown is near y = -1 and the chin near y = +1;
x points right as seen, y down and z toward the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Color = tuple[float, float, float]
"""Red, green and blue, 0-255, under neutral light."""

SKINS: tuple[Color, ...] = (
    (250, 222, 204),
    (244, 202, 172),
    (231, 180, 142),
    (208, 154, 112),
    (172, 118, 80),
    (132, 86, 58),
    (98, 62, 44),
)
HAIRS: tuple[Color, ...] = (
    (34, 29, 31),
    (62, 43, 35),
    (98, 66, 45),
    (132, 88, 56),
    (164, 122, 78),
    (206, 170, 112),
    (228, 204, 152),
    (160, 156, 156),
)
IRISES: tuple[Color, ...] = (
    (62, 40, 28),
    (104, 66, 36),
    (132, 104, 56),
    (88, 122, 78),
    (78, 122, 160),
    (118, 136, 148),
)


@dataclass(frozen=True)
class Hair:
    """The parameters of a hairstyle."""

    color: Color
    bald: bool
    top: float  # thickness at the crown
    side: float  # thickness at the temples
    length: float  # y of the lower end behind the head; below 0.3, none is visible
    curl: float  # height of the bumps along the edge
    curls: int  # number of bumps
    parting: float  # x of the highest point of the hairline
    line: float  # y of the hairline at the parting
    fringe: float  # y of the hairline on both sides of the parting
    sideburn: float  # y of the lower end in front of the ear
    bun: float  # radius of the bun on top, 0 for none


@dataclass(frozen=True)
class Person:
    """The permanent features of a drawn person."""

    seed: int
    skin: Color
    head_width: float
    cheek: float
    jaw: float
    chin_width: float
    chin: float
    ear: float
    neck: float
    hair: Hair
    eye_x: float  # half the distance between the centers of the eyes
    eye_y: float
    eye_width: float
    eye_height: float
    eye_slant: float
    iris: Color
    iris_size: float
    lid: float  # height of the fold above the eye
    lashes: float
    brow_y: float  # distance of the brows from the eyes
    brow_width: float
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    brow_color: Color
    nose_y: float
    nose_width: float
    nose_out: float  # protrusion of the tip
    mouth_y: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    lip_bow: float
    lip_color: Color
    blush: float
    freckles: tuple[tuple[float, float, float], ...]  # x, y, radius
    moustache: float
    beard: float  # distance of the upper edge from the mouth, 0 for none
    stubble: float
    glasses: float  # half the width of a lens, 0 for none
    glasses_color: Color


def _between(rng: np.random.Generator, palette: tuple[Color, ...], spread: float) -> Color:
    """Returns a random color between two neighbors in a palette, with noise so that no two people share a color."""
    at = rng.uniform(0, len(palette) - 1)
    low = min(int(at), len(palette) - 2)
    mixed = np.array(palette[low]) + (at - low) * (np.array(palette[low + 1]) - np.array(palette[low]))
    r, g, b = np.clip(mixed + rng.uniform(-spread, spread, 3), 8, 252)
    return float(r), float(g), float(b)


def _tint(color: Color, by: Color, share: float) -> Color:
    r, g, b = ((1 - share) * c + share * t for c, t in zip(color, by, strict=True))
    return r, g, b


def _invent_hair(rng: np.random.Generator, style: str, skin: Color) -> Hair:
    # Dark hair is the most common with any skin color, and nearly universal with dark skin.
    dark = rng.random() < (0.85 if sum(skin) < 400 else 0.4)
    color = _between(rng, HAIRS[:3] if dark else HAIRS, 8)
    if not dark and rng.random() < 0.25:
        color = _tint(color, (176, 78, 38), rng.uniform(0.5, 0.9))
    curly = style == "curly"
    long = style in ("long", "bob")
    line = rng.uniform(-0.84, -0.66)
    drop = rng.uniform(0.0, 0.24)
    if style == "fringe":
        line = rng.uniform(-0.50, -0.40)
        drop = rng.uniform(0.0, 0.06)
    length = {"long": rng.uniform(1.25, 1.75), "bob": rng.uniform(0.55, 1.0)}.get(style, 0.0)
    if style in ("fringe", "curly") and rng.random() < 0.5:
        length = rng.uniform(0.6, 1.4)
    return Hair(
        color=color,
        bald=style == "bald",
        top=rng.uniform(0.20, 0.42) if curly else rng.uniform(0.10, 0.28),
        side=rng.uniform(0.14, 0.34) if curly else rng.uniform(0.10, 0.20) if long else rng.uniform(0.03, 0.09),
        length=length,
        curl=rng.uniform(0.05, 0.08) if curly else rng.uniform(0.0, 0.025),
        curls=int(rng.integers(11, 17)),
        parting=rng.uniform(-0.45, 0.45),
        line=line,
        fringe=min(line + drop, -0.38),
        sideburn=rng.uniform(-0.20, 0.18),
        bun=rng.uniform(0.26, 0.38) if style == "bun" else 0.0,
    )


def _invent_lip_color(rng: np.random.Generator, skin: Color) -> Color:
    """Lips are a redder shade of the skin; some people wear lipstick."""
    color = _tint(skin, (176, 58, 62), rng.uniform(0.28, 0.55))
    return _tint(color, (172, 20, 48), rng.uniform(0.4, 0.7)) if rng.random() < 0.15 else color


def _invent_freckles(rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    """Many small freckles below the eyes, or at most two larger spots anywhere."""
    freckled = rng.random() < 0.22
    spots = int(rng.integers(14, 36)) if freckled else int(rng.integers(0, 3))
    return tuple(
        (
            float(rng.uniform(-0.5, 0.5)),
            float(rng.uniform(0.08, 0.36) if freckled else rng.uniform(-0.3, 0.8)),
            float(rng.uniform(0.008, 0.017) if freckled else rng.uniform(0.016, 0.03)),
        )
        for _ in range(spots)
    )


def invent_person(seed: int) -> Person:
    """Invents a person.

    Args:
        seed: Identifies the person: the same seed always gives the same person.
    """
    rng = np.random.default_rng([0xFACE, seed])
    skin = _between(rng, SKINS, 5)
    styles = ("short", "swept", "bob", "long", "fringe", "curly", "bun", "bald")
    style = str(rng.choice(styles, p=(0.22, 0.12, 0.13, 0.17, 0.12, 0.11, 0.07, 0.06)))
    hair = _invent_hair(rng, style, skin)
    lip = _invent_lip_color(rng, skin)
    bearded = style in ("short", "swept", "bald") and rng.random() < 0.45
    freckles = _invent_freckles(rng)
    head_width = rng.uniform(0.70, 0.84)
    cheek = head_width * rng.uniform(0.92, 1.03)
    return Person(
        seed=seed,
        skin=skin,
        head_width=head_width,
        cheek=cheek,
        jaw=cheek * rng.uniform(0.66, 0.87),
        chin_width=rng.uniform(0.17, 0.34),
        chin=rng.uniform(0.96, 1.12),
        ear=rng.uniform(0.18, 0.27),
        neck=rng.uniform(0.31, 0.41),
        hair=hair,
        eye_x=rng.uniform(0.295, 0.375),
        eye_y=rng.uniform(-0.15, -0.06),
        eye_width=rng.uniform(0.150, 0.200),
        eye_height=rng.uniform(0.062, 0.108),
        eye_slant=rng.uniform(-0.14, 0.16),
        iris=_between(rng, IRISES, 10),
        iris_size=rng.uniform(0.078, 0.096),
        lid=rng.uniform(0.02, 0.07),
        lashes=float(rng.choice((0.0, 0.0, 0.03, 0.05))),
        brow_y=rng.uniform(0.17, 0.26),
        brow_width=rng.uniform(0.19, 0.27),
        brow_thickness=rng.uniform(0.018, 0.055),
        brow_arch=rng.uniform(0.01, 0.09),
        brow_tilt=rng.uniform(-0.06, 0.035),
        brow_color=_tint(hair.color, (52, 36, 30), rng.uniform(0.25, 0.6)),
        nose_y=rng.uniform(0.22, 0.34),
        nose_width=rng.uniform(0.115, 0.205),
        nose_out=rng.uniform(0.12, 0.24),
        mouth_y=rng.uniform(0.54, 0.64),
        mouth_width=rng.uniform(0.21, 0.315),
        lip_upper=rng.uniform(0.030, 0.080),
        lip_lower=rng.uniform(0.045, 0.105),
        lip_bow=rng.uniform(0.1, 0.55),
        lip_color=lip,
        blush=rng.uniform(0.0, 0.5),
        freckles=freckles,
        moustache=rng.uniform(0.04, 0.075) if bearded and rng.random() < 0.7 else 0.0,
        beard=rng.uniform(0.02, 0.2) if bearded and rng.random() < 0.55 else 0.0,
        stubble=rng.uniform(0.15, 0.45) if bearded else 0.0,
        glasses=rng.uniform(0.20, 0.25) if rng.random() < 0.10 else 0.0,
        glasses_color=_between(rng, ((28, 26, 30), (96, 48, 30), (150, 120, 60)), 10),
    )
