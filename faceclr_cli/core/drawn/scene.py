"""Light, background and camera: what differs between two pictures of the same person."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.drawn.canvas import SOFT, Canvas, Pose
from faceclr_cli.core.drawn.person import Color, Person

Image = NDArray[np.float32]


def random_color(rng: np.random.Generator, low: float = 20, high: float = 245) -> Color:
    """Returns a random color with uniform brightness and mostly low saturation, as in rooms and clothes."""
    base = rng.uniform(low, high)
    r, g, b = np.clip(base + rng.uniform(-1, 1, 3) * rng.uniform(8, 85), low, high)
    return float(r), float(g), float(b)


@dataclass(frozen=True)
class Light:
    """One lamp and ambient light."""

    direction: tuple[float, float, float]  # unit vector to the lamp; x right, y down, z toward the viewer
    lamp: Color  # factor per channel
    sky: Color  # factor per channel of the ambient light
    gloss: float
    edge: tuple[float, float, float] | None  # a hard shadow: angle, offset in head units, and darkness


def invent_light(rng: np.random.Generator) -> Light:
    """Invents a light: anything from soft frontal light to a bare lamp on one side."""
    around = rng.uniform(-1.5, 1.5)
    above = rng.uniform(-0.3, 0.95)
    direction = (
        float(np.sin(around) * np.cos(above)),
        float(-np.sin(above)),
        float(np.cos(around) * np.cos(above)),
    )
    hard = rng.uniform(0.25, 0.92)
    level = rng.uniform(0.78, 1.18)
    warmth = rng.normal(0, 0.13)
    tint = np.array([1 + warmth, 1 + rng.normal(0, 0.025), 1 - warmth])
    lamp = level * hard * 1.35 * tint
    cool = -0.6 * warmth + rng.normal(0, 0.05)
    sky = level * (1 - hard) * np.array([1 + cool, 1.0, 1 - cool]) + 0.06
    edge = None
    if rng.random() < 0.28:
        edge = (
            float(rng.uniform(0, 2 * np.pi)),
            float(rng.uniform(-0.2, 0.7)),
            float(rng.uniform(0.4, 0.75)),
        )
    return Light(direction, _color(lamp), _color(sky), float(rng.uniform(0.0, 0.22)), edge)


def _color(values: NDArray[np.float64]) -> Color:
    r, g, b = (float(v) for v in values)
    return r, g, b


def light_up(canvas: Canvas, person: Person, pose: Pose, light: Light) -> None:
    """Multiplies the soft layer by the light on a round head above a round body (Lambert's law)."""
    height, width = canvas.shade.shape[1:]
    x = ((np.arange(width, dtype=np.float32) + 0.5) * SOFT - pose.x) / pose.scale
    y = ((np.arange(height, dtype=np.float32) + 0.5) * SOFT - pose.y) / pose.scale
    x, y = np.meshgrid(x, y)
    c, s = np.float32(np.cos(pose.roll)), np.float32(np.sin(pose.roll))
    x, y = c * x + s * y, c * y - s * x
    # The head is an ellipsoid. Below the chin, the normals blend into those of a wide upright cylinder.
    nx, ny = x / np.float32(person.head_width * 1.18), y * np.float32(0.62)
    body = np.clip((y - 1.0) * 2.5, 0, 1)
    nx = nx * (1 - body) + body * x * np.float32(0.45)
    ny = ny * (1 - body) - body * np.float32(0.25)
    r = np.sqrt(nx * nx + ny * ny)
    shrink = np.minimum(1, np.float32(0.97) / np.maximum(r, np.float32(1e-3)))
    nx, ny = nx * shrink, ny * shrink
    nz = np.sqrt(1 - nx * nx - ny * ny)
    lx, ly, lz = (np.float32(v) for v in light.direction)
    facing = nx * lx + ny * ly + nz * lz
    # Light wraps slightly past the terminator, because skin is translucent.
    lit = np.clip((facing + np.float32(0.18)) / np.float32(1.18), 0, 1)
    if light.edge is not None:
        angle, offset, dark = light.edge
        across = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y - np.float32(offset)
        lit = lit * (1 - np.float32(dark) * np.clip(across * 9, 0, 1))
    half = np.float32(1 / np.sqrt(2 * (1 + lz) + 1e-6))
    shine = np.clip((nx * lx + ny * ly + nz * (lz + 1)) * half, 0, 1) ** 24 * np.float32(light.gloss) * (1 - body)
    lit += shine
    for plane, lamp, sky in zip(canvas.shade, light.lamp, light.sky, strict=True):
        plane *= lit * np.float32(lamp) + np.float32(sky)


def invent_background(rng: np.random.Generator, width: int, height: int) -> Image:
    """Paints a background at half resolution and out of focus. Shape: (height, width, 3), 0-255."""
    w, h = width // 2, height // 2
    first, second = random_color(rng), random_color(rng)
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.linspace(-0.5, 0.5, w, dtype=np.float32), np.linspace(-0.5, 0.5, h, dtype=np.float32)
    ramp = np.clip(0.5 + np.float32(np.cos(angle)) * x[None, :] + np.float32(np.sin(angle)) * y[:, None], 0, 1)
    planes = [(np.float32(a) + np.float32(b - a) * ramp).astype(np.uint8) for a, b in zip(first, second, strict=True)]
    picture = np.asarray(cv2.merge(planes), np.uint8)
    kind = str(rng.choice(("plain", "lights", "shapes", "boards", "leaves")))
    count = {"plain": 0, "lights": 14, "shapes": 7, "boards": 6, "leaves": 45}[kind]
    turn = float(rng.uniform(-0.3, 0.3))
    for k in range(count):
        color = random_color(rng)
        at = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
        if kind == "lights":
            cv2.circle(picture, at, int(rng.uniform(4, 14)), random_color(rng, 120, 255), -1)
        elif kind == "shapes":
            size = (int(rng.uniform(0.1, 0.3) * w), int(rng.uniform(0.1, 0.4) * h))
            cv2.rectangle(picture, at, (at[0] + size[0], at[1] + size[1]), color, -1)
        elif kind == "boards":
            left = k * w / count
            board = [
                (left, -9),
                (left + w / count - 2, -9),
                (left + w / count - 2 + turn * h, h + 9),
                (left + turn * h, h + 9),
            ]
            shade = tuple(0.8 * f + 0.2 * c for f, c in zip(first, color, strict=True))
            cv2.fillPoly(picture, [np.array(board, np.int32)], shade, cv2.LINE_AA)
        else:
            axes = (int(rng.uniform(4, 18)), int(rng.uniform(3, 8)))
            leaf = tuple(0.55 * f + 0.45 * c for f, c in zip(second, color, strict=True))
            cv2.ellipse(picture, at, axes, float(rng.uniform(0, 180)), 0, 360, leaf, -1)
    blurred = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.8, 4.0)))
    return cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)


