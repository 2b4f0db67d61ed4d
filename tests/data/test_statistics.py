"""Tasks as random samples: uniform, without repeats, and independent between tasks, streams and seeds.

Every seed is fixed, so a test either passes for ever or fails for ever. `LIMIT` is the chance that a test of a good
generator fails once, on the day that its seed is chosen.
"""

from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy import stats

from l2l_core.data.batches import TaskBatch, describe
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.index import ClassIndex
from l2l_core.data.own import from_arrays
from l2l_core.data.sampling import IntArray, WordArray, bounded, distinct, random_words
from l2l_core.data.transforms import FusedNWaysKShots, KShots, NWays, RemapLabels

LIMIT = 1e-4
DRAWS = 1_000_000


def index_of(counts: list[int]) -> ClassIndex:
    return ClassIndex.of_counts(np.array(counts), [str(row) for row in range(len(counts))])


def tasks(index: ClassIndex, transforms: list, number: int, seed: int = 0) -> TaskBatch:
    return describe(index, seed, np.arange(number), transforms)


def assert_uniform(codes: IntArray, cells: int, together: int = 1) -> None:
    """Pearson's chi-square: neither too uneven nor too even.

    Of `together` draws without replacement each makes the others less free, which makes the counts that much more even.
    """
    counts = np.bincount(codes.reshape(-1), minlength=cells)
    assert len(counts) == cells
    assert counts.mean() >= 20
    statistic = ((counts - counts.mean()) ** 2 / counts.mean()).sum() * (cells - 1) / (cells - together)
    assert LIMIT / 2 < stats.chi2.sf(statistic, cells - 1) < 1 - LIMIT / 2


def assert_independent(first: IntArray, second: IntArray) -> None:
    """Chi-square of the table of two lists of small integers, side by side."""
    table = np.zeros((first.max() + 1, second.max() + 1), np.int64)
    np.add.at(table, (first.reshape(-1), second.reshape(-1)), 1)
    assert LIMIT / 2 < stats.chi2_contingency(table, correction=False).pvalue < 1 - LIMIT / 2


def ordered_pair(values_BN: IntArray, cells: int) -> IntArray:
    """Which of the cells·(cells − 1) ordered pairs of different values the first two are."""
    first, second = values_BN[:, 0], values_BN[:, 1]
    return first * (cells - 1) + second - (second > first)


