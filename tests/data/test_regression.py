"""Regression tasks: the published formulas, point by point, with constants drawn evenly from their ranges."""

import math
import pickle

import numpy as np
import pytest
import torch

from l2l_core.data.regression import CURVE, INPUTS, NOISE, HarmonicTasks, RegressionTasks, SinusoidTasks
from l2l_core.errors import UsageError
from tests.data.test_tasks import words
from tests.data.test_variable import even

KINDS = [SinusoidTasks, HarmonicTasks]


def units(seed: int, stream: int, task: int, count: int) -> list[float]:
    return [word / 2**64 for word in words(seed, stream, task, count)]


def slow_normal(u: float, v: float) -> float:
    return math.sqrt(-2 * math.log(1 - u)) * math.cos(2 * math.pi * v)


def whole(tasks: RegressionTasks, number: int) -> list[tuple[float, float]]:
    episode = tasks[number]
    x, y = torch.cat([episode.support_x, episode.query_x]), torch.cat([episode.support_y, episode.query_y])
    return list(zip(x[:, 0].tolist(), y[:, 0].tolist(), strict=True))


@pytest.mark.parametrize("noise_std", [0.0, 0.3])
def test_slow_python_draws_the_same_points(noise_std: float) -> None:
    sinusoids = SinusoidTasks(3, 4, seed=2, noise_std=noise_std)
    harmonics = HarmonicTasks(3, 4, seed=2, noise_std=noise_std)
    for number in (0, 5, 10**9):
        a, b, c, d, e, f, g, h = units(2, CURVE, number, 8)
        inputs, noise = units(2, INPUTS, number, 14), units(2, NOISE, number, 14)
        for place in range(7):
            u, v = inputs[2 * place : 2 * place + 2]
            added = noise_std * slow_normal(*noise[2 * place : 2 * place + 2])
            x = -5 + 10 * u
            y = (0.1 + (5.0 - 0.1) * a) * math.sin(x - math.pi * b)
            assert whole(sinusoids, number)[place] == pytest.approx((x, y + added), abs=1e-6)
            x = (-4 + 8 * f) + slow_normal(u, v)
            omega = 5 + 2 * e
            y = slow_normal(a, b) * math.sin(omega * x + 2 * math.pi * g)
            y += slow_normal(c, d) * math.sin(2 * omega * x + 2 * math.pi * h)
            assert whole(harmonics, number)[place] == pytest.approx((x, y + added), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_is_the_same_alone_and_in_any_batch(kind: type[RegressionTasks]) -> None:
    tasks = kind(5, 7, seed=3, num_tasks=50, noise_std=0.1)
    order = [7, 0, 49, 7, 12]
    batch = tasks.batch(order)
    assert [tuple(part.shape) for part in batch] == [(5, 5, 1), (5, 5, 1), (5, 7, 1), (5, 7, 1)]
    assert all(part.dtype == torch.float32 for part in batch)
    for row, number in enumerate(order):
        for part, alone in zip(batch, pickle.loads(pickle.dumps(tasks))[number], strict=True):
            assert torch.allclose(part[row], alone, atol=0, rtol=1e-6)
    arrays = tasks.describe(order)
    assert all(type(part) is np.ndarray for part in arrays)
    assert all(np.array_equal(part, same) for part, same in zip(arrays, batch, strict=True))
    assert not torch.equal(kind(5, 7, seed=4)[0].support_x, tasks[0].support_x)


def test_sinusoids_fill_their_ranges_evenly() -> None:
    tasks = SinusoidTasks(10, 90, seed=0)
    arrays = tasks.describe(range(4000))
    x = np.concatenate([arrays.support_x, arrays.query_x], axis=1)[:, :, 0].astype(float)
    y = np.concatenate([arrays.support_y, arrays.query_y], axis=1)[:, :, 0].astype(float)
    assert even(np.histogram(x, 20, (-5, 5))[0], x.size / 20)
    # y = p·sin x − q·cos x gives amplitude and phase back, by least squares.
    sums = np.stack([np.sin(x), -np.cos(x)], axis=2)
    p, q = np.linalg.solve(sums.transpose(0, 2, 1) @ sums, (sums * y[:, :, None]).sum(axis=1)[:, :, None])[:, :, 0].T
    assert even(np.histogram(np.hypot(p, q), 20, (0.1, 5.0))[0], 200)
    assert even(np.histogram(np.arctan2(q, p), 20, (-1e-6, math.pi + 1e-6))[0], 200)


def test_harmonics_lie_in_their_windows() -> None:
    arrays = HarmonicTasks(200, 1, seed=0).describe(range(3000))
    centres, widths = arrays.support_x.mean(axis=(1, 2)), arrays.support_x.std(axis=(1, 2))
    assert even(np.histogram(centres, [-3.5, -2, -0.5, 1, 2.5, 3.5])[0], 3000 * np.array([1.5, 1.5, 1.5, 1.5, 1]) / 8)
    assert 0.97 < widths.mean() < 1.01
    # Two independent waves of mean square a²/2 each.
    assert (arrays.support_y**2).mean() == pytest.approx(1, abs=0.06)


def test_noise_is_added_to_all_targets() -> None:
    plain, noisy = (SinusoidTasks(20, 20, seed=0, noise_std=std).describe(range(200)) for std in (0.0, 0.5))
    assert np.array_equal(plain.query_x, noisy.query_x)
    for part in ("support_y", "query_y"):
        added = getattr(noisy, part) - getattr(plain, part)
        assert added.std() == pytest.approx(0.5, abs=0.03)
        assert abs(added.mean()) < 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_refusals(kind: type[RegressionTasks]) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"shots": 0}, "shots is 0; give at least 1"),
        ({"queries": 1.5}, "queries is 1.5; give a whole number"),
        ({"noise_std": -1.0}, "noise_std is -1.0; give 0 for no noise, or more"),
        ({"noise_std": math.nan}, "noise_std is nan; give 0 for no noise, or more"),
        ({"num_tasks": 0}, "num_tasks is 0; give a positive number, or -1 for an endless set"),
    ]
    for arguments, message in cases:
        with pytest.raises(UsageError) as caught:
            kind(**arguments)  # type: ignore[arg-type]
        assert str(caught.value) == message
    with pytest.raises(IndexError, match="there is no task 5; the tasks of this set are 0 to 4"):
        kind(num_tasks=5)[5]
