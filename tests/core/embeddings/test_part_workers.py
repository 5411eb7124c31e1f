"""Updates of a store by workers."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import exclusive, stamp, write_json
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.embeddings import store_parts as parts
from faceclr_cli.core.embeddings.embed import EmbedResult
from faceclr_cli.core.embeddings.embed import embed as run
from faceclr_cli.core.embeddings.store import Store, read_store
from faceclr_cli.core.encoders.pixels import PixelsEncoder
from faceclr_cli.core.errors import DataError, FingerprintError, LockedError
from faceclr_cli.core.events import Event, Notice, Silent, TaskAdvanced
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.faces.face_folder import DESCRIPTION


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, (112, 112), interpolation=cv2.INTER_CUBIC))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Five people with four pictures each, as `prepare` writes them."""
    root = tmp_path / "faces"
    for number in range(20):
        draw(root / f"person-{number // 4}" / f"{number}.png", number)
    write_json(root / DESCRIPTION, {**stamp("faces", {}), "fingerprint": default_fingerprint().to_json()})
    return root


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of crops in each call of the encoder."""
    seen: list[int] = []
    embed = PixelsEncoder.embed_unnormalized

    def counting(self: PixelsEncoder, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(len(crops))
        return embed(self, crops)

    monkeypatch.setattr(PixelsEncoder, "embed_unnormalized", counting)
    return seen


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_LEAST", 3)


def embed(faces: Path, reporter: Any = None, **options: Any) -> EmbedResult:
    options = {"model": "pixels", "out": faces.parent / "faces.h5", "batch_size": 4, **options}
    return run(EmbedConfig(faces=faces, **options), reporter or Silent())


def stored(faces: Path) -> Store:
    return read_store(faces.parent / "faces.h5")


def same_rows(one: Store, other: Store) -> bool:
    texts = all(getattr(one, name) == getattr(other, name) for name in ("paths", "identities", "content_hashes"))
    return texts and np.array_equal(one.embeddings, other.embeddings)


def test_only_what_is_new_or_changed_is_embedded(faces: Path, counted: list[int], small_parts: None) -> None:
    assert embed(faces).embedded == 20
    counted.clear()
    again = embed(faces)
    assert (again.faces, again.embedded, again.people, counted) == (20, 0, 5, [])
    draw(faces / "person-0" / "0.png", 100)
    draw(faces / "person-9" / "new.png", 101)
    result = embed(faces)
    assert (result.faces, result.embedded, sum(counted)) == (21, 2, 2)
    renewed = stored(faces)
    (faces.parent / "faces.h5").unlink()
    embed(faces)
    assert same_rows(renewed, stored(faces))


def test_rows_of_pictures_that_are_gone_stay_until_they_are_pruned(faces: Path, small_parts: None) -> None:
    embed(faces)
    before = stored(faces)
    shutil.rmtree(faces / "person-1")
    kept = embed(faces)
    assert (kept.faces, kept.gone) == (20, 4)
    order = [row for row in range(20) if not 4 <= row < 8] + [4, 5, 6, 7]
    assert same_rows(stored(faces), before.take(order))
    pruned = embed(faces, prune=True)
    assert (pruned.faces, pruned.gone, pruned.people) == (16, 4, 4)
    assert not any("person-1" in path for path in stored(faces).paths)


def test_a_picture_that_became_bad_loses_its_row(faces: Path) -> None:
    embed(faces)
    (faces / "person-2" / "8.png").write_bytes(b"no picture")
    result = embed(faces)
    assert (result.faces, result.bad) == (19, 1)
    assert "person-2/8.png" not in stored(faces).paths


def test_a_person_gets_the_name_that_they_have_now(faces: Path, counted: list[int]) -> None:
    embed(faces)
    (faces / "person-3").rename(faces / "somebody")
    embed(faces, prune=True)
    assert stored(faces).people == ("person-0", "person-1", "person-2", "person-4", "somebody")


def test_pictures_of_a_renamed_person_are_not_embedded_again(
    faces: Path, counted: list[int], small_parts: None
) -> None:
    embed(faces)
    before = stored(faces)
    counted.clear()
    (faces / "person-3").rename(faces / "somebody")
    result = embed(faces)
    assert (result.faces, result.embedded, result.gone, counted) == (20, 0, 0, [])
    renamed = [path.replace("person-3", "somebody") for path in before.paths]
    order = np.argsort(renamed, kind="stable")
    after = stored(faces)
    assert after.paths == tuple(renamed[row] for row in order)
    np.testing.assert_array_equal(after.embeddings, before.embeddings[order])
    assert after.people == ("person-0", "person-1", "person-2", "person-4", "somebody")


def test_a_copy_takes_the_rows_of_its_original_and_both_stay(faces: Path, counted: list[int]) -> None:
    embed(faces)
    counted.clear()
    for number in range(3):
        shutil.copy(faces / "person-0" / "0.png", faces / "person-4" / f"copy-{number}.png")
    result = embed(faces)
    assert (result.faces, result.embedded, result.gone, counted) == (23, 0, 0, [])
    (faces / "person-4" / "copy-1.png").unlink()
    assert embed(faces).gone == 1  # Its content is still there, but under names that the store knew.
    paths = stored(faces).paths
    assert len(paths) == 23
    assert paths[-1] == "person-4/copy-1.png"


class Stopper:
    """Ends a run after a number of pictures, as a signal would."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.texts: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.texts.append(event.text)
        if isinstance(event, TaskAdvanced) and event.done >= self.after:
            raise KeyboardInterrupt


