"""Films of drawn people, with the truth about who is where and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from faceclr_cli.core.drawn.portraits import draw_photo, invent_person

FPS = 10
WIDTH, HEIGHT = 640, 360
SIDE = 150
"""Width of a portrait."""

Place = tuple[float, float]


@cache
def _portrait(person: int, look: int) -> np.ndarray:
    image = draw_photo(invent_person(person), look).image
    return cv2.resize(image, (SIDE, round(SIDE * image.shape[0] / image.shape[1])), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Actor:
    """A drawn person and the center of their portrait in pixels at a time in seconds; later actors are in front."""

    person: int
    place: Callable[[float], Place]
    looks: tuple[int, ...] = (1, 2)

    def portrait(self, seconds: float) -> np.ndarray:
        return _portrait(self.person, self.looks[int(seconds * 2) % len(self.looks)])


@dataclass(frozen=True)
class Shot:
    """A part of a film without a cut, from `start` to `end` in seconds, in front of a color."""

    start: float
    end: float
    color: tuple[int, int, int]
    actors: Sequence[Actor]

    def draw(self, seconds: float) -> np.ndarray:
        image = np.full((HEIGHT, WIDTH, 3), self.color, np.uint8)
        for actor in self.actors:
            portrait = actor.portrait(seconds)
            x, y = (round(value) for value in actor.place(seconds))
            left, top = x - SIDE // 2, y - len(portrait) // 2
            x0, y0, x1, y1 = max(0, left), max(0, top), min(WIDTH, left + SIDE), min(HEIGHT, top + len(portrait))
            if x0 < x1 and y0 < y1:
                image[y0:y1, x0:x1] = portrait[y0 - top : y1 - top, x0 - left : x1 - left]
        return image


def line(start: Place, end: Place, begin: float, stop: float) -> Callable[[float], Place]:
    """A way along a line from one time to another."""

    def place(seconds: float) -> Place:
        share = (seconds - begin) / (stop - begin)
        return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])

    return place


SHOTS = (
    # Two people cross; person 2 passes in front of person 1.
    Shot(
        0,
        4,
        (40, 90, 60),
        (Actor(1, line((90, 190), (550, 190), 0, 4)), Actor(2, line((550, 200), (90, 200), 0, 4))),
    ),
    Shot(
        4,
        7,
        (200, 180, 150),
        (Actor(5, line((120, 120), (200, 220), 4, 7)), Actor(6, line((500, 230), (420, 130), 4, 7))),
    ),
    Shot(7, 9, (60, 60, 140), (Actor(2, line((300, 150), (340, 210), 7, 9)),)),
)
TRACKS = {(1, 0, 4), (2, 0, 4), (5, 4, 7), (6, 4, 7), (2, 7, 9)}
"""Person, first and last second of the tracks that the film has."""


def write_film(
    path: Path, shots: Sequence[Shot] = SHOTS, *, damaged: Sequence[int] = (), codec: str = "libx264", gop: int = FPS
) -> Path:
    """Writes a film with PyAV.

    Args:
        path: The file; its suffix decides on the container.
        shots: The shots in order.
        damaged: Numbers of compressed pictures whose bytes are overwritten.
        codec: The codec.
        gop: Number of pictures from one that can be decoded by itself to the next.
    """
    import av

    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = gop
        packets = []
        for shot in shots:
            for number in range(round(shot.start * FPS), round(shot.end * FPS)):
                packets += stream.encode(av.VideoFrame.from_ndarray(shot.draw(number / FPS), format="rgb24"))
        packets += stream.encode()
        for number, packet in enumerate(packets):
            if number in damaged:
                noise = av.Packet(rng.integers(0, 256, packet.size, np.uint8).tobytes())
                noise.pts, noise.dts, noise.time_base, noise.stream = packet.pts, packet.dts, packet.time_base, stream
                packet = noise
            container.mux(packet)
    return path


def person_at(shots: Sequence[Shot], seconds: float, x: float, y: float) -> int:
    """Returns the person whose portrait is nearest to a point."""
    shot = next(shot for shot in shots if shot.start <= seconds < shot.end)
    return min(shot.actors, key=lambda actor: np.hypot(*(np.array(actor.place(seconds)) - [x, y]))).person
