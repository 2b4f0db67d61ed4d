"""Drawing tasks as integer arrays: each a pure function of (seed, task number), without torch and without global state.

The random words come from Philox-4x64-10, a counter-based generator (Salmon et al. 2011, Parallel Random Numbers: As
Easy as 1, 2, 3, SC '11), as NumPy implements it: a block of four 64-bit words is a fixed function of a 128-bit key and
a 256-bit counter. Here the key is (seed, stream), one stream for each kind of choice, and the counter is the place of
the block: task i owns blocks i·n to (i+1)·n − 1, with n the blocks a task needs. So no task depends on another, tasks
can be drawn in any order, batch or process, and one more choice in one stream changes nothing in the others.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
WordArray = npt.NDArray[np.uint64]

_WORDS_PER_BLOCK: Final = 4
_MASK: Final = 2**64 - 1
_BEFORE_THE_FIRST: Final = (_MASK,) * 4
"""The counter of 256 bits before 0."""
_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)
_FEW: Final = 128
"""Up to so many steps, comparing each with all later ones is quicker than a list that is swapped in."""
_UNUSED: Final = np.random.SeedSequence(0)
"""A generator made without one asks the operating system for entropy, which takes longer than its words."""


def random_words(seed: int, stream: int, tasks_B: IntArray, words: int) -> WordArray:
    """Random 64-bit words of some tasks, uint64 [B, words].

    Args:
        seed: 0 <= seed < 2**64.
        stream: which kind of choice they are for, 0 <= stream < 2**64.
        tasks_B: task numbers, not negative, in any order.
        words: how many each task needs.
    """
    blocks = -(-words // _WORDS_PER_BLOCK)
    width = blocks * _WORDS_PER_BLOCK
    if not len(tasks_B):
        return np.empty((0, words), np.uint64)
    # Neighbouring tasks own neighbouring counters, so a run of them is one call into the generator.
    breaks = (np.flatnonzero(tasks_B[1:] - tasks_B[:-1] != 1) + 1).tolist()
    starts, stops = [0, *breaks], [*breaks, len(tasks_B)]
    # Setting the state takes a fourth of the time of `advance`, which counts where the tasks come shuffled.
    generator, place = np.random.Philox(_UNUSED), {"key": (seed, stream), "counter": _BEFORE_THE_FIRST}
    state: Any = {"bit_generator": "Philox", "state": place, "buffer": (0,) * 4, "buffer_pos": 4}
    state |= {"has_uint32": 0, "uinteger": 0}
    runs = []
    for task, start, stop in zip(tasks_B[starts].tolist(), starts, stops, strict=True):
        # NumPy steps the counter before it makes a block, hence the −1.
        block = task * blocks - 1
        place["counter"] = (block & _MASK, block >> 64, 0, 0) if block >= 0 else _BEFORE_THE_FIRST
        generator.state = state
        runs.append(generator.random_raw((stop - start) * width))
    words_BW = runs[0] if len(runs) == 1 else np.concatenate(runs)
    return words_BW.reshape(len(tasks_B), width)[:, :words]


def bounded(words: WordArray, bound: npt.ArrayLike) -> IntArray:
    """Integers in [0, bound), floor(word · bound / 2**64); the bias is under bound / 2**64.

    Args:
        words: uint64, any shape.
        bound: 1 <= bound < 2**32, broadcast against `words`.
    """
    bound = np.asarray(bound, np.uint64)
    # The 128-bit product, of which only the upper half counts, from 32-bit halves: no step overflows 64 bits.
    low = (words & _LOW) * bound
    low >>= _HALF
    high = (words >> _HALF) * bound
    high += low
    high >>= _HALF
    signed: IntArray = high.view(np.int64)
    return signed


def distinct(words_RK: WordArray, bound: npt.ArrayLike) -> IntArray:
    """K distinct integers of [0, bound) in uniformly random order, int64 [R, K]: the head of a Fisher-Yates shuffle.

    Step k swaps places k and k + bounded(word k, bound − k) of the list 0 … bound − 1 and gives what is then in place
    k. The list is never made: of its bound entries at most 2·K are ever asked for, so the cost does not depend on it.

    Args:
        words_RK: uint64 [R, K], one word a step.
        bound: K <= bound < 2**32, one number or [R].

    Source: Durstenfeld (1964), Algorithm 235, CACM 7(7); the sparse form is folklore.
    """
    rows, steps = words_RK.shape
    bound_R = np.asarray(bound, np.uint64).reshape(-1)
    steps_K1 = np.arange(steps, dtype=np.uint64)[:, None]
    # Steps come first in memory: each is a row then, and what is done with it one operation on neighbours.
    places_KR = bounded(np.ascontiguousarray(words_RK.T), bound_R - steps_K1)
    places_KR += steps_K1.view(np.int64)
    found_KR = _traced(places_KR, int(bound_R.max(initial=1))) if steps <= _FEW else _swapped(places_KR)
    return np.ascontiguousarray(found_KR.T, np.int64)


def _traced(places_KR: IntArray, bound: int) -> npt.NDArray[Any]:
    """What step k finds when it swaps places k and places[k] of the list 0 … bound − 1, [K, R].

    Each number is followed back through the swaps: what lies in places[j] after step j lay in place j before.
    """
    # The smaller the numbers, the more of them the processor compares at once.
    places_KR = places_KR.astype(np.min_scalar_type(bound - 1))
    back_KR = places_KR ^ np.arange(len(places_KR), dtype=places_KR.dtype)[:, None]
    found_KR = places_KR.copy()
    for step in range(len(places_KR) - 2, -1, -1):
        later = found_KR[step + 1 :]
        later ^= (later == places_KR[step]) * back_KR[step]
    return found_KR


def _swapped(places_KR: IntArray) -> IntArray:
    """The same as `_traced`, by swapping in a list of the first K places and those that they are swapped with."""
    steps, rows = places_KR.shape
    steps_K1 = np.arange(steps)[:, None]
    # Place p >= K is kept in row K + i, with i the first of the sorted places that is p.
    by_place_KR = np.argsort(places_KR, axis=0)
    sorted_KR = np.take_along_axis(places_KR, by_place_KR, axis=0)
    new_KR = np.diff(sorted_KR, axis=0, prepend=-1) != 0
    first_KR = np.maximum.accumulate(np.where(new_KR, steps_K1, 0), axis=0)
    kept_KR = np.empty_like(places_KR)
    np.put_along_axis(kept_KR, by_place_KR, np.where(sorted_KR < steps, sorted_KR, steps + first_KR), axis=0)
    lists_SR = np.concatenate([np.broadcast_to(steps_K1, (steps, rows)), sorted_KR])
    flat = lists_SR.reshape(-1)
    flat_KR = kept_KR * rows + np.arange(rows)
    found_KR = np.empty((steps, rows), np.int64)
    for step in range(steps):
        found_KR[step] = flat[flat_KR[step]]
        # Place `step` itself need not be written: later steps swap with later places only.
        flat[flat_KR[step]] = flat[step * rows : (step + 1) * rows]
    return found_KR