def test_what_a_stopped_run_finished_is_not_embedded_again(faces: Path, counted: list[int], small_parts: None) -> None:
    stopper = Stopper(12)
    with pytest.raises(KeyboardInterrupt):
        embed(faces, stopper)
    assert any("run the same command to continue" in text for text in stopper.texts)
    assert not (faces.parent / "faces.h5").exists()
    counted.clear()
    result = embed(faces)
    assert result.faces == 20
    assert sum(counted) < 20
    assert [path.name for path in sorted(faces.parent.iterdir())] == ["faces", "faces.h5"]
    resumed = stored(faces)
    (faces.parent / "faces.h5").unlink()
    embed(faces)
    assert same_rows(resumed, stored(faces))


def test_parts_of_a_run_with_other_options_are_not_used(faces: Path, counted: list[int], small_parts: None) -> None:
    with pytest.raises(KeyboardInterrupt):
        embed(faces, Stopper(12))
    counted.clear()
    embed(faces, flip="mean")
    assert sum(counted) == 40
    assert not (faces.parent / "faces.h5.parts").exists()


def test_a_damaged_part_is_made_again(faces: Path, small_parts: None) -> None:
    with pytest.raises(KeyboardInterrupt):
        embed(faces, Stopper(12))
    for path in (faces.parent / "faces.h5.parts").iterdir():
        path.write_bytes(path.read_bytes()[:-200])
    assert embed(faces).embedded == 20


def test_a_store_may_stay_in_parts(faces: Path, small_parts: None) -> None:
    embed(faces)
    whole = stored(faces)
    embed(faces, keep_parts=True)
    folder = faces.parent / "faces.h5.parts"
    assert len(list(folder.iterdir())) == 7
    assert same_rows(whole, stored(faces))
    with h5py.File(faces.parent / "faces.h5") as file:
        assert file["embedding"].is_virtual
    draw(faces / "person-0" / "0.png", 100)
    assert embed(faces, keep_parts=True).embedded == 1
    assert len(list(folder.iterdir())) == 7
    # Both may move, together.
    shutil.move(faces.parent / "faces.h5", faces / "faces.h5")
    shutil.move(folder, faces / "faces.h5.parts")
    assert len(read_store(faces / "faces.h5")) == 20
    next((faces / "faces.h5.parts").iterdir()).unlink()
    with pytest.raises(DataError, match=r"its part .* is missing"):
        read_store(faces / "faces.h5")


def test_a_store_in_parts_becomes_one_file_again(faces: Path, counted: list[int], small_parts: None) -> None:
    embed(faces, keep_parts=True)
    before = stored(faces)
    counted.clear()
    embed(faces)
    assert not counted
    assert same_rows(before, stored(faces))
    assert not (faces.parent / "faces.h5.parts").exists()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"model": "sface"}, DataError, "another encoder"),
        ({"flip": "mean"}, DataError, "without --flip"),
        ({"half": True}, DataError, "without --half"),
    ],
)
def test_a_store_that_was_made_otherwise_is_refused_and_stays(
    options: dict[str, Any], error: type[Exception], text: str, faces: Path
) -> None:
    embed(faces)
    before = (faces.parent / "faces.h5").read_bytes()
    with pytest.raises(error, match=text):
        embed(faces, **options)
    assert (faces.parent / "faces.h5").read_bytes() == before
    assert [path.name for path in sorted(faces.parent.iterdir())] == ["faces", "faces.h5"]


def test_faces_that_were_prepared_otherwise_are_refused(faces: Path) -> None:
    embed(faces)
    other = replace(default_fingerprint(), interpolation="cubic")
    write_json(faces / DESCRIPTION, {**stamp("faces", {}), "fingerprint": other.to_json()})
    with pytest.raises(FingerprintError, match="interpolation"):
        embed(faces)


def test_files_that_are_not_stores_are_not_overwritten(faces: Path) -> None:
    (faces.parent / "faces.h5").write_text("my thesis")
    with pytest.raises(DataError, match="not a store"):
        embed(faces)
    assert (faces.parent / "faces.h5").read_text() == "my thesis"


