from __future__ import annotations

import csv
import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.benchmark import BenchmarkConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.export import ExportConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.configs.split import SplitConfig
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.splitting.split import split
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.embeddings.embedding_cache import forget_cached_embeddings
from faceclr_cli.core.embeddings.store import Store, write_store
from faceclr_cli.core.encoders.export import export
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.benchmark.benchmark import benchmark
from faceclr_cli.core.evaluation.benchmark.bin_export import write_benchmark_bin
from faceclr_cli.core.evaluation.verification.pairs_result import PairsResult
from faceclr_cli.core.evaluation.verification.verify import verify
from faceclr_cli.core.events import Notice, Silent
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint
from faceclr_cli.core.preparing.prepare import prepare
from tests.core.evaluation.benchmark.benchmarking import EACH, PEOPLE, figures, measure, run


def test_a_bin_gives_the_figures_of_the_photographs_to_the_last_digit(desk: Path) -> None:
    for rule in ("faceclr", "insightface"):
        result = measure(desk / "people", desk / "bins" / "drawn.bin", model=("pixels", str(desk / "toy")), rule=rule)
        cells = {(cell.set, cell.encoder): cell for cell in result.cells}
        for encoder in ("pixels", "toy"):
            folder, binary = cells["people", encoder], cells["drawn", encoder]
            assert figures(folder) == figures(binary)
            assert 0.5 < folder.accuracy < 1
            assert folder.reason is binary.reason is None
        assert [each.pictures for each in result.sets] == [PEOPLE * EACH] * 2


def test_the_figures_are_those_of_verify(desk: Path) -> None:
    cell = measure(desk / "faces").cells[0]
    config = VerifyConfig(protocol="lfw", pairs=desk / "faces" / "pairs.csv", root=desk / "faces", model="pixels")
    expected = verify(config, Silent())
    assert isinstance(expected, PairsResult)
    assert cell.accuracy == pytest.approx(expected.judged.accuracy, abs=1e-12)
    assert (cell.spread, cell.spread_over) == (pytest.approx(expected.judged.standard_error), "people")
    assert (cell.auc, cell.eer) == (pytest.approx(expected.auc), pytest.approx(expected.eer))
    assert np.mean(cell.fold_accuracies) == pytest.approx(cell.accuracy)


def test_lists_in_blocks_are_not_for_the_rule_of_insightface(desk: Path, tmp_path: Path) -> None:
    """Its folds are in file order, so nearly each would contain one kind of pair."""
    rows = sorted((desk / "faces" / "pairs.csv").read_text().splitlines()[1:], key=lambda row: row[-1])
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    base = ["benchmark", str(desk / "faces"), "-m", "pixels", "--rule", "insightface"]
    blocks = CliRunner().invoke(app, [*base, "--pairs", str(tmp_path / "pairs.csv")])
    assert "9 of 10 folds in file order contain only genuine or only impostor pairs" in blocks.stderr
    mixed = CliRunner().invoke(app, base)
    assert "folds in file order contain" not in mixed.stderr


def test_prepared_faces_keep_their_files_in_a_bin(desk: Path, tmp_path: Path) -> None:
    written = write_benchmark_bin(BenchmarkConfig(sets=(desk / "faces",), write_bin=tmp_path / "a.bin"), Silent())
    pictures, same = pickle.loads((tmp_path / "a.bin").read_bytes())
    rows = list(csv.reader(io.StringIO((desk / "faces" / "pairs.csv").read_text())))[1:]
    assert (written.genuine, written.impostor, written.left_out) == (54, 54, 0)
    assert same == [row[2] == "1" for row in rows]
    first = desk / "faces" / rows[0][0].replace(".jpg", ".png")
    assert pictures[0] == first.read_bytes()
    assert figures(measure(tmp_path / "a.bin").cells[0]) == figures(measure(desk / "faces").cells[0])


