from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from faceclr_cli.core.datasets.samplers import people_batches, share, shuffled_batches
from faceclr_cli.core.errors import DataError

# 30 people with 1 to 30 pictures each, and 20 pictures of nobody known, in no order.
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(-1, 30), [20, *range(1, 31)]))


def test_shuffled_batches_show_each_picture_once_in_another_order_each_epoch() -> None:
    batches = shuffled_batches(100, 25, seed=1, epoch=0)
    assert [len(batch) for batch in batches] == [25] * 4
    assert sorted(np.concatenate(batches)) == list(range(100))
    assert not np.array_equal(batches[0], shuffled_batches(100, 25, seed=1, epoch=1)[0])
    assert not np.array_equal(batches[0], shuffled_batches(100, 25, seed=2, epoch=0)[0])
    np.testing.assert_array_equal(batches, shuffled_batches(100, 25, seed=1, epoch=0))


def test_an_incomplete_batch_is_left_out_unless_it_is_the_only_one() -> None:
    assert [len(batch) for batch in shuffled_batches(59, 20, seed=0, epoch=0)] == [20, 20]
    (batch,) = shuffled_batches(7, 20, seed=0, epoch=0)
    assert sorted(batch) == list(range(7))


@pytest.mark.parametrize("count", [0, 1])
def test_one_picture_is_too_few(count: int) -> None:
    with pytest.raises(DataError, match="at least 2"):
        shuffled_batches(count, 4, seed=0, epoch=0)


def test_people_batches_hold_p_people_side_by_side_with_k_pictures_each() -> None:
    batches = people_batches(LABELS, 48, 4, seed=0, epoch=0)
    usable = int((LABELS >= 1).sum())  # Without nobody, and without person 0, who has one picture.
    assert len(batches) == usable // 48
    for batch in batches:
        owners = LABELS[batch].reshape(12, 4)
        assert (owners == owners[:, :1]).all()
        assert len(set(owners[:, 0])) == 12
        assert owners.min() >= 1
        for person, hand in zip(owners[:, 0], batch.reshape(12, 4), strict=True):
            assert len(set(hand)) == min(4, (person == LABELS).sum())


def test_people_batches_depend_on_seed_and_epoch_alone() -> None:
    first = people_batches(LABELS, 48, 4, seed=3, epoch=5)
    np.testing.assert_array_equal(first, people_batches(LABELS, 48, 4, seed=3, epoch=5))
    assert not np.array_equal(first, people_batches(LABELS, 48, 4, seed=3, epoch=6))
    assert not np.array_equal(first, people_batches(LABELS, 48, 4, seed=4, epoch=5))


def test_people_and_the_pictures_of_a_person_are_used_evenly() -> None:
    labels = np.repeat(np.arange(10), 40)
    uses = Counter(
        int(i) for epoch in range(10) for batch in people_batches(labels, 20, 4, seed=0, epoch=epoch) for i in batch
    )
    per_person = Counter(int(labels[i]) for i in uses.elements())
    assert set(per_person.values()) == {400}
    assert set(uses.values()) == {10}


def test_a_person_with_few_pictures_gives_each_before_one_comes_again() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    (batch,) = people_batches(labels, 14, 7, seed=0, epoch=0)
    uses = Counter(batch.tolist())
    assert sorted(uses[i] for i in (0, 1, 2)) == [2, 2, 3]
    assert sorted(uses[i] for i in (3, 4)) == [3, 4]


def test_fewer_people_than_a_batch_would_hold_are_all_in_every_batch() -> None:
    batches = people_batches(LABELS, 256, 4, seed=0, epoch=0)
    usable = int((LABELS >= 1).sum())
    assert len(batches) == usable // (29 * 4)
    for batch in batches:
        assert Counter(LABELS[batch].tolist()) == dict.fromkeys(range(1, 30), 4)


def test_one_person_gives_no_triplet() -> None:
    for labels in ([-1, -1, 0, 1], [0, 0, 0, 1]):
        with pytest.raises(DataError, match=r"[01] people .* at least 2"):
            people_batches(np.array(labels), 4, 2, seed=0, epoch=0)


def test_shares_are_equal_and_contiguous_and_make_up_the_batch() -> None:
    batch = people_batches(LABELS, 48, 4, seed=0, epoch=0)[0]
    shares = [share(batch, rank, 4) for rank in range(4)]
    np.testing.assert_array_equal(np.concatenate(shares), batch)
    assert all(len(set(LABELS[part])) == 3 for part in shares)
    assert [share(np.arange(7), rank, 2).tolist() for rank in range(2)] == [[0, 1, 2], [3, 4, 5]]


def test_fewer_pictures_than_processes_are_refused() -> None:
    with pytest.raises(DataError, match="3 pictures don't suffice for 4 processes"):
        share(np.arange(3), 0, 4)
