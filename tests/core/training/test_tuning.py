"""Fine-tuning: which weights change, how fast, and that the encoder before training is not lost."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.forget import ForgetConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import Tune
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.description import Card, read_description
from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder, load_network
from faceclr_cli.core.encoders.network import EncoderNetwork, normalize_pixels
from faceclr_cli.core.errors import ConfigError, TerminatedRunError
from faceclr_cli.core.events import EpochFinished, Notice
from faceclr_cli.core.losses.classification_head import Classifier
from faceclr_cli.core.training import center_task
from faceclr_cli.core.training.run_folder import best_epoch
from faceclr_cli.core.training.trainers import TrainResult, train
from faceclr_cli.core.training.training_sets import open_face_folders
from faceclr_cli.core.training.tuning import LORA_RANK, learning_rate_scales, merged_state, select_weights
from faceclr_cli.core.upkeep.forget import forget
from tests.core.training.test_resume import Stopper
from tests.core.training.toy import Heard, make_faces, make_split, weights

OPTIONS: dict[str, Any] = {"image_size": 32, "batch_size": 16, "epochs": 2, "precision": "32"}
NETWORK: dict[str, Any] = {"backbone": "test_resnet", "embedding_dim": 32}


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_split(tmp_path_factory.mktemp("split"))


@pytest.fixture(scope="module")
def unwatched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces without a validation part, so that the last encoder is kept."""
    return make_faces(tmp_path_factory.mktemp("unwatched") / "faces", 4, 8)


@pytest.fixture(scope="module")
def trained(split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    return train(PretrainConfig(data=(split,), out=out, **{**OPTIONS, **NETWORK, "epochs": 1}), Heard()).run


def tune(split: Path, init: Path, out: Path, reporter: Heard | None = None, **options: Any) -> TrainResult:
    config = CenterConfig(data=(split,), out=out, init=str(init), **{**OPTIONS, **options})
    return train(config, reporter or Heard())


def state(run: Path) -> dict[str, torch.Tensor]:
    return load_network(run)[0].state_dict()


@pytest.mark.parametrize("method", ["all", "last", "lora"])
def test_only_the_selected_weights_change(method: Tune, unwatched: Path, trained: Path, tmp_path: Path) -> None:
    tune(unwatched, trained, tmp_path / "run", tune=method, hold_out=0.0, lr=0.1)
    before, after = state(trained), state(tmp_path / "run")
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    layers = {name for name, value in before.items() if value.ndim > 1}
    match method:
        case "all":
            assert layers <= changed and any("running_mean" in name for name in changed)
        case "last":
            assert changed == {"embedding.weight"}
        case "lora":
            # Norms, biases and running averages do not change, and each change has a low rank.
            assert changed and changed <= layers
            for name in changed:
                difference = (after[name] - before[name]).flatten(1).double()
                values = torch.linalg.svdvals(difference)
                rounding = 1e-6 * float(before[name].norm())
                assert (values[LORA_RANK:] < 0.001 * values[0] + rounding).all()


def averages(run: Path, part: str) -> dict[str, torch.Tensor]:
    """The running averages of the batch norms in a part of the network."""
    found = {name: value for name, value in state(run).items() if name.startswith(part) and "running_" in name}
    assert found
    return found


def test_batch_norms_of_an_encoder_that_recognizes_people_keep_their_averages(unwatched: Path, tmp_path: Path) -> None:
    """The averages of a few training people would make it worse on all others."""
    options: dict[str, Any] = {"backbone": "mobilefacenet", "embedding_dim": 16, "epochs": 1, "hold_out": 0.0}
    recognizes, again, wider = tmp_path / "recognizes", tmp_path / "again", tmp_path / "wider"
    train(CenterConfig(data=(unwatched,), out=recognizes, **{**OPTIONS, **options}), Heard())
    tune(unwatched, recognizes, again, epochs=1, hold_out=0.0)
    tune(unwatched, recognizes, wider, epochs=1, hold_out=0.0, embedding_dim=24)
    for part in ("backbone.", "embedding."):
        before = averages(recognizes, part)
        assert all(torch.equal(value, before[name]) for name, value in averages(again, part).items())
    before = averages(recognizes, "backbone.")
    assert all(torch.equal(value, before[name]) for name, value in averages(wider, "backbone.").items())
    # A new embedding layer has no averages yet.
    assert averages(wider, "embedding.")["embedding.1.running_mean"].any()
    assert not torch.equal(state(again)["embedding.0.weight"], state(recognizes)["embedding.0.weight"])


@pytest.mark.parametrize("method", ["last", "lora"])
def test_batch_norms_of_frozen_layers_get_averages_for_another_input_size(
    method: Tune, unwatched: Path, tmp_path: Path
) -> None:
    recognizes = train(CenterConfig(data=(unwatched,), out=tmp_path / "first", **{**OPTIONS, **NETWORK}), Heard()).run
    for size in (32, 48):
        run = tune(
            unwatched, recognizes, tmp_path / f"{size}", tune=method, image_size=size, hold_out=0.0, epochs=1
        ).run
        before = averages(recognizes, "backbone.")
        same = {torch.equal(value, before[name]) for name, value in averages(run, "backbone.").items()}
        assert same == {size == 32}


def test_low_rank_updates_start_at_zero_and_merge_into_the_weights() -> None:
    plain = EncoderNetwork(Architecture(backbone="test_resnet", embedding_dim=8, image_size=32)).eval()
    tuned = EncoderNetwork(plain.architecture).eval()
    tuned.load_state_dict(plain.state_dict())
    select_weights(tuned, "lora")
    pictures = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(tuned(pictures), plain(pictures))
    for name, parameter in tuned.named_parameters():
        if parameter.requires_grad:
            assert name.rsplit(".", 1)[1] in ("up", "down")
            torch.nn.init.normal_(parameter, std=0.1)
    merged = EncoderNetwork(plain.architecture).eval()
    merged.load_state_dict(merged_state(tuned))
    assert not torch.allclose(merged(pictures), plain(pictures))
    torch.testing.assert_close(merged(pictures), tuned(pictures))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "test_vit", "nn4_small2"])
