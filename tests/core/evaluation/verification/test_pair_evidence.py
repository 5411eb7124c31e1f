"""The scores of pairs from photographs, prepared faces, CFP, a store, or a file of scores."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings import embed
from faceclr_cli.core.embeddings.store import Store, read_store, write_store
from faceclr_cli.core.encoders.pixels import PixelsEncoder
from faceclr_cli.core.errors import DataError, FingerprintError
from faceclr_cli.core.evaluation.verification.pairs_result import PairsResult
from faceclr_cli.core.evaluation.verification.verify import verify as run
from faceclr_cli.core.events import Event, Notice, Silent
from faceclr_cli.core.preparing import prepare
from tests.core.encoders.toy_graph import write_toy

PEOPLE = [f"person-{person:02d}" for person in range(1, 11)]


class Listener:
    def __init__(self) -> None:
        self.notices: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten people with two photographs each, named as in LFW, and a list of pairs in LFW's format beside them."""
    drawn, root = tmp_path_factory.mktemp("drawn"), tmp_path_factory.mktemp("scored") / "lfw"
    write_people(drawn, people=10, photos=2, seed=5, reporter=Silent())
    for person in PEOPLE:
        (root / person).mkdir(parents=True)
        for number in (1, 2):
            (drawn / person / f"{number:02d}.jpg").rename(root / person / f"{person}_{number:04d}.jpg")
    lines = ["5\t2"]
    for fold in range(5):
        both = PEOPLE[2 * fold : 2 * fold + 2]
        lines += [f"{person}\t1\t2" for person in both]
        lines += [f"{both[0]}\t{number}\t{both[1]}\t{3 - number}" for number in (1, 2)]
    (root.parent / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root


def _measured(reporter: Silent | Listener | None = None, **options) -> PairsResult:
    result = run(VerifyConfig(**{"folds": 5, "protocol": "lfw", **options}), reporter or Silent())
    assert isinstance(result, PairsResult)
    return result


def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _with_bystanders(store: Store) -> Store:
    """Adds rows as `embed --face all` writes them: each photograph also shows a smaller face of the next person."""
    rows = [row for own in range(len(store)) for row in (own, (own + 2) % len(store))]
    both = store.take(rows)
    sizes = np.tile([[0, 0, 80, 80], [90, 0, 30, 30]], (len(store), 1)).astype(np.float32)
    return replace(
        both,
        paths=tuple(np.repeat(store.paths, 2).tolist()),
        identities=tuple(np.repeat(store.identities, 2).tolist()),
        boxes=sizes,
    )


def test_of_several_rows_of_a_photograph_the_largest_face_counts(root: Path, tmp_path: Path) -> None:
    pairs, one, several = root.parent / "pairs.txt", tmp_path / "one.h5", tmp_path / "all.h5"
    embed.embed(EmbedConfig(faces=root, out=one), Silent())
    write_store(several, _with_bystanders(read_store(one)))
    for options in ({"pairs": pairs, "protocol": None}, {"all_pairs": True, "protocol": None}):
        listener, name = Listener(), {"source": "", "store": ""}
        expected = run(VerifyConfig(embeddings=one, folds=5, **options), Silent())
        found = run(VerifyConfig(embeddings=several, folds=5, **options), listener)
        assert found.to_json() | name == expected.to_json() | name
        assert listener.notices == [
            f"{several}: 20 of 20 photographs have several faces; the largest face of each is used"
        ]
    listener = Listener()
    with pytest.raises(DataError, match="contains none of the 20 pairs"):
        _measured(listener, pairs=pairs, embeddings=several, protocol=None, face="only")


def test_photographs_give_what_their_embeddings_give(root: Path, tmp_path: Path) -> None:
    pairs, store = root.parent / "pairs.txt", tmp_path / "faces.h5"
    # In the middle of the picture, as LFW means it, is also where the protocol looks.
    embed.embed(EmbedConfig(faces=root, out=store, face="center"), Silent())
    own = _measured(pairs=pairs, root=root, results=tmp_path / "own.jsonl")
    stored = _measured(pairs=pairs, embeddings=store, protocol=None, results=tmp_path / "stored.jsonl")
    assert (own.genuine, own.impostor, own.missing, own.people) == (10, 10, 0, 10)
    for one, other in zip(_rows(tmp_path / "own.jsonl"), _rows(tmp_path / "stored.jsonl"), strict=True):
        assert one.pop("score") == pytest.approx(other.pop("score"), abs=1e-6)
        assert one == other
    assert own.best_threshold == pytest.approx(stored.best_threshold, abs=1e-6)
    assert (own.judged, own.auc, own.eer, own.audit) == (stored.judged, stored.auc, stored.eer, stored.audit)
    assert own.fingerprint == stored.fingerprint
    assert (own.encoder, own.source, stored.source) == ("sface", str(root), str(store))


def test_photographs_without_a_face_count_as_wrong_and_are_named(root: Path, tmp_path: Path) -> None:
    pairs, less = root.parent / "pairs.txt", tmp_path / "lfw"
    shutil.copytree(root, less)
    gone, blank = (f"{person}/{person}_0001.jpg" for person in (PEOPLE[0], PEOPLE[9]))
    (less / gone).unlink()
    cv2.imwrite(str(less / blank), np.full((200, 200, 3), 90, np.uint8))
    listener = Listener()
    result = _measured(listener, pairs=pairs, root=less, results=tmp_path / "less.jsonl")
    # Each is in a genuine pair and in an impostor pair.
    assert (result.missing, result.found) == (4, 16)
    failed = [row for row in _rows(tmp_path / "less.jsonl") if row["reason"]]
    assert [row["same"] for row in failed] == [True, False, True, False]
    assert not any(row["right"] for row in failed)
    assert all((row["score"], row["accepted"]) == (None, None) for row in failed)
    assert [reason.split(": ", 1)[0] for reason in result.failures] == [str(less / gone), str(less / blank)]
    assert "no face found" in result.failures[1]
    assert result.judged.recall <= 0.8
    assert result.judged.accuracy == np.mean([row["right"] for row in _rows(tmp_path / "less.jsonl")])
    assert [text for text in listener.notices if "4 of 20 pairs could not be compared and count as wrong" in text]


def test_pairs_of_which_none_can_be_compared_are_an_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"pairs\.txt: none of the 20 pairs could be compared \(first: .*_0001\.jpg"):
        _measured(pairs=root.parent / "pairs.txt", root=tmp_path / "empty", model="pixels")


