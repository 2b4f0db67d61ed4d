"""Drawing tasks as integer arrays: each a pure function of (seed, task number), without torch and without global state.

The random words come from Philox-4x64-10, a counter-based generator (Salmon et al. 2011, Parallel Random Numbers: As
Easy as 1, 2, 3, SC '11), as NumPy implements it: a block of four 64-bit words is a fixed function of a 128-bit key and
a 256-bit counter. Here the key is (seed, stream), one stream for each kind of choice, and the counter is the place of
the block: task i owns blocks i·n to (i+1)·n − 1, with n the blocks a task needs. So no task depends on another, tasks
can be drawn in any order, batch or process, and one more choice in one stream changes nothing in the others.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
WordArray = npt.NDArray[np.uint64]

_WORDS_PER_BLOCK: Final = 4
_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)


def random_words(seed: int, stream: int, tasks_B: IntArray, words: int) -> WordArray:
    """Random 64-bit words of some tasks, uint64 [B, words].

    Args:
        seed: 0 <= seed < 2**64.
        stream: which kind of choice they are for, 0 <= stream < 2**64.
        tasks_B: task numbers, not negative, in any order.
        words: how many each task needs.
    """
    blocks = -(-words // _WORDS_PER_BLOCK)
    out = np.empty((len(tasks_B), blocks * _WORDS_PER_BLOCK), np.uint64)
    # Neighbouring tasks own neighbouring counters, so a run of them is one call into the generator.
    starts = np.flatnonzero(np.diff(tasks_B, prepend=-2) != 1)
    stops = np.append(starts, len(tasks_B))[1:]
    for start, stop in zip(starts, stops, strict=True):
        # NumPy steps the counter before it makes a block, hence the −1, modulo the counter's 256 bits.
        counter = (int(tasks_B[start]) * blocks - 1) % 2**256
        generator = np.random.Philox(key=seed + (stream << 64), counter=counter)
        out[start:stop] = generator.random_raw((stop - start) * out.shape[1]).reshape(stop - start, -1)
    return out[:, :words]


def bounded(words: WordArray, bound: npt.ArrayLike) -> IntArray:
    """Integers in [0, bound), floor(word · bound / 2**64); the bias is under bound / 2**64.

    Args:
        words: uint64, any shape.
        bound: 1 <= bound < 2**32, broadcast against `words`.
    """
    bound = np.asarray(bound, np.uint64)
    # The 128-bit product, of which only the upper half counts, from 32-bit halves: no step overflows 64 bits.
    high = (words >> _HALF) * bound
    high += ((words & _LOW) * bound) >> _HALF
    high >>= _HALF
    signed: IntArray = high.view(np.int64)
    return signed


def distinct(words_RK: WordArray, bound: npt.ArrayLike) -> IntArray:
    """K distinct integers of [0, bound) in uniformly random order, int64 [R, K]: the head of a Fisher-Yates shuffle.

    Step k swaps places k and k + bounded(word k, bound − k) of the list 0 … bound − 1 and gives what is then in place
    k. The list is never made: of its bound entries at most K have moved, so the cost does not depend on the bound.

    Args:
        words_RK: uint64 [R, K], one word a step.
        bound: K <= bound < 2**32, one number or [R].

    Source: Durstenfeld (1964), Algorithm 235, CACM 7(7); the sparse form is folklore.
    """
    rows, steps = words_RK.shape
    bound_R1 = np.broadcast_to(np.asarray(bound, np.int64).reshape(-1, 1), (rows, 1))
    step_K = np.arange(steps)
    swapped_KR = np.ascontiguousarray((step_K + bounded(words_RK, bound_R1 - step_K)).T)
    chosen_KR = swapped_KR.copy()
    moved_KR = np.empty_like(swapped_KR)
    for step in range(steps):
        # What lies in a place now is what the last swap with that place put there, else the place's own number.
        moved = np.full(rows, step)
        for earlier in range(step):
            moved = np.where(swapped_KR[earlier] == step, moved_KR[earlier], moved)
            hit = swapped_KR[earlier] == swapped_KR[step]
            chosen_KR[step] = np.where(hit, moved_KR[earlier], chosen_KR[step])
        moved_KR[step] = moved
    return np.ascontiguousarray(chosen_KR.T)
