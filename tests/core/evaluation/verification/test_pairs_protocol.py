from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.pairs.pair_audit import PairAudit
from faceclr_cli.core.embeddings.store import Store, write_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.verification import roc_plot
from faceclr_cli.core.evaluation.verification.all_pairs_protocol import AllPairsResult
from faceclr_cli.core.evaluation.verification.pairs_result import PairsResult
from faceclr_cli.core.evaluation.verification.verify import verify as run
from faceclr_cli.core.events import Notice, Silent


@pytest.fixture(name="crowd")
def _crowd(crowd: Callable[..., Store]) -> Callable[..., Store]:
    def make(people: int = 20, pictures: int = 4, noise: float = 0.8, dim: int = 16) -> Store:
        return crowd(people, pictures, noise, dim)

    return make


def _lines(store: Store, count: int = 100) -> list[tuple[str, str, int]]:
    genuine = [
        (f"p{who:02d}/{a}.jpg", f"p{who:02d}/{b}.jpg", 1) for who in range(20) for a in range(4) for b in range(a)
    ]
    rng = np.random.default_rng(1)
    impostor = []
    while len(impostor) < count:
        a, b = rng.integers(0, len(store), 2)
        if store.identities[a] != store.identities[b]:
            impostor.append((store.paths[a], store.paths[b], 0))
    return genuine[:count] + impostor


def _measure(tmp_path: Path, store: Store, lines: list[tuple], **options) -> PairsResult:
    write_store(tmp_path / "faces.h5", store)
    (tmp_path / "pairs.csv").write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    config = VerifyConfig(embeddings=tmp_path / "faces.h5", pairs=tmp_path / "pairs.csv", **options)
    result = run(config, Silent())
    assert isinstance(result, PairsResult)
    return result


def test_the_numbers_are_those_of_the_scores(tmp_path: Path, crowd) -> None:
    store = crowd()
    lines = _lines(store)
    result = _measure(tmp_path, store, lines)
    row = {path: store.embeddings[number] for number, path in enumerate(store.paths)}
    scores, same = [float(row[a] @ row[b]) for a, b, _ in lines], [bool(label) for *_, label in lines]
    assert result.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-6)
    assert (result.genuine, result.impostor, result.missing, result.found) == (100, 100, 0, 200)
    assert 0.8 < result.judged.accuracy <= 1
    assert 0 < result.judged.standard_error < 0.1
    assert result.judged.standard_error_over == "people"  # Each of the few is in every fold.
    assert result.judged.precision is not None
    tenth, hundredth, thousandth = result.tar_at_far
    assert tenth.tar == pytest.approx(np.mean(np.array(scores)[:100] >= sorted(scores[100:])[-11] + 1e-9), abs=1e-6)
    assert hundredth.tar is not None
    assert (thousandth.tar, thousandth.reason) == (None, "needs 1,000 impostor pairs, there are 100")
    assert json.loads(json.dumps(result.to_json()))["found"] == 200


def test_missing_pictures_count_as_wrong_and_are_named(tmp_path: Path, crowd) -> None:
    store = crowd(noise=0.05)
    lines = _lines(store)
    assert _measure(tmp_path, store, lines).judged.accuracy == 1.0
    lines[0] = ("gone/1.jpg", "p00/1.jpg", 1)
    lines[-1] = ("p00/1.jpg", "gone/2.jpg", 0)
    result = _measure(tmp_path, store, lines)
    assert (result.missing, len(result.failures)) == (2, 2)
    assert result.failures[0].startswith("gone/1.jpg: not in ")
    assert result.judged.accuracy == pytest.approx(198 / 200)
    assert result.judged.recall == pytest.approx(0.99)
    assert result.tar_at_far[0].tar == pytest.approx(0.99)
    assert result.auc == pytest.approx(0.99)


def test_pairs_that_cannot_be_measured_are_refused(tmp_path: Path, crowd) -> None:
    store = crowd()
    lines = _lines(store)
    with pytest.raises(DataError, match=r"contains none of the 2 pairs.*x/1\.jpg.*the store contains p00/0\.jpg"):
        _measure(tmp_path, store, [("x/1.jpg", "x/2.jpg", 1), ("x/1.jpg", "y/2.jpg", 0)])
    with pytest.raises(DataError, match="a pair has no label; every pair needs"):
        _measure(tmp_path, store, [line[:2] for line in lines])
    with pytest.raises(DataError, match="10 folds need 10 or more pairs of each kind, but there are"):
        _measure(tmp_path, store, lines[:5] + lines[-5:])
    with pytest.raises(DataError, match="both genuine and impostor"):
        _measure(tmp_path, store, lines[:50])
    with pytest.raises(ValueError, match="--threshold"):
        _measure(tmp_path, store, lines, threshold=0.3)


