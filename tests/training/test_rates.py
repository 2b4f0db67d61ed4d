"""Learning rates, against PyTorch's own schedules and plain arithmetic."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from l2l_core.algorithms.methods import TrainingSettings
from l2l_core.training.rates import learning_rate

RATE, STEPS = 0.2, 40


def _rates(**settings: Any) -> list[float]:
    how = TrainingSettings(5, 1, 5, meta_batch=1, learning_rate=RATE, **settings)
    return [learning_rate(how, done, done / STEPS) for done in range(STEPS)]


@pytest.mark.parametrize(
    ("settings", "schedule"),
    [
        ({}, lambda optimiser: lr_scheduler.ConstantLR(optimiser, factor=1.0)),
        ({"halve_every": 7}, lambda optimiser: lr_scheduler.StepLR(optimiser, 7, 0.5)),
        ({"decay": "linear"}, lambda optimiser: lr_scheduler.LinearLR(optimiser, 1.0, 0.0, STEPS)),
        ({"decay": "cosine"}, lambda optimiser: lr_scheduler.CosineAnnealingLR(optimiser, STEPS)),
        (
            {"drops": ((0.25, 0.1), (0.5, 0.01), (0.75, 0.001))},
            lambda optimiser: lr_scheduler.MultiStepLR(optimiser, [10, 20, 30], 0.1),
        ),
    ],
)
def test_rates_are_those_of_pytorch(
    settings: dict[str, Any], schedule: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]
) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler = schedule(optimiser)
    expected = []
    for _ in range(STEPS):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert _rates(**settings) == pytest.approx(expected)


def test_each_factor_counts_from_the_first_rate_and_all_ways_to_fall_go_together() -> None:
    # MetaOptNet's: 0.1, then 0.006, 0.0012 and 0.00024 at 20, 40 and 50 of 60 epochs.
    drops = ((20 / 60, 0.06), (40 / 60, 0.012), (50 / 60, 0.0024))
    how = TrainingSettings(5, 15, 6, meta_batch=8, learning_rate=0.1, drops=drops)
    epochs = (0, 19, 20, 39, 40, 49, 50, 59)
    rates = [learning_rate(how, 8_000 * epoch, epoch / 60) for epoch in epochs]
    assert rates == pytest.approx([0.1, 0.1, 0.006, 0.006, 0.0012, 0.0012, 0.00024, 0.00024])
    all_together = _rates(halve_every=10, decay="linear", drops=((0.5, 0.3),))
    assert all_together[25] == pytest.approx(RATE * 0.25 * (15 / 40) * 0.3)


def test_a_rate_never_falls_below_0() -> None:
    # The last step of a timed run may begin when the time is over.
    for decay in ("linear", "cosine"):
        how = TrainingSettings(5, 1, 5, meta_batch=1, learning_rate=RATE, decay=decay)
        assert learning_rate(how, 3, 1.01) == 0