def test_one_run_at_a_time_writes_a_store(faces: Path) -> None:
    embed(faces)
    with exclusive(faces.parent / "faces.h5.parts"), pytest.raises(LockedError) as caught:
        embed(faces)
    assert caught.value.exit_code == 75
    assert len(stored(faces)) == 20
    embed(faces)


def test_what_a_killed_run_left_half_written_is_swept_away(faces: Path) -> None:
    folder = faces.parent / "faces.h5.parts"
    folder.mkdir()
    (folder / ".99.0001-000000.h5").write_bytes(b"half")
    (faces.parent / ".99.faces.h5").write_bytes(b"half")
    embed(faces)
    assert [path.name for path in sorted(faces.parent.iterdir())] == ["faces", "faces.h5"]


def test_flipped_is_the_mean_of_a_face_and_its_mirror_image(faces: Path) -> None:
    embed(faces, flip="mean")
    store = stored(faces)
    assert store.flip == "mean"
    assert np.isnan(store.norms).all()
    crops = np.stack([cv2.imread(str(faces / path))[..., ::-1] for path in store.paths])
    encoder = PixelsEncoder()
    mean = encoder.embed(crops) + encoder.embed(np.ascontiguousarray(crops[:, :, ::-1]))
    np.testing.assert_allclose(store.embeddings, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-5)


def test_sums_are_those_of_unnormalized_embeddings(faces: Path) -> None:
    embed(faces, flip="sum")
    store = stored(faces)
    assert store.flip == "sum"
    crops = np.stack([cv2.imread(str(faces / path))[..., ::-1] for path in store.paths])
    small = np.stack(
        [[cv2.resize(c, (32, 32), interpolation=cv2.INTER_AREA) for c in (crop, crop[:, ::-1])] for crop in crops]
    )
    small = small.reshape(len(crops), 2, -1).astype(np.float64)
    small -= small.mean(axis=2, keepdims=True)
    total = small.sum(axis=1)
    lengths = np.linalg.norm(total, axis=1, keepdims=True)
    np.testing.assert_allclose(store.embeddings, total / lengths, atol=1e-5)
    np.testing.assert_allclose(store.norms, lengths[:, 0], rtol=1e-4)
    with pytest.raises(DataError, match="with --flip sum"):
        embed(faces, flip="mean")


def test_the_norm_is_kept_beside_the_direction(faces: Path) -> None:
    """Also for rows that a later run keeps."""
    embed(faces)
    store = stored(faces)
    encoder = PixelsEncoder()
    crops = np.stack([cv2.imread(str(faces / path))[..., ::-1] for path in store.paths])
    raw = encoder.embed_unnormalized(crops)
    np.testing.assert_allclose(store.norms[:, None] * store.embeddings, raw, rtol=1e-4, atol=1e-3)
    embed(faces)
    np.testing.assert_array_equal(stored(faces).norms, store.norms)
    embed(faces, keep_parts=True)
    np.testing.assert_array_equal(stored(faces).norms, store.norms)


def test_half_the_size_for_three_digits(faces: Path) -> None:
    embed(faces)
    full, size = stored(faces), (faces.parent / "faces.h5").stat().st_size
    (faces.parent / "faces.h5").unlink()
    embed(faces, half=True)
    assert (faces.parent / "faces.h5").stat().st_size < 0.55 * size
    assert stored(faces).embeddings.dtype == np.float32
    np.testing.assert_allclose(stored(faces).embeddings, full.embeddings, atol=1e-4)
    assert embed(faces, half=True).embedded == 0


def test_two_processes_make_the_store_of_one(faces: Path, small_parts: None) -> None:
    embed(faces)
    alone = stored(faces)
    (faces.parent / "faces.h5").unlink()
    result = embed(faces, processes=2)
    assert (result.faces, result.embedded) == (20, 20)
    assert same_rows(alone, stored(faces))
    assert embed(faces, processes=2).embedded == 0


def test_a_process_that_fails_ends_the_run_with_its_error(faces: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # Processes that are started use it too.
    try:
        with pytest.raises(DataError, match=r"parts/0001-00000\d\.h5: cannot be written \(File too large\)"):
            embed(faces, processes=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (faces.parent / "faces.h5").exists()
    assert embed(faces).faces == 20


@pytest.mark.nightly
def test_processes_of_torchrun_make_the_store_of_one(faces: Path) -> None:
    embed(faces)
    alone = stored(faces)
    (faces.parent / "faces.h5").unlink()
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--local-addr", "127.0.0.1"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"),
        *("-m", "faceclr_cli", "embed", str(faces), "-m", "pixels", "-o", str(faces.parent / "faces.h5"), "--json"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["embedded"] == 20  # One document: the first process speaks for both.
    assert same_rows(alone, stored(faces))
    assert [path.name for path in sorted(faces.parent.iterdir())] == ["faces", "faces.h5"]