def exposure(rng: np.random.Generator, brightness: float) -> np.float32:
    """Returns the factor by which a camera brightens a face; it compensates for most of the light, but not all."""
    return np.float32((rng.uniform(108, 158) / max(brightness, 8.0)) ** 0.62 * np.exp(rng.normal(0, 0.08)))


def photograph(rng: np.random.Generator, scene: Image) -> NDArray[np.uint8]:
    """Simulates a camera: contrast, focus, grain, sometimes black and white, sometimes strong compression.

    Args:
        rng: Random number generator.
        scene: RGB, 0-255. Shape: (height, width, 3).

    Returns:
        RGB, 0-255. Shape: (height, width, 3).
    """
    height, width = scene.shape[:2]
    mean = np.float32(124)
    contrast = np.float32(rng.uniform(0.8, 1.2))
    image: Image = (scene - mean) * contrast + (mean + np.float32(rng.normal(0, 7)))
    if rng.random() < 0.15:
        gray = image @ np.array([0.299, 0.587, 0.114], np.float32)
        sepia = rng.random() < 0.4
        tone = (1.05, 0.98, 0.84) if sepia else (1.0, 1.0, 1.0)
        image = np.asarray(cv2.merge([gray * np.float32(t) for t in tone]), np.float32)
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.6))).astype(np.float32, copy=False)
    grain = rng.uniform(0.5, 3.0) if rng.random() < 0.7 else rng.uniform(4.0, 8.0)
    # Uniform noise with the same variance as Gaussian noise looks the same and is faster to generate.
    noise = (rng.random((height, width), np.float32) - np.float32(0.5)) * np.float32(grain * 12**0.5)
    image = np.asarray(cv2.add(image, cv2.merge([noise, noise, noise])), np.float32)
    taken: NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        ok, packed = cv2.imencode(".jpg", taken, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(22, 70))])
        if ok:
            taken = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return taken
