"""Random words and what is drawn with them, against known answers and slow plain Python."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_core.data.sampling import bounded, distinct, random_words

MASK = 2**64 - 1


def slow_philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox-4x64-10 as the paper writes it (Salmon et al. 2011, section 3.3), on Python integers."""
    counter, key = list(counter), list(key)
    for _ in range(10):
        product0, product1 = 0xD2E7470EE14C6C93 * counter[0], 0xCA5A826395121157 * counter[2]
        counter = [
            (product1 >> 64) ^ counter[1] ^ key[0],
            product1 & MASK,
            (product0 >> 64) ^ counter[3] ^ key[1],
            product0 & MASK,
        ]
        key = [(key[0] + 0x9E3779B97F4A7C15) & MASK, (key[1] + 0xBB67AE8584CAA73B) & MASK]
    return counter


def slow_words(seed: int, stream: int, task: int, words: int) -> list[int]:
    blocks = -(-words // 4)
    out: list[int] = []
    for block in range(task * blocks, (task + 1) * blocks):
        out += slow_philox([block & MASK, block >> 64, 0, 0], [seed, stream])
    return out[:words]


def slow_shuffle_head(words: list[int], bound: int) -> list[int]:
    numbers = list(range(bound))
    for step, word in enumerate(words):
        other = step + (int(word) * (bound - step) >> 64)
        numbers[step], numbers[other] = numbers[other], numbers[step]
    return numbers[: len(words)]


KNOWN_ANSWERS = {
    "zeros": ("0" * 64, "0" * 32, "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
    "ones": ("f" * 64, "f" * 32, "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0"),
    "pi": (
        "243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89",
        "452821e638d01377 be5466cf34e90c6c",
        "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
    ),
}
"""Counter, key and block of Philox-4x64 with 10 rounds, from Random123's file kat_vectors."""


def hex_words(text: str) -> list[int]:
    digits = text.replace(" ", "")
    return [int(digits[start : start + 16], 16) for start in range(0, len(digits), 16)]


def as_one(words: list[int]) -> int:
    return sum(word << 64 * place for place, word in enumerate(words))


@pytest.mark.parametrize("name", sorted(KNOWN_ANSWERS))
def test_philox_gives_the_published_answers(name: str) -> None:
    counter, key, expected = map(hex_words, KNOWN_ANSWERS[name])
    assert slow_philox(counter, key) == expected
    # NumPy's own steps the counter first. Where it once comes out otherwise, so do all the tasks.
    numpys = np.random.Philox(key=as_one(key), counter=(as_one(counter) - 1) % 2**256)
    assert numpys.random_raw(4).tolist() == expected


def test_the_first_words_of_seed_zero_are_the_published_answer_for_zeros() -> None:
    expected = hex_words(KNOWN_ANSWERS["zeros"][2])
    assert random_words(0, 0, np.array([0]), 4).tolist() == [expected]
    assert random_words(0, 0, np.array([0]), 3).tolist() == [expected[:3]]


def test_words_that_must_never_change() -> None:
    tasks = np.array([5, 6, 0, 2**63 - 1])
    found = random_words(2**64 - 1, 2**40 + 3, tasks, 6)[:, [0, 5]].tolist()
    assert [[f"{word:016x}" for word in row] for row in found] == [
        ["9b40792710898b86", "1580142bd9f5d27f"],
        ["178609e5ad155e0a", "7ab0010029d26e7c"],
        ["41659f17a16c4ae8", "cef0a246aecd46bc"],
        ["0819349d99a903f4", "966647394897d665"],
    ]


@pytest.mark.parametrize("task", [2**62, 2**63 - 1])
def test_the_counters_of_far_tasks_go_beyond_64_bits(task: int) -> None:
    assert task * 4 >= 2**64
    for words in (13, 80):
        assert random_words(1, 2, np.array([task]), words).tolist() == [slow_words(1, 2, task, words)]


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**64 - 1),
    stream=st.integers(0, 2**40),
    tasks=st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2**62)), max_size=8),
    words=st.integers(1, 13),
)
def test_words_are_philox_at_the_task_s_own_counters(seed: int, stream: int, tasks: list[int], words: int) -> None:
    found = random_words(seed, stream, np.array(tasks, np.int64), words)
    assert found.shape == (len(tasks), words)
    assert found.dtype == np.uint64
    assert found.tolist() == [slow_words(seed, stream, task, words) for task in tasks]