def test_learning_rates_fall_from_the_head_to_the_stem(backbone: str) -> None:
    pool = "mean" if backbone == "test_vit" else "none"
    size = 96 if backbone == "nn4_small2" else 48
    network = EncoderNetwork(Architecture(backbone=backbone, embedding_dim=8, image_size=size, pool=pool))
    scales = learning_rate_scales(network, 0.5)
    named = {name: scales[parameter] for name, parameter in network.named_parameters()}
    assert named["embedding.weight"] == 1
    in_order = [value for name, value in named.items() if name.startswith("backbone.")]
    # Torch names the parameters of a module before those of its parts.
    assert in_order == sorted(in_order)
    assert in_order[-1] >= 0.5 and in_order[0] <= 0.5**3
    assert set(learning_rate_scales(network, 1.0).values()) == {1.0}


def test_layer_decay_slows_early_layers(unwatched: Path, trained: Path, tmp_path: Path) -> None:
    """The first step of SGD is proportional to the learning rate."""
    moved = {}
    for decay in (1.0, 0.5):
        out = tmp_path / f"decay-{decay}"
        options = {"epochs": 1, "optimizer": "sgd", "lr": 0.001, "weight_decay": 0.0, "batch_size": 32, "clip": 0.0}
        tune(unwatched, trained, out, layer_decay=decay, hold_out=0.0, **options)
        after, before = state(out), state(trained)
        moved[decay] = {name: float((after[name] - before[name]).norm()) for name in before if "weight" in name}
    ratios = {name: moved[0.5][name] / moved[1.0][name] for name in moved[1.0] if moved[1.0][name] > 0}
    first, last = next(iter(ratios.values())), ratios["embedding.weight"]
    assert first < 0.2 < 0.9 < last


