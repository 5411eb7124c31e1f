"""The choice between decoded faces in the cache and faces that are decoded in step with training."""

from __future__ import annotations

import shutil
from pathlib import Path

from faceclr_cli.core.artifacts import cache_folder
from faceclr_cli.core.configs.train import Pixels
from faceclr_cli.core.datasets.packed_faces import PackedFaces, is_packed, open_packed, stream
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

_SHARE_OF_DISK = 0.25
"""Maximum share of the free disk space that decoded faces may take by default; runs and other caches need the rest."""


_MOST_TOGETHER = 16 << 20
"""Maximum size in bytes of the group of rows that is read for each face of a Parquet file."""


def open_pixels(folder: FaceFolder, pixels: Pixels, reporter: Reporter) -> PackedFaces:
    """Opens faces for training, either decoded in the cache or decoded in step with training, and reports the choice.

    The pixels are the same. Decoded faces take no computing time during training, and about ten times the space.

    Args:
        folder: The faces.
        pixels: The choice; `auto` caches faces that fit.
        reporter: Receives the choice with its reason, and the damaged faces of a container.

    Raises:
        ConfigError: The faces cannot be streamed from this container.
        DataError: See `open_packed`.
    """
    is_streamed, reason = _choose(folder, pixels)
    origin = display_path(folder.root)
    if not is_streamed:
        reporter.report(Notice(text=f"{origin}: decoded faces are cached ({reason})"))
        packed = open_packed(folder, reporter)
        if packed.damaged:
            left_out = count(len(packed.damaged), "damaged face")
            text = f"{origin}: {left_out} left out; the first: {packed.damaged[0][1]}"
            reporter.report(Notice(text=text, level="warning"))
        return packed
    together = 0 if folder.indexed is None else folder.indexed.bytes_together
    if together > _MOST_TOGETHER:
        raise ConfigError(
            f"{origin}: its groups of rows have up to {together / 1e6:,.0f} MB, too much to read for each face, so the "
            f"faces cannot be decoded in step with training ({reason}); first run: faceclr pack {origin} -o "
            f"{folder.root.with_suffix('.rec').name}, or use --pixels cached"
        )
    reporter.report(Notice(text=f"{origin}: faces are decoded in step with training ({reason})"))
    return stream(folder)


def _choose(folder: FaceFolder, pixels: Pixels) -> tuple[bool, str]:
    """Returns True if the faces of a folder are streamed, and the reason."""
    if pixels != "auto":
        return pixels == "streamed", f"--pixels {pixels}"
    if is_packed(folder):
        return False, "by an earlier run"
    decoded = len(folder) * folder.fingerprint.size**2 * 3
    free = _free_space()
    size = f"{decoded / 1e9:.1f} GB" if decoded >= 1e8 else f"{decoded / 1e6:.1f} MB"
    if free is None or decoded <= _SHARE_OF_DISK * free:
        return False, f"{size}; limit: a quarter of the free disk space"
    return True, f"{size} when decoded, more than a quarter of the {free / 1e9:.1f} GB of free disk space"


def _free_space() -> int | None:
    """Returns the free disk space of the cache in bytes, or None if there is no cache."""
    try:
        place = cache_folder().absolute()
        while not place.exists() and place != Path(place.anchor):
            place = place.parent
        return shutil.disk_usage(place).free
    except OSError:
        return None