@pytest.mark.parametrize("classes", [5, 64, 300, 1692])
def test_classes_are_uniform_in_every_place_and_in_pairs(classes: int) -> None:
    chosen_BN = tasks(index_of([20] * classes), [NWays(None, 5)], DRAWS // 5).all_classes_BN
    assert chosen_BN.shape == (DRAWS // 5, 5)
    for column in range(5):
        assert_uniform(chosen_BN[:, column], classes)
    if classes > 5:
        assert_uniform(chosen_BN, classes, together=5)
    if classes <= 64:
        assert_uniform(ordered_pair(chosen_BN, classes), classes * (classes - 1))
        assert_uniform(ordered_pair(chosen_BN[:, 3:], classes), classes * (classes - 1))
    else:
        # Cells for all pairs would be nearly empty, so pairs of tenths; those within one are slightly rarer.
        tenths_BN = chosen_BN * 10 // classes
        table = np.bincount(tenths_BN[:, 0] * 10 + tenths_BN[:, 1], minlength=100).reshape(10, 10)
        sizes = np.bincount(np.arange(classes) * 10 // classes)
        expected = (np.outer(sizes, sizes) - np.diag(sizes)) * len(chosen_BN) / (classes * (classes - 1))
        assert LIMIT / 2 < stats.chi2.sf(((table - expected) ** 2 / expected).sum(), 99) < 1 - LIMIT / 2


def test_every_choice_of_two_classes_of_four_in_order_is_equally_likely_without_bias_to_the_first() -> None:
    chosen_BN = distinct(random_words(1, 2, np.arange(DRAWS // 4), 4), 4)
    code = (chosen_BN * 4 ** np.arange(4)).sum(axis=1)
    assert_uniform(np.unique(code, return_inverse=True)[1], 24)


def test_of_a_million_classes_as_many_are_met_as_chance_would_meet() -> None:
    classes, number = 1_000_000, DRAWS // 5
    chosen_BN = tasks(index_of([1] * classes), [NWays(None, 5)], number).all_classes_BN
    assert_uniform(chosen_BN // 1000, 1000)
    # How many classes were drawn 0, 1, 2, 3 times, and more: Poisson with mean 1.
    times = np.bincount(np.bincount(chosen_BN.reshape(-1), minlength=classes).clip(max=6), minlength=7)
    chances = stats.poisson(5 * number / classes).pmf(np.arange(6))
    expected = classes * np.append(chances, 1 - chances.sum())
    # Its variance is smaller than the multinomial's, since the draws have a fixed sum; so only the upper tail counts.
    assert ((times - expected) ** 2 / expected).sum() < stats.chi2(6).isf(LIMIT)


@pytest.mark.parametrize("count", [16, 20, 600, 1300])
def test_examples_are_uniform_in_every_place_and_in_pairs(count: int) -> None:
    index = index_of([count] * 7)
    batch = tasks(index, [FusedNWaysKShots(None, 5, 16)], DRAWS // 80)
    places = batch.all_ids_BNK - index.starts_C[batch.all_classes_BN][:, :, None]
    if count > 16:
        assert_uniform(places, count, together=16)
    for column in range(16):
        assert_uniform(places[:, :, column], count)
    if count <= 20:
        for first in (0, 7, 14):
            assert_uniform(ordered_pair(places[:, :, first:].reshape(-1, 16 - first), count), count * (count - 1))


def test_classes_of_different_sizes_each_give_all_their_examples_alike() -> None:
    counts = [16, 17, 40, 200, 255, 256, 257, 500]
    index = index_of(counts)
    batch = tasks(index, [NWays(None, 4), KShots(None, 10)], DRAWS // 40)
    assert_uniform(batch.all_classes_BN[:, 0], len(counts))
    for row, count in enumerate(counts):
        ids = batch.all_ids_BNK[batch.all_classes_BN == row] - index.starts_C[row]
        assert_uniform(ids[:, 9], count)
        assert ids.min() == 0
        assert ids.max() == count - 1


@pytest.mark.parametrize("steps", [100, 128, 129, 150])
def test_long_shuffles_put_every_number_in_every_place_alike(steps: int) -> None:
    found_RK = distinct(random_words(5, 0, np.arange(DRAWS // steps), steps), steps)
    counts = np.bincount((found_RK * steps + np.arange(steps)).reshape(-1), minlength=steps**2)
    expected = len(found_RK) / steps
    # Rows and columns of this table have fixed sums.
    statistic = ((counts - expected) ** 2 / expected).sum() * (steps - 1) / steps
    assert LIMIT / 2 < stats.chi2.sf(statistic, (steps - 1) ** 2) < 1 - LIMIT / 2


@pytest.mark.parametrize("steps", [128, 200])
def test_long_draws_from_a_longer_list_are_uniform(steps: int) -> None:
    found_RK = distinct(random_words(6, 0, np.arange(2 * DRAWS // steps), steps), 1000)
    assert_uniform(found_RK, 1000, together=steps)
    for column in (0, 1, steps // 2, steps - 1):
        assert_uniform(found_RK[:, column] // 5, 200)


@pytest.mark.parametrize("ways", [2, 5])
def test_every_order_of_labels_is_equally_likely_and_tells_nothing_of_the_classes(ways: int) -> None:
    batch = tasks(index_of([1] * 10), [NWays(None, ways), RemapLabels(None)], DRAWS // ways)
    labels_BN = batch.all_labels_BN
    assert (np.sort(labels_BN, axis=1) == np.arange(ways)).all()
    orders, codes = np.unique(labels_BN @ ways ** np.arange(ways), return_inverse=True)
    assert_uniform(codes, len(orders))
    assert len(orders) == {2: 2, 5: 120}[ways]
    assert_independent(labels_BN[:, 0], batch.all_classes_BN[:, 0])
    assert_independent(labels_BN[:, 0], batch.all_classes_BN[:, 1])


def test_with_replacement_every_draw_is_uniform_and_knows_nothing_of_the_others() -> None:
    batch = tasks(index_of([12] * 5), [KShots(None, 10, replacement=True)], DRAWS // 50)
    places_RK = (batch.all_ids_BNK - batch.index.starts_C[:, None]).reshape(-1, 10)
    assert_uniform(places_RK, 12)
    for first, second in [(0, 1), (4, 5), (0, 9)]:
        assert_uniform(places_RK[:, first] * 12 + places_RK[:, second], 144)
    more = tasks(index_of([3] * 2), [KShots(None, 8, replacement=True)], 100).all_ids_BNK
    assert more.shape == (100, 2, 8)


@pytest.mark.parametrize("count", [16, 20, 300, 100_000])
def test_no_class_and_no_example_comes_twice_in_a_task(count: int) -> None:
    index = index_of([count] * 70)
    batch = tasks(index, [NWays(None, 20), KShots(None, 16)], 3000)
    for values, length in ((batch.all_classes_BN, 20), (batch.all_ids_BNK.reshape(-1, 320), 320)):
        assert values.shape[1] == length
        assert (np.diff(np.sort(values, axis=1), axis=1) > 0).all()
    rows_BNK = np.searchsorted(index.starts_C, batch.all_ids_BNK, side="right") - 1
    assert (rows_BNK == batch.all_classes_BN[:, :, None]).all()


def test_support_and_query_share_nothing_and_an_example_is_as_often_in_one_as_its_share() -> None:
    inputs = np.arange(60 * 8, dtype=np.int64)[:, None]
    generator = TaskGenerator(from_arrays(inputs, np.repeat(np.arange(8), 60)), ways=4, shots=5, queries=15, seed=0)
    episode = generator.batch(range(DRAWS // 80))
    support, query = (part[..., 0].numpy().astype(np.int64) for part in (episode.support_x, episode.query_x))
    both = np.concatenate([support, query], axis=1)
    assert (np.diff(np.sort(both, axis=1), axis=1) > 0).all()
    assert_uniform(support[:, 0], 480)
    assert_uniform(query[:, -1], 480)


# Neighbours of (seed 0, stream 1, task 0), and the largest there are.
KEYS = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 1), (2**63, 1), (2**64 - 1, 1), (0, 1 + 2**32), (1, 1 + 2**32)]


def words_of(key: tuple[int, int], words: int = 8, number: int = 12_500) -> WordArray:
    return random_words(*key, np.arange(number), words)


def test_no_word_is_met_twice_among_neighbouring_tasks_streams_and_seeds() -> None:
    words = np.concatenate([words_of(key).reshape(-1) for key in KEYS])
    # Of a million words of 64 bits two are alike once in 37 million sets; halves of 32 bits are, as often as by chance.
    assert len(words) == DRAWS
    assert len(np.unique(words)) == DRAWS
    for half in (words >> np.uint64(32), words & np.uint64(0xFFFFFFFF)):
        alike = DRAWS - len(np.unique(half))
        assert abs(alike - DRAWS**2 / 2**33) < 4 * (DRAWS**2 / 2**33) ** 0.5


def test_each_of_the_64_bits_is_even_and_changes_half_of_the_time_from_key_to_key() -> None:
    bits = {key: np.unpackbits(words_of(key).reshape(-1).view(np.uint8)).reshape(-1, 64) for key in KEYS}
    number = len(bits[0, 1])
    limit = stats.norm.isf(LIMIT / 64 / 55)
    for key in KEYS:
        assert abs(bits[key].sum(axis=0) - number / 2).max() < limit * number**0.5 / 2
        lagged = bits[key][8:] ^ bits[key][:-8]
        assert abs(lagged.sum(axis=0) - len(lagged) / 2).max() < limit * len(lagged) ** 0.5 / 2
    for first, second in combinations(KEYS, 2):
        changed = (bits[first] ^ bits[second]).sum(axis=0)
        assert abs(changed - number / 2).max() < limit * number**0.5 / 2


def test_streams_of_different_seeds_and_of_neighbouring_tasks_are_uncorrelated() -> None:
    numbers = {key: words_of(key).astype(np.float64).reshape(-1) for key in KEYS}
    pairs = list(combinations(numbers.values(), 2))
    # With itself one word, one task and two tasks later.
    pairs += [(values[:-lag], values[lag:]) for values in numbers.values() for lag in (1, 8, 16)]
    limit = stats.norm.isf(LIMIT / 2 / len(pairs))
    for first, second in pairs:
        assert abs(np.corrcoef(first, second)[0, 1]) < limit / len(first) ** 0.5


def test_words_rise_and_fall_from_task_to_task_like_coin_tosses() -> None:
    """The runs test of Wald and Wolfowitz (1940), on one word of each task, of each seed and of each stream."""
    by_task = random_words(0, 1, np.arange(200_000), 1)[:, 0]
    by_seed = np.concatenate([random_words(seed, 1, np.array([9]), 1)[:, 0] for seed in range(20_000)])
    by_stream = np.concatenate([random_words(7, stream, np.array([9]), 1)[:, 0] for stream in range(20_000)])
    for words in (by_task, by_seed, by_stream):
        high = words >= np.uint64(2**63)
        highs, lows = int(high.sum()), int((~high).sum())
        mean = 1 + 2 * highs * lows / len(high)
        spread = ((mean - 1) * (mean - 2) / (len(high) - 1)) ** 0.5
        runs = 1 + int((high[1:] != high[:-1]).sum())
        assert abs(runs - mean) < stats.norm.isf(LIMIT / 2) * spread
        assert abs(highs - lows) < stats.norm.isf(LIMIT / 2) * len(high) ** 0.5


def test_neighbouring_tasks_and_seeds_choose_independently() -> None:
    index, steps = index_of([20] * 12), [NWays(None, 5), KShots(None, 4)]
    classes = {seed: tasks(index, steps, 50_000, seed).all_classes_BN for seed in (0, 1, 2**63)}
    assert_independent(classes[0], classes[1])
    assert_independent(classes[0], classes[2**63])
    for column in range(5):
        assert_independent(classes[0][:-1, column], classes[0][1:, 4 - column])
    batch = tasks(index, steps, 50_000)
    assert_independent(batch.all_classes_BN[:, 0], batch.all_ids_BNK[:, 0, 0] % 20)
    assert_independent(batch.all_ids_BNK[:-1, 0, 0] % 20, batch.all_ids_BNK[1:, 0, 0] % 20)
    assert_independent(batch.all_ids_BNK[:, 0, 0] % 20, batch.all_ids_BNK[:, 1, 0] % 20)


def test_tasks_come_again_as_often_as_chance_lets_them() -> None:
    """Birthdays: of so many ordered choices of 3 of 40 classes, pairs alike, within a seed and between two."""
    cells, number = 40 * 39 * 38, 4_000
    codes = {}
    for seed in range(50):
        chosen = tasks(index_of([1] * 40), [NWays(None, 3)], number, seed).all_classes_BN
        codes[seed] = chosen @ np.array([1, 40, 1600])
    within = sum(int((np.bincount(values) * (np.bincount(values) - 1) // 2).sum()) for values in codes.values())
    expected = 50 * number * (number - 1) / 2 / cells
    assert abs(within - expected) < stats.norm.isf(LIMIT / 2) * expected**0.5
    between = sum(int((codes[one] == codes[other]).sum()) for one, other in pairwise(range(50)))
    expected = 49 * number / cells
    assert LIMIT / 2 < stats.poisson(expected).cdf(between) < 1 - LIMIT / 2


def test_a_bounded_word_is_uniform_for_small_and_for_large_bounds() -> None:
    words = random_words(0, 3, np.arange(DRAWS // 4), 4).reshape(-1)
    for bound in (2, 3, 7, 1000, 5000):
        assert_uniform(bounded(words, bound), bound)
    assert_uniform(bounded(words, 2**32 - 1) * 1000 // (2**32 - 1), 1000)


def test_these_tests_see_a_small_bias() -> None:
    """Of words of 14 bits modulo 1000, of a shuffle that swaps any two places, and of words that are multiples."""
    words = random_words(0, 0, np.arange(DRAWS // 4), 4)
    with pytest.raises(AssertionError):
        assert_uniform((words.reshape(-1) >> np.uint64(50)).astype(np.int64) % 1000, 1000)
    naive = np.tile(np.arange(4), (len(words), 1))
    rows = np.arange(len(words))
    for step in range(4):
        other = bounded(words[:, step], 4)
        naive[rows, step], naive[rows, other] = naive[rows, other], naive[rows, step].copy()
    with pytest.raises(AssertionError):
        assert_uniform(np.unique(naive @ 4 ** np.arange(4), return_inverse=True)[1], 24)
    with pytest.raises(AssertionError):
        assert_independent(bounded(words[:, 0], 10), bounded(words[:, 0] * np.uint64(3), 10))
