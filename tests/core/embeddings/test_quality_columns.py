"""`embed --quality`: measures of each face as columns of a store."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from pyarrow import parquet

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.embeddings.embedding_rows import QUALITY
from faceclr_cli.core.embeddings.quality_columns import default_measure, find_low_quality, quality_measure
from faceclr_cli.core.embeddings.store import Store, read_store
from faceclr_cli.core.encoders.pixels import PixelsEncoder
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint
from faceclr_cli.core.preparing.prepare import prepare

SHARPNESS, EYES, FRONTALITY, STABILITY = range(4)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn people with two pictures each. The first one also exists blurred, and at a third of its size."""
    root = tmp_path_factory.mktemp("drawn") / "photos"
    for person in range(3):
        folder = root / f"person-{person}"
        folder.mkdir(parents=True)
        for picture in range(2):
            cv2.imwrite(str(folder / f"{picture}.png"), draw_photo(invent_person(person), picture).image[..., ::-1])
    first = cv2.imread(str(root / "person-0" / "0.png"))
    cv2.imwrite(str(root / "person-0" / "blurred.png"), cv2.GaussianBlur(first, (0, 0), 8))
    cv2.imwrite(str(root / "person-0" / "small.png"), cv2.resize(first, None, fx=1 / 3, fy=1 / 3, interpolation=3))
    return root


def stored(faces: Path, out: Path, **options: object) -> Store:
    embed(EmbedConfig(faces=faces, model="pixels", out=out, **options), Silent())
    return read_store(out)


def test_measures_of_photographs_are_those_of_their_faces(photos: Path, tmp_path: Path) -> None:
    store = stored(photos, tmp_path / "faces.h5", quality="basic", batch_size=3)
    cropper = PhotoCropper(default_fingerprint())
    for row, path in enumerate(store.paths):
        face = cropper.crop_file(photos / path)
        gray = cv2.cvtColor(face.crop, cv2.COLOR_RGB2GRAY).astype(float)
        assert store.quality[row, SHARPNESS] == pytest.approx(cv2.Laplacian(gray, cv2.CV_64F).var(), rel=1e-3)
        left, right, nose = face.face.landmarks[:3].astype(float)
        along = (right - left) / np.hypot(*(right - left))
        yaw = np.arctan2(abs((nose - (left + right) / 2) @ along) / 0.63, np.hypot(*(right - left)))
        assert store.quality[row, EYES] == pytest.approx(np.hypot(*(right - left)) / np.cos(yaw), rel=1e-4)
        assert store.quality[row, FRONTALITY] == pytest.approx(np.cos(yaw), abs=1e-5)
    assert np.isnan(store.quality[:, STABILITY]).all()
    row = {path: number for number, path in enumerate(store.paths)}
    soft, sharp = (store.quality[row[f"person-0/{name}.png"], SHARPNESS] for name in ("blurred", "0"))
    assert soft < sharp / 3
    sizes = [store.quality[row[f"person-0/{name}.png"], EYES] for name in ("small", "0")]
    assert sizes[0] == pytest.approx(sizes[1] / 3, rel=0.1)


def test_stability_is_the_mean_cosine_to_changed_crops(photos: Path, tmp_path: Path) -> None:
    store = stored(photos, tmp_path / "faces.h5", quality="full", batch_size=5)
    cropper, encoder = PhotoCropper(default_fingerprint()), PixelsEncoder()
    for row, path in enumerate(store.paths):
        crop = cropper.crop_file(photos / path).crop
        up, down = np.empty_like(crop), np.empty_like(crop)
        for y in range(112):
            for x in range(112):
                up[y, x] = crop[min(y + 2, 111), min(x + 2, 111)]
                down[y, x] = crop[max(y - 2, 0), max(x - 2, 0)]
        plain, *others = encoder.embed(np.stack([crop, crop[:, ::-1], up, down]))
        assert store.quality[row, STABILITY] == pytest.approx(np.mean([plain @ other for other in others]), abs=1e-5)