def test_the_table_starts_with_the_encoder_before_training(split: Path, trained: Path, tmp_path: Path) -> None:
    heard = Heard()
    result = tune(split, trained, tmp_path / "run", heard, lr=0.001)
    assert [event.epoch for event in heard.of(EpochFinished)] == [0, 1, 2]
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["loss"] == "" and float(rows[0]["val_accuracy"]) > 0.5
    assert result.before is not None and result.before["val_accuracy"] == pytest.approx(float(rows[0]["val_accuracy"]))


def test_a_run_that_makes_strangers_worse_keeps_the_encoder_before_training(
    split: Path, trained: Path, tmp_path: Path
) -> None:
    heard = Heard()
    result = tune(split, trained, tmp_path / "run", heard, lr=30.0, clip=0.0, optimizer="sgd", dropout=0.9)
    assert result.best_epoch == 0 and result.best == result.before
    before, after = load_encoder_folder(trained), load_encoder_folder(tmp_path / "run")
    crops = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(before.embed(crops), after.embed(crops))
    (warning,) = [note.text for note in heard.of(Notice) if "encoder before training was kept" in note.text]
    assert "val_accuracy" in warning  # Six people are too few for a low false accept rate.


def test_fine_tuning_without_validation_is_warned_about(
    split: Path, unwatched: Path, trained: Path, tmp_path: Path
) -> None:
    named = tune(split, trained, tmp_path / "named", epochs=1).run
    warned = {}
    for data, init in ((split, named), (unwatched, named), (unwatched, trained)):
        heard = Heard()
        tune(data, init, tmp_path / f"run-{len(warned)}", heard, epochs=1)
        texts = [note.text for note in heard.of(Notice) if note.level == "warning"]
        warned[data, init] = any("too few people are held out to measure" in text for text in texts)
    assert warned == {(split, named): False, (unwatched, named): True, (unwatched, trained): False}


@pytest.mark.parametrize(
    "best_by, best", [("loss", 1), ("accuracy", 2)], ids=["by TAR, if not asked otherwise", "by accuracy"]
)
def test_epochs_are_compared_with_the_encoder_before_training_by_the_lowest_false_accept_rate(
    best_by: str, best: int
) -> None:
    table = [
        {"epoch": 0, "val_accuracy": 0.9, "val_tar@1e-3": 0.6, "val_tar@1e-2": 0.8},
        {"epoch": 1, "val_accuracy": 0.9, "val_tar@1e-3": 0.7, "val_tar@1e-2": 0.7, "val_loss": 0.5},
        {"epoch": 2, "val_accuracy": 0.9, "val_tar@1e-3": 0.5, "val_tar@1e-2": 0.9, "val_loss": 0.4},
    ]
    assert best_epoch(table, CenterConfig(init="sface", best_by=best_by)) == best
    assert best_epoch(table[1:], CenterConfig()) == 2  # By the loss; training from scratch has no previous encoder.


def test_a_stopped_run_of_fine_tuning_resumes_to_the_same_bytes(split: Path, trained: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"tune": "lora", "layer_decay": 0.8, "lr": 0.001}
    whole = tune(split, trained, tmp_path / "whole", **options)
    with pytest.raises(TerminatedRunError):
        tune(split, trained, tmp_path / "parts", Stopper(signal.SIGTERM, 3), **options)
    resumed = tune(split, trained, tmp_path / "parts", resume="yes", **options)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert replace(resumed, run=whole.run, encoder=whole.encoder).best_epoch == whole.best_epoch
    assert resumed.before == whole.before


@pytest.mark.parametrize("config", [PretrainConfig, TripletConfig, CenterConfig])
def test_tuning_without_trained_weights_is_refused(config: type, split: Path) -> None:
    with pytest.raises(ValueError, match="--tune lora requires trained weights"):
        config(data=(split,), tune="lora")


