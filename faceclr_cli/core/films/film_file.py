"""Film files: their names, their length, and their frames."""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.decode import MAX_PIXELS, BadPictureError
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.text import display_path

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

FILM_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".3gp", ".wmv", ".ogv", ".flv"}
)

PIECE_SECONDS = 300
"""Length of the pieces in which a film is read. Pieces are independent of each other, so a film can be divided among
processes, and an interrupted run continues with the next piece."""

_OPTIONS = {
    # A file that claims to be a film may be a playlist that names other files or addresses.
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,ogg,asf,flv",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A frame of a film.

    Attributes:
        seconds: Time from the beginning of the film.
        image: RGB, upright. Shape: (height, width, 3).
    """

    seconds: float
    image: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a film.

    Attributes:
        start: Beginning in seconds.
        end: End in seconds; the frame at this time is not included.
    """

    start: float = 0.0
    end: float = math.inf


def is_film(name: str) -> bool:
    """Returns True if a file name has the suffix of a film."""
    return os.path.splitext(name)[1].lower() in FILM_SUFFIXES


def has_film_decoder() -> bool:
    """Returns True if the extra `video` is installed."""
    return find_spec("av") is not None


def describe_missing_decoder(path: Path) -> str:
    """Returns what to install, as the message of an error or a warning about films at a path."""
    return f"{display_path(path)}: films need the extra 'video'; run: pip install 'faceclr[video]'"


def divide_film(path: Path) -> list[Piece]:
    """Divides a film into pieces of five minutes; a film that cannot be read is one piece.

    Args:
        path: The film.
    """
    try:
        length = film_length(path)
    except BadPictureError:
        length = 0.0
    bounds = [*range(0, math.ceil(length), PIECE_SECONDS)] or [0]
    return [Piece(start=start, end=start + PIECE_SECONDS if start != bounds[-1] else math.inf) for start in bounds]


def film_length(path: Path) -> float:
    """Returns the length of a film in seconds; 0 if its file does not state it.

    Raises:
        BadPictureError: See `FrameSource`.
    """
    with _open_film(path) as (container, stream):
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        return (container.duration or 0) / 1_000_000


class FrameSource:
    """The frames of a piece of a film at regular intervals, read once.

    Which frames are read depends on their times alone: the first one at or after each multiple of the interval.
    Frames that cannot be decoded are left out.

    Attributes:
        digest: SHA-256 of the compressed pictures that were read so far.
        frames: Number of frames that were read so far.
        damaged: Number of compressed pictures that could not be decoded so far.

    Args:
        path: The film.
        rate: Frames per second.
        piece: The part of the film.
    """

    def __init__(self, path: Path, rate: float, piece: Piece) -> None:
        self._path, self._rate, self._piece = path, rate, piece
        self._digest = hashlib.sha256()
        self.frames = self.damaged = 0

    @property
    def digest(self) -> str:
        """See the class."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames in order.

        Raises:
            BadPictureError: The file cannot be read, is not a film, or has no pictures that can be decoded here.
        """
        with _open_film(self._path) as (container, stream):
            frames = self._decode(container, stream, self._piece.start)
            first = next(frames, None)
            if self._piece.start > 0 and (first is None or first[0] > self._piece.start):
                # Not all files have an index of the pictures that can be decoded by themselves.
                frames = self._decode(container, stream, 0.0)
                first = next(frames, None)
            yield from self._sample(chain([] if first is None else [first], frames))

    def _sample(self, frames: Iterable[tuple[float, VideoFrame]]) -> Iterator[Frame]:
        last = -1
        for seconds, frame in frames:
            if seconds >= self._piece.end:
                return
            # A hundredth of the interval, since times are rounded in the file.
            step = math.floor(seconds * self._rate + 0.01)
            if seconds >= self._piece.start and step > last:
                last = step
                self.frames += 1
                yield Frame(seconds=seconds, image=_upright(frame))

    def _decode(
        self, container: InputContainer, stream: VideoStream, start: float
    ) -> Iterator[tuple[float, VideoFrame]]:
        from av.error import FFmpegError

        _seek(container, stream, start)
        origin = float((stream.start_time or 0) * (stream.time_base or 0))
        step = 1 / float(stream.average_rate or 25)
        seconds = start - step
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (FFmpegError, OSError):  # the rest of the file is damaged or cannot be read
                self.damaged += 1
                packet = None
            if packet is None:
                return
            try:
                self._digest.update(bytes(packet))
                frames = packet.decode()
            except FFmpegError:
                self.damaged += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.damaged += 1
                    continue
                # Some files have no times.
                seconds = seconds + step if frame.time is None else frame.time - origin
                yield seconds, frame


@contextmanager
def _open_film(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Opens the first stream of pictures, which is not a cover picture."""
    import av

    # Through a file object, since names may not be valid UTF-8, or look like addresses.
    with _open_file(path) as file:
        try:
            container = _open_container(file)
        except av.FFmpegError as error:
            raise BadPictureError(path, Reason.NOT_A_FILM, f"not a film ({error.strerror})") from error
        with container:
            streams = [stream for stream in container.streams.video if not _is_cover(stream)]
            if not streams:
                raise BadPictureError(path, Reason.NOT_A_FILM, "the file contains no moving pictures")
            stream = streams[0]
            if stream.codec_context is None:
                raise BadPictureError(path, Reason.UNSUPPORTED, "the film has an unknown codec")
            if stream.width * stream.height > MAX_PIXELS:
                raise BadPictureError(path, Reason.TOO_LARGE, "the pictures of the film are too large")
            # As many threads as OpenCV has: a single one in worker processes, since each core has its own worker.
            stream.codec_context.thread_count = max(1, cv2.getNumThreads())
            yield container, stream


def _open_container(file: BinaryIO) -> InputContainer:
    import av

    try:
        return av.open(file, "r", options=_OPTIONS)
    except UnicodeDecodeError:  # a title in another encoding, which PyAV 19 and later accept
        file.seek(0)
        return av.open(file, "r", options=_OPTIONS, metadata_errors="replace")


def _open_file(path: Path) -> BinaryIO:
    try:
        # Check the type first: opening a pipe may block.
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            raise BadPictureError(path, Reason.NOT_A_FILE, Reason.NOT_A_FILE.value)
        if not about.st_size:
            raise BadPictureError(path, Reason.EMPTY, "the file is empty")
        return open(path, "rb")
    except FileNotFoundError:
        raise BadPictureError(path, Reason.MISSING, "no such file") from None
    except OSError as error:
        raise BadPictureError(path, Reason.UNREADABLE, f"cannot be read ({error.strerror})") from error


def _is_cover(stream: VideoStream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _seek(container: InputContainer, stream: VideoStream, seconds: float) -> None:
    """Moves to the last picture at or before a time that can be decoded by itself, or to the beginning."""
    from av.error import FFmpegError

    try:
        if seconds > 0 and stream.time_base:
            container.seek(int(seconds / stream.time_base) + (stream.start_time or 0), stream=stream, backward=True)
        else:
            container.seek(0)
    except FFmpegError:
        return  # a file without an index is at its beginning


def _upright(frame: VideoFrame) -> NDArray[np.uint8]:
    image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    # Counterclockwise, as `np.rot90` turns.
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