def test_each_picture_is_embedded_once_for_each_encoder(desk: Path, tmp_path: Path) -> None:
    """Also if two sets name it, or if another encoder is added; a changed one is embedded again."""
    people = tmp_path / "people"
    shutil.copytree(desk / "people", people)
    (people / "pairs-2.csv").write_text((people / "pairs.csv").read_text())
    first = measure(people)
    assert [(cell.set, cell.accuracy) for cell in first.cells] == [
        ("people/pairs", first.cells[0].accuracy),
        ("people/pairs-2", first.cells[0].accuracy),
    ]
    assert [each.embedded for each in first.encoders] == [PEOPLE * EACH]
    second = measure(people, model=("pixels", str(desk / "toy")))
    assert [(each.name, each.embedded) for each in second.encoders] == [("pixels", 0), ("toy", PEOPLE * EACH)]
    assert second.encoders[0].faces_per_second is None
    assert [cell for cell in second.cells if cell.encoder == "pixels"] == list(first.cells)
    shutil.copy(people / "person-01" / "01.jpg", people / "person-02" / "02.jpg")
    image = cv2.imread(str(people / "person-03" / "03.jpg"))
    cv2.imwrite(str(people / "person-03" / "03.jpg"), image[:, ::-1])
    assert [each.embedded for each in measure(people).encoders] == [1]
    forget_cached_embeddings()
    assert [each.embedded for each in measure(people).encoders] == [PEOPLE * EACH]


def test_pictures_that_are_missing_or_without_a_face_count_as_wrong(desk: Path, tmp_path: Path) -> None:
    people = tmp_path / "people"
    shutil.copytree(desk / "people", people)
    whole = measure(people).cells[0]
    (people / "person-01" / "01.jpg").unlink()
    cv2.imwrite(str(people / "person-02" / "01.jpg"), np.full((200, 200, 3), 128, np.uint8))
    notices: list[Notice] = []

    class Noting:
        def report(self, event: object) -> None:
            if isinstance(event, Notice):
                notices.append(event)

    result = benchmark(BenchmarkConfig(sets=(people,), model=("pixels",)), Noting())
    (cell,) = result.cells
    rows = list(csv.reader(io.StringIO((people / "pairs.csv").read_text())))[1:]
    gone = {"person-01/01.jpg", "person-02/01.jpg"}
    assert cell.missing == sum(bool(gone & set(row[:2])) for row in rows) > 6
    assert cell.not_enrolled == 1
    assert cell.accuracy < whole.accuracy
    assert any("person-01/01.jpg: not in" in reason for reason in cell.failures)
    assert [f"{cell.missing} of 108 pairs could not be compared" in notice.text for notice in notices] == [True]
    left = write_benchmark_bin(BenchmarkConfig(sets=(people,), write_bin=tmp_path / "a.bin"), Silent())
    assert left.left_out == cell.missing


def test_every_kind_of_set_is_found(desk: Path, tmp_path: Path) -> None:
    lfw = tmp_path / "lfw"
    for number in range(1, PEOPLE + 1):
        (lfw / "images" / f"P_{number}").mkdir(parents=True)
        for place in range(1, EACH + 1):
            source = desk / "people" / f"person-{number:02d}" / f"{place:02d}.jpg"
            shutil.copy(source, lfw / "images" / f"P_{number}" / f"P_{number}_{place:04d}.jpg")
    same = [f"P_{who}\t{a}\t{b}" for who in range(1, PEOPLE + 1) for a, b in ((1, 2), (3, 4))]
    others = [f"P_{who}\t1\tP_{who % PEOPLE + 1}\t{place}" for who in range(1, PEOPLE + 1) for place in (2, 3)]
    (lfw / "pairs.txt").write_text("\n".join([f"{len(same)}", *same, *others]) + "\n")
    splits = tmp_path / "splits"
    faces = tmp_path / "faces"
    prepare(PrepareConfig(source=desk / "people", out=faces, workers=1), Silent())
    split(SplitConfig(faces=faces, out=splits, train=0.2, val=0.2, test=0.6), Silent())
    sets = (lfw, lfw / "pairs.txt", splits, splits / "test", desk / "bins", desk / "bins" / "drawn.bin")
    result = measure(*sets, folds=2)
    assert [each.name for each in result.sets] == ["lfw", str(splits), str(splits / "test"), "drawn"]
    assert [each.genuine for each in result.sets] == [18, result.sets[2].genuine, result.sets[1].genuine, 54]
    assert [cell.reason for cell in result.cells] == [None] * 4
    assert result.cells[1].accuracy == result.cells[2].accuracy
    assert result.means[0].accuracy == pytest.approx(np.mean([cell.accuracy for cell in result.cells]))


