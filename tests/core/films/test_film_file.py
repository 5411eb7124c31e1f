from __future__ import annotations

import hashlib
import math
import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest

from faceclr_cli.core.faces.decode import BadPictureError
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.films.film_file import FrameSource, Piece, divide_film
from faceclr_cli.core.films.time_codes import time_code


def _write(path: Path, seconds: float, rate: int = 10, **options: object) -> Path:
    """Writes a film whose frames show their numbers as eight black or white bars."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(str(options.get("codec", "mpeg4")), rate=rate)
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        stream.codec_context.gop_size = 12
        for number in range(round(seconds * rate)):
            bars = np.repeat([255 * (number >> bit & 1) for bit in range(8)], 16).astype(np.uint8)
            image = np.ascontiguousarray(np.broadcast_to(bars[None, :, None], (64, 128, 3)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def _number(image: np.ndarray) -> int:
    bars = image.reshape(64, 8, 16, 3).mean(axis=(0, 2, 3)) > 127
    return int(bars @ (1 << np.arange(8)))


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.avi", "film.mpg"])
def test_pieces_have_every_frame_once(tmp_path: Path, name: str) -> None:
    film = _write(tmp_path / name, 6, rate=25, codec="mpeg2video" if name.endswith("mpg") else "mpeg4")
    pieces = (Piece(end=1.6), Piece(start=1.6, end=4.2), Piece(start=4.2))
    whole = list(FrameSource(film, 5.0, Piece()))
    parts = [frame for piece in pieces for frame in FrameSource(film, 5.0, piece)]
    assert len(whole) == 30
    # MPEG program streams do not have a time for every picture.
    rough = name.endswith(".mpg")
    assert [frame.seconds for frame in parts] == pytest.approx(
        [at / 5 for at in range(30)], abs=0.04 if rough else 1e-3
    )
    assert [_number(frame.image) for frame in parts] == pytest.approx(range(0, 150, 5), abs=1 if rough else 0)


def test_a_film_of_a_phone_that_was_held_upright_is_turned(tmp_path: Path) -> None:
    film = _write(tmp_path / "film.mp4", 1)
    (stored, *_) = FrameSource(film, 5.0, Piece())
    content = film.read_bytes()
    # The matrix of the track header, which maps (x, y) to (-y, x): clockwise, where y points down.
    place = content.index(b"tkhd") + 44
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    film.write_bytes(content[:place] + matrix + content[place + 36 :])
    (turned, *_) = FrameSource(film, 5.0, Piece())
    assert np.array_equal(turned.image, np.rot90(stored.image, -1))


def test_more_frames_than_there_are_give_all_of_them(tmp_path: Path) -> None:
    film = _write(tmp_path / "film.mp4", 2)
    assert [_number(frame.image) for frame in FrameSource(film, 60.0, Piece())] == list(range(20))


def test_a_long_film_is_divided_and_what_cannot_be_read_is_one_piece(tmp_path: Path) -> None:
    film = _write(tmp_path / "film.mp4", 601, rate=1)
    assert [(piece.start, piece.end) for piece in divide_film(film)] == [(0, 300), (300, 600), (600, math.inf)]
    (tmp_path / "text.mp4").write_text("no film")
    assert divide_film(tmp_path / "text.mp4") == [Piece()]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"no film", Reason.NOT_A_FILM),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n", Reason.NOT_A_FILM),
        (b"ffconcat version 1.0\nfile other.mp4\n", Reason.NOT_A_FILM),
    ],
)
def test_what_is_not_a_film_is_refused(tmp_path: Path, content: bytes, reason: Reason) -> None:
    _write(tmp_path / "other.mp4", 1)
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(BadPictureError) as caught:
        list(FrameSource(tmp_path / "film.mp4", 5.0, Piece()))
    assert caught.value.reason is reason


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "film.mp4")
    with pytest.raises(BadPictureError) as caught:
        list(FrameSource(tmp_path / "film.mp4", 5.0, Piece()))
    assert caught.value.reason is Reason.NOT_A_FILE


def test_a_truncated_film_gives_what_it_has_and_its_digest_is_that_of_its_pictures(tmp_path: Path) -> None:
    film = _write(tmp_path / "film.mkv", 6)
    whole = FrameSource(film, 5.0, Piece())
    assert len(list(whole)) == 30
    with av.open(str(film)) as container:
        pictures = b"".join(bytes(packet) for packet in container.demux(video=0))
    assert whole.digest == hashlib.sha256(pictures).hexdigest()
    short = tmp_path / "short.mkv"
    short.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    part = FrameSource(short, 5.0, Piece())
    assert 5 < len(list(part)) < 30
    assert part.digest != whole.digest


def test_time_codes_round_to_thousandths() -> None:
    assert [time_code(at) for at in (0, 59.9996, 3599.5, 36000)] == [
        "00:00:00.000",
        "00:01:00.000",
        "00:59:59.500",
        "10:00:00.000",
    ]
