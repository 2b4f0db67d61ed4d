"""Classifiers that every task starts from zeros, as Kao et al. 2022 propose."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from l2l_core.algorithms import MAMLLearner
from l2l_core.algorithms.anil import ANIL, BOIL
from l2l_core.algorithms.gradient import GradientLearner
from l2l_core.algorithms.maml_plus_plus import MAMLPlusPlus
from l2l_core.algorithms.meta_curvature import KFOLearner
from l2l_core.algorithms.meta_sgd import MetaSGDLearner
from l2l_core.algorithms.methods import Setting, get_method
from l2l_core.algorithms.proto_maml import ProtoMAML
from l2l_core.algorithms.reptile import Reptile
from l2l_core.errors import UsageError
from l2l_core.nn import BackboneClassifier

WAYS, SIZE, TASKS, RATE = 3, 5, 2, 0.4
LEARNERS = {
    "anil": lambda model, **settings: ANIL(model, RATE, 3, **settings),
    "maml": lambda model, **settings: MAMLLearner(model, RATE, 3, **settings),
    "fomaml": lambda model, **settings: MAMLLearner(model, RATE, 3, first_order=True, **settings),
    "maml++": lambda model, **settings: MAMLPlusPlus(model, RATE, 3, **settings),
    "meta-sgd": lambda model, **settings: MetaSGDLearner(model, steps=3, **settings),
    "kfo": lambda model, **settings: KFOLearner(model, RATE, 3, **settings),
    "reptile": lambda model, **settings: Reptile(model, 0.05, 3, **settings),
}


def net() -> BackboneClassifier:
    torch.manual_seed(0)
    return BackboneClassifier(nn.Sequential(nn.Flatten(), nn.Linear(6, SIZE), nn.Tanh()), WAYS, SIZE).double()


def zeroed(model: BackboneClassifier) -> BackboneClassifier:
    model = copy.deepcopy(model)
    for parameter in model.classifier.parameters():
        nn.init.zeros_(parameter)
    return model


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    support_x, query_x = torch.randn(2, TASKS, 6, 1, 2, 3, dtype=torch.float64, generator=generator)
    y = torch.stack([torch.arange(6) % WAYS, torch.arange(6).flip(0) % WAYS])
    return support_x, y, query_x, y


def seeded(name: str, model: nn.Module, **settings: Any) -> GradientLearner:
    torch.manual_seed(2)  # Meta-SGD draws its rates
    learner: GradientLearner = LEARNERS[name](model, **settings).double()
    return learner


def test_one_step_from_zeros_adds_the_support_embeddings_up() -> None:
    # W = lr/M · Σ_j (onehot(y_j) − 1/N) f_jᵀ, and b likewise: the step of Kao et al. 2022, by hand.
    model = net()
    support_x, support_y, query_x, _ = batch()
    predict = ANIL(model, RATE, 1, zero_classifier=True).eval().adapt(support_x, support_y)
    for task, logits in enumerate(predict(query_x)):
        weight, bias = torch.zeros(WAYS, SIZE, dtype=torch.float64), torch.zeros(WAYS, dtype=torch.float64)
        for picture, label in zip(support_x[task], support_y[task], strict=True):
            towards = torch.eye(WAYS, dtype=torch.float64)[label] - 1 / WAYS
            weight += RATE / 6 * torch.outer(towards, model.features(picture[None])[0])
            bias += RATE / 6 * towards
        torch.testing.assert_close(logits, model.features(query_x[task]) @ weight.T + bias)


@pytest.mark.parametrize("strategy", ["loop", "threads", "together"])
@pytest.mark.parametrize("name", LEARNERS)
def test_it_is_the_learner_whose_classifier_is_zero_but_that_the_classifier_is_not_learned(
    name: str, strategy: Any
) -> None:
    model = net()
    ours = seeded(name, model, zero_classifier=True, strategy=strategy)
    plain = seeded(name, zeroed(model), strategy=strategy)
    results = []
    for learner in (ours, plain):
        loss, accuracy_B = learner.meta_loss(*batch())
        loss.backward()
        support_x, support_y, query_x, _ = batch()
        results.append((loss.detach(), accuracy_B, learner.eval().adapt(support_x, support_y)(query_x).detach()))
    torch.testing.assert_close(results[0], results[1])
    theirs = dict(plain.named_parameters())
    moved = {n for n, p in ours.named_parameters() if p.grad is not None and p.grad.count_nonzero()}
    assert any(n.startswith("model.features.") for n in moved)
    for n, parameter in ours.named_parameters():
        if n.startswith("model.classifier."):
            assert n not in moved and theirs[n].grad.count_nonzero()
        else:
            torch.testing.assert_close(parameter.grad, theirs[n].grad)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("kind", [ANIL, MAMLLearner])
def test_checkpoints_change_nothing(kind: Any, first_order: bool) -> None:
    found = []
    for checkpoint in (False, True):
        learner = kind(net(), RATE, 5, first_order=first_order, checkpoint=checkpoint, zero_classifier=True)
        learner.meta_loss(*batch())[0].backward()
        found.append([p.grad for p in learner.parameters()])
    torch.testing.assert_close(found[0], found[1])


def test_steps_of_an_optimiser_leave_the_models_own_classifier_alone() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    learner = ANIL(model, RATE, 2, zero_classifier=True)
    optimiser = torch.optim.Adam(learner.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        learner.meta_loss(*batch())[0].backward()
        optimiser.step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) is name.startswith("classifier."), name


def test_no_classifier_that_moves_is_refused_in_words() -> None:
    refused = {
        "BOIL": lambda: BOIL(net(), RATE, 1, zero_classifier=True),
        "ProtoMAML": lambda: ProtoMAML(net().features, RATE, 1, zero_classifier=True),
        "MAMLLearner": lambda: MAMLLearner(nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), 0.1, 1, zero_classifier=True),
    }
    for who, build in refused.items():
        with pytest.raises(UsageError) as error:
            build()
        assert str(error.value) == (
            f"{who} was asked for zero_classifier = True, but moves no parameter of a classifier; leave it out, or "
            "give a model whose last layer is called 'classifier', as that of BackboneClassifier is"
        )


def test_methods_by_name_take_it_as_a_setting() -> None:
    for name in ("anil", "maml", "reptile"):
        learner = get_method(name).build(Setting(5, 1, settings={"zero_classifier": True}))
        assert isinstance(learner, GradientLearner) and learner.zero_classifier