def test_a_store_without_faces_is_an_error_of_one_line(tmp_path: Path, crowd) -> None:
    store = crowd()
    lines = _lines(store)
    empty = store.take([])
    assert len(replace(empty)) == 0
    with pytest.raises(DataError, match="the store contains nothing"):
        _measure(tmp_path, empty, lines)


def test_all_pairs_of_a_store(tmp_path: Path, crowd) -> None:
    store = crowd()
    store = replace(store, identities=(None, *store.identities[1:]))
    write_store(tmp_path / "faces.h5", store)
    result = run(VerifyConfig(embeddings=tmp_path / "faces.h5", all_pairs=True), Silent())
    assert isinstance(result, AllPairsResult)
    rows = np.arange(1, 80)
    above = np.triu_indices(79, 1)
    scores = (store.embeddings[rows] @ store.embeddings[rows].T)[above]
    same = np.array([store.identities[rows[a]] == store.identities[rows[b]] for a, b in zip(*above, strict=True)])
    assert (result.faces, result.genuine, result.impostor) == (79, same.sum(), (~same).sum())
    assert result.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-6)
    assert [row.far for row in result.tar_at_far] == [0.1, 0.01, 0.001]
    assert result.unmeasured == (1e-4, 1e-5, 1e-6)
    for row in result.tar_at_far:
        assert np.mean(scores[~same] >= row.threshold - 1e-6) <= row.far + 1e-9
        assert row.tar == pytest.approx(np.mean(scores[same] >= row.threshold - 1e-6), abs=1e-3)
    done = CliRunner().invoke(app, ["verify", "--embeddings", str(tmp_path / "faces.h5"), "--all-pairs"])
    assert done.exit_code == 0, done.output
    assert "all pairs of 79 faces" in done.stdout
    assert "FAR 1e-06 requires 1,000,000 impostor pairs" in done.stdout


def _of_scores(path: Path, genuine: list[float], impostor: list[float]) -> Path:
    lines = [f"{score},1" for score in genuine] + [f"{score},0" for score in impostor]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_other_pairs_choose_the_threshold_and_the_other_way_round(tmp_path: Path) -> None:
    # Alone, the first list is best parted at 0.45, halfway between 0.5 and 0.4, and the second at 0.65.
    judged = _of_scores(tmp_path / "judged.csv", [0.9, 0.6, 0.6, 0.5], [0.4, 0.3, 0.2, 0.1])
    other = _of_scores(tmp_path / "other.csv", [0.9, 0.8, 0.7, 0.7], [0.6, 0.3, 0.2, 0.1])
    result = run(VerifyConfig(protocol="scores", pairs=judged, calibrate_on=other), Silent())
    assert isinstance(result, PairsResult)
    assert result.judged.threshold == pytest.approx(0.65)
    assert (result.judged.folds, result.judged.accuracy, result.judged.backwards) == (1, 5 / 8, 7 / 8)
    assert result.judged.standard_error == pytest.approx((5 / 8 * 3 / 8 / 8) ** 0.5)
    assert result.judged.standard_error_over == "pairs"
    assert (result.judged.precision, result.judged.recall) == (1.0, 1 / 4)
    assert result.best_threshold == pytest.approx(0.45)
    assert [point.fold_mean for point in result.tar_at_far] == [None] * 3
    line = ["verify", "--protocol", "scores", "--pairs", str(judged), "--calibrate-on", str(other)]
    done = CliRunner().invoke(app, line)
    assert f"62.5% ± 17.1% at the threshold of {other}" in done.stdout
    assert "87.5% on the pairs of --calibrate-on at the best threshold of --pairs" in done.stdout
    assert "0.650; 0.450 has the highest accuracy on these pairs" in done.stdout


