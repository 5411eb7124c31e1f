"""Properties of the options of every command."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from faceclr_cli.core.configs import (
    calibrate,
    center,
    cluster,
    demo,
    embed,
    export,
    identify,
    linear_eval,
    prepare,
    pretrain,
    split,
    threshold_options,
    train,
    triplet,
    tsne,
    verify,
)
from faceclr_cli.core.configs.fields import spec_of, to_json

CONFIGS = [
    calibrate.CalibrateConfig,
    cluster.ClusterConfig,
    identify.IdentifyConfig,
    demo.DemoConfig,
    embed.EmbedConfig,
    linear_eval.LinearEvalConfig,
    prepare.PrepareConfig,
    split.SplitConfig,
    pretrain.PretrainConfig,
    triplet.TripletConfig,
    center.CenterConfig,
    tsne.TsneConfig,
    verify.VerifyConfig,
]
NEEDED = {
    calibrate.CalibrateConfig: {"root": Path("faces"), "all_pairs": True},
    identify.IdentifyConfig: {"photos": Path("photos"), "gallery": Path("people")},
    prepare.PrepareConfig: {"source": Path("photos")},
    verify.VerifyConfig: {"photos": (Path("a.jpg"), Path("b.jpg"))},
    export.ExportConfig: {"run": Path("run")},
}


@pytest.mark.parametrize("config", CONFIGS)
def test_every_option_has_a_help_text_and_defaults_survive_json(config: type) -> None:
    made = config(**NEEDED.get(config, {}))
    assert json.loads(json.dumps(to_json(made))).keys() == {field.name for field in dataclasses.fields(config)}
    for field in dataclasses.fields(config):
        assert len(spec_of(field).help) > 8
        assert not spec_of(field).help.endswith("."), field.name
    letters = [spec_of(field).short for field in dataclasses.fields(config) if spec_of(field).short]
    assert len(letters) == len(set(letters))
    # -q and -h are taken in every command.
    assert not {"-q", "-h"} & set(letters)


@pytest.mark.parametrize("config", CONFIGS)
def test_limits_are_enforced_and_named(config: type) -> None:
    for field in dataclasses.fields(config):
        for limit, step in ((spec_of(field).minimum, -1), (spec_of(field).maximum, 1)):
            if limit is not None:
                with pytest.raises(ValueError, match=f"--{field.name.replace('_', '-')} "):
                    config(**NEEDED.get(config, {}) | {field.name: type(limit)(limit + step)})


def numbers_of(kind: type) -> list[Any]:
    """Every option of every command whose type is int, or float."""
    found = []
    for config in CONFIGS:
        hints = get_type_hints(config)
        for field in dataclasses.fields(config):
            hint = hints[field.name]
            if kind in (hint, *get_args(hint)):
                found.append(pytest.param(config, field.name, id=f"{config.__name__} {field.name}"))
    return found


def refused(config: type, name: str, value: float) -> str:
    several = get_origin(get_type_hints(config)[name]) is tuple
    with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} must be") as error:
        config(**NEEDED.get(config, {}) | {name: (value,) if several else value})
    return str(error.value)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(("config", "name"), numbers_of(float))
def test_floats_must_be_finite(config: type, name: str, value: float) -> None:
    assert "finite" in refused(config, name, value)


@pytest.mark.parametrize("value", [-1, 2**32, 2**64, 10**30])
@pytest.mark.parametrize(("config", "name"), numbers_of(int))
def test_integers_are_limited_to_32_bits(config: type, name: str, value: int) -> None:
    assert str(value) in refused(config, name, value)


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing is frozen"):
        center.CenterConfig(unfreeze_after=2)
    with pytest.raises(ValueError, match="softmax has no margin"):
        center.CenterConfig(head="softmax", margin=0.3)
    with pytest.raises(ValueError, match="--lfw and --pairs must be given together"):
        triplet.TripletConfig(lfw=Path("lfw"))
    with pytest.raises(ValueError, match="selects triplets in each batch"):
        triplet.TripletConfig(mining="batch-hard", triplets=Path("triplets.npy"))
    with pytest.raises(ValueError, match="add up to 1"):
        split.SplitConfig(train=0.5, val=0.1, test=0.1)
    with pytest.raises(ValueError, match="at least two people"):
        triplet.TripletConfig(mining="semi-hard", batch_size=8, pictures=8)
    with pytest.raises(ValueError, match="two photographs"):
        verify.VerifyConfig(photos=(Path("a.jpg"),))
    with pytest.raises(ValueError, match="with --pairs or --all-pairs"):
        verify.VerifyConfig(embeddings=Path("a.h5"))
    with pytest.raises(ValueError, match="--pairs: cannot be combined with two photographs"):
        verify.VerifyConfig(photos=(Path("a"), Path("b")), embeddings=Path("a.h5"), pairs=Path("pairs.csv"))
    with pytest.raises(ValueError, match=r"\.png"):
        tsne.TsneConfig(out=(Path("map.gif"),))


@pytest.mark.parametrize("config", [prepare.PrepareConfig, embed.EmbedConfig])
def test_depth_requires_folders(config: type[prepare.PrepareConfig] | type[embed.EmbedConfig]) -> None:
    name = "source" if config is prepare.PrepareConfig else "faces"
    options: dict[str, Any] = {name: Path("photos")}
    assert config(**options, depth=2).depth == 2
    wrong: dict[str, Any]
    for wrong in ({name: Path("-"), "depth": 1}, {name: Path("photos"), "depth": 1, "layout": "flat"}):
        with pytest.raises(ValueError, match="--depth requires a folder or archive"):
            config(**wrong)


@pytest.mark.parametrize("config", [*CONFIGS, cluster.ClusterConfig, export.ExportConfig, identify.IdentifyConfig])
def test_a_dash_is_a_standard_stream_or_an_error(config: type[Any]) -> None:
    needed = NEEDED.get(config, {})
    for name, spec in ((field.name, spec_of(field)) for field in dataclasses.fields(config)):
        hint = str(config.__dataclass_fields__[name].type)
        if "Path" in hint and not spec.positional and not spec.streams:
            value = (Path("-"),) if "tuple" in hint else Path("-")
            with pytest.raises(ValueError, match="-: standard input and output are not supported here"):
                config(**{**needed, name: value})


@pytest.mark.parametrize(
    "config, base, name",
    [
        (center.CenterConfig, train.LabeledConfig, "dropout"),
        (cluster.ClusterConfig, threshold_options.ThresholdConfig, "far"),
        (pretrain.PretrainConfig, train.TrainConfig, "image_size"),
    ],
)
def test_an_inherited_option_changes_only_its_help(config: Any, base: Any, name: str) -> None:
    own, inherited = ({field.name: field for field in dataclasses.fields(each)}[name] for each in (config, base))
    assert own.default == inherited.default
    assert spec_of(own).help != spec_of(inherited).help
    assert dataclasses.replace(spec_of(own), help="") == dataclasses.replace(spec_of(inherited), help="")
