from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.datasets.holdout import hold_out, hold_out_pictures
from faceclr_cli.core.datasets.joined_faces import JoinedFaces, join
from faceclr_cli.core.datasets.packed_faces import PackedFaces
from faceclr_cli.core.faces.fingerprint import Fingerprint

FINGERPRINT = Fingerprint(
    detector="none", detector_digest="0" * 16, template="none", size=1, interpolation="none", padding="none"
)


def packed(albums: dict[str, int]) -> PackedFaces:
    """Faces with the given number of pictures of each person; `_` is unknown."""
    people = tuple(sorted(set(albums) - {"_"}))
    owners = [name for name in sorted(albums) for _ in range(albums[name])]
    return PackedFaces(
        crops=np.zeros((len(owners), 1, 1, 3), dtype=np.uint8),
        labels=np.array([-1 if name == "_" else people.index(name) for name in owners]),
        people=people,
        paths=tuple(f"{name}/{number}.jpg" for name in sorted(albums) for number in range(albums[name])),
        fingerprint=FINGERPRINT,
    )


def faces_of(albums: dict[str, int]) -> JoinedFaces:
    return join([(Path("faces"), packed(albums))])


def crowd(people: int, seed: int = 0, **others: int) -> dict[str, int]:
    """People with 1 to 30 pictures each."""
    counts = np.random.default_rng(seed).integers(1, 31, size=people).tolist()
    return {f"p{who:03d}": count for who, count in enumerate(counts)} | others


def paths(faces: JoinedFaces, indices: np.ndarray) -> set[str]:
    return {faces.paths[index] for index in indices}


def people(faces: JoinedFaces, indices: np.ndarray) -> set[int]:
    return set(faces.labels[indices].tolist()) - {-1}


@pytest.mark.parametrize("seed", range(10))
def test_no_person_is_both_trained_on_and_held_out(seed: int) -> None:
    faces = faces_of(crowd(100, seed, _=500))
    kept, held = hold_out(faces, 0.1, seed)
    assert sorted([*kept, *held]) == list(range(len(faces)))
    assert kept.tolist() == sorted(kept) and held.tolist() == sorted(held)
    assert not people(faces, kept) & people(faces, held)
    assert 0.09 * len(faces) < len(held) <= round(0.1 * len(faces))


def test_named_and_nameless_pictures_are_held_out_in_proportion() -> None:
    faces = faces_of(crowd(200, _=1000))
    _, held = hold_out(faces, 0.1, 0)
    nameless = int((faces.labels[held] < 0).sum())
    assert nameless == 100
    assert len(held) - nameless == pytest.approx(0.1 * (len(faces) - 1000), rel=0.05)


def test_folders_are_held_out_in_proportion() -> None:
    faces = join([(Path("a"), packed({"_": 3000})), (Path("b"), packed({"_": 1000}))])
    _, held = hold_out(faces, 0.05, 0)
    assert np.bincount(faces.sources[held]).tolist() == [150, 50]


def test_people_with_one_picture_are_held_out_like_those_with_more() -> None:
    faces = faces_of({f"p{who:03d}": 1 if who % 2 else 9 for who in range(200)})
    _, held = hold_out(faces, 0.2, 0)
    shows = Counter(Counter(faces.labels[held].tolist()).values())
    assert shows[9] >= 10 and shows[1] >= 10 and set(shows) == {1, 9}


def test_two_people_with_several_pictures_are_always_left() -> None:
    for seed in range(20):
        faces = faces_of({"ann": 20, "bob": 20, "cyd": 20, "dan": 20} | {f"once{number}": 1 for number in range(60)})
        kept, held = hold_out(faces, 1.0, seed)
        assert len(held) == 100
        assert Counter(faces.labels[kept].tolist()).most_common() == [(who, 20) for who in sorted(people(faces, kept))]


@pytest.mark.parametrize("albums", [{"ann": 40, "bob": 40}, {"ann": 80}, {f"once{n}": 1 for n in range(2)}])
def test_one_or_two_people_are_never_held_out(albums: dict[str, int]) -> None:
    faces = faces_of(albums | {"_": 100})
    kept, held = hold_out(faces, 1.0, 0)
    assert (faces.labels[held] == -1).all() and len(held) == 100
    assert people(faces, kept) == set(range(len(albums)))


