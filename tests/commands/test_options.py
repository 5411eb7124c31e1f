"""A config dataclass, its command line, its environment and its table in faceclr.toml."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from faceclr_cli.commands.app import _PANEL_OF, main, module_name
from faceclr_cli.commands.app import app as real_app
from faceclr_cli.commands.console import Console
from faceclr_cli.commands.options import AMBIGUOUS, FOR_ONE_SOURCE, command, command_class
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.linear_eval import LinearEvalConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.upkeep import doctor


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """Commands that only print their resolved config, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACECLR_PRETRAIN_PRECISION")

    def pretrain(config: PretrainConfig, console: Console) -> None:
        typer.echo(json.dumps(to_json(config)))

    def linear_eval(config: LinearEvalConfig, console: Console) -> None:
        typer.echo(json.dumps(to_json(config)))

    app = typer.Typer()
    app.command("pretrain", cls=command_class(pretrain))(command("pretrain", pretrain))
    app.command("linear-eval")(command("linear-eval", linear_eval))
    return app


def resolved(app: typer.Typer, *arguments: str, env: dict[str, str] | None = None) -> dict[str, object]:
    result = CliRunner().invoke(app, list(arguments), env=env)
    assert result.exit_code == 0, result.output
    content: dict[str, object] = json.loads(result.stdout)
    return content


def test_defaults_are_those_of_the_dataclass(app: typer.Typer) -> None:
    assert resolved(app, "pretrain") == to_json(PretrainConfig())


def test_flag_beats_environment_beats_file_beats_default(app: typer.Typer) -> None:
    assert resolved(app, "pretrain")["epochs"] == PretrainConfig().epochs
    Path("faceclr.toml").write_text("[pretrain]\nepochs = 3\n", encoding="utf-8")
    assert resolved(app, "pretrain")["epochs"] == 3
    assert resolved(app, "pretrain", env={"FACECLR_EPOCHS": "4"})["epochs"] == 4
    assert resolved(app, "pretrain", "--epochs", "5", env={"FACECLR_EPOCHS": "4"})["epochs"] == 5


def test_a_file_gives_arguments_paths_and_switches(app: typer.Typer) -> None:
    Path("mine.toml").write_text(
        '[pretrain]\ndata = "celeba-splits/train"\nresume = true\nbatch-size = 64\ncrop_scale = 0.3\n'
        '[linear-eval]\nstores = ["a.h5", "b.h5"]\n',
        encoding="utf-8",
    )
    config = resolved(app, "pretrain", "--config", "mine.toml")
    assert config["data"] == ["celeba-splits/train"]
    assert (config["resume"], config["batch_size"], config["crop_scale"]) == ("yes", 64, 0.3)
    assert resolved(app, "pretrain", "--config", "mine.toml", "--resume", "never")["resume"] == "never"
    assert resolved(app, "linear-eval", "--config", "mine.toml")["stores"] == ["a.h5", "b.h5"]