def test_cfp_is_read_in_its_official_layout(desk: Path, tmp_path: Path) -> None:
    """Its folds are those of the archive: each consists of a split's genuine and impostor pairs."""
    protocol = tmp_path / "cfp" / "Protocol"
    frontal, profile = ([f"../Data/{who:03d}/{kind}.jpg" for who in range(1, 10)] for kind in ("frontal", "profile"))
    for name, paths, place in (("F", frontal, 1), ("P", profile, 2)):
        for who, path in enumerate(paths, start=1):
            target = (protocol / path).resolve()
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(desk / "people" / f"person-{who:02d}" / f"{place:02d}.jpg", target)
        protocol.mkdir(exist_ok=True)
        lines = [f"{who} {path}\n" for who, path in enumerate(paths, start=1)]
        (protocol / f"Pair_list_{name}.txt").write_text("".join(lines))
    for number in range(10):
        folder = protocol / "Split" / "FP" / f"{number + 1:02d}"
        folder.mkdir(parents=True)
        one, other = number % 9 + 1, (number + 3) % 9 + 1
        (folder / "same.txt").write_text(f"{one},{one}\n{other},{other}\n")
        (folder / "diff.txt").write_text(f"{one},{other}\n{other},{one}\n")
    result = measure(tmp_path / "cfp")
    assert [(each.name, each.pictures, each.genuine, each.impostor) for each in result.sets] == [("cfp", 18, 20, 20)]
    assert result.cells[0].missing == 0
    assert len(result.cells[0].fold_accuracies) == 10


def test_a_store_is_measured_without_its_encoder(tmp_path: Path, crowd: Callable[..., Store]) -> None:
    store = crowd(20, 4, 0.8)
    write_store(tmp_path / "crowd.h5", store)
    genuine = [f"{a},{b},1\n" for a, b in zip(store.paths[::4], store.paths[1::4], strict=True)]
    others = [f"{a},{b},0\n" for a, b in zip(store.paths[::4], store.paths[5::4], strict=False)]
    (tmp_path / "pairs.csv").write_text("".join(genuine + others))
    result = benchmark(BenchmarkConfig(sets=(tmp_path / "crowd.h5",), pairs=tmp_path / "pairs.csv"), Silent())
    assert [(cell.set, cell.encoder) for cell in result.cells] == [("crowd", "crowd")]
    assert result.cells[0].accuracy > 0.8
    with pytest.raises(ConfigError, match="a store contains no pairs"):
        benchmark(BenchmarkConfig(sets=(tmp_path / "crowd.h5",)), Silent())
    with pytest.raises(ConfigError, match="--model"):
        measure(tmp_path / "crowd.h5", pairs=tmp_path / "pairs.csv")


def test_pictures_in_a_bin_that_are_not_arcface_crops_are_refused(desk: Path, tmp_path: Path) -> None:
    cropper = PhotoCropper(default_fingerprint(112))
    pictures = []
    for path in sorted((desk / "people").rglob("*.jpg"))[:20]:
        box = cropper.crop_file(path).face.box
        image = cv2.imread(str(path))
        x, y, width, height = (int(max(0, side)) for side in box)
        wide = image[max(0, y - height) : y + 2 * height, max(0, x - width) : x + 2 * width]
        pictures.append(cv2.imencode(".png", cv2.resize(wide, (112, 112)))[1].tobytes())
    (tmp_path / "loose.bin").write_bytes(pickle.dumps((pictures, [True, False] * 5), 4))
    with pytest.raises(ConfigError, match=r"loose\.bin: these are not ArcFace crops"):
        measure(tmp_path / "loose.bin")