@pytest.mark.parametrize("method", ["all", "lora"])
def test_the_default_rate_of_an_encoder_that_knows_people_is_lower(
    method: Tune, split: Path, trained: Path, tmp_path: Path
) -> None:
    people = tune(split, trained, tmp_path / "people", epochs=0).run
    rates = {}
    for init in (trained, people):
        result = tune(split, init, tmp_path / f"from-{init.name}", tune=method, epochs=1)
        rates[init] = result.metrics["lr"]
    assert rates[people] == pytest.approx(0.1 * rates[trained])


def pretrain(split: Path, init: str, out: Path, reporter: Heard | None = None, **options: Any) -> Path:
    config = PretrainConfig(data=(split,), out=out, init=init, **{**OPTIONS, "epochs": 1, **options})
    return train(config, reporter or Heard()).run


def test_an_encoder_that_knows_people_has_defaults_that_retain_it(split: Path, trained: Path, tmp_path: Path) -> None:
    named = tune(split, trained, tmp_path / "named", epochs=1).run
    options = {"from names": named, "from no names": trained}
    found = {}
    for name, init in options.items():
        run = tmp_path / name
        tune(split, init, run, epochs=1)
        found[name] = (config_of(run)["dropout"], config_of(run)["retain"])
        tune(split, init, run, resume="yes", epochs=2)
        assert (config_of(run)["dropout"], config_of(run)["retain"]) == found[name]
    assert found == {"from names": (0.0, 10.0), "from no names": (0.4, 0.0)}
    tune(split, named, tmp_path / "asked", epochs=1, dropout=0.2, retain=0.0)
    assert (config_of(tmp_path / "asked")["dropout"], config_of(tmp_path / "asked")["retain"]) == (0.2, 0.0)
    with pytest.raises(ConfigError, match=r"--dropout: the run in .* has 0.2 and cannot be resumed with 0.3"):
        tune(split, named, tmp_path / "asked", resume="yes", epochs=2, dropout=0.3)