def test_other_pairs_of_a_store_choose_the_threshold_too(tmp_path: Path, crowd) -> None:
    store = crowd(noise=0.8)
    lines = _lines(store)
    (tmp_path / "other.csv").write_text("".join(f"{a},{b},{same}\n" for a, b, same in [*lines[::2], ("x", "y", 0)]))
    result = _measure(tmp_path, store, lines[1::2], calibrate_on=tmp_path / "other.csv")
    assert result.judged.threshold is not None
    row = {path: store.embeddings[number] for number, path in enumerate(store.paths)}
    right = [(row[a] @ row[b] >= result.judged.threshold) == same for a, b, same in lines[1::2]]
    assert result.judged.accuracy == np.mean(right)
    (tmp_path / "other.csv").write_text("p00/0.jpg,p00/1.jpg\n")
    with pytest.raises(DataError, match=r"other\.csv: a pair has no label"):
        _measure(tmp_path, store, lines, calibrate_on=tmp_path / "other.csv")


def test_the_results_are_a_line_for_each_pair_and_add_up_to_the_accuracy(tmp_path: Path, crowd) -> None:
    store = crowd()
    lines = _lines(store)
    lines[3] = ("gone/1.jpg", "p00/1.jpg", 1)
    result = _measure(tmp_path, store, lines, results=tmp_path / "out" / "results.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [(row["a"], row["b"], int(row["same"])) for row in rows] == lines
    assert {tuple(row) for row in rows} == {("a", "b", "same", "score", "accepted", "right", "reason")}
    assert np.mean([row["right"] for row in rows]) == pytest.approx(result.judged.accuracy)
    accepted = [row["same"] for row in rows if row["accepted"]]
    assert np.mean(accepted) == pytest.approx(result.judged.precision)
    assert sum(accepted) / 100 == pytest.approx(result.judged.recall)
    assert (rows[3]["score"], rows[3]["accepted"], rows[3]["right"]) == (None, None, False)
    assert rows[3]["reason"].startswith("gone/1.jpg: not in ")
    assert all(row["reason"] is None for row in rows if row is not rows[3])


def test_the_plot_is_drawn_in_the_format_of_its_name(tmp_path: Path, crowd) -> None:
    store = crowd()
    lines = _lines(store)
    lines[3] = ("gone/1.jpg", "p00/1.jpg", 1)
    for name, start in (("roc.png", b"\x89PNG"), ("roc.svg", b"<?xml")):
        _measure(tmp_path, store, lines, plot=tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    # The same if the people are unknown.
    scores = _of_scores(tmp_path / "scores.csv", [0.9] * 10, [0.1] * 10)
    run(VerifyConfig(protocol="scores", pairs=scores, plot=tmp_path / "scores.pdf"), Silent())
    assert (tmp_path / "scores.pdf").read_bytes().startswith(b"%PDF")


def test_a_plot_that_cannot_be_drawn_is_refused_before_the_work(tmp_path: Path, crowd) -> None:
    store = crowd()
    with pytest.raises(ConfigError, match=r"roc\.gif: unsupported picture format"):
        _measure(tmp_path, store, _lines(store), plot=tmp_path / "roc.gif", results=tmp_path / "results.jsonl")
    assert not (tmp_path / "results.jsonl").exists()


def test_pairs_that_should_not_be_in_the_list_are_counted(tmp_path: Path, crowd) -> None:
    store = crowd(noise=0.05)
    hashes = dict(zip(store.paths, store.content_hashes, strict=True)) | {"p03/1.jpg": "p03/0.jpg"}
    store = replace(store, content_hashes=tuple(hashes[path] for path in store.paths))
    lines = [line for line in _lines(store) if {"p03/0.jpg", "p03/1.jpg"} != set(line[:2])]
    clean = _measure(tmp_path, store, list(dict.fromkeys(lines)))
    assert clean.audit == PairAudit(repeated=0, contradictory=0, itself=0, copies=0)
    assert (clean.people, clean.shared) == (20, None)
    a, b, same = lines[-1]
    lines += [(b, a, same), ("p04/0.jpg", "p04/0.jpg", 1), ("p03/0.jpg", "p03/1.jpg", 1)]
    result = _measure(tmp_path, store, [*dict.fromkeys(lines), (a, b, 1)])
    # Two earlier lines list the last pair with the other label.
    assert result.audit == PairAudit(repeated=2, contradictory=1, itself=1, copies=1)
    # With it, folders cannot be people.
    assert result.people is None
    line = ["verify", "--embeddings", str(tmp_path / "faces.h5"), "--pairs", str(tmp_path / "pairs.csv")]
    shown = " ".join(CliRunner().invoke(app, line).stdout.split())
    assert (
        "warning 2 pairs listed twice, 1 pair listed as both, 1 pair of a picture with itself, 1 pair of two copies"
        in shown
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"all_pairs": True}, "give --embeddings"),
        ({"embeddings": Path("a.h5")}, "--pairs or --all-pairs"),
        (
            {"embeddings": Path("a.h5"), "all_pairs": True, "pairs": Path("p.csv")},
            "--pairs: cannot be combined with --all-pairs",
        ),
        ({"protocol": "cfp"}, "give --root"),
        (
            {"protocol": "scores", "pairs": Path("s.csv"), "root": Path("r")},
            "--root: cannot be combined with --protocol scores",
        ),
        ({"pairs": Path("p.csv"), "plot": Path("p.png")}, "--plot: requires --protocol"),
        ({"pairs": Path("p.csv"), "threshold": 0.3, "far": 0.01}, "--far cannot be combined with --threshold"),
        ({"photos": (Path("a"), Path("b")), "root": Path("r")}, "--root: cannot be combined with two photographs"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VerifyConfig(**options)


def test_distances_given_as_scores_are_told_of(tmp_path: Path) -> None:
    heard: list[str] = []

    class Ear:
        def report(self, event: object) -> None:
            if isinstance(event, Notice):
                heard.append(event.text)

    for genuine, impostor in (([0.9, 0.8], [0.2, 0.1]), ([0.1, 0.2], [0.8, 0.9])):
        file = _of_scores(tmp_path / "scores.csv", genuine, impostor)
        run(VerifyConfig(pairs=file, protocol="scores", folds=2), Ear())
    assert len(heard) == 1
    assert "If the scores are distances" in heard[0]


def test_a_store_is_asked_for_pictures_in_any_unicode_form(tmp_path: Path, crowd) -> None:
    store = crowd()
    paths = tuple(path.replace("p", "é") for path in store.paths)
    lines = [(a.replace("p", "e\u0301"), b.replace("p", "é"), same) for a, b, same in _lines(store)]
    result = _measure(tmp_path, replace(store, paths=paths), lines)
    assert (result.missing, result.people) == (0, 20)


def test_folds_that_no_two_people_share_are_as_lfw_reports_them(tmp_path: Path, crowd) -> None:
    store = crowd(20, 5, 0.8)
    lines = []
    for fold in range(10):  # Two people each: every genuine and ten impostor pairs.
        one, other = ([f"p{2 * fold + who:02d}/{number}.jpg" for number in range(5)] for who in (0, 1))
        lines += [
            (album[a], album[b], 1) for album in (one, other) for a, b in ((0, 1), (1, 2), (2, 3), (3, 4), (0, 4))
        ]
        lines += [(a, b, 0) for a, b in zip(one * 2, other + other[::-1], strict=True)]
    result = _measure(tmp_path, store, lines)
    assert result.judged.standard_error_over == "folds"
    by_people = _measure(tmp_path, store, [*lines[::2], *lines[1::2]])
    assert by_people.judged.standard_error_over == "people"
    done = CliRunner().invoke(
        app, ["verify", "--embeddings", str(tmp_path / "faces.h5"), "--pairs", str(tmp_path / "pairs.csv")]
    )
    assert "over 10 folds that share people" in done.stdout


def test_the_plot_shows_errors_without_the_worst_pictures(
    tmp_path: Path, crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = crowd()
    rng = np.random.default_rng(0)
    scores, norms = rng.random((2, len(store))).astype(np.float32)
    norms[0] = np.nan  # A measure that is unknown for one picture is not drawn.
    lines = [*_lines(store), ("p00/0.jpg", "gone.jpg", 1)]
    drawn = []
    monkeypatch.setattr(roc_plot, "draw_verification", lambda *arguments: drawn.append(arguments[-1]))
    result = _measure(tmp_path, replace(store, detection_scores=scores, norms=norms), lines, plot=tmp_path / "plot.png")
    [discards] = drawn
    assert list(discards.curves) == ["detection_score"]
    assert discards.far == 0.01
    discarded, fnmr = discards.curves["detection_score"]
    row = {path: number for number, path in enumerate(store.paths)}
    used = {name for a, b, _ in lines[:-1] for name in (a, b)}
    worst = sorted(used, key=lambda name: scores[row[name]])[: len(used) // 2]
    left = [(a, b) for a, b, same in lines[:-1] if same and not {a, b} & set(worst)]
    values = [store.embeddings[row[a]] @ store.embeddings[row[b]] for a, b in left]
    expected = np.mean(np.array(values) < result.tar_at_far[1].threshold)
    assert fnmr[np.searchsorted(discarded, len(worst) / len(used))] == pytest.approx(expected)