def test_an_encoder_that_cannot_take_a_set_does_not_end_the_run(desk: Path, tmp_path: Path) -> None:
    """Its cell states the reason, and no mean is computed; if no cell is left, the run fails."""
    prepare(PrepareConfig(source=desk / "people", out=tmp_path / "wide", align="eyes", workers=1), Silent())
    (tmp_path / "wide" / "pairs.csv").write_text((desk / "people" / "pairs.csv").read_text())
    result = measure(desk / "bins" / "drawn.bin", tmp_path / "wide")
    assert result.cells[0].accuracy is not None
    assert result.cells[1].accuracy is None
    assert "were preprocessed differently: " in str(result.cells[1].reason)
    assert result.means[0].accuracy is None
    with pytest.raises(DataError, match="no encoder could be measured on any set"):
        measure(tmp_path / "wide")


def test_each_format_shows_the_best_of_each_set(desk: Path) -> None:
    base = [desk / "bins" / "drawn.bin", desk / "faces", "-m", "pixels", "-m", desk / "toy"]
    result = json.loads(run(*base, "--json"))
    accuracies = {(cell["set"], cell["encoder"]): cell["accuracy"] for cell in result["cells"]}
    assert accuracies.keys() == {(name, encoder) for name in ("drawn", "faces") for encoder in ("pixels", "toy")}
    best = max(("pixels", "toy"), key=lambda encoder: accuracies["drawn", encoder])
    worse = {"pixels": "toy", "toy": "pixels"}[best]
    markdown = run(*base, "--format", "markdown").splitlines()
    assert len(markdown) == 2 + 6
    (line,) = [row for row in markdown if row.startswith(f"| drawn | {best} |")]
    (other,) = [row for row in markdown if row.startswith(f"| drawn | {worse} |")]
    assert f"| **{100 * accuracies['drawn', best]:.2f}** ± " in line
    assert f"| {100 * accuracies['drawn', worse]:.2f} ± " in other
    latex = run(*base, "--format", "latex")
    assert f"\\textbf{{{100 * accuracies['drawn', best]:.2f}}} $\\pm$" in latex
    assert latex.startswith("\\begin{tabular}") and latex.rstrip().endswith("\\end{tabular}")
    rows = list(csv.DictReader(io.StringIO(run(*base, "--format", "csv"))))
    assert {(row["set"], row["encoder"]): float(row["accuracy"]) for row in rows if row["set"] != "mean"} == accuracies
    assert [row["encoder"] for row in rows if row["set"] == "mean"] == ["pixels", "toy"]
    table = run(*base)
    assert "standard error over" in table
    assert "TAR@0.01" in table
    assert "standard deviation" in run(*base, "--rule", "insightface")


def test_mirror_images_are_added_before_or_after_normalization(desk: Path, tmp_path: Path) -> None:
    """The figures are those of a store made by embed with the same --flip, and the table names it."""
    found = {}
    for flip in ("none", "mean", "sum"):
        store = tmp_path / f"{flip}.h5"
        embed(EmbedConfig(faces=desk / "faces", model=str(desk / "toy"), out=store, flip=flip), Silent())
        result = measure(desk / "faces", model=(str(desk / "toy"),), flip=flip)
        (direct,) = result.cells
        (stored,) = benchmark(BenchmarkConfig(sets=(store,), pairs=desk / "faces" / "pairs.csv"), Silent()).cells
        assert (direct.auc, direct.accuracy) == (pytest.approx(stored.auc), pytest.approx(stored.accuracy))
        assert result.encoders[0].flip == flip
        found[flip] = direct.auc
    assert len(set(found.values())) == 3
    assert "sum of the unnormalized embeddings" in run(desk / "faces", "-m", "pixels", "--flip", "sum")
    assert "mean of the normalized embeddings" in run("--flip", desk / "faces", "-m", "pixels")


