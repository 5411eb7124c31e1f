from __future__ import annotations

import math
import threading
import time
from pathlib import Path

import numpy as np

from faceclr_cli.core.datasets.layouts import Photo
from faceclr_cli.core.embeddings.source import Loaded, Source


def test_no_more_is_read_ahead_than_allowed_and_the_order_is_kept(tmp_path: Path) -> None:
    photos = []
    for number in range(40):
        path = tmp_path / f"{number:02d}.jpg"
        path.write_bytes(bytes([number]))
        photos.append(Photo(path=path, identity=None, name=path.name))
    started, lock = 0, threading.Lock()

    def cut(data: bytes, path: Path):
        nonlocal started
        with lock:
            started += 1
        time.sleep(0.002 * (data[0] % 3))
        return np.full((1, 1, 3), data[0], np.uint8), math.nan

    source = Source(tuple(photos), cut)
    names = []
    for taken, item in enumerate(source.load(ahead=4), start=1):
        assert isinstance(item, Loaded)
        assert item.crop[0, 0, 0] == len(names)
        names.append(item.name)
        assert started <= taken + 4 + 1
    assert names == [photo.name for photo in photos]


def test_a_reader_that_stops_early_leaves_nothing_running(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"a")
    photo = Photo(path=path, identity=None, name="a.jpg")
    source = Source((photo,) * 50, lambda data, path: (np.zeros((1, 1, 3), np.uint8), math.nan))
    items = source.load(ahead=8)
    next(items)
    items.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("load")]