def config_of(run: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((run / "config.json").read_text())["config"]
    return config


def lineage_of(card: Card) -> tuple[str, ...]:
    return (*(ancestor.command for ancestor in card.ancestors), card.command)


def test_an_encoder_knows_people_if_one_that_its_training_started_from_did(
    split: Path, trained: Path, tmp_path: Path
) -> None:
    named = tune(split, trained, tmp_path / "named", epochs=1).run
    inits = {"from names": named, "from no names": trained}
    for name in inits:
        for generation in range(2):
            inits[name] = pretrain(split, str(inits[name]), tmp_path / f"{name} {generation}")
    rates = {name: tune(split, init, tmp_path / f"{name} last", epochs=1).metrics["lr"] for name, init in inits.items()}
    assert rates["from names"] == pytest.approx(0.1 * rates["from no names"])
    card = read_description(inits["from names"]).card
    assert lineage_of(card) == ("pretrain", "train-center", "pretrain", "pretrain")
    assert card.ancestors[1].digest == read_description(named).digest
    assert set(card.ancestors[1].people) == set(read_description(named).card.people)


def test_an_encoder_is_of_the_people_of_its_ancestors_too(split: Path, unwatched: Path, tmp_path: Path) -> None:
    other = make_faces(tmp_path / "other", 4, 8, first=90)
    first = train(CenterConfig(data=(other,), out=tmp_path / "first", **{**OPTIONS, **NETWORK}), Heard()).run
    second = tune(unwatched, first, tmp_path / "second", hold_out=0.0, epochs=1).run
    own, earlier = (set(read_description(run).card.people) for run in (second, first))
    assert own and earlier and not own & earlier
    assert load_encoder_folder(second).trained_on == own | earlier
    forget(ForgetConfig(identity="person_090", paths=(second,)), Heard())
    assert load_encoder_folder(second).trained_on == (own | earlier) - {"person_090"}


def test_a_resumed_run_knows_its_ancestors_without_them(split: Path, trained: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(trained, source)
    with pytest.raises(TerminatedRunError):
        pretrain(split, str(source), tmp_path / "run", Stopper(signal.SIGTERM, 1), checkpoint_every="1s")
    shutil.rmtree(source)
    run = pretrain(split, str(source), tmp_path / "run", resume="yes")
    assert lineage_of(read_description(run).card) == ("pretrain", "pretrain")
    assert read_description(run).card.ancestors[0].digest == read_description(trained).digest


@pytest.mark.parametrize(
    "init, lineage",
    [
        ("random", ("pretrain",)),
        ("imagenet", ("pretrain",)),
        ("sface", ("built-in", "pretrain")),
        ("runs/earlier", ("unknown", "pretrain")),
    ],
)
def test_encoders_of_earlier_versions_have_the_ancestor_that_their_options_name(
    init: str, lineage: tuple[str, ...], trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(trained / "encoder", folder)
    content = json.loads((folder / "encoder.json").read_text())
    del content["card"]["ancestors"]
    content["config"]["init"] = init
    (folder / "encoder.json").write_text(json.dumps(content))
    assert lineage_of(read_description(folder).card) == lineage


def test_what_contradicts_tuning_is_refused(split: Path, trained: Path) -> None:
    with pytest.raises(ValueError, match="--tune and --freeze"):
        CenterConfig(data=(split,), init=str(trained), tune="last", freeze="backbone")
    with pytest.raises(ValueError, match="--tune last"):
        PretrainConfig(data=(split,), init=str(trained), tune="last")


def embed(run: Path, pixels: torch.Tensor) -> torch.Tensor:
    network = load_network(run)[0].eval()
    with torch.no_grad():
        return torch.nn.functional.normalize(network(pixels), dim=1)


def test_retaining_keeps_the_embeddings_closer_to_those_before(unwatched: Path, trained: Path, tmp_path: Path) -> None:
    pixels = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = embed(trained, pixels)
    cosines = []
    for number, weight in enumerate((0.0, 30.0)):
        run = tmp_path / f"run-{number}"
        result = tune(unwatched, trained, run, hold_out=0.0, lr=0.1, retain=weight)
        cosines.append(float((embed(run, pixels) * before).sum(1).mean()))
        assert ("retained" in result.metrics) == bool(weight)
    assert cosines[1] > cosines[0] + 0.01


def test_a_resumed_run_retains_the_same_encoder(unwatched: Path, trained: Path, tmp_path: Path) -> None:
    options = {"hold_out": 0.0, "lr": 0.1, "retain": 3.0}
    tune(unwatched, trained, tmp_path / "whole", **options)
    with pytest.raises(TerminatedRunError):
        tune(unwatched, trained, tmp_path / "parts", Stopper(signal.SIGTERM, 3), **options)
    tune(unwatched, trained, tmp_path / "parts", resume="yes", **options)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")


def test_the_classifier_of_an_encoder_starts_at_the_people(
    unwatched: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    monkeypatch.setattr(Classifier, "imprint", lambda _, embeddings, labels: seen.append((embeddings, labels)))
    monkeypatch.setattr(center_task, "_FACES_PER_PERSON", 3)
    tune(unwatched, trained, tmp_path / "run", hold_out=0.0, epochs=2)
    ((embeddings, labels),) = seen  # Once, before the first step.
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    faces = open_face_folders([unwatched], Heard())
    first = [int(row) for person in range(4) for row in np.flatnonzero(faces.labels == person)[:3]]
    pixels = normalize_pixels(torch.from_numpy(faces.crops(np.array(first))), 32)
    with torch.no_grad():
        torch.testing.assert_close(embeddings, load_network(trained)[0].eval()(pixels))
    train(CenterConfig(data=(unwatched,), out=tmp_path / "new", hold_out=0.0, **{**OPTIONS, **NETWORK}), Heard())
    assert len(seen) == 1


def test_only_an_encoder_can_be_retained() -> None:
    with pytest.raises(ValueError, match="--retain requires a trained encoder; name it with --init"):
        CenterConfig(data=(Path("faces"),), retain=1.0)