@pytest.mark.parametrize(
    ("arguments", "data", "resume"),
    [
        (["--resume", "-o", "run", "faces"], ["faces"], "yes"),
        (["faces", "-o", "run", "--resume"], ["faces"], "yes"),
        (["--resume", "auto", "faces", "more"], ["faces", "more"], "auto"),
        (["--resume", "faces"], ["faces"], "yes"),
        (["--", "--resume"], ["--resume"], "never"),
    ],
)
def test_an_option_may_stand_without_its_value(
    arguments: list[str], data: list[str], resume: str, app: typer.Typer
) -> None:
    config = resolved(app, "pretrain", *arguments)
    assert (config["data"], config["resume"]) == (data, resume)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[pretrain]\nepoch = 3\n", "did you mean epochs"),
        ("[pretrain\n", "not TOML"),
        ("pretrain = 3\n", "must be a table"),
        ("epochs = 3\n", "epochs is not in a table"),
        ("[pretrian]\nepochs = 3\n", "[pretrian] is not a command of faceclr; did you mean [pretrain]?"),
        ("[Pretrain]\nepochs = 3\n", "did you mean [pretrain]?"),
        ("[pretrain]\nlr = true\n", "lr: must not be true or false"),
        ("[linear-eval]\nstores = []\n[pretrain]\nconfig = 'other.toml'\n", "has no option config"),
    ],
)
def test_a_wrong_file_is_a_usage_error_that_names_it(app: typer.Typer, content: str, complaint: str) -> None:
    Path("faceclr.toml").write_text(content, encoding="utf-8")
    result = CliRunner().invoke(app, ["pretrain"], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert "faceclr.toml" in result.stderr


def test_a_missing_file_is_a_usage_error(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["pretrain", "--config", "nowhere.toml"])
    assert result.exit_code == 2
    assert "nowhere.toml" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "-1"],
        ["--epochs", "many"],
        ["--temperature", "nan"],
        ["--device", "tpu"],
        ["--nonsense"],
        ["--gpus", "1", "--processes", "2"],
        ["--batch-size", "5", "--processes", "2"],
    ],
)
def test_impossible_values_are_usage_errors(app: typer.Typer, arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["pretrain", *arguments])
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_the_same_limits_hold_in_python() -> None:
    with pytest.raises(ValueError, match="--epochs must be at least 0"):
        PretrainConfig(epochs=-1)
    with pytest.raises(ValueError, match="--temperature"):
        PretrainConfig(temperature=float("nan"))


def test_a_command_s_own_variable_beats_the_shared_one(app: typer.Typer) -> None:
    assert resolved(app, "pretrain", env={"FACECLR_PRETRAIN_EPOCHS": "4", "FACECLR_EPOCHS": "5"})["epochs"] == 4
    assert resolved(app, "linear-eval", "a.h5", env={"FACECLR_LINEAR_EVAL_SEED": "7"})["seed"] == 7
    assert resolved(app, "linear-eval", "a.h5", env={"FACECLR_PRETRAIN_SEED": "7"})["seed"] != 7


def test_what_means_another_thing_elsewhere_is_set_by_the_command_s_variable_alone(app: typer.Typer) -> None:
    default = to_json(PretrainConfig())["out"]
    assert resolved(app, "pretrain", env={"FACECLR_OUT": "elsewhere"})["out"] == default
    assert resolved(app, "pretrain", env={"FACECLR_PRETRAIN_OUT": "elsewhere"})["out"] == "elsewhere"


def test_options_of_different_types_under_one_name_are_known_to_be_ambiguous() -> None:
    types: dict[str, set[str]] = {}
    for name in _PANEL_OF.keys() - FOR_ONE_SOURCE:
        body = import_module(f"faceclr_cli.commands.{module_name(name)}").run
        for field, hint in get_type_hints(get_type_hints(body)["config"]).items():
            types.setdefault(field, set()).add(str(hint))
    # Some commands take more devices than others, and `benchmark` several encoders; these options mean the same.
    assert {name for name, hints in types.items() if len(hints) > 1} <= AMBIGUOUS | {"device", "model"}


def test_switches_of_every_command_may_stand_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_CHECKS", {"system": doctor._system})
    Path("faceclr.toml").write_text("[doctor]\njson = true\n", encoding="utf-8")
    assert json.loads(CliRunner().invoke(real_app, ["doctor"]).stdout)
    Path("faceclr.toml").write_text("[info]\nquiet = true\n", encoding="utf-8")
    done = CliRunner().invoke(real_app, ["info", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (3, "")


def test_error_names_the_variable_of_an_invalid_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["faceclr", "prepare", "photos", "-o", "faces"])
    monkeypatch.setenv("FACECLR_SIZE", "abc")
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "Invalid value for the variable FACECLR_SIZE: 'abc'" in capsys.readouterr().err


def test_a_command_that_ends_the_process_keeps_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["faceclr", "doctor"])
    monkeypatch.setattr("faceclr_cli.commands.app.app", lambda **_: sys.exit(5))
    with pytest.raises(SystemExit, match="5"):
        main()
