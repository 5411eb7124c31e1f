from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from faceclr_cli.core.configs.split import SplitConfig
from faceclr_cli.core.datasets.pairs.pair_files import read_pairs
from faceclr_cli.core.datasets.splitting import split as split_module
from faceclr_cli.core.datasets.splitting.split import default_split_folder
from faceclr_cli.core.datasets.splitting.split import split as run
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.face_folder import open_faces
from tests.core.datasets.splitting.dividing import Ear, Make, members, split, write_ledger


def test_no_person_is_in_two_parts_and_none_is_lost(make: Make) -> None:
    faces = make()
    result = split(faces)
    people = [set(open_faces(result.out / part).people) for part in ("train", "val", "test")]
    assert [len(names) for names in people] == [14, 2, 4]
    assert set.union(*people) == set(open_faces(faces).people)
    assert sum(len(paths) for paths in members(result).values()) == 100


def test_pictures_are_links_not_copies(make: Make) -> None:
    faces = make()
    result = split(faces)
    path = next(iter(members(result)["test"]))
    assert (faces / path).samefile(result.out / "test" / path)


def test_copies_if_links_are_not_possible(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(split_module.os, "link", refuse)
    result = split(make())
    path = next(iter(members(result)["test"]))
    assert (result.out / "test" / path).read_text() == path


def test_by_image_divides_every_person(make: Make) -> None:
    result = split(make(photos=10, unknown=10), by="image", train=0.8, val=0.1, test=0.1)
    for part, count in (("train", 8), ("val", 1), ("test", 1)):
        owners = Counter(path.split("/")[0] for path in members(result)[part])
        assert len(owners) == 21
        assert set(owners.values()) == {count}
    assert sum(map(len, members(result).values())) == 210


def test_people_with_few_pictures_are_trained_on(make: Make) -> None:
    result = split(make(photos=1), by="image", train=0.8, val=0.0, test=0.2)
    assert (result.parts["train"].faces, result.parts["test"].faces) == (20, 0)


def test_two_parts_and_faces_without_identity(make: Make) -> None:
    result = split(make(unknown=7), train=0.5, val=0.0, test=0.5)
    assert not (result.out / "val").exists()
    assert result.parts["train"].people == result.parts["test"].people == 10
    assert result.parts["train"].faces == 57


def test_the_outcome_depends_on_seed_and_names_alone(make: Make, tmp_path: Path) -> None:
    faces = make()
    first = split(faces)
    moved = shutil.copytree(faces, tmp_path / "elsewhere" / "other")
    second = split(Path(moved), out=tmp_path / "second")
    assert members(first) == members(second)
    assert (first.out / "pairs.csv").read_bytes() == (second.out / "pairs.csv").read_bytes()
    assert members(split(faces, out=tmp_path / "third", seed=1)) != members(first)
    # Fixed forever: a change here would make published splits irreproducible.
    assert set(open_faces(first.out / "val").people) == {"p03", "p06"}


def test_the_report_counts_people_and_pictures(make: Make) -> None:
    faces = make(people=10, photos=4)
    (faces / "p00" / "extra.jpg").write_text("one more")
    result = split(faces, train=1.0, val=0.0, test=0.0)
    train = result.parts["train"]
    assert (train.people, train.faces, train.mean, train.std, train.minimum, train.maximum) == (10, 41, 4.1, 0.3, 4, 5)
    assert json.loads(json.dumps(result.to_json()))["parts"]["train"]["mean"] == 4.1
    assert json.loads((result.out / "split.json").read_text())["parts"]["train"]["faces"] == 41
    assert result.pairs is None


def test_pairs_are_balanced_and_lie_in_the_test_part(make: Make) -> None:
    result = split(make())
    assert result.pairs is not None
    pairs = read_pairs(result.pairs)
    assert len(pairs) == result.pair_count
    assert sum(pair.same is True for pair in pairs) == len(pairs) / 2 == 40
    assert {path for pair in pairs for path in (pair.a, pair.b)} <= members(result)["test"]


def test_fewer_people_than_parts(make: Make) -> None:
    with pytest.raises(DataError, match="2 people are not enough for 3 parts"):
        split(make(people=2))
    assert split(make(people=3)).parts["val"].people == 1


def test_the_same_split_again_is_done_already(make: Make) -> None:
    faces = make()
    first = split(faces)
    inode = first.out.stat().st_ino
    second = split(faces)
    assert second.was_there
    assert second.parts == first.parts
    assert second.pairs == first.pairs
    assert first.out.stat().st_ino == inode


def test_another_split_never_overwrites(make: Make) -> None:
    faces = make()
    split(faces)
    with pytest.raises(ConfigError, match="--seed 0, not 5"):
        split(faces, seed=5)
    (faces / "p00" / "new.jpg").write_text("new")
    with pytest.raises(ConfigError, match="has changed since"):
        split(faces)
    with pytest.raises(ConfigError, match="not a split"):
        split(faces, out=faces)


def test_without_faces_possible_inputs_are_listed(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="faceclr prepare"):
        run(SplitConfig(), Silent())
    make()
    with pytest.raises(ConfigError, match="run: faceclr split celeba-faces"):
        run(SplitConfig(), Silent())


def test_an_error_leaves_nothing_behind(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(split_module, "write_pairs", fail)
    with pytest.raises(DataError, match="No space left"):
        split(make())
    assert [path.name for path in tmp_path.iterdir()] == ["celeba-faces"]


def test_default_names(tmp_path: Path) -> None:
    assert default_split_folder(Path("data/celeba-faces")) == Path("data/celeba-splits")
    assert default_split_folder(Path("people")) == Path("people-splits")
    (tmp_path / "disk").mkdir()
    (tmp_path / "mine-faces").symlink_to(tmp_path / "disk")
    assert default_split_folder(tmp_path / "mine-faces") == tmp_path / "mine-splits"


def test_faces_that_cannot_be_compared_are_counted(make: Make) -> None:
    ear = Ear()
    result = run(SplitConfig(faces=make()), ear)
    assert result.audit.unreadable == 100
    assert any("100 faces cannot be read" in text for text in ear.warnings)


def test_other_audit_options_are_another_split(make: Make, tmp_path: Path) -> None:
    faces, names = make(), tmp_path / "names.txt"
    names.write_text("p01\n")
    write_ledger(faces, dict.fromkeys(open_faces(faces).paths, "train"))
    first = split(faces, exclude=names)
    assert split(faces, exclude=Path(shutil.copyfile(names, tmp_path / "copy.txt"))).audit == first.audit
    names.write_text("p02\n")
    for options, message in (
        ({"exclude": names}, "with another --exclude"),
        ({}, "with another --exclude, or its list"),
        ({"exclude": names, "official": True}, "without --official"),
        ({"exclude": names, "drop_duplicates": True}, "without --drop-duplicates"),
    ):
        with pytest.raises(ConfigError, match=message):
            split(faces, **options)
    official = split(faces, official=True, out=tmp_path / "official")
    assert split(faces, official=True, by="image", out=tmp_path / "official").was_there
    write_ledger(faces, {"p00/0.jpg": "test"})
    with pytest.raises(ConfigError, match="has changed since"):
        split(faces, official=True, out=official.out)
