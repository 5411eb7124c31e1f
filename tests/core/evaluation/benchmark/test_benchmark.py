from __future__ import annotations

import csv
import io
import json
import pickle
import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.benchmark import BenchmarkConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.configs.split import SplitConfig
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.splitting.split import split
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.embeddings.embedding_cache import forget_cached_embeddings
from faceclr_cli.core.embeddings.store import Store, write_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.benchmark.benchmark import benchmark
from faceclr_cli.core.evaluation.benchmark.benchmark_result import BenchmarkCell, BenchmarkResult
from faceclr_cli.core.evaluation.benchmark.bin_export import write_benchmark_bin
from faceclr_cli.core.evaluation.verification.pairs_result import PairsResult
from faceclr_cli.core.evaluation.verification.verify import verify
from faceclr_cli.core.events import Notice, Silent
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint
from faceclr_cli.core.preparing.prepare import prepare
from tests.core.evaluation.calibration.calibrating import make_desk

PEOPLE, EACH = 9, 4


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of drawn people and their faces, each with pairs, the same as a .bin file, and an encoder `toy`."""
    desk = make_desk(tmp_path_factory.mktemp("desk"))
    write_pairs(desk / "people" / "pairs.csv", desk / "people")
    (desk / "faces" / "pairs.csv").write_text((desk / "people" / "pairs.csv").read_text())
    (desk / "bins").mkdir()
    write_benchmark_bin(BenchmarkConfig(sets=(desk / "people",), write_bin=desk / "bins" / "drawn.bin"), Silent())
    return desk


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path_factory.mktemp("cache")))


def write_pairs(path: Path, folder: Path) -> None:
    """All genuine pairs, and as many impostor pairs in mixed order."""
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.jpg"))
    every = list(combinations(names, 2))
    same = [(a, b, 1) for a, b in every if a.split("/")[0] == b.split("/")[0]]
    others = [(a, b, 0) for a, b in every if a.split("/")[0] != b.split("/")[0]]
    chosen = np.random.default_rng(0).permutation(len(others))[: len(same)]
    rows = [*same, *(others[number] for number in chosen)]
    order = np.random.default_rng(1).permutation(len(rows))
    path.write_text("a,b,same\n" + "".join("{},{},{}\n".format(*rows[number]) for number in order))


def measure(*sets: Path, model: tuple[str, ...] = ("pixels",), **options: object) -> BenchmarkResult:
    return benchmark(BenchmarkConfig(sets=sets, model=model, **options), Silent())  # type: ignore[arg-type]


def figures(cell: BenchmarkCell) -> tuple:
    tars = tuple((point.tar, point.threshold) for point in cell.tar_at_far)
    return cell.accuracy, cell.fold_accuracies, cell.fold_thresholds, cell.auc, cell.eer, tars, cell.missing


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


def test_every_two_encoders_are_compared_on_the_same_pairs(desk: Path, tmp_path: Path) -> None:
    """Over people where they are known, and over pairs in a .bin file; the table compares with the best encoder."""
    models = ("pixels", str(desk / "toy"), "sface")
    result = measure(desk / "faces", desk / "bins" / "drawn.bin", model=models)
    accuracy = {(cell.set, cell.encoder): cell.accuracy for cell in result.cells}
    assert [(each.set, each.first, each.second) for each in result.comparisons] == [
        (name, *two) for name in ("faces", "drawn") for two in combinations(("pixels", "toy", "sface"), 2)
    ]
    assert [each.resampled for each in result.comparisons] == ["people"] * 3 + ["pairs"] * 3
    for each in result.comparisons:
        # Folds differ in size by a pair at most.
        assert each.difference == pytest.approx(
            accuracy[each.set, each.first] - accuracy[each.set, each.second], abs=0.01
        )
        assert each.difference == (each.only_first - each.only_second) / 108
        assert each.low <= each.difference <= each.high
    table = run(desk / "faces", "-m", "pixels", "-m", "sface")
    best, other = sorted(("pixels", "sface"), key=lambda name: -accuracy["faces", name])
    (line,) = [row.split() for row in table.split("set, best encoder")[1].splitlines() if row.startswith("faces")]
    assert line[:3] == ["faces", best, other]
    assert float(line[3]) >= 0


def test_what_an_encoder_has_seen_is_reported_and_left_out(desk: Path, tmp_path: Path) -> None:
    """People by name in any spelling, pictures by their details; the figures are those of the pairs that are left."""
    trained = tmp_path / "trained"
    (trained / "Person_01").mkdir(parents=True)
    (trained / "someone").mkdir()
    shutil.copy(desk / "people" / "person-09" / "04.jpg", trained / "Person_01" / "other.jpg")
    image = cv2.imread(str(desk / "people" / "person-02" / "03.jpg"))
    smaller = cv2.resize(image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(trained / "someone" / "again.jpg"), smaller, [cv2.IMWRITE_JPEG_QUALITY, 80])
    cell = measure(desk / "people", trained_on=(trained,)).cells[0]
    overlap = cell.overlap
    assert overlap is not None
    assert overlap.people == ("person-01",)
    assert dict(overlap.examples) == {
        "person-02/03.jpg": str(trained / "someone" / "again.jpg"),
        "person-09/04.jpg": str(trained / "Person_01" / "other.jpg"),
    }
    rows = list(csv.reader(io.StringIO((desk / "people" / "pairs.csv").read_text())))[1:]
    seen = ("person-01/", "person-02/03.jpg", "person-09/04.jpg")
    left = [row for row in rows if not any(name.startswith(seen) for name in row[:2])]
    assert overlap.pairs == len(rows) - len(left)
    (tmp_path / "left.csv").write_text("".join(",".join(row) + "\n" for row in left))
    alone = measure(desk / "people", pairs=tmp_path / "left.csv").cells[0]
    assert (overlap.accuracy, overlap.auc) == (alone.accuracy, alone.auc)
    assert overlap.accuracy != cell.accuracy
    binary = measure(desk / "bins" / "drawn.bin", trained_on=(trained,)).cells[0].overlap
    assert binary is not None
    assert (binary.people, binary.pictures) == (None, 2)
    assert "seen in training" in run(desk / "people", "-m", "pixels", "--trained-on", trained)
    clean = measure(desk / "people", trained_on=(desk / "people" / "person-01",), pairs=tmp_path / "left.csv")
    assert clean.cells[0].overlap is not None
    assert (clean.cells[0].overlap.pairs, clean.cells[0].overlap.accuracy) == (0, None)
    assert measure(desk / "people").cells[0].overlap is None


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
    """Its cell says why, and no mean is computed; if no cell is left, the run fails."""
    prepare(PrepareConfig(source=desk / "people", out=tmp_path / "wide", align="eyes", workers=1), Silent())
    (tmp_path / "wide" / "pairs.csv").write_text((desk / "people" / "pairs.csv").read_text())
    result = measure(desk / "bins" / "drawn.bin", tmp_path / "wide")
    assert result.cells[0].accuracy is not None
    assert result.cells[1].accuracy is None
    assert "were preprocessed differently: " in str(result.cells[1].reason)
    assert result.means[0].accuracy is None
    with pytest.raises(DataError, match="no encoder could be measured on any set"):
        measure(tmp_path / "wide")


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["benchmark", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


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
