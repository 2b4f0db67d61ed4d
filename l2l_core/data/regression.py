"""Regression tasks made from formulas: sine waves, and sums of two."""

from abc import abstractmethod
from collections.abc import Sequence
from math import pi
from typing import Final

import numpy as np

from l2l_core.data.batches import Tasks, at_least_one, check_seed, count_of_tasks, digest_of, task_numbers
from l2l_core.data.choices import FloatArray, finite, normal, uniform
from l2l_core.data.episodes import Episode
from l2l_core.data.sampling import IntArray, WordArray, random_words
from l2l_core.errors import UsageError

CURVE: Final = 40
INPUTS: Final = 41
NOISE: Final = 42
"""Streams of random words."""


class RegressionTasks(Tasks):
    """Base of the kinds of regression task: each is a curve, and points on it; task i is a function of (seed, i).

    ``tasks[i]`` is an `Episode` of float32 tensors: inputs [K, 1], targets [K, 1], and the same of the Q queries;
    ``tasks.batch(indices)`` stacks several. (On machines that compute a sine differently, a target may differ in its
    last bit.)

    Args:
        shots, queries: support and query examples.
        seed: 0 <= seed < 2**64; None draws one from the operating system (read it from ``.seed``).
        num_tasks: how many tasks there are; −1 for endless ones, which have no length.
        noise_std: standard deviation of the normal noise on all targets.

    Raises:
        UsageError: shots or queries is below 1, `noise_std` is negative or not finite, or the seed does not fit.
    """

    def __init__(
        self,
        shots: int = 10,
        queries: int = 10,
        seed: int | None = None,
        *,
        num_tasks: int = -1,
        noise_std: float = 0.0,
    ) -> None:
        self.shots, self.queries = at_least_one("shots", shots), at_least_one("queries", queries)
        if not (finite(noise_std) and noise_std >= 0):
            raise UsageError(f"noise_std is {noise_std}; give 0 for no noise, or more")
        self.noise_std = noise_std
        self.num_tasks, self.seed = count_of_tasks(num_tasks), check_seed(seed)

    def describe(self, indices: Sequence[int] | IntArray) -> Episode:
        """Some tasks as NumPy arrays, float32 [B, K, 1] and [B, Q, 1].

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            UsageError: there is no number at all, or one that is not whole.
        """
        tasks_B, points = task_numbers(indices, self.num_tasks), self.shots + self.queries

        def pairs(stream: int, count: int) -> WordArray:
            return random_words(self.seed, stream, tasks_B, 2 * count).reshape(len(tasks_B), count, 2)

        x_BM, y_BM = self._points(pairs(CURVE, 4), pairs(INPUTS, points))
        if self.noise_std:
            y_BM = y_BM + self.noise_std * normal(pairs(NOISE, points))
        x, y = (values_BM.astype(np.float32)[:, :, None] for values_BM in (x_BM, y_BM))
        return Episode(x[:, : self.shots], y[:, : self.shots], x[:, self.shots :], y[:, self.shots :])

    def batch(self, indices: Sequence[int] | IntArray) -> Episode:
        """Some tasks as tensors, each with an axis B in front; raises as `describe` does."""
        import torch

        return Episode(*map(torch.from_numpy, self.describe(indices)))

    def digest(self, tasks: int) -> str:
        """Sha256 that names the first `tasks` tasks: the bits of all their float32 numbers.

        A machine that computes a sine differently may name the same tasks differently.

        Raises:
            IndexError: there are fewer tasks.
            UsageError: there is no such number.
        """

        def arrays_of(numbers: range) -> list[IntArray]:
            return [part.view(np.int32).astype(np.int64) for part in self.describe(numbers)]

        return digest_of(f"regression {self.shots} {self.queries} {tasks}", arrays_of, tasks)

    @abstractmethod
    def _points(self, curve_B42: WordArray, inputs_BM2: WordArray) -> tuple[FloatArray, FloatArray]:
        """Inputs and targets without noise, float64 [B, M].

        Args:
            curve_B42: random words for what makes up the curve, uint64 [B, 4, 2].
            inputs_BM2: random words for the inputs, uint64 [B, M, 2].
        """


class SinusoidTasks(RegressionTasks):
    """Sine waves y = A · sin(x − φ), with A uniform in [0.1, 5), φ in [0, π) and x in [−5, 5).

    The paper trains with 5 or 10 shots and tests with 5, 10 or 20. It gives the ranges; that the phase is subtracted is
    how its code has it.

    Source: Finn et al. (2017), Model-Agnostic Meta-Learning, §5.1.
    """

    def _points(self, curve_B42: WordArray, inputs_BM2: WordArray) -> tuple[FloatArray, FloatArray]:
        amplitude_B1 = 0.1 + 4.9 * uniform(curve_B42[:, :1, 0])
        phase_B1 = pi * uniform(curve_B42[:, :1, 1])
        x_BM = -5 + 10 * uniform(inputs_BM2[:, :, 0])
        return x_BM, amplitude_B1 * np.sin(x_BM - phase_B1)


class HarmonicTasks(RegressionTasks):
    """Sums of two sine waves y = a₁ · sin(ω·x + b₁) + a₂ · sin(2ω·x + b₂), each task seen in a window of its own.

    The amplitudes a₁ and a₂ are standard normal, ω is uniform in [5, 7), the phases b₁ and b₂ in [0, 2π), and x is
    normal around a centre uniform in [−4, 4), with standard deviation 1. These constants are those of torchmeta's
    code for the paper (whose documentation calls the frequencies amplitudes); how large the paper's own noise is could
    not be confirmed, so there is none unless `noise_std` is given.

    Source: Lacoste et al. (2018), Uncertainty in Multitask Transfer Learning, arXiv 1806.07528.
    """

    def _points(self, curve_B42: WordArray, inputs_BM2: WordArray) -> tuple[FloatArray, FloatArray]:
        amplitudes_B2 = normal(curve_B42[:, :2])
        omega_B1, centre_B1 = 5 + 2 * uniform(curve_B42[:, 2, :1]), -4 + 8 * uniform(curve_B42[:, 2, 1:])
        phases_B2 = 2 * pi * uniform(curve_B42[:, 3])
        x_BM = centre_B1 + normal(inputs_BM2)
        omegas_B12 = omega_B1[:, :, None] * np.array([1, 2])
        waves_BM2 = amplitudes_B2[:, None] * np.sin(omegas_B12 * x_BM[:, :, None] + phases_B2[:, None])
        return x_BM, waves_BM2[:, :, 0] + waves_BM2[:, :, 1]
