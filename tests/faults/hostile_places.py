"""Entries of a folder that are not ordinary files, and names that are hard to handle."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faceclr_cli.core.faces.reasons import Reason
from tests.faults.hostile import Hostile, encoded, portrait, sound

_NAMES = (
    "with  spaces .jpg",
    "two\nlines.jpg",
    "tab\tand escape\x1b[31m.jpg",
    "-o.jpg",
    "--help.jpg",
    "quote\"and'and`$(false).jpg",
    "back\\slash.jpg",
    "100%s {name} *?.jpg",
    "a:b|c<d>e.jpg",
    "Jalapeño.jpg",
    "Jalapen\u0303o.jpg",
    "家族の写真.jpg",
    "👩🏽\u200d🚀.jpg",
    "\u202egpj.jpg",
    os.fsdecode(b"caf\xe9.jpg"),
    os.fsdecode(b"\xff\xfe\x80.jpg"),
    "n" * 251 + ".jpg",
    "é" * 125 + "n.jpg",
    "same name.jpg",
    "same name.jpeg",
    "a folder.jpg/inside.jpg",
    "/".join(["deep"] * 40) + "/down.jpg",
)


def places() -> Iterator[Hostile]:
    """All of them."""
    data = encoded(portrait(), "JPEG", quality=95)
    yield from (sound(name, data) for name in _NAMES)
    for name, target, reason in (
        ("link to a device.jpg", "/dev/zero", Reason.NOT_A_FILE),
        ("link to a terminal.jpg", "/dev/tty", Reason.NOT_A_FILE),
        ("dangling link.jpg", "nowhere.jpg", Reason.MISSING),
        ("link to itself.jpg", "link to itself.jpg", Reason.UNREADABLE),
        ("link through a file.jpg", "same name.jpg/x", Reason.UNREADABLE),
        ("good link.jpg", "same name.jpg", None),
    ):
        yield Hostile(name=name, make=partial(os.symlink, target), expected=(reason,))
    yield Hostile(name="pipe.jpg", make=os.mkfifo, expected=(Reason.NOT_A_FILE,))
    yield Hostile(name="socket.jpg", make=_bind, expected=(Reason.NOT_A_FILE,))
    if os.geteuid() != 0:  # which can read every file
        yield Hostile(name="closed.jpg", make=_close, expected=(Reason.UNREADABLE,))


def put_what_is_left_out(folder: Path) -> None:
    """Writes what must have no row: hidden files, other files, and existing folders."""
    data = encoded(portrait(), "JPEG")
    for name in (".hidden.jpg", ".hidden/inside.jpg", "notes.docx", "no suffix", "clip.mp3", "Thumbs.db"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "round.jpg").symlink_to(".")
    (folder / "deep" / "round").symlink_to("..")
    (folder / "empty folder.jpg").mkdir()


def _bind(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the address of a socket may not be long
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def _close(path: Path) -> None:
    path.write_bytes(b"x")
    path.chmod(0)
