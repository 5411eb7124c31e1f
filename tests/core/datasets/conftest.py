from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from faceclr_cli.core.artifacts import stamp, write_json
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import default_fingerprint
from tests.core.datasets.splitting.dividing import Make


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(name: str = "celeba-faces", people: int = 20, photos: int = 5, unknown: int = 0) -> Path:
        names = [f"p{who:02d}/{number}.jpg" for who in range(people) for number in range(photos)]
        for path in names + [f"_/{number}.jpg" for number in range(unknown)]:
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(path)
        about = {**stamp("faces", {}), "fingerprint": default_fingerprint().to_json()}
        write_json(tmp_path / name / "faceclr.json", about)
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of six drawn people; one of person-01 also exists darker, under another person's name."""
    root = tmp_path_factory.mktemp("drawn")
    write_people(root, people=6, photos=4, seed=0, reporter=Silent())
    again = cv2.imread(str(root / "person-01" / "01.jpg"))
    cv2.imwrite(str(root / "person-02" / "again.jpg"), (again * 0.85).astype("uint8"), [cv2.IMWRITE_JPEG_QUALITY, 60])
    return root
