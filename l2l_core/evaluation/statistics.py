"""From per-episode values to a figure with its interval."""

from math import sqrt

import numpy as np
import numpy.typing as npt

from l2l_core.errors import UsageError


def mean_ci95(values: npt.ArrayLike) -> tuple[float, float]:
    """Mean, and half-width of its 95% interval: 1.96·s/√n, with s the sample standard deviation (n − 1).

    Args:
        values: one number an episode, [n].

    Raises:
        UsageError: n is below 2, so that there is no spread to measure.
    """
    values_n = np.asarray(values, np.float64)
    if values_n.ndim != 1 or len(values_n) < 2:
        raise UsageError(f"an interval needs the values of at least 2 episodes, found shape {list(values_n.shape)}")
    return float(values_n.mean()), 1.96 * float(values_n.std(ddof=1)) / sqrt(len(values_n))
