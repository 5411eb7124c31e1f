"""Training on crops that worker processes decode gives the same weights as on decoded crops, bit for bit."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.configs.pack import PackConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.datasets.face_sets import open_face_set
from faceclr_cli.core.datasets.joined_faces import join
from faceclr_cli.core.datasets.pack import pack
from faceclr_cli.core.datasets.packed_faces import stream
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Silent
from faceclr_cli.core.training.batch_supply import BatchSupply
from faceclr_cli.core.training.trainers import train
from tests.core.datasets.test_streamed_crops import damage
from tests.core.training.toy import SMALL, Heard, make_faces, pretrain, train_elsewhere, wait_for_step, weights

OPTIONS: dict[str, Any] = {"epochs": 3, "backbone": "test_resnet", "batch_size": 16, "hold_out": 0.0}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_faces(tmp_path_factory.mktemp("set") / "faces", 8, 8)


@pytest.fixture(scope="module")
def record(faces: Path) -> Path:
    pack(PackConfig(faces=faces, out=faces.parent / "faces.rec"), Silent())
    return faces.parent / "faces.rec"


@pytest.fixture(scope="module")
def uninterrupted(record: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return pretrain(record, tmp_path_factory.mktemp("whole") / "run", pixels="cached", **OPTIONS).run


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (CenterConfig, {"hold_out": 0.2}),
        pytest.param(TripletConfig, {"mining": "bank", "candidates": 4, "hold_out": 0.2}, marks=pytest.mark.nightly),
    ],
)
def test_streamed_pixels_give_the_weights_of_cached_ones(
    kind: type[CenterConfig], options: dict[str, Any], faces: Path, record: Path, tmp_path: Path
) -> None:
    digests = {}
    for data, pixels in ((record, "streamed"), (record, "cached"), (faces, "cached")):
        out = tmp_path / f"{data.name}-{pixels}"
        config = kind(data=(data,), out=out, pixels=pixels, **{**SMALL, **options, "epochs": 2, "batch_size": 12})
        digests[out.name] = weights(train(config, Silent()).run)
    assert len(set(digests.values())) == 1, digests


def test_killed_and_resumed_is_bit_identical(record: Path, uninterrupted: Path, tmp_path: Path) -> None:
    """The run is killed immediately; its decoding processes must notice it."""
    running = train_elsewhere(record, tmp_path / "run", pixels="streamed", **OPTIONS)
    wait_for_step(running, 6)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    heard = Heard()
    result = pretrain(record, tmp_path / "run", heard, pixels="streamed", resume="yes", **OPTIONS)
    assert any("resuming from step" in notice.text for notice in heard.of(Notice))
    assert weights(result.run) == weights(uninterrupted)


@pytest.mark.nightly
def test_a_signal_to_all_processes_stops_with_a_checkpoint(record: Path, uninterrupted: Path, tmp_path: Path) -> None:
    """As sent by service managers; the decoding processes end, and the run still finishes its step."""
    running = train_elsewhere(record, tmp_path / "run", pixels="streamed", **OPTIONS)
    wait_for_step(running, 5)
    os.killpg(running.pid, signal.SIGTERM)
    _, errors = running.communicate(timeout=60)
    assert "stopped after step" in errors
    result = pretrain(record, tmp_path / "run", pixels="cached", resume="yes", **OPTIONS)
    assert weights(result.run) == weights(uninterrupted)


def test_a_damaged_record_found_while_training_is_reported(faces: Path, tmp_path: Path) -> None:
    pack(PackConfig(faces=faces, out=tmp_path / "a.rec"), Silent())
    damage(tmp_path / "a.rec", 20)
    heard = Heard()
    result = pretrain(tmp_path / "a.rec", tmp_path / "run", heard, pixels="streamed", **OPTIONS)
    assert result.epochs == 3
    texts = [notice.text for notice in heard.of(Notice) if "damaged face" in notice.text]
    assert len(texts) == 1
    assert texts[0].startswith("epoch 1: ") and "1 damaged face was replaced by other faces of the same" in texts[0]
    assert "a.rec#00000020: not a picture" in texts[0]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (CenterConfig, {"hold_out": 0.2}),
        (TripletConfig, {"mining": "random", "hold_out": 0.2}),
        (PretrainConfig, {}),
        (DistillConfig, {}),
    ],
)
@pytest.mark.parametrize("pixels", ["streamed", "cached"])
def test_no_trainer_stops_at_a_damaged_record(
    pixels: str, kind: type[CenterConfig], options: dict[str, Any], faces: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    pack(PackConfig(faces=faces, out=tmp_path / "a.rec"), Silent())
    damage(tmp_path / "a.rec", 20)
    heard = Heard()
    config = kind(
        data=(tmp_path / "a.rec",), out=tmp_path / "run", pixels=pixels,
        **{**SMALL, **options, "epochs": 1, **({"teacher": (str(uninterrupted),)} if kind is DistillConfig else {})},
    )  # fmt: skip
    assert train(config, heard).epochs == 1
    assert [text for text in (notice.text for notice in heard.of(Notice)) if "1 damaged face" in text]


def test_distillation_leaves_out_a_damaged_record_whether_streamed_or_cached(
    faces: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    pack(PackConfig(faces=faces, out=tmp_path / "a.rec"), Silent())
    damage(tmp_path / "a.rec", 20)
    digests = set()
    for pixels in ("streamed", "cached"):
        config = DistillConfig(
            data=(tmp_path / "a.rec",), out=tmp_path / pixels, pixels=pixels, teacher=(str(uninterrupted),),
            **{**SMALL, "epochs": 2, "hold_out": 0.5},
        )  # fmt: skip
        heard = Heard()
        digests.add(weights(train(config, heard).run))
        (text,) = (notice.text for notice in heard.of(Notice) if "1 damaged face left out" in notice.text)
        assert "not a picture" in text
    assert len(digests) == 1


def test_a_teacher_that_cannot_read_many_records_ends_the_run(faces: Path, uninterrupted: Path, tmp_path: Path) -> None:
    pack(PackConfig(faces=faces, out=tmp_path / "a.rec"), Silent())
    damage(tmp_path / "a.rec", *range(20, 26))
    config = DistillConfig(
        data=(tmp_path / "a.rec",), out=tmp_path / "run", pixels="streamed", teacher=(str(uninterrupted),), **SMALL
    )
    with pytest.raises(
        DataError, match=r"the teacher cannot read 6 of 64 faces, more than 5%; the first: .*not a pict"
    ):
        train(config, Silent())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("decoders", [pytest.param(1, marks=pytest.mark.nightly), 2])
def test_batches_arrive_in_order_for_any_number_of_processes(decoders: int, record: Path) -> None:
    faces = join([(record, stream(open_face_set(record)))])
    rng = np.random.default_rng(0)
    batches = [rng.permutation(64)[: 1 + int(rng.integers(64))] for _ in range(12)]
    supply = BatchSupply(faces, torch.device("cpu"), decoders)
    try:
        for _ in range(2):  # two epochs
            for batch, crops in zip(batches, supply(batches), strict=True):
                np.testing.assert_array_equal(crops.numpy(), faces.crops(batch))
    finally:
        supply.close()
