"""The support vector machine against SciPy, its optimality conditions and finite differences."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from l2l_core.errors import UsageError
from l2l_core.nn.closed_form import linear_logits
from l2l_core.nn.svm import SVClassifier, fit_svm, svm_dual
from tests.nn.test_closed_form import SHAPES, tasks

CONVERGED = 30


def dual_by_scipy(support: np.ndarray, labels: np.ndarray, ways: int, c: float) -> np.ndarray:
    examples = len(labels)
    hessian = np.kron(support @ support.T, np.eye(ways)) + np.eye(examples * ways)
    targets = np.eye(ways)[labels].reshape(-1)
    found = minimize(
        lambda a: 0.5 * a @ hessian @ a - targets @ a,
        np.zeros(examples * ways),
        jac=lambda a: hessian @ a - targets,
        bounds=[(None, c * target) for target in targets],
        constraints={
            "type": "eq",
            "fun": lambda a: a.reshape(examples, ways).sum(axis=1),
            "jac": lambda a: np.kron(np.eye(examples), np.ones((1, ways))),
        },
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    return found.x.reshape(examples, ways)


@pytest.mark.parametrize(("examples", "ways", "width"), SHAPES)
@pytest.mark.parametrize("c", [0.1, 2.0])
def test_the_dual_is_the_one_that_scipy_finds(examples: int, ways: int, width: int, c: float) -> None:
    support, labels, query = tasks(0, examples, ways, width)
    alpha = svm_dual(support, labels, ways, c)
    logits = linear_logits(fit_svm(support, labels, ways, c), query)
    for task in range(2):
        expected = dual_by_scipy(support[task].numpy(), labels[task].numpy(), ways, c)
        np.testing.assert_allclose(alpha[task], expected, rtol=0, atol=1e-6)
        compatibility = query[task].numpy() @ support[task].numpy().T
        np.testing.assert_allclose(logits[task], compatibility @ expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("examples", "ways", "width"), [*SHAPES, (20, 20, 2), (75, 5, 64)])
@pytest.mark.parametrize("length", [1e-3, 1.0, 10.0, 300.0])
def test_the_optimality_conditions_hold_to_the_last_digits(examples: int, ways: int, width: int, length: float) -> None:
    support, labels, _ = tasks(1, examples, ways, width)
    support *= length / width**0.5
    alpha = svm_dual(support, labels, ways, 0.1, CONVERGED)
    onehot = functional.one_hot(labels, ways).double()
    bound = 0.1 * onehot
    slope = support @ (support.mT @ alpha) + alpha - onehot
    # Each row has a multiplier of its own: minus the slope where α is free, so of the entry with the largest slack.
    free = (bound - alpha).argmax(dim=2, keepdim=True)
    multipliers = slope.gather(2, free) - slope
    tolerance = 1e-11 * alpha.abs().amax().clamp_min(1e-3)
    assert alpha.sum(dim=2).abs().amax() <= tolerance
    assert (alpha - bound).amax() <= tolerance
    assert multipliers.amin() >= -1e-10
    assert (multipliers * (bound - alpha)).abs().amax() <= tolerance


@pytest.mark.parametrize(("examples", "ways", "width", "c"), [(6, 3, 2, 0.1), (4, 4, 6, 1.0), (8, 2, 3, 0.1)])
def test_gradients_are_those_of_finite_differences_of_the_solution(
    examples: int, ways: int, width: int, c: float
) -> None:
    support, labels, query = tasks(2, examples, ways, width, count=1)
    c_reg = torch.tensor(c, dtype=torch.float64, requires_grad=True)

    def logits(support: Tensor, c_reg: Tensor) -> Tensor:
        return linear_logits(fit_svm(support, labels, ways, c_reg, 20), query[:, :1])

    inputs = (support.requires_grad_(), c_reg)
    assert gradcheck(logits, inputs, atol=1e-8, rtol=1e-6)
    if width == 2:
        assert gradgradcheck(logits, inputs, atol=1e-7, rtol=1e-6)


def test_fifteen_iterations_give_the_gradient_of_the_solution_in_both_precisions() -> None:
    support, labels, query = tasks(3, 25, 5, 32)
    support /= 32**0.5
    found = []
    for dtype, iterations in ((torch.float64, CONVERGED), (torch.float64, 15), (torch.float32, 15)):
        x = support.to(dtype, copy=True).requires_grad_()
        linear_logits(fit_svm(x, labels, 5, max_iters=iterations), query.to(dtype)).square().sum().backward()
        found.append(x.grad.double())
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(found[2], found[0], rtol=1e-4, atol=1e-5)


def test_few_iterations_stay_feasible_and_more_come_closer() -> None:
    support, labels, _ = tasks(4, 15, 3, 4)
    bound = 0.1 * functional.one_hot(labels, 3)
    exact = svm_dual(support, labels, 3, max_iters=CONVERGED)
    errors = []
    for iterations in (1, 3, 6, 10):
        alpha = svm_dual(support, labels, 3, max_iters=iterations)
        assert (alpha <= bound).all()
        assert alpha.sum(dim=2).abs().amax() < 1e-12
        errors.append((alpha - exact).abs().amax().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 * errors[0]
    assert torch.equal(svm_dual(support, labels, 3, max_iters=200), svm_dual(support, labels, 3, max_iters=100))


def test_gradients_of_an_unfinished_walk_come_close_with_it() -> None:
    support, labels, _ = tasks(4, 15, 3, 4)
    weights = torch.randn(2, 15, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = []
    for iterations in (6, 8, CONVERGED):
        x = support.clone().requires_grad_()
        (svm_dual(x, labels, 3, max_iters=iterations) * weights).sum().backward()
        found.append(x.grad)
    errors = [((grad - found[-1]).norm() / found[-1].norm()).item() for grad in found]
    assert errors[0] < 0.1
    assert errors[1] < 5e-3


def test_a_task_takes_steps_of_its_own() -> None:
    support, labels, _ = tasks(8, 8, 3, 6)
    support[1] *= 30
    together = svm_dual(support, labels, 3, max_iters=4)
    for task in range(2):
        alone = svm_dual(support[task, None], labels[task, None], 3, max_iters=4)
        torch.testing.assert_close(together[task], alone[0], rtol=1e-9, atol=1e-12)


def test_memory_for_the_gradient_does_not_grow_with_the_iterations() -> None:
    support, labels, _ = tasks(5, 6, 3, 4)
    saved = []
    for iterations in (5, 50):
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x):
            svm_dual(support.clone().requires_grad_(), labels, 3, max_iters=iterations)
        saved.append(sum(sizes))
    assert saved[0] == saved[1] > 0


def test_embeddings_too_long_for_float32_are_refused_with_their_task() -> None:
    support = torch.stack([torch.eye(3), torch.full((3, 3), 1e9)])
    with pytest.raises(UsageError) as error:
        svm_dual(support, torch.tensor([[0, 1, 0], [0, 1, 1]]), 2)
    assert str(error.value) == (
        "the linear system of task 1 of the batch is singular in float32; normalise the embeddings, give them in "
        "float64, or lower C_reg"
    )


def test_the_solver_refuses_no_iterations() -> None:
    support, labels, _ = tasks(0, 4, 2, 3)
    with pytest.raises(UsageError) as error:
        svm_dual(support, labels, 2, max_iters=0)
    assert str(error.value) == "the SVM was asked for max_iters = 0; give at least 1"


@pytest.mark.parametrize("normalize", [False, True])
def test_the_classifier_is_the_batch_of_one_task(normalize: bool) -> None:
    support, labels, query = tasks(6, 8, 3, 5, count=1)
    classifier = SVClassifier(support[0], labels[0], normalize=normalize, C_reg=0.3, max_iters=20)
    if normalize:
        support, query = (x / x.square().sum(dim=2, keepdim=True).sqrt() for x in (support, query))
    expected = linear_logits(fit_svm(support, labels, 3, 0.3, 20), query)[0]
    torch.testing.assert_close(classifier(tasks(6, 8, 3, 5, count=1)[2][0]), expected)


def test_the_classifier_is_fitted_again_and_with_settings_of_the_moment() -> None:
    support, labels, query = (x[0] for x in tasks(7, 6, 3, 4, count=1))
    classifier = SVClassifier()
    assert classifier.fit_(support, labels, ways=3, C_reg=0.5, max_iters=9) is classifier.head
    assert torch.equal(
        classifier(query), linear_logits(fit_svm(support[None], labels[None], 3, 0.5, 9), query[None])[0]
    )
    classifier.fit_(support[:2], torch.tensor([1, 0]))
    assert classifier(query).shape == (3, 2)


def test_the_classifier_separates_classes_and_trains_what_is_below_it() -> None:
    torch.manual_seed(0)
    means = torch.randn(10, 16)
    labels = torch.arange(10).repeat_interleave(5)
    embed = torch.nn.Linear(16, 32)
    support, query = (embed(means[labels] + 0.05 * torch.randn(50, 16)) for _ in range(2))
    logits = SVClassifier(support, labels, normalize=True)(query)
    assert (logits.argmax(dim=1) == labels).float().mean() >= 0.95
    functional.cross_entropy(logits, labels).backward()
    assert embed.weight.grad.norm() > 0


def test_the_classifier_refuses_in_words() -> None:
    fitted = SVClassifier(torch.eye(3), torch.arange(3))
    refused = {
        "SVClassifier was given only one of support and labels; give both or neither": lambda: SVClassifier(
            labels=torch.arange(3)
        ),
        "fit_ takes embeddings [M, D] and labels [M], but was given [3, 3] and [2]; give one label for each "
        "embedding": lambda: fitted.fit_(torch.eye(3), torch.arange(2)),
        "SVClassifier was asked to classify before it saw a support set; call fit_ first": lambda: SVClassifier()(
            torch.eye(3)
        ),
        "SVClassifier was fitted on embeddings of 3 numbers, but was given queries [2, 1]; give queries [Q, 3]": (
            lambda: fitted(torch.zeros(2, 1))
        ),
        "the support labels run from 0 to 7, but 2 ways are numbered 0..1; renumber them within each task": lambda: (
            fitted.fit_(torch.eye(2), torch.tensor([0, 7]))
        ),
        "class 3 of 0..3 has no support example in task 0 of the batch; give at least one of each class, or renumber "
        "the labels": lambda: fitted.fit_(torch.eye(3), torch.arange(3), ways=4),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message
