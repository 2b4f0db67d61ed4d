"""Ridge and logistic heads against NumPy, SciPy and slow loops, and what every fitted head refuses."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from l2l_core.errors import UsageError
from l2l_core.nn.closed_form import LinearHead, fit_logistic, fit_ridge, linear_logits
from l2l_core.nn.svm import fit_svm
from tests.nn.test_heads import random_labels

FITS = [fit_ridge, fit_logistic, fit_svm]
# Fewer, as many and many more numbers than examples; one example a class; one class.
SHAPES = [(9, 3, 2), (9, 3, 8), (6, 3, 50), (4, 4, 3), (3, 1, 2)]


def tasks(seed: int, examples: int, ways: int, width: int, count: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Support [B, M, D] and queries [B, 3, D] in float64, and labels [B, M] with every class, in unequal numbers."""
    generator = np.random.default_rng(seed)
    labels = random_labels(generator, count, examples, ways)
    support, query = generator.normal(size=(count, examples, width)), generator.normal(size=(count, 3, width))
    return torch.from_numpy(support), torch.from_numpy(labels), torch.from_numpy(query)


def with_ones(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def columns(head: LinearHead, task: int) -> np.ndarray:
    """Weights and biases [D + 1, N] of one task."""
    return np.concatenate([head.weights_BDN[task].numpy(), head.biases_BN[task, None].numpy()])


@pytest.mark.parametrize(("examples", "ways", "width"), SHAPES)
@pytest.mark.parametrize("lam", [50.0, 1e-3])
def test_ridge_is_least_squares_on_the_data_with_a_penalty_row_for_each_weight(
    examples: int, ways: int, width: int, lam: float
) -> None:
    support, labels, query = tasks(0, examples, ways, width)
    head = fit_ridge(support, labels, ways, lam)
    logits = linear_logits(head, query, scale=3.0)
    for task in range(2):
        x = with_ones(support[task].numpy())
        rows = np.concatenate([x, np.sqrt(examples * lam) * np.eye(width + 1)])
        targets = np.concatenate([np.eye(ways)[labels[task].numpy()], np.zeros((width + 1, ways))])
        expected = np.linalg.lstsq(rows, targets, rcond=None)[0]
        np.testing.assert_allclose(columns(head, task), expected, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(logits[task], 3 * with_ones(query[task].numpy()) @ expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(("examples", "ways", "width"), SHAPES)
@pytest.mark.parametrize("lam", [50.0, 0.1])
def test_logistic_ends_at_the_optimum_of_the_penalised_likelihood(
    examples: int, ways: int, width: int, lam: float
) -> None:
    support, labels, _ = tasks(1, examples, ways, width)
    head = fit_logistic(support, labels, ways, lam, steps=30)
    for task in range(2):
        x = with_ones(support[task].numpy())
        for label in range(ways):
            signs = np.where(labels[task].numpy() == label, 1.0, -1.0)

            def objective(w: np.ndarray, x: np.ndarray = x, signs: np.ndarray = signs) -> tuple[float, np.ndarray]:
                margins = signs * (x @ w)
                value = np.logaddexp(0, -margins).sum() + lam / 2 * w @ w
                return value, lam * w - x.T @ (signs / (1 + np.exp(margins)))

            found = minimize(objective, np.zeros(width + 1), jac=True, method="BFGS", options={"gtol": 1e-9})
            np.testing.assert_allclose(columns(head, task)[:, label], found.x, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_logistic_takes_the_newton_steps_of_reweighted_least_squares(steps: int) -> None:
    support, labels, _ = tasks(2, 7, 3, 4)
    head = fit_logistic(support, labels, 3, 0.5, steps)
    for task in range(2):
        x = with_ones(support[task].numpy())
        for label in range(3):
            y = (labels[task].numpy() == label).astype(float)
            w = np.zeros(5)
            for _ in range(steps):
                mu = 1 / (1 + np.exp(-x @ w))
                s = mu * (1 - mu)
                z = x @ w + (y - mu) / s
                w = np.linalg.solve(x.T @ np.diag(s) @ x + 0.5 * np.eye(5), x.T @ (s * z))
            np.testing.assert_allclose(columns(head, task)[:, label], w, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("fit", [fit_ridge, fit_logistic])
@pytest.mark.parametrize(("examples", "width"), [(6, 2), (4, 7)])
def test_gradients_of_closed_forms_are_those_of_finite_differences(
    fit: Callable[..., LinearHead], examples: int, width: int
) -> None:
    support, labels, query = tasks(3, examples, 3, width)
    lam, scale = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.7, 1.3))

    def logits(support: Tensor, query: Tensor, lam: Tensor, scale: Tensor) -> Tensor:
        return linear_logits(fit(support, labels, 3, lam), query[:, :1], scale)

    inputs = (support.requires_grad_(), query.requires_grad_(), lam, scale)
    assert gradcheck(logits, inputs, atol=1e-8, rtol=1e-6)
    assert gradgradcheck(logits, inputs, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("fit", [fit_ridge, fit_logistic])
def test_gradients_stay_finite_where_the_fit_is_saturated(fit: Callable[..., LinearHead]) -> None:
    support, labels, _ = tasks(4, 6, 3, 20)
    support = (1e4 * support).float().requires_grad_()
    head = fit(support, labels, 3, 1e-2)
    head.weights_BDN.sum().backward()
    assert head.weights_BDN.isfinite().all()
    assert support.grad.isfinite().all()


@pytest.mark.parametrize("fit", FITS)
def test_each_task_of_a_batch_is_fitted_as_if_alone(fit: Callable[..., LinearHead]) -> None:
    support, labels, query = tasks(5, 8, 3, 6, count=3)
    support[1] *= 30  # one that takes the solver longer must not disturb the others
    together = linear_logits(fit(support, labels, 3), query)
    assert together.shape == (3, 3, 3)
    for task in range(3):
        one = slice(task, task + 1)
        alone = linear_logits(fit(support[one], labels[one], 3), query[one])
        torch.testing.assert_close(together[one], alone, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("fit", FITS)
def test_half_precision_is_fitted_in_float32_also_under_autocast(fit: Callable[..., LinearHead]) -> None:
    support, labels, query = (x.to(torch.bfloat16) if x.is_floating_point() else x for x in tasks(6, 8, 3, 6))
    expected = linear_logits(fit(support.float(), labels, 3), query.float())
    assert expected.dtype == torch.float32
    assert torch.equal(linear_logits(fit(support, labels, 3), query), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(linear_logits(fit(support, labels, 3), query), expected)
    precise = linear_logits(fit(support.double(), labels, 3), query.double())
    torch.testing.assert_close(expected.double(), precise, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fit", FITS)
def test_identical_examples_of_all_classes_leave_nothing_to_choose(fit: Callable[..., LinearHead]) -> None:
    support = torch.ones(1, 6, 4).requires_grad_()
    logits = linear_logits(fit(support, torch.tensor([[0, 1, 2, 0, 1, 2]]), 3), torch.randn(1, 2, 4))
    torch.testing.assert_close(logits, logits.mean(dim=2, keepdim=True).expand_as(logits))
    logits.sum().backward()
    assert support.grad.isfinite().all()


@pytest.mark.parametrize("fit", FITS)
def test_fitted_heads_refuse_in_words(fit: Callable[..., LinearHead]) -> None:
    support, labels = torch.zeros(2, 4, 3), torch.tensor([[0, 1, 2, 0], [0, 1, 1, 0]])
    fitted = fit(support, labels % 2, 2)
    broken = support.clone()
    broken[1, 2, 0] = torch.nan
    refused = {
        "class 2 of 0..2 has no support example in task 1 of the batch; give at least one of each class, or renumber "
        "the labels": lambda: fit(support, labels, 3),
        "the support labels run from 0 to 2, but 2 ways are numbered 0..1; renumber them within each task": lambda: fit(
            support, labels, 2
        ),
        "a head is fitted on embeddings [B, M, D] and labels [B, M], but was given [4, 3] and [2, 4]; give one label "
        "for each embedding, and at least one of them": lambda: fit(support[0], labels, 3),
        "a head is fitted on embeddings [B, M, D] and labels [B, M], but was given [2, 0, 3] and [2, 0]; give one "
        "label for each embedding, and at least one of them": lambda: fit(support[:, :0], labels[:, :0], 3),
        "the support labels must be int64, but are torch.int32; convert them with y.long()": lambda: fit(
            support, labels.int(), 3
        ),
        "the support embeddings must be floating point, but are torch.int64; convert them": lambda: fit(
            support.long(), labels, 3
        ),
        "the support embeddings of task 1 of the batch are not all finite; look for a diverged backbone, or lower its "
        "learning rate": lambda: fit(broken, labels % 2, 2),
        "the query embeddings of task 1 of the batch are not all finite; look for a diverged backbone, or lower its "
        "learning rate": lambda: linear_logits(fitted, broken),
        "a head fitted on 2 tasks of embeddings of 3 numbers was given queries [2, 4, 2]; give queries [2, Q, 3]": (
            lambda: linear_logits(fitted, support[..., :2])
        ),
        "a head fitted on 2 tasks of embeddings of 3 numbers was given queries [1, 4, 3]; give queries [2, Q, 3]": (
            lambda: linear_logits(fitted, support[:1])
        ),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message


@pytest.mark.parametrize(("fit", "name"), [(fit_ridge, "lam"), (fit_logistic, "lam"), (fit_svm, "C_reg")])
def test_hyper_parameters_out_of_range_are_refused(fit: Callable[..., LinearHead], name: str) -> None:
    support, labels, _ = tasks(0, 4, 2, 3)
    for value, shown in ((0, "0"), (-1.5, "-1.5"), (torch.tensor(-2.0), "-2"), (float("nan"), "nan")):
        with pytest.raises(UsageError) as error:
            fit(support, labels, 2, value)
        assert str(error.value) == f"{name} is {shown}; give a finite number above 0"
    with pytest.raises(UsageError) as error:
        fit(support, labels, 2, torch.ones(3))
    assert str(error.value) == f"{name} must be one number, but has shape [3]; give a scalar"


def test_logistic_refuses_no_steps() -> None:
    support, labels, _ = tasks(0, 4, 2, 3)
    with pytest.raises(UsageError) as error:
        fit_logistic(support, labels, 2, steps=0)
    assert str(error.value) == "fit_logistic was asked for 0 Newton steps; give at least 1"


def test_a_system_that_is_singular_in_its_precision_is_refused_with_its_task() -> None:
    support = torch.stack([torch.eye(3), torch.full((3, 3), 1e4)])
    labels = torch.tensor([[0, 1, 0], [0, 1, 1]])
    with pytest.raises(UsageError) as error:
        fit_ridge(support, labels, 2, 1e-6)
    assert str(error.value) == (
        "the linear system of task 1 of the batch is singular in float32; normalise the embeddings, give them in "
        "float64, or raise lam"
    )
    assert fit_ridge(support.double(), labels, 2, 1e-6).weights_BDN.isfinite().all()
