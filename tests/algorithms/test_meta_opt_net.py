"""MetaOptNet's two heads against SciPy and NumPy, and its smoothed loss worked out by hand."""

import math

import numpy as np
import pytest
import torch

from l2l_core.algorithms.meta_opt_net import MetaOptNet, MetaOptNetRidge
from l2l_core.errors import UsageError
from tests.algorithms.metric_tasks import WAYS, backbone, check_logits, check_meta_gradients, tasks
from tests.nn.test_svm import dual_by_scipy


@pytest.mark.parametrize("C_reg", [0.1, 2.0])
def test_the_svm_is_the_one_that_scipy_finds_scaled(C_reg: float) -> None:
    learner = MetaOptNet(backbone(), C_reg)
    assert learner.scale.item() == 1
    with torch.no_grad():
        learner.scale.fill_(2.5)

    def expected(support: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
        return 2.5 * query @ support.T @ dual_by_scipy(support, labels, WAYS, C_reg)

    check_logits(learner, expected, rtol=1e-5)


@pytest.mark.parametrize("lam", [50.0, 0.3])
def test_the_ridge_regression_has_no_bias_and_sums_over_examples(lam: float) -> None:
    learner = MetaOptNetRidge(backbone(), lam)
    with torch.no_grad():
        learner.scale.fill_(4.0)

    def expected(support: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
        system = support.T @ support + lam * np.eye(support.shape[1])
        return 4 * query @ np.linalg.solve(system, support.T @ np.eye(WAYS)[labels])

    check_logits(learner, expected)


def test_label_smoothing_gives_the_other_classes_what_it_takes_from_the_right_one() -> None:
    learner = MetaOptNetRidge(backbone(), 0.3, label_smoothing=0.1).double()
    support_x, support_y, query_x, query_y = tasks()
    loss, accuracy = learner.meta_loss(support_x, support_y, query_x, query_y)
    logits = learner.eval().adapt(support_x, support_y)(query_x)
    total = 0.0
    for rows, labels in zip(logits.tolist(), query_y.tolist(), strict=True):
        for row, label in zip(rows, labels, strict=True):
            log_sum = math.log(sum(math.exp(value) for value in row))
            total -= sum((0.9 if n == label else 0.1 / (WAYS - 1)) * (row[n] - log_sum) for n in range(WAYS)) / 10
    assert loss.item() == pytest.approx(total, rel=1e-12)
    torch.testing.assert_close(accuracy, (logits.argmax(dim=2) == query_y).double().mean(dim=1))

    # With one class there is no other to give to.
    alone, _ = learner.meta_loss(support_x, 0 * support_y, query_x, 0 * query_y)
    assert alone.item() == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_meta_gradients_are_those_of_finite_differences(smoothing: float) -> None:
    check_meta_gradients(MetaOptNet(backbone(), max_iters=30, label_smoothing=smoothing))
    check_meta_gradients(MetaOptNetRidge(backbone(), 0.3, label_smoothing=smoothing))


def test_settings_that_cannot_be_are_refused_in_words() -> None:
    refused = {
        "C_reg is 0; give a finite number above 0": lambda: MetaOptNet(backbone(), C_reg=0),
        "MetaOptNet was asked for max_iters = 0; give at least 1": lambda: MetaOptNet(backbone(), max_iters=0),
        "lam is 0; give a finite number above 0": lambda: MetaOptNetRidge(backbone(), lam=0),
        "MetaOptNetRidge was asked for label_smoothing = 0.6; give what is to be taken from the right class, at least "
        "0 and at most 0.5": lambda: MetaOptNetRidge(backbone(), label_smoothing=0.6),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message