def test_prepared_faces_keep_what_prepare_recorded(photos: Path, tmp_path: Path) -> None:
    prepare(PrepareConfig(source=photos, out=tmp_path / "faces", workers=1), Silent())
    cropped = stored(tmp_path / "faces", tmp_path / "faces.h5", quality="basic")
    direct = stored(photos, tmp_path / "photos.h5", quality="basic")
    assert len(cropped) == len(direct) == 8
    order = [direct.paths.index(f"{Path(path).with_suffix('.png')}") for path in cropped.paths]
    np.testing.assert_allclose(cropped.detection_scores, direct.detection_scores[order], atol=1e-3)
    np.testing.assert_allclose(cropped.quality[:, EYES], direct.quality[order, EYES], rtol=1e-2)
    np.testing.assert_allclose(cropped.quality[:, FRONTALITY], direct.quality[order, FRONTALITY], atol=1e-2)
    (tmp_path / "faces" / "manifest.sqlite").unlink()
    bare = stored(tmp_path / "faces", tmp_path / "bare.h5", quality="basic")
    assert np.isfinite(bare.quality[:, SHARPNESS]).all()
    assert np.isnan(bare.detection_scores).all() and np.isnan(bare.quality[:, EYES]).all()


def test_columns_exist_only_where_they_were_asked_for(photos: Path, tmp_path: Path) -> None:
    names = {"none": (), "basic": QUALITY[:3], "full": QUALITY}
    for level, expected in names.items():
        for keep in (False, True):
            out = tmp_path / f"{level}-{keep}.h5"
            store = stored(photos, out, quality=level, keep_parts=keep)
            with h5py.File(out) as file:
                assert [name for name in QUALITY if name in file] == list(expected)
                assert file.attrs["quality"] == level
            assert np.isfinite(store.quality[:, : len(expected)]).all()
            assert np.isnan(store.quality[:, len(expected) :]).all()


def test_an_update_keeps_the_measures_and_refuses_another_level(photos: Path, tmp_path: Path) -> None:
    first = stored(photos / "person-0", tmp_path / "faces.h5", quality="full")
    again = stored(photos / "person-0", tmp_path / "faces.h5", quality="full")
    np.testing.assert_array_equal(first.quality, again.quality)
    with pytest.raises(DataError, match=r"was made with --quality full; do the same, or choose another -o"):
        stored(photos / "person-0", tmp_path / "faces.h5")
    stored(photos / "person-1", tmp_path / "other.h5")
    with pytest.raises(DataError, match="was made without --quality"):
        stored(photos / "person-1", tmp_path / "other.h5", quality="basic")


def test_rows_for_other_tools_have_the_measures(photos: Path, tmp_path: Path) -> None:
    store = stored(photos, tmp_path / "faces.h5", quality="basic")
    for name in ("rows.jsonl", "rows.csv", "rows.npz", "rows.parquet"):
        embed(EmbedConfig(faces=photos, model="pixels", out=tmp_path / name, quality="basic"), Silent())
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    with open(tmp_path / "rows.csv", newline="") as file:
        table = list(csv.DictReader(file))
    arrays, columns = np.load(tmp_path / "rows.npz"), parquet.read_table(tmp_path / "rows.parquet")
    for place, name in enumerate(QUALITY[:3]):
        expected = store.quality[:, place]
        for values in ([line[name] for line in lines], [float(row[name]) for row in table], columns[name].to_pylist()):
            np.testing.assert_array_equal(np.array(values, np.float32), expected)
        np.testing.assert_array_equal(arrays[name], expected)
    assert "stability" not in lines[0] and "e0" in table[0]
    with pytest.raises(DataError, match="CSV that faceclr embed wrote"):
        read_store(tmp_path / "rows.csv")


def test_a_limit_on_a_measure_that_is_unknown_everywhere_is_an_error(photos: Path, tmp_path: Path) -> None:
    store = stored(photos, tmp_path / "faces.h5", quality="basic")
    limit = float(np.median(store.quality[:, SHARPNESS]))
    low = find_low_quality(store, {"sharpness": limit, "eye_distance": 1.0}, "faces.h5")
    np.testing.assert_array_equal(low, store.quality[:, SHARPNESS] < limit)
    with pytest.raises(
        ConfigError, match=r"faces.h5: --min-quality stability: unknown.*embed them with --quality full"
    ):
        find_low_quality(store, {"stability": 0.9}, "faces.h5")
    assert default_measure(store) == "norm"
    np.testing.assert_array_equal(quality_measure(store, "eye_distance"), store.quality[:, EYES])