@pytest.mark.parametrize(
    ("albums", "share"),
    [
        ({"_": 1000}, 0.0),
        ({"_": 1000}, 0.031),  # 31 would be held out
        ({"_": 40}, 1.0),  # none would be left
        ({"_": 40}, 0.98),  # one would be left
        ({"ann": 40, "bob": 40, "cyd": 40}, 0.3),  # each has more than 36 pictures
    ],
)
def test_nothing_is_held_out_of_small_sets(albums: dict[str, int], share: float) -> None:
    faces = faces_of(albums)
    kept, held = hold_out(faces, share, 0)
    assert kept.tolist() == list(range(len(faces)))
    assert len(held) == 0 and held.dtype == np.int64


def test_thirty_two_are_enough() -> None:
    assert len(hold_out(faces_of({"_": 1000}), 0.032, 0)[1]) == 32


def test_two_thousand_are_the_most() -> None:
    assert len(hold_out(faces_of({"_": 50_000}), 0.5, 0)[1]) == 2000


def test_another_seed_holds_out_others_and_the_same_seed_the_same() -> None:
    faces = faces_of(crowd(400, _=500))
    _, held = hold_out(faces, 0.1, 1)
    np.testing.assert_array_equal(held, hold_out(faces, 0.1, 1)[1])
    _, others = hold_out(faces, 0.1, 2)
    assert len(set(held.tolist()) & set(others.tolist())) < 0.5 * len(held)


@pytest.mark.parametrize("seed", range(10))
def test_a_few_more_pictures_move_few(seed: int) -> None:
    albums = crowd(200, seed, _=1000)
    before = faces_of(albums)
    after = faces_of(albums | {"newcomer": 5, "_": 1010, "p007": albums["p007"] + 3})
    one = paths(before, hold_out(before, 0.1, seed)[1])
    other = paths(after, hold_out(after, 0.1, seed)[1])
    assert len(one ^ other) < 0.15 * len(one)


@pytest.mark.real
def test_real_people_are_held_out_whole(real_data: Path) -> None:
    folders = sorted(path for path in (real_data / "faces-train").iterdir() if path.is_dir())
    faces = faces_of({folder.name: sum(1 for _ in folder.iterdir()) for folder in folders})
    kept, held = hold_out(faces, 0.05, 0)
    assert 0.045 * len(faces) < len(held) <= 0.05 * len(faces) + 1
    assert not people(faces, kept) & people(faces, held)
    assert len(people(faces, held)) > 60


def test_some_pictures_of_everybody_with_five_or_more_are_held_out() -> None:
    faces = faces_of({"few": 4, "five": 5, "many": 100, "one": 1, "_": 50})
    kept, held = hold_out_pictures(faces, 0.1, seed=0)
    assert sorted([*kept, *held]) == list(range(len(faces)))
    assert Counter(Path(path).parent.name for path in paths(faces, held)) == {"five": 1, "many": 10}
    assert not np.array_equal(held, hold_out_pictures(faces, 0.1, seed=1)[1])
    # Which ones depends on their names alone.
    fewer = faces_of({"few": 2, "five": 5, "many": 100})
    assert paths(fewer, hold_out_pictures(fewer, 0.1, seed=0)[1]) == paths(faces, held)


def test_no_pictures_are_held_out_where_none_are_wanted() -> None:
    faces = faces_of({"many": 100})
    kept, held = hold_out_pictures(faces, 0.0, seed=0)
    assert (len(kept), len(held)) == (100, 0)


def test_of_more_people_than_are_watched_each_gives_one_picture_at_most() -> None:
    faces = faces_of({f"p{who:04d}": 10 for who in range(2500)})
    _, held = hold_out_pictures(faces, 0.3, seed=0)
    assert len(held) == len(people(faces, held)) == 2000


def test_people_with_few_pictures_are_held_out_first_so_that_there_are_many() -> None:
    """As where 300 people have 14 pictures each and 120 have 80 to 200."""
    counts = [14] * 300 + np.random.default_rng(0).integers(80, 201, size=120).tolist()
    faces = faces_of({f"p{who:03d}": count for who, count in enumerate(counts)})
    for seed in range(5):
        _, held = hold_out(faces, 0.02, seed)
        shows = Counter(faces.labels[held].tolist())
        assert len(shows) >= 25 and max(shows.values()) == 14
        assert len(held) > 0.018 * len(faces)


def test_people_with_many_pictures_are_held_out_if_necessary() -> None:
    faces = faces_of({f"p{who:03d}": 100 for who in range(100)})
    _, held = hold_out(faces, 0.05, 0)
    assert Counter(Counter(faces.labels[held].tolist()).values()) == {100: 5}
