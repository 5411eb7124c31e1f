"""Portraits of drawn people for the demo, the tests and the pictures of the documentation.

A person is a set of fixed parameters (`invent_person`). Every picture of a person has its own light, pose, expression,
clothes, background and camera (`draw_photo`), so that recognizing people is as difficult as in photos, without using
the face of a real person.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.drawn.canvas import Canvas, Pose
from faceclr_cli.core.drawn.features import (
    paint_beard,
    paint_eye,
    paint_glasses,
    paint_mouth,
    paint_nose,
)
from faceclr_cli.core.drawn.hair import paint_back_hair, paint_front_hair
from faceclr_cli.core.drawn.head import SIDES, Look, paint_body, paint_head
from faceclr_cli.core.drawn.person import Person, invent_person
from faceclr_cli.core.drawn.scene import (
    exposure,
    invent_background,
    invent_light,
    light_up,
    photograph,
    random_color,
)
from faceclr_cli.core.events import Reporter, track
from faceclr_cli.core.workers.pool import Processes, map_ordered

__all__ = ["DrawnPhoto", "Person", "draw_photo", "invent_person", "write_people"]


@dataclass(frozen=True)
class DrawnPhoto:
    """A picture with the true landmarks of its face.

    Attributes:
        image: RGB, 0-255. Shape: (height, width, 3).
        landmarks: Pixel positions (x, y) of the eyes, the nose tip and the mouth corners, left before right as seen.
            Shape: (5, 2).
    """

    image: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


def _invent_pose(rng: np.random.Generator, width: int, height: int) -> Pose:
    return Pose(
        yaw=float(np.clip(rng.normal(0, 0.22), -0.48, 0.48)),
        pitch=float(np.clip(rng.normal(0, 0.13), -0.3, 0.3)),
        roll=float(np.clip(rng.normal(0, 0.13), -0.4, 0.4)),
        scale=height * float(rng.uniform(0.25, 0.34)),
        x=width * float(rng.uniform(0.42, 0.58)),
        y=height * float(rng.uniform(0.43, 0.52)),
    )


def _invent_look(rng: np.random.Generator) -> Look:
    smiling = rng.random() < 0.6
    return Look(
        smile=float(rng.uniform(0.3, 1.0) if smiling else rng.uniform(-0.2, 0.3)),
        open=float(rng.uniform(0.12, 1.0) if rng.random() < 0.4 else 0.0),
        brows=float(rng.uniform(-1, 1)),
        lids=float(rng.uniform(0.62, 1.12)),
        gaze=(float(rng.uniform(-0.32, 0.32)), float(rng.uniform(-0.08, 0.10))),
        shirt=random_color(rng, 25, 235),
        trim=random_color(rng, 25, 245),
        pattern=str(rng.choice(("plain", "stripes", "collar", "vest"))),
        wind=float(rng.uniform(0, 2 * np.pi)),
    )


def _paint_person(canvas: Canvas, person: Person, pose: Pose, look: Look, side: float) -> NDArray[np.float32]:
    """Paints a person lit from `side`, -1 (left) to 1, and returns the landmarks in pixels. Shape: (5, 2)."""
    paint_back_hair(canvas, person, pose, look)
    paint_body(canvas, person, pose, look)
    paint_head(canvas, person, pose, side)
    mouth = paint_mouth(canvas, person, pose, look)
    paint_beard(canvas, person, pose, mouth)
    nose = paint_nose(canvas, person, pose, side)
    eyes = [paint_eye(canvas, person, pose, look, s) for s in SIDES]
    paint_front_hair(canvas, person, pose, look)
    if person.glasses:
        paint_glasses(canvas, person, pose)
    corners = pose.place(mouth[[0, 1]])
    return np.concatenate([eyes, nose, corners]).astype(np.float32)


def _brightness(figure: NDArray[np.float32], pose: Pose) -> float:
    """Returns the mean brightness of the middle of the face, which determines the exposure."""
    reach = 0.5 * pose.scale
    rows = slice(max(0, int(pose.y - reach)), int(pose.y + reach))
    columns = slice(max(0, int(pose.x - reach)), int(pose.x + reach))
    return float(figure[rows, columns][::4, ::4].mean())


def draw_photo(person: Person, seed: int) -> DrawnPhoto:
    """Draws a picture of a person.

    Args:
        person: The person.
        seed: Identifies the picture: the same person and seed always give the same bytes.
    """
    rng = np.random.default_rng([0x1160, person.seed, seed])
    height = int(rng.integers(240, 361))
    width = int(height * rng.uniform(0.82, 0.92))
    pose, look, light = _invent_pose(rng, width, height), _invent_look(rng), invent_light(rng)
    canvas = Canvas(width, height)
    landmarks = _paint_person(canvas, person, pose, look, light.direction[0])
    light_up(canvas, person, pose, light)
    figure, cover = canvas.finish()
    scene = invent_background(rng, width, height)
    figure *= exposure(rng, _brightness(figure, pose))
    scene = scene * (1 - cover) + figure
    return DrawnPhoto(photograph(rng, scene), landmarks)


def write_people(root: Path, people: int, photos: int, seed: int, reporter: Reporter, workers: int = 1) -> None:
    """Writes a folder of people: `root/person-01/01.jpg` and so on.

    Args:
        root: The folder; created if missing.
        people: Number of people.
        photos: Number of pictures per person.
        seed: Identifies the collection: the same seed always gives the same pictures.
        reporter: Receives the progress.
        workers: Number of processes. It does not affect the pictures.
    """
    width = max(2, len(str(people)))
    folders = [root / f"person-{number:0{width}d}" for number in range(1, people + 1)]
    work = list(zip((invent_person(seed * 100_003 + number) for number in range(1, people + 1)), folders, strict=True))
    write = partial(_write_person, photos)
    for _ in track(
        map_ordered(write, work, Processes(workers), _raise_crash), reporter, "drawing", total=people, unit="people"
    ):
        pass


def _write_person(photos: int, item: tuple[Person, Path]) -> None:
    person, folder = item
    folder.mkdir(parents=True, exist_ok=True)
    width = max(2, len(str(photos)))
    for number in range(1, photos + 1):
        image = cv2.cvtColor(draw_photo(person, number).image, cv2.COLOR_RGB2BGR)
        if not cv2.imwrite(str(folder / f"{number:0{width}d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 93]):
            raise OSError(f"{folder}: picture {number} cannot be written")


def _raise_crash(item: tuple[Person, Path]) -> None:
    raise OSError(f"{item[1]}: the process that drew this person died")
