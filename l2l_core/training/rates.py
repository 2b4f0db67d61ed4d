"""The learning rate of each step."""

from math import cos, pi

from l2l_core.algorithms.methods import TrainingSettings


def learning_rate(settings: TrainingSettings, done: int, fraction: float) -> float:
    """The optimiser's rate for a step.

    Args:
        settings: say how the rate falls.
        done: episodes trained on so far.
        fraction: of the budget spent so far, in [0, 1].
    """
    rate = settings.learning_rate
    if settings.halve_every:
        rate *= 0.5 ** (done // settings.halve_every)
    left = max(0.0, 1 - fraction)
    if settings.decay == "linear":
        rate *= left
    elif settings.decay == "cosine":
        rate *= (1 - cos(pi * left)) / 2
    return rate * next((factor for reached, factor in reversed(settings.drops) if fraction >= reached), 1.0)
