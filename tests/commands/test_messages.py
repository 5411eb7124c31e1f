"""Messages name only options that the reader can type."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import faceclr_cli
from faceclr_cli.commands.app import _PANEL_OF, module_name
from tests.message_options import foreign_in_output, foreign_options, options_of

ROOT = Path(faceclr_cli.__file__).parent
TRAINERS = ("pretrain", "distill", "train-triplet", "train-center")
LABELED = ("train-triplet", "train-center")
READERS = ("embed", "identify", "cluster", "tsne", "calibrate", "linear-eval")

OWNERS: dict[str, tuple[str, ...]] = {
    "core/configs/calibrate.py": ("calibrate",),
    "core/configs/center.py": ("train-center",),
    "core/configs/cluster.py": ("cluster",),
    "core/configs/demo.py": ("demo",),
    "core/configs/doctor.py": ("doctor",),
    "core/configs/embed.py": ("embed",),
    "core/configs/export.py": ("export",),
    "core/configs/forget.py": ("forget",),
    "core/configs/identify.py": ("identify",),
    "core/configs/info.py": ("info",),
    "core/configs/threshold_options.py": ("verify", "identify", "cluster"),
    "core/configs/linear_eval.py": ("linear-eval",),
    "core/configs/prepare.py": ("prepare",),
    "core/configs/pretrain.py": ("pretrain",),
    "core/configs/split.py": ("split",),
    "core/configs/train.py": TRAINERS,
    "core/configs/triplet.py": ("train-triplet",),
    "core/configs/tsne.py": ("tsne",),
    "core/configs/verify.py": ("verify",),
    "core/preparing": ("prepare",),
    "core/datasets/splitting": ("split",),
    "core/training": TRAINERS,
    "core/evaluation/clustering": ("cluster",),
    "core/evaluation/identification": ("identify",),
    "core/evaluation/mapping": ("tsne",),
    "core/evaluation/probing": ("linear-eval",),
    "core/evaluation/calibration": ("calibrate",),
    "core/evaluation/verification": ("verify",),
    "core/training/histogram_task.py": ("pretrain",),
    "core/training/preview.py": ("pretrain",),
    "core/training/training_sets.py": LABELED,
    "core/training/triplet_task.py": ("train-triplet",),
    "core/sources": ("prepare", *READERS),
    "core/sources/lists.py": ("prepare", "embed", "identify", "cluster"),
    "core/embeddings": READERS,
    "core/embeddings/benchmark_sets.py": ("benchmark",),
    "core/embeddings/face_templates.py": ("verify", "identify", "benchmark"),
    "core/embeddings/gallery_rows.py": ("identify",),
    "core/embeddings/quality_columns.py": ("identify", "cluster"),
    "core/embeddings/embed.py": ("embed",),
    "core/embeddings/previous_rows.py": ("embed",),
    "core/embeddings/row_formats.py": ("embed",),
    **{f"commands/{module_name(name)}.py": (name,) for name in _PANEL_OF},
}
"""The commands that show the messages of a package or a module; that of a module replaces that of its package."""

SHOWN_ELSEWHERE = {
    # Remarks and errors about layouts are for commands with layout options; see `find_photos`.
    ("core/sources/layouts.py", "--layout"),
    ("core/sources/layouts.py", "--depth"),
    ("core/sources/layout_signs.py", "--layout"),
    # Options that were typed.
    ("core/embeddings/crop_source.py", "--face"),
    ("core/embeddings/crop_source.py", "--layout"),
    ("core/embeddings/crop_source.py", "--depth"),
    # The name of the option that is passed on.
    ("core/embeddings/face_choice.py", "--face"),
    # The option of an earlier command that is the reason.
    ("core/evaluation/identification/gallery.py", "--flip"),
    ("core/embeddings/quality_columns.py", "--flip"),
    # Options that only the trainers with labels have.
    ("core/configs/train.py", "--lfw"),
    ("core/configs/train.py", "--pairs"),
    ("core/evaluation/probing/classifier_fit.py", "--flip"),
    ("core/evaluation/probing/labeled_split.py", "--flip"),
    ("core/embeddings/mirrored_crops.py", "--flip"),
    ("core/embeddings/store.py", "--flip"),
    ("core/configs/export.py", "--pool"),
    # The option of the commands that use an exported encoder.
    ("core/configs/export.py", "--model"),
}
"""Options that a module names only where the command has them."""


def texts(path: Path) -> Iterator[str]:
    """Yields the strings of a module, without docstrings; values in f-strings are replaced by a letter."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    loose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner | loose:
            yield node.value


@pytest.mark.parametrize("place", OWNERS)
def test_a_message_names_options_of_its_command(place: str) -> None:
    files = [ROOT / place]
    if files[0].is_dir():
        files = [file for file in files[0].rglob("*.py") if str(file.relative_to(ROOT)) not in OWNERS]
    assert files
    wrong = [
        f"{file.relative_to(ROOT)}: {option}: {text}"
        for file in files
        for text in texts(file)
        for option in foreign_options(text, OWNERS[place])
        if (str(file.relative_to(ROOT)), option) not in SHOWN_ELSEWHERE
    ]
    assert wrong == []


def test_no_placeholder_is_printed() -> None:
    """A string with a placeholder that is not an f-string. Rich fills in those of the progress bar."""
    files = [file for file in ROOT.rglob("*.py") if file.name != "progress.py"]
    assert [
        (str(file.relative_to(ROOT)), text)
        for file in files
        for text in texts(file)
        if re.search(r"\{[a-z_]+(\.[a-z_]+)+(:[^{}]*)?\}", text)
    ] == []


def test_options_that_no_command_has_are_found() -> None:
    assert "--gallery" in options_of("identify") and "--layout" not in options_of("identify")
    assert list(foreign_options("use --layout flat", ["identify"])) == ["--layout"]
    assert list(foreign_options("use --layout flat", ["prepare", "identify"])) == ["--layout"]
    assert list(foreign_options("prepare it with faceclr prepare --layout flat", ["identify"])) == []
    assert list(foreign_options("use --face all", ["identify"])) == []
    assert foreign_in_output(["identify", "a"], "error: a: use --layout\nTry: faceclr identify --help") != []
    assert foreign_in_output(["identify", "--layout=flat"], "error: --layout: not known") == []