def test_sums_are_refused_where_the_encoder_normalizes_inside(desk: Path) -> None:
    exported = Path(__file__).parents[3] / "samples" / "last_release" / "encoder.onnx"
    for command in ("benchmark", "embed"):
        arguments = [command, str(desk / "faces"), "--model", str(exported), "--flip", "sum"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 4, done.output
        said = done.stderr.replace("\n", " ")
        assert "--flip sum: the encoder encoder normalizes its embeddings inside" in said


def test_sums_of_an_exported_run_are_those_of_its_weights(desk: Path, tmp_path: Path) -> None:
    """On the CPU, ONNX Runtime usually runs the graph beside the weights, which normalizes inside."""
    shutil.copytree(desk / "toy", tmp_path / "toy")
    export(ExportConfig(run=tmp_path / "toy"), Silent())
    assert (tmp_path / "toy" / "encoder" / "encoder.onnx").exists()
    exported, plain = (
        measure(desk / "faces", model=(str(run),), flip="sum") for run in (tmp_path / "toy", desk / "toy")
    )
    assert figures(exported.cells[0]) == figures(plain.cells[0])


def test_damaged_bins_and_wrong_options_are_errors_of_one_line(desk: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.bin").write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    (tmp_path / "empty").mkdir()
    cases = [
        ([tmp_path / "evil.bin"], 3, "evil.bin: not a .bin file of pairs"),
        ([tmp_path / "missing.bin"], 3, "no such file or folder"),
        ([tmp_path / "empty"], 3, "contains neither .bin files nor pairs"),
        ([], 2, "no sets given"),
        ([desk / "faces", "--model", tmp_path / "nowhere"], 4, "no such folder"),
        ([desk / "bins", "--write-bin", tmp_path / "again.bin"], 2, "is a .bin file already"),
        ([desk / "faces", desk / "bins", "--write-bin", tmp_path / "a.bin"], 2, "requires a single set"),
    ]
    for arguments, code, said in cases:
        done = CliRunner().invoke(app, ["benchmark", *map(str, arguments)])
        assert done.exit_code == code, done.output
        assert said in done.stderr.replace("\n", " ")
        assert "Traceback" not in done.stderr


def test_more_failures_than_allowed_are_an_error_after_the_table(desk: Path, tmp_path: Path) -> None:
    people = tmp_path / "people"
    shutil.copytree(desk / "people", people)
    (people / "person-01" / "01.jpg").unlink()
    done = CliRunner().invoke(app, ["benchmark", str(people), "-m", "pixels", "--max-bad", "0.01"])
    assert done.exit_code == 3
    assert "people  pixels" in done.stdout
    assert "pairs could not be compared, more than --max-bad 0.01" in done.stderr.replace("\n", " ")


@pytest.mark.real
def test_a_bin_of_view_1_gives_the_figures_of_the_folder(real_data: Path, tmp_path: Path) -> None:
    lines = (real_data / "lfw-view1" / "pairsDevTest.txt").read_text().splitlines()[1:]
    (tmp_path / "pairs.txt").write_text("\n".join(["30", *lines[:30], *lines[-30:]]) + "\n")
    folder = BenchmarkConfig(sets=(real_data / "lfw-view1" / "images",), pairs=tmp_path / "pairs.txt", model=("sface",))
    write_benchmark_bin(
        BenchmarkConfig(sets=folder.sets, pairs=folder.pairs, write_bin=tmp_path / "view1.bin"), Silent()
    )
    (direct,) = benchmark(folder, Silent()).cells
    (binary,) = measure(tmp_path / "view1.bin", model=("sface",)).cells
    assert figures(direct) == figures(binary)
    assert direct.accuracy > 0.9
    by_grid = measure(tmp_path / "view1.bin", model=("sface",), rule="insightface").cells[0]
    assert abs(by_grid.accuracy - binary.accuracy) < 0.05
