"""Baseline and Baseline++ against torch.optim.SGD, one task after the other."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from l2l_core.algorithms.baseline import Baseline, BaselinePlusPlus, CosineClassifier
from l2l_core.errors import UsageError
from tests.algorithms.metric_tasks import TASKS, WAYS, WIDTH, backbone, check_meta_gradients, tasks

KINDS = [Baseline, BaselinePlusPlus]


class NormedCosine(nn.Module):
    """Twice torch's own weight-normed linear layer, on embeddings of length 1."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WAYS, bias=False).double()
        self.linear.weight.data.copy_(weight)
        weight_norm(self.linear, dim=0)
        # In the precision in which fresh weights are drawn.
        self.linear.parametrizations.weight.original0.data.copy_(weight.float().norm(dim=1, keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.linear(x / x.norm(dim=1, keepdim=True))


def fine_tuned(kind: type[Baseline], support: Tensor, labels: Tensor, epochs: int, seed: int) -> nn.Module:
    """One task's classifier, trained as the released code does it."""
    torch.manual_seed(seed)
    head: nn.Module = nn.Linear(WIDTH, WAYS, bias=kind is Baseline).double()
    if kind is BaselinePlusPlus:
        head = NormedCosine(head.weight.detach())
    optimiser = torch.optim.SGD(head.parameters(), lr=0.01, momentum=0.9, dampening=0.9, weight_decay=1e-3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(labels), generator=generator)
        for first in range(0, len(labels), 4):
            chosen = order[first : first + 4]
            optimiser.zero_grad()
            functional.cross_entropy(head(support[chosen]), labels[chosen]).backward()
            optimiser.step()
    return head


@pytest.mark.parametrize(("epochs", "seed"), [(100, 0), (3, 7)])
@pytest.mark.parametrize("kind", KINDS)
def test_adapting_is_torchs_sgd_task_by_task(kind: type[Baseline], epochs: int, seed: int) -> None:
    learner = kind(backbone(), WIDTH, 5, epochs=epochs, seed=seed).double().eval()
    support_x, support_y, query_x, _ = tasks()
    logits = learner.adapt(support_x, support_y)(query_x)
    for task in range(TASKS):
        support, query = (learner.backbone(x[task]).flatten(1).detach() for x in (support_x, query_x))
        head = fine_tuned(kind, support, support_y[task], epochs, seed)
        torch.testing.assert_close(logits[task], head(query).detach(), rtol=1e-10, atol=1e-10)


def test_the_defaults_are_the_papers() -> None:
    learner = Baseline(backbone(), WIDTH, 5).double().eval()
    support_x, support_y, query_x, _ = tasks()
    longer = Baseline(backbone(), WIDTH, 5, epochs=100, seed=0).double().eval()
    assert torch.equal(learner.adapt(support_x, support_y)(query_x), longer.adapt(support_x, support_y)(query_x))


@pytest.mark.parametrize("kind", KINDS)
def test_meta_gradients_pass_through_the_whole_training(kind: type[Baseline]) -> None:
    check_meta_gradients(kind(backbone(), WIDTH, 5, epochs=10), idle=("classifier",))


@pytest.mark.parametrize("kind", KINDS)
def test_one_task_alone_is_that_task_in_a_batch(kind: type[Baseline]) -> None:
    learner = kind(backbone(), WIDTH, 5, epochs=20).double()
    support_x, support_y, query_x, _ = tasks()
    together = learner.adapt(support_x, support_y)(query_x)
    for task in range(TASKS):
        one = slice(task, task + 1)
        torch.testing.assert_close(learner.adapt(support_x[one], support_y[one])(query_x[one]), together[one])


def test_adapting_takes_nothing_from_the_global_generator() -> None:
    learner = Baseline(backbone(), WIDTH, 5, epochs=2).double().eval()
    support_x, support_y, query_x, _ = tasks()
    torch.manual_seed(1)
    first = learner.adapt(support_x, support_y)(query_x)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)
    assert torch.equal(learner.adapt(support_x, support_y)(query_x), first)
    other = Baseline(copy.deepcopy(learner.backbone), WIDTH, 5, epochs=2, seed=1).double().eval()
    assert not torch.equal(other.adapt(support_x, support_y)(query_x), first)


def test_without_gradients_the_training_keeps_no_graph() -> None:
    learner = Baseline(backbone(), WIDTH, 5, epochs=2).double()
    support_x, support_y, query_x, _ = tasks()
    support, query = (torch.stack([learner.embed(part) for part in x]).detach() for x in (support_x, query_x))
    with torch.no_grad():
        head = learner.fit(support, support_y, WAYS)
    assert not head(query).requires_grad


def test_a_frozen_backbone_will_do_in_train_mode() -> None:
    learner = Baseline(backbone().requires_grad_(False), WIDTH, 5, epochs=2).double()
    support_x, support_y, query_x, _ = tasks()
    expected = learner.eval().adapt(support_x, support_y)(query_x)
    torch.testing.assert_close(learner.train().adapt(support_x, support_y)(query_x).detach(), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_embeddings_are_classified_in_single(kind: type[Baseline]) -> None:
    learner = kind(backbone(), WIDTH, 5).eval()
    support_x, support_y, query_x, _ = (part.float() if part.is_floating_point() else part for part in tasks())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = learner.adapt(support_x, support_y)(query_x)
        support, query = (torch.stack([learner.embed(part) for part in x]).detach() for x in (support_x, query_x))
    assert support.dtype == torch.bfloat16
    with torch.no_grad():
        expected = learner.fit(support.float(), support_y, WAYS)(query.float())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected)


def test_cosine_logits_see_directions_only_and_are_scaled_for_many_classes() -> None:
    torch.manual_seed(0)
    classifier = CosineClassifier(WIDTH, 3)
    torch.testing.assert_close(classifier.gain, classifier.weight.norm(dim=1))
    x = torch.randn(2, WIDTH)
    logits = classifier(x)
    for row in range(2):
        for n in range(3):
            cosine = (x[row] @ classifier.weight[n]) / (x[row].norm() * classifier.weight[n].norm())
            torch.testing.assert_close(logits[row, n], 2 * classifier.gain[n] * cosine)
    torch.testing.assert_close(classifier(5 * x), logits)
    assert (CosineClassifier(WIDTH, 200).scale, CosineClassifier(WIDTH, 201).scale) == (2, 10)
    assert isinstance(BaselinePlusPlus(backbone(), WIDTH, 5).classifier, CosineClassifier)
    assert isinstance(Baseline(backbone(), WIDTH, 5).classifier, nn.Linear)


def test_what_cannot_be_is_refused_in_words() -> None:
    with pytest.raises(UsageError) as error:
        BaselinePlusPlus(backbone(), WIDTH, 5, epochs=-1)
    assert str(error.value) == "BaselinePlusPlus was asked for epochs = -1; give at least 0"
    learner = Baseline(backbone(), WIDTH, 5).double()
    support_x, support_y, _, _ = tasks()
    support_x[1, 0] = torch.inf
    support_x[1, 0, 0, 0, 0] = -torch.inf
    with pytest.raises(UsageError) as error:
        learner.adapt(support_x, support_y)
    assert str(error.value).startswith("the inner loss of task 1 of the batch is nan at step ")
