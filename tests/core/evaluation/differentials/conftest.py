from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings import embed
from faceclr_cli.core.events import Silent

PEOPLE = 66
"""With two pictures each: 33 people of a group are 528 pairs of people, enough for the interval of an FMR of 0.01."""


@pytest.fixture(scope="session")
def crowd_desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn people and their store. Every second person is out of focus; one of these has a picture without a face."""
    desk = tmp_path_factory.mktemp("crowd")
    write_people(desk / "people", PEOPLE, 2, 0, Silent())
    lines = ["identity,focus,half\n"]
    for number, folder in enumerate(sorted((desk / "people").iterdir())):
        blurred = number % 2 == 1
        lines.append(f"{folder.name},{'blurred' if blurred else 'sharp'},{'one' if number < PEOPLE / 2 else 'two'}\n")
        for photo in folder.iterdir() if blurred else ():
            pixels = cv2.imread(str(photo))
            small = cv2.resize(pixels, None, fx=0.18, fy=0.18, interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(photo), cv2.resize(small, pixels.shape[1::-1]))
    cv2.imwrite(str(desk / "people" / "person-02" / "02.jpg"), np.full((200, 200, 3), 90, np.uint8))
    (desk / "groups.csv").write_text("".join(lines))
    embed.embed(EmbedConfig(faces=desk / "people", out=desk / "faces.h5"), Silent())
    return desk


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path_factory.mktemp("cache")))
