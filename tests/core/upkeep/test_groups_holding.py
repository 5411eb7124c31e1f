"""A person is forgotten by the name that the user gave to a group."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.forget import ForgetConfig
from faceclr_cli.core.embeddings.store import Store, write_store
from faceclr_cli.core.evaluation.clustering.cluster import cluster
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.upkeep.forget import forget


def _store() -> Store:
    """Three people with three pictures each, whose paths do not name them."""
    return Store(
        embeddings=np.repeat(np.eye(4, dtype=np.float32)[:3], 3, axis=0),
        paths=tuple(f"IMG_{number}.jpg" for number in range(9)),
        identities=(None,) * 9,
        content_hashes=tuple(f"{number:064d}" for number in range(9)),
        detection_scores=np.full(9, np.nan, np.float32),
        boxes=np.full((9, 4), np.nan, np.float32),
        fingerprint=default_fingerprint(),
        encoder="axes",
        encoder_digest="",
        calibration=None,
        config={},
    )


def test_the_faces_the_name_and_the_questions_are_removed(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "groups"
    write_store(tmp_path / "faces.h5", _store())
    photos.mkdir()
    for path in _store().paths:
        (photos / path).write_text(path)
    config = ClusterConfig(source=tmp_path / "faces.h5", faces=photos, out=out, threshold=0.05, review=5)
    cluster(config, Silent())
    (out / "0002").rename(out / "Zoë")
    (out / "0003/IMG_8.jpg").rename(out / "Zoë/IMG_8.jpg")
    (out / "Zoë/IMG_5.jpg").rename(out / "IMG_5.jpg")
    assert cluster(config, Silent()).questions
    (row,) = forget(ForgetConfig(paths=(out,), identity="Zoe\u0308"), Silent()).rows
    assert (row.kind, row.removed, row.left, row.others) == ("groups", 3, 0, 6)
    left = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert {name for name in left if name.endswith(".jpg")} == {f"IMG_{number}.jpg" for number in (0, 1, 2, 5, 6, 7)}
    for name, content in left.items():
        assert not any(text in content for text in (b"Zo", b"IMG_3", b"IMG_4", b"IMG_8")), name
    # What the user decided about the others is still known.
    assert cluster(config, Silent()).corrections == ()
