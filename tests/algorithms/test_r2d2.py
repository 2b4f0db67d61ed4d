"""R2-D2 and LR-D2 against NumPy, in the papers' own forms."""

import numpy as np
import pytest
import torch

from l2l_core.algorithms.r2d2 import LRD2, R2D2
from l2l_core.errors import UsageError
from tests.algorithms.metric_tasks import WAYS, backbone, check_logits, check_meta_gradients


def with_ones(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def ridge(support: np.ndarray, labels: np.ndarray, query: np.ndarray, lam: float, scale: float) -> np.ndarray:
    root = np.sqrt(len(support))
    x, y = with_ones(support) / root, np.eye(WAYS)[labels] / root
    return scale * with_ones(query) @ np.linalg.solve(x.T @ x + lam * np.eye(x.shape[1]), x.T @ y)


def reweighted_least_squares(
    support: np.ndarray, labels: np.ndarray, query: np.ndarray, lam: float, steps: int
) -> np.ndarray:
    x = with_ones(support)
    columns = []
    for label in range(WAYS):
        w = np.zeros(x.shape[1])
        for _ in range(steps):
            sigma = 1 / (1 + np.exp(-(x @ w)))
            s = sigma * (1 - sigma)
            z = x @ w + ((labels == label) - sigma) / s
            w = x.T @ np.linalg.solve(x @ x.T + lam * np.diag(1 / s), z)
        columns.append(with_ones(query) @ w)
    return np.stack(columns, axis=1)


@pytest.mark.parametrize(("lam", "scale"), [(50.0, 1e-4), (0.01, 7.0)])
def test_r2d2_is_the_ridge_regression_scaled(lam: float, scale: float) -> None:
    learner = R2D2(backbone(), lam, scale)
    # 1e-6: the logarithm of λ and the scale start as float32
    check_logits(learner, lambda *task: ridge(*task, lam, scale), rtol=1e-5)
    exact = learner.lam.item(), learner.scale.item()
    check_logits(learner, lambda *task: ridge(*task, *exact))


@pytest.mark.parametrize(("lam", "steps"), [(50.0, 5), (0.5, 1), (0.5, 3)])
def test_lrd2_is_reweighted_least_squares(lam: float, steps: int) -> None:
    learner = LRD2(backbone(), lam, steps)
    assert learner.lam.item() == pytest.approx(lam, rel=1e-6)
    check_logits(learner, lambda *task: reweighted_least_squares(*task, learner.lam.item(), steps), rtol=1e-8)


@pytest.mark.parametrize("make", [lambda: R2D2(backbone(), 0.1, 3), lambda: LRD2(backbone(), 0.1)])
def test_meta_gradients_are_those_of_finite_differences(make) -> None:  # type: ignore[no-untyped-def]
    check_meta_gradients(make())


def test_lambda_and_scale_are_learned_from_where_the_released_code_starts() -> None:
    learner = R2D2(backbone())
    assert {"log_lam", "scale"} < dict(learner.named_parameters()).keys()
    torch.testing.assert_close(learner.lam, torch.tensor(50.0))
    assert learner.scale.item() == pytest.approx(1e-4)
    assert "log_lam" in dict(LRD2(backbone()).named_parameters())


def test_settings_that_cannot_be_are_refused_in_words() -> None:
    refused = {
        "lam is -1; give a finite number above 0": lambda: R2D2(backbone(), lam=-1.0),
        "scale is 0; give a finite number above 0": lambda: R2D2(backbone(), scale=0.0),
        "lam is 0; give a finite number above 0": lambda: LRD2(backbone(), lam=0.0),
        "LRD2 was asked for steps = 0; give at least 1": lambda: LRD2(backbone(), steps=0),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message
