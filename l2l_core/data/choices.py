"""Random choices other than even integers, made of the words of `random_words`: real numbers, weighted and uneven."""

from collections.abc import Iterable
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from l2l_core.data.sampling import IntArray, WordArray, distinct
from l2l_core.errors import UsageError

FloatArray = npt.NDArray[np.float64]


def uniform(words: WordArray) -> FloatArray:
    """Numbers in [0, 1), same shape: the upper 53 bits of each word, which a float64 holds exactly."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(words: WordArray) -> FloatArray:
    """Numbers of the standard normal distribution, one for each pair of words, [...].

    Args:
        words: uint64 [..., 2].

    Source: Box and Muller (1958), A Note on the Generation of Random Normal Deviates.
    """
    unit = uniform(words)
    values: FloatArray = np.sqrt(-2 * np.log1p(-unit[..., 0])) * np.cos(2 * np.pi * unit[..., 1])
    return values


def finite(value: object) -> bool:
    """Whether it is a number, and neither infinite nor NaN."""
    return isinstance(value, Real) and isfinite(value)


def checked_weights(name: str, weights: Iterable[Any], count: int, positive: int = 1) -> FloatArray:
    """Weights in proportion to the largest, float64 [count]; what is beyond counting beside that is 0.

    Args:
        name: what to call them in a message.
        weights: numbers, not negative; they need not add up to 1.
        count: how many there must be.
        positive: how many of them must be above 0.

    Raises:
        UsageError: one of that does not hold, or a weight is no finite number.
    """
    given = list(weights)
    try:
        values = np.array(given, np.float64).reshape(len(given))
    except (TypeError, ValueError):
        raise UsageError(f"{name} are not all numbers; give one number for each of {count}") from None
    if len(values) != count:
        raise UsageError(f"{name}: {len(values)} were given for {count}; give one for each")
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        raise UsageError(f"{name}: weight {wrong[0]} is {values[wrong[0]]}; give finite numbers, not negative")
    # Of weights near the ends of the range, sums and quotients would be infinite.
    values /= values.max(initial=0) or 1
    values[values < np.finfo(np.float64).tiny] = 0
    if (above := np.count_nonzero(values)) < positive:
        raise UsageError(f"{name}: {above} are above 0, but {positive} must be to choose from; raise some")
    return values


def weighted(words: WordArray, weights_C: FloatArray) -> IntArray:
    """One of C for each word, with chances in proportion to the weights; int64, the shape of `words`.

    Args:
        words: uint64, any shape.
        weights_C: finite, not negative, some above 0.
    """
    # Only sums and one product, each rounded the same way on every machine.
    ends_C = np.cumsum(weights_C)
    found = np.searchsorted(ends_C, uniform(words) * ends_C[-1], side="right")
    # A product rounded up to the very end would fall behind the last weight that counts.
    chosen: IntArray = np.minimum(found, np.flatnonzero(weights_C)[-1])
    return chosen


def weighted_distinct(words_RC: WordArray, weights_RC: FloatArray, k: int) -> IntArray:
    """K different ones of C in the order drawn, each with chances in proportion to the weights left; int64 [R, K].

    Of C exponentially distributed times whose rates are the weights, the k first come in just that order.

    Args:
        words_RC: uint64, one for each that may be drawn.
        weights_RC: finite, not negative, in each row at least k above 0.
        k: how many.

    Source: Efraimidis and Spirakis (2006), Weighted random sampling with a reservoir, §3, in its logarithmic form.
    """
    exponential_RC = -np.log1p(-uniform(words_RC))
    times_RC = np.full(words_RC.shape, np.inf)
    np.divide(exponential_RC, weights_RC, out=times_RC, where=weights_RC > 0)
    return np.argsort(times_RC, axis=1, kind="stable")[:, :k]


def distinct_heads(words_RK: WordArray, bounds_R: IntArray) -> IntArray:
    """What `distinct` gives row by row, where a bound may be below K; −1 behind the last of such a row. int64 [R, K].

    Args:
        words_RK: uint64, one a step.
        bounds_R: int64, 1 <= bound < 2**32.
    """
    rows, steps = words_RK.shape
    heads_R = np.minimum(bounds_R, steps)
    out_RK = np.full((rows, steps), -1, np.int64)
    for head in np.unique(heads_R).tolist():
        same = np.flatnonzero(heads_R == head)
        out_RK[same, :head] = distinct(words_RK[same, :head], bounds_R[same])
    return out_RK