@given(word=st.integers(0, MASK), bound=st.integers(1, 2**32 - 1))
def test_bounded_is_the_upper_half_of_the_product(word: int, bound: int) -> None:
    assert bounded(np.array([word], np.uint64), bound).tolist() == [word * bound >> 64]


def test_bounded_on_ten_thousand_random_words_and_bounds() -> None:
    words, bounds = random_words(8, 0, np.arange(10_000), 2).T
    bounds = bounds >> np.uint64(32) | np.uint64(1)
    expected = [word * bound >> 64 for word, bound in zip(words.tolist(), bounds.tolist(), strict=True)]
    assert bounded(words, bounds).tolist() == expected


@settings(deadline=None)
@given(data=st.data(), bound=st.integers(1, 40), rows=st.integers(1, 5))
def test_distinct_is_the_head_of_a_shuffle(data: st.DataObject, bound: int, rows: int) -> None:
    steps = data.draw(st.integers(1, bound))
    words = data.draw(
        st.lists(st.lists(st.integers(0, MASK), min_size=steps, max_size=steps), min_size=rows, max_size=rows)
    )
    found = distinct(np.array(words, np.uint64), bound)
    assert found.tolist() == [slow_shuffle_head(row, bound) for row in words]
    assert all(len(set(row)) == steps for row in found.tolist())


def test_distinct_takes_a_bound_of_its_own_for_each_row() -> None:
    words = random_words(0, 0, np.arange(3), 4)
    bounds = np.array([4, 9, 1000])
    expected = [slow_shuffle_head(row.tolist(), bound) for row, bound in zip(words, bounds.tolist(), strict=True)]
    assert distinct(words, bounds).tolist() == expected
    assert distinct(words, bounds[:, None]).tolist() == expected


# Few steps and many are drawn in two ways, and bounds of 1, 2 and 4 bytes in types of their own.
@pytest.mark.parametrize(
    ("steps", "bound"),
    [(1, 1), (16, 20), (16, 16), (30, 256), (30, 257), (128, 128), (128, 65_536), (128, 65_537)]
    + [(129, 129), (129, 140), (200, 70_000), (300, 301)],
)
def test_distinct_is_the_head_of_a_shuffle_however_it_is_drawn(steps: int, bound: int) -> None:
    words = random_words(steps, bound, np.arange(12), steps)
    # Words close to their end make the last step choose the last place, and equal ones choose the same place often.
    words[0], words[1] = MASK, words[1, 0]
    found = distinct(words, bound)
    assert found.dtype == np.int64
    assert found.flags.c_contiguous
    assert found.tolist() == [slow_shuffle_head(row, bound) for row in words.tolist()]


def test_the_largest_bound_needs_no_long_list() -> None:
    bound = 2**32 - 1
    for steps in (5, 150):
        words = random_words(0, 0, np.arange(40), steps)
        # No two of these steps meet, so that each brings the number of its place.
        expected = [[step + (word * (bound - step) >> 64) for step, word in enumerate(row)] for row in words.tolist()]
        assert distinct(words, bound).tolist() == expected


def test_of_no_tasks_or_no_words_there_are_none() -> None:
    assert random_words(0, 0, np.empty(0, np.int64), 5).shape == (0, 5)
    assert random_words(0, 0, np.arange(3), 0).shape == (3, 0)
    assert distinct(np.empty((0, 4), np.uint64), 9).shape == (0, 4)


def test_nothing_is_taken_from_or_left_in_the_global_random_state() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].tolist()
    first = random_words(3, 1, np.arange(9), 7)
    assert np.random.get_state()[1].tolist() == before
    np.random.seed(1)
    assert random_words(3, 1, np.arange(9), 7).tolist() == first.tolist()


def test_threads_do_not_disturb_each_other() -> None:
    def words(seed: int) -> list[list[int]]:
        return [random_words(seed, 1, np.array([7, 3, 900, 5]), 9).tolist() for _ in range(50)]

    with ThreadPoolExecutor(4) as pool:
        for seed, found in enumerate(pool.map(words, range(8))):
            assert found == words(seed)
