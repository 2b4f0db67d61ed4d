"""ANIL and BOIL: the half that moves, against computations written out."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.algorithms.anil import ANIL, BOIL
from l2l_core.algorithms.gradient import GradientLearner
from l2l_core.algorithms.learner import Learner
from l2l_core.errors import UsageError
from l2l_core.nn.pictures import FeaturesClassifier
from tests.algorithms.gradient_checks import (
    PROMISES,
    Net,
    batch_norm_net,
    check_descent,
    check_strategies,
    picture_net,
    small_net,
)
from tests.algorithms.test_maml import TASKS, tasks

RATE = 0.4
MOVING = {
    (ANIL, small_net): {"classifier.weight", "classifier.bias"},
    (ANIL, batch_norm_net): {"classifier.weight", "classifier.bias"},
    (BOIL, small_net): {"features.1.weight", "features.1.bias"},
    (BOIL, batch_norm_net): {"features.0.weight"},
}
CASES = list(MOVING)


@pytest.mark.parametrize(("method", "net"), CASES)
@pytest.mark.parametrize("steps", [1, 3, 5])
@pytest.mark.parametrize("first_order", [False, True])
def test_meta_gradients(method: type[GradientLearner], net: Callable[[], Net], steps: int, first_order: bool) -> None:
    learner = method(net(), lr=RATE, steps=steps, first_order=first_order)
    assert set(learner.moving) == MOVING[method, net]
    check_descent(learner, lambda theta, name, g, step: RATE * g, steps, first_order)


@pytest.mark.parametrize(("method", "net"), CASES)
def test_strategies_agree(method: type[GradientLearner], net: Callable[[], Net]) -> None:
    check_strategies(lambda strategy: method(net(), lr=RATE, steps=2, strategy=strategy))


@pytest.mark.parametrize("method", [ANIL, BOIL])
@pytest.mark.parametrize("promise", list(PROMISES))
def test_it_keeps_the_promises_of_every_learner(method: type[GradientLearner], promise: str) -> None:
    def build() -> Learner:
        return method(picture_net(), lr=0.1, steps=2)

    PROMISES[promise](build())


class Counted(nn.Sequential):
    """Features that count how often they are asked, and whether anybody differentiates through them."""

    calls = 0
    backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        features = super().forward(x)
        if features.requires_grad:
            features.register_hook(self.count)
        return features

    def count(self, gradient: Tensor) -> None:
        self.backwards += 1


def test_anils_features_are_computed_once_and_have_no_inner_gradient() -> None:
    model = small_net()
    model.features = counted = Counted(*model.features)
    support_x, support_y, query_x, query_y = (tensor[:1] for tensor in tasks())
    learner = ANIL(model, lr=RATE, steps=5)
    learner.adapt(support_x, support_y)
    assert (counted.calls, counted.backwards) == (1, 0)
    learner.meta_loss(support_x, support_y, query_x, query_y)[0].backward()
    assert (counted.calls, counted.backwards) == (3, 2)  # the outer gradient's, once for support and once for queries


def test_anils_running_statistics_follow_support_and_queries_once_each() -> None:
    model = batch_norm_net(running_stats=True)
    ANIL(model, lr=RATE, steps=5).meta_loss(*tasks())
    assert int(model.features[1].num_batches_tracked) == 2 * TASKS


@pytest.mark.parametrize("checkpoint", [False, True])
def test_anil_with_queries_alone_puts_each_beside_the_support(checkpoint: bool) -> None:
    support_x, support_y, query_x, query_y = tasks()
    learner = ANIL(batch_norm_net(), lr=RATE, steps=3, queries="alone", checkpoint=checkpoint)
    predict = learner.adapt(support_x, support_y)
    assert torch.equal(predict(query_x)[:, 2:3], predict(query_x[:, 2:3]))
    plain = ANIL(batch_norm_net(), lr=RATE, steps=3)
    losses = [each.meta_loss(support_x, support_y, query_x, query_y)[0] for each in (learner, plain)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[0], losses[1])
    for ours, theirs in zip(learner.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_boils_head_does_not_move_and_its_body_does() -> None:
    model = batch_norm_net()
    support_x, support_y, _, _ = tasks()
    learner = BOIL(model)
    assert (learner.lr, learner.steps, learner.test_steps) == (0.5, 1, 1)
    twin = copy.deepcopy(model)
    functional.cross_entropy(twin(support_x[0]), support_y[0]).backward()
    twin.features[0].weight.data -= 0.5 * twin.features[0].weight.grad
    found = learner.adapt(support_x[:1], support_y[:1])(support_x[:1])[0]
    torch.testing.assert_close(found, twin(support_x[0]), rtol=1e-12, atol=1e-12)


def test_both_refuse_in_words() -> None:
    whole = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    headless = nn.Module()
    headless.features = whole
    frozen = small_net().requires_grad_(False)
    refused = {
        "ANIL was given a Sequential without a submodule 'features'; give a model that is classifier(features(x)), as "
        "ConvClassifier is": lambda: ANIL(whole, lr=0.1, steps=1),
        "BOIL was given a Module without a submodule 'classifier'; give a model that is classifier(features(x)), as "
        "ConvClassifier is": lambda: BOIL(headless),
        "ANIL was given a Net without a parameter to move; give a model with parameters that require a "
        "gradient": lambda: ANIL(frozen, lr=0.1, steps=1),
        "BOIL was asked for lr = 0; give a rate above 0": lambda: BOIL(small_net(), lr=0),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message


def test_a_head_tied_to_the_features_is_refused() -> None:
    model = FeaturesClassifier()
    model.features, model.classifier = nn.Sequential(nn.Flatten(), nn.Linear(6, 6)), nn.Linear(6, 6)
    model.classifier.weight = model.features[1].weight
    for kind in (ANIL, BOIL):
        with pytest.raises(UsageError) as caught:
            kind(model, lr=0.1, steps=1)
        assert str(caught.value) == (
            f"{kind.__name__} tells features and classifier apart, but 'features.1.weight' belongs to both; give "
            "each its own"
        )