def test_prepared_faces_are_taken_as_they_are(root: Path, tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    prepare.prepare(PrepareConfig(source=root, out=faces, layout="identities"), Silent())
    results = tmp_path / "faces.jsonl"
    _measured(pairs=root.parent / "pairs.txt", root=faces, model="pixels", results=results)
    for row in _rows(results):
        crops = [cv2.imread(str(faces / row[side]))[..., ::-1] for side in ("a", "b")]
        first, second = PixelsEncoder().embed(np.stack(crops))
        assert row["score"] == pytest.approx(float(first @ second), abs=1e-6)


def test_faces_prepared_in_another_way_are_exit_3_and_name_the_difference(root: Path, tmp_path: Path) -> None:
    faces, pairs = tmp_path / "faces", root.parent / "pairs.txt"
    prepare.prepare(PrepareConfig(source=root, out=faces, layout="identities", align="box"), Silent())
    with pytest.raises(FingerprintError, match="template"):
        _measured(pairs=pairs, root=faces)
    line = ["verify", "--protocol", "lfw", "--pairs", str(pairs), "--root", str(faces)]
    done = CliRunner().invoke(app, line)
    assert (done.exit_code, done.stdout) == (3, "")
    assert "template" in done.stderr


def test_training_people_among_the_pairs_are_named(root: Path, tmp_path: Path) -> None:
    listed = {"Person 02": 3, "person_07": 1, "Ann": 2}
    toy = write_toy(
        tmp_path / "toy.onnx", card={"command": "pretrain", "data": "train", "pictures": 6, "people": listed}
    )
    line = ["verify", "--protocol", "lfw", "--pairs", str(root.parent / "pairs.txt"), "--root", str(root)]
    line += ["--folds", "5", "--model", str(toy)]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    assert "trained on" in done.stdout
    assert "2 of the 10 people: person-02, person-07" in done.stdout
    shown = json.loads(CliRunner().invoke(app, [*line, "--json"]).stdout)
    assert (shown["people"], shown["shared"], shown["encoder"]) == (10, ["person-02", "person-07"], "toy")


def test_cfp_is_measured_by_its_own_pairs_and_folds(root: Path, tmp_path: Path) -> None:
    cfp = tmp_path / "cfp-dataset"
    for name, kind in (("F", "frontal"), ("P", "profile")):
        (cfp / "Protocol").mkdir(parents=True, exist_ok=True)
        listed = []
        for number, person in enumerate(PEOPLE, start=1):
            target = cfp / "Data" / "Images" / f"{number:03d}" / kind / "01.jpg"
            target.parent.mkdir(parents=True)
            shutil.copy(root / person / f"{person}_000{1 if kind == 'frontal' else 2}.jpg", target)
            listed.append(f"{number} ../Data/Images/{number:03d}/{kind}/01.jpg\n")
        (cfp / "Protocol" / f"Pair_list_{name}.txt").write_text("".join(listed))
    for split in range(1, 11):
        folder = cfp / "Protocol" / "Split" / "FP" / f"{split:02d}"
        folder.mkdir(parents=True)
        (folder / "same.txt").write_text(f"{split},{split}\n")
        (folder / "diff.txt").write_text(f"{split},{split % 10 + 1}\n")
    store = tmp_path / "cfp.h5"
    embed.embed(EmbedConfig(faces=cfp, out=store, face="center", model="pixels"), Silent())
    row = dict(zip(read_store(store).paths, read_store(store).embeddings, strict=True))
    results = tmp_path / "cfp.jsonl"
    result = _measured(protocol="cfp", root=cfp, model="pixels", folds=10, results=results)
    assert (result.genuine, result.impostor, result.missing, result.people) == (10, 10, 0, 10)
    assert result.judged.folds == 10
    rows = _rows(results)
    assert [(pair["a"][12:23], pair["b"][12:23], pair["same"]) for pair in rows[:2]] == [
        ("001/frontal", "001/profile", True),
        ("001/frontal", "002/profile", False),
    ]
    for pair in rows:
        assert pair["score"] == pytest.approx(float(row[pair["a"]] @ row[pair["b"]]), abs=1e-5)


def test_a_file_of_scores_gives_what_scikit_learn_gives(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    same = np.tile([True] * 5 + [False] * 15, 100)
    scores = np.round(rng.normal(np.where(same, 1.5, 0.0)), 2)  # Some are equal.
    (tmp_path / "scores.csv").write_text(
        "pair,label,similarity\n"
        + "".join(f"{row},{int(label)},{score}\n" for row, (score, label) in enumerate(zip(scores, same, strict=True)))
    )
    result = _measured(protocol="scores", pairs=tmp_path / "scores.csv", folds=10, results=tmp_path / "rows.jsonl")
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    assert result.auc == pytest.approx(roc_auc_score(same, scores))
    crossing = np.interp(0, far - (1 - tar), far)
    assert result.eer == pytest.approx(crossing)
    for point in result.tar_at_far:
        assert point.tar == tar[far <= point.far].max()
    numbers = np.empty(len(same), int)
    for kind in (same, ~same):
        numbers[kind] = np.repeat(np.arange(10), kind.sum() // 10)
    shares = []
    for fold in range(10):
        others = numbers != fold
        right = [np.mean((scores[others] >= value) == same[others]) for value in np.unique(scores)]
        best = np.unique(scores)[::-1][int(np.argmax(right[::-1]))]
        shares.append(np.mean((scores[~others] >= best) == same[~others]))
    assert result.judged.accuracy == pytest.approx(np.mean(shares))
    assert result.judged.standard_error == pytest.approx(np.std(shares, ddof=1) / np.sqrt(10))
    assert (result.encoder, result.source, result.audit, result.people, result.best_distance) == (None,) * 5
    assert [row["score"] for row in _rows(tmp_path / "rows.jsonl")] == scores.tolist()
    assert set(_rows(tmp_path / "rows.jsonl")[0]) == {"same", "score", "accepted", "right", "reason"}


def test_scores_are_read_from_a_pipe_and_shown_as_such() -> None:
    line = ["verify", "--protocol", "scores", "--pairs", "-"]
    scores = "".join(f"{score},{int(score > 0.5)}\n" for score in np.linspace(0, 1, 40))
    done = CliRunner().invoke(app, line, input=scores)
    assert done.exit_code == 0, done.output
    assert "100.0%" in done.stdout
    assert "encoder" not in done.stdout
    done = CliRunner().invoke(app, line, input="0.5,1\n0.5,maybe\n")
    assert done.exit_code == 3
    assert "standard input:2: invalid label" in done.stderr
