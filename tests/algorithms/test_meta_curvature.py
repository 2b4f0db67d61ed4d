"""Inner gradients through learned transforms, against the transforms' formulas written out."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.algorithms.maml import MAMLLearner
from l2l_core.algorithms.meta_curvature import KFOLearner, MetaCurvatureLearner, TransformLearner
from l2l_core.errors import UsageError
from l2l_core.optim.transforms import MetaCurvatureTransform, ModuleTransform, TransformDictionary
from tests.algorithms.gradient_checks import (
    PROMISES,
    Net,
    Tensors,
    batch_norm_net,
    check_descent,
    check_strategies,
    part,
    picture_net,
    small_net,
)
from tests.algorithms.test_maml import tasks

RATE = 0.2


def disturbed(learner: TransformLearner) -> TransformLearner:
    """The learner, its transforms no longer identities."""
    torch.manual_seed(1)
    for parameter in learner.transforms.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return learner


def meta_curvature(g: Tensor, of: Tensors) -> Tensor:
    if g.ndim == 1:
        return torch.diag(of["mc"]) @ g
    matrices = [of["mc_in"], of["mc_out"].T] + ([of["mc_f"]] if g.ndim > 2 else [])
    large = matrices[0].contiguous()
    for matrix in matrices[1:]:
        large = torch.kron(large, matrix.contiguous())
    return (large @ g.flatten()).reshape(g.shape)


def kronecker(g: Tensor, of: Tensors) -> Tensor:
    left, right = of["transform.left"], of["transform.right"]
    large = torch.kron(left.T @ left, (right.T @ right).T.contiguous())
    rows = g.reshape(-1, large.shape[0])  # each a matrix, row by row
    return (rows @ large.T).reshape(g.shape)


FORMULAS = {MetaCurvatureLearner: meta_curvature, KFOLearner: kronecker}
METHODS = list(FORMULAS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("net", [small_net, batch_norm_net])
@pytest.mark.parametrize("steps", [1, 3, 5])
@pytest.mark.parametrize("first_order", [False, True])
def test_meta_gradients(
    method: Callable[..., TransformLearner], net: Callable[[], Net], steps: int, first_order: bool
) -> None:
    learner = disturbed(method(net(), lr=RATE, steps=steps, first_order=first_order))

    def update(theta: Tensors, name: str, g: Tensor, step: int) -> Tensor:
        return RATE * FORMULAS[method](g, part(theta, f"transforms.{learner.moving.index(name)}."))

    check_descent(learner, update, steps, first_order)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("net", [small_net, batch_norm_net])
def test_strategies_agree(method: Callable[..., TransformLearner], net: Callable[[], Net]) -> None:
    check_strategies(lambda strategy: disturbed(method(net(), lr=RATE, steps=2, strategy=strategy)))


@pytest.mark.parametrize("method", METHODS)
def test_at_the_start_they_are_maml(method: Callable[..., TransformLearner]) -> None:
    ours, maml = method(batch_norm_net(), lr=RATE, steps=3), MAMLLearner(batch_norm_net(), lr=RATE, steps=3)
    for learner in (ours, maml):
        learner.meta_loss(*tasks())[0].backward()
    for one, other in zip(ours.model.parameters(), maml.model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)


def test_checkpoints_give_the_same_gradients() -> None:
    plain, saving = (
        disturbed(MetaCurvatureLearner(batch_norm_net(), lr=RATE, steps=5, checkpoint=c)) for c in (False, True)
    )
    for learner in (plain, saving):
        learner.meta_loss(*tasks())[0].backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)


def test_each_layer_may_have_a_transform_of_its_own() -> None:
    model = small_net()
    listed = {model.features: MetaCurvatureTransform, model.classifier.bias: ModuleTransform(nn.Linear)}
    learner = TransformLearner(model, TransformDictionary(listed), lr=RATE, steps=1)
    kinds = [type(transform).__name__ for transform in learner.transforms]
    assert learner.moving == ("features.1.weight", "features.1.bias", "classifier.weight", "classifier.bias")
    assert kinds == ["MetaCurvatureTransform", "MetaCurvatureTransform", "Identity", "ReshapedTransform"]

    support_x, support_y, _, _ = tasks()
    twin = copy.deepcopy(model)
    functional.cross_entropy(twin(support_x[1]), support_y[1]).backward()
    linear = learner.transforms[3].transform
    expected = linear.weight.detach().numpy() @ twin.classifier.bias.grad.numpy() + linear.bias.detach().numpy()
    step, _ = learner.rule()
    gradients = {name: torch.stack([0 * p.grad, p.grad]) for name, p in twin.named_parameters()}
    params = {name: torch.stack([p, p]) for name, p in model.named_parameters()}
    moved, _ = step(params, gradients, None)
    way = (model.classifier.bias - moved["classifier.bias"][1]).detach().numpy()
    np.testing.assert_allclose(way, RATE * expected, rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("promise", list(PROMISES))
def test_they_keep_the_promises_of_every_learner(method: Callable[..., TransformLearner], promise: str) -> None:
    PROMISES[promise](method(picture_net(), lr=0.1, steps=2))


def test_they_refuse_in_words() -> None:
    with pytest.raises(UsageError, match=r"^KFOLearner was asked for lr = 0; give a rate above 0$"):
        KFOLearner(small_net(), lr=0, steps=1)
    with pytest.raises(UsageError) as error:
        TransformLearner(nn.Linear(2, 3), lambda parameter: 0.1, lr=1.0, steps=1)
    assert str(error.value) == (
        "a transform makes a float for a parameter of shape [3, 2]; let it make a module, or None to leave gradients "
        "as they are"
    )
