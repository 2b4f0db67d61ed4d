"""The mean and its interval against plain Python, scipy and simulation."""

from math import fsum, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from l2l_core.errors import UsageError
from l2l_core.evaluation.statistics import mean_ci95


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_mean_and_interval_are_those_of_plain_python(values: list[float]) -> None:
    mean = fsum(values) / len(values)
    variance = fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    assert mean_ci95(values) == pytest.approx((mean, 1.96 * sqrt(variance) / sqrt(len(values))), rel=1e-9, abs=1e-12)


def test_interval_is_scipys_normal_interval() -> None:
    values = np.random.default_rng(0).random(50)
    mean, ci95 = mean_ci95(values)
    low, high = stats.norm.interval(0.95, loc=values.mean(), scale=stats.sem(values))
    assert (mean - ci95, mean + ci95) == pytest.approx((low, high), rel=1e-5)


def test_by_hand() -> None:
    assert mean_ci95([0.0, 1.0]) == (0.5, pytest.approx(1.96 * 0.5))
    assert mean_ci95([0.25] * 7) == (0.25, 0.0)


def test_interval_holds_the_true_mean_in_95_of_100_runs() -> None:
    """Runs of 200 episodes: each has a difficulty of its own, and 75 queries."""
    rng = np.random.default_rng(0)
    difficulty = rng.beta(8, 2, (2000, 200))
    runs = rng.binomial(75, difficulty) / 75
    held = [abs(mean - 0.8) <= ci95 for mean, ci95 in map(mean_ci95, runs)]
    assert 0.935 < sum(held) / len(held) < 0.965


@pytest.mark.parametrize(("values", "shape"), [([], "[0]"), ([1.0], "[1]"), ([[1.0, 2.0]], "[1, 2]"), (1.0, "[]")])
def test_no_interval_without_two_episodes(values: object, shape: str) -> None:
    with pytest.raises(UsageError) as caught:
        mean_ci95(values)
    assert str(caught.value) == f"an interval needs the values of at least 2 episodes, found shape {shape}"
