from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from faceclr_cli.core.datasets.samplers import (
    apportion,
    paired_batches,
    people_batches,
    process_share,
    shuffled_batches,
    weighted_batches,
)
from faceclr_cli.core.errors import ConfigError, DataError

# 30 people with 1 to 30 pictures each, and 20 pictures of unknown people, shuffled.
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


def test_paired_batches_bring_pictures_of_a_group_together_and_each_picture_once() -> None:
    batches = paired_batches(LABELS, 25, seed=1, epoch=0)
    assert [len(batch) for batch in batches] == [25] * (len(LABELS) // 25)
    order = np.concatenate(batches)
    assert len(set(order.tolist())) == len(order)
    own = LABELS[order]
    # Every picture of a group has its partner before or after it, except one of each odd group, and at cuts.
    partnered = np.zeros(len(own), bool)
    alike = (own[1:] == own[:-1]) & (own[1:] >= 0)
    partnered[1:] |= alike
    partnered[:-1] |= alike
    odd = int((np.bincount(LABELS[LABELS >= 0]) % 2).sum())
    assert (~partnered & (own >= 0)).sum() <= odd + 2
    unpaired = shuffled_batches(len(LABELS), 25, seed=1, epoch=0)
    assert alike.sum() > 5 * sum((np.diff(LABELS[batch]) == 0).sum() for batch in unpaired)


def test_paired_batches_have_other_pairs_in_each_epoch_and_the_same_in_each_process() -> None:
    def pairs(epoch: int) -> set[tuple[int, ...]]:
        order = np.concatenate(paired_batches(LABELS, 25, seed=1, epoch=epoch))
        return {tuple(sorted(pair)) for pair in zip(order[:-1].tolist(), order[1:].tolist(), strict=True)}

    assert pairs(0) == pairs(0) and len(pairs(0) & pairs(1)) < 0.3 * len(pairs(0))


def test_paired_batches_without_groups_have_all_pictures_in_random_order() -> None:
    order = np.concatenate(paired_batches(np.full(50, -1), 25, seed=0, epoch=0))
    assert sorted(order.tolist()) == list(range(50)) and order.tolist() != list(range(50))


@pytest.mark.parametrize("count", [0, 1])
def test_one_picture_is_too_few(count: int) -> None:
    with pytest.raises(DataError, match="at least 2"):
        shuffled_batches(count, 4, seed=0, epoch=0)


def sources_of(*sizes: int) -> np.ndarray:
    """The folder of each picture, in no order."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))


def random_case(number: int) -> tuple[np.ndarray, list[float], int]:
    """Folders, weights and a batch size for which no folder gives more than half of its pictures to a batch."""
    generator = np.random.default_rng(number)
    sizes = generator.integers(20, 150, size=generator.integers(2, 5))
    weights = generator.uniform(0.3, 3, size=len(sizes))
    batch_size = int((sizes / 2 * weights.sum() / weights).min()) - 4
    return sources_of(*sizes), weights.tolist(), max(5, batch_size // generator.integers(1, 4))


@pytest.mark.parametrize("number", range(25))
def test_weighted_batches_deal_each_folder_out_evenly_over_epochs(number: int) -> None:
    sources, weights, batch_size = random_case(number)
    epochs = [weighted_batches(sources, weights, batch_size, seed=number, epoch=epoch) for epoch in range(12)]
    for batches in epochs:
        assert len(batches) == len(sources) // batch_size
        assert all(len(set(batch.tolist())) == len(batch) == batch_size for batch in batches)
    per_epoch = [np.bincount(sources[np.concatenate(batches)], minlength=len(weights)) for batches in epochs]
    wanted = np.array(weights) / sum(weights) * len(epochs[0]) * batch_size
    for counts in per_epoch:
        np.testing.assert_array_equal(counts, per_epoch[0])
        assert (np.abs(counts - wanted) <= 1).all()
    for folder in range(len(weights)):
        # After any epoch, no picture was seen twice more than another.
        uses = np.zeros(len(sources), dtype=int)
        for batches in epochs:
            np.add.at(uses, np.concatenate(batches), 1)
            own = uses[sources == folder]
            assert own.max() - own.min() <= 1


@pytest.mark.parametrize("number", range(25))
def test_every_weighted_batch_has_the_proportions(number: int) -> None:
    sources, weights, batch_size = random_case(number)
    wanted = np.array(weights) / sum(weights) * batch_size
    for batch in weighted_batches(sources, weights, batch_size, seed=0, epoch=3):
        assert (np.abs(np.bincount(sources[batch], minlength=len(weights)) - wanted) < 2).all()


def test_two_folders_of_weight_one_to_three_make_up_a_quarter_and_three_quarters_of_each_batch() -> None:
    sources = sources_of(100, 60)
    for epoch in range(5):
        for batch in weighted_batches(sources, [1, 3], 32, seed=0, epoch=epoch):
            assert np.bincount(sources[batch]).tolist() == [8, 24]


def test_half_of_a_folder_in_each_batch_is_never_twice_the_same_picture() -> None:
    """The narrowest case: each batch takes half of the small folder, and permutations end within batches."""
    sources = sources_of(11, 200)
    for epoch in range(100):
        for batch in weighted_batches(sources, [1, 3], 20, seed=1, epoch=epoch):
            assert len(set(batch.tolist())) == 20


def test_weighted_batches_depend_on_seed_and_epoch_alone() -> None:
    sources = sources_of(50, 90)
    first = weighted_batches(sources, [1, 2], 20, seed=3, epoch=5)
    np.testing.assert_array_equal(first, weighted_batches(sources, [1, 2], 20, seed=3, epoch=5))
    np.testing.assert_array_equal(first, weighted_batches(sources, [10, 20], 20, seed=3, epoch=5))
    assert not np.array_equal(first, weighted_batches(sources, [1, 2], 20, seed=3, epoch=6))
    assert not np.array_equal(first, weighted_batches(sources, [1, 2], 20, seed=4, epoch=5))


def test_each_picture_of_a_folder_falls_anywhere_in_its_permutations() -> None:
    """Keeping repetitions apart at the boundaries must not fix the positions of pictures."""
    sources = sources_of(8, 400)
    epochs = [weighted_batches(sources, [1, 9], 40, seed=0, epoch=epoch) for epoch in range(200)]
    hands = [frozenset(batch[sources[batch] == 0].tolist()) for batches in epochs for batch in batches]
    assert {len(hand) for hand in hands} == {4}
    assert len(set(hands)) == 70, "not all choices of 4 of 8 pictures occur"


def test_the_processes_share_of_a_weighted_batch_has_pictures_of_all_folders() -> None:
    sources = sources_of(500, 500)
    for batch in weighted_batches(sources, [1, 1], 128, seed=0, epoch=0):
        for rank in range(2):
            assert 10 < (sources[process_share(batch, rank, 2)] == 0).sum() < 54


def test_a_folder_too_small_for_its_weight_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"folder 2 would contribute 16 of its 30 pictures .* decrease its weight or --batch"
    ):
        weighted_batches(sources_of(100, 30), [1, 1], 32, seed=0, epoch=0)
    assert weighted_batches(sources_of(100, 32), [1, 1], 32, seed=0, epoch=0)


def test_a_folder_that_would_never_be_seen_is_named() -> None:
    with pytest.raises(ConfigError, match=r"folder 1 would contribute no picture .* increase its weight"):
        weighted_batches(sources_of(100, 100), [1e-6, 1], 10, seed=0, epoch=0)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")]])
def test_each_folder_needs_a_weight_above_zero(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match="2 folders need one weight above zero each"):
        weighted_batches(sources_of(50, 50), weights, 10, seed=0, epoch=0)


@pytest.mark.parametrize("batch_size", [8, 20])
def test_folders_no_larger_than_a_batch_make_one_batch_of_all(batch_size: int) -> None:
    (batch,) = weighted_batches(sources_of(3, 5), [1, 1], batch_size, seed=0, epoch=0)
    assert sorted(batch) == list(range(8))


def test_whole_numbers_in_proportion_add_up() -> None:
    assert apportion(10, [1, 1, 2]).tolist() in ([2, 3, 5], [3, 2, 5])
    for number in range(100):
        generator = np.random.default_rng(number)
        weights = generator.uniform(0, 5, size=7)
        counts = apportion(number, weights)
        assert counts.sum() == number and counts.min() >= 0
        assert (np.abs(counts - weights / weights.sum() * number) <= 1).all()


def test_people_batches_hold_p_people_side_by_side_with_k_pictures_each() -> None:
    batches = people_batches(LABELS, 48, 4, seed=0, epoch=0)
    usable = int((LABELS >= 1).sum())  # Without unknown people and person 0, who has one picture.
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
    shares = [process_share(batch, rank, 4) for rank in range(4)]
    np.testing.assert_array_equal(np.concatenate(shares), batch)
    assert all(len(set(LABELS[part])) == 3 for part in shares)
    assert [process_share(np.arange(7), rank, 2).tolist() for rank in range(2)] == [[0, 1, 2], [3, 4, 5]]


def test_fewer_pictures_than_processes_are_refused() -> None:
    with pytest.raises(DataError, match="3 pictures are not enough for 4 processes"):
        process_share(np.arange(3), 0, 4)
