"""Reptile against PyTorch's Adam on deep copies."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.algorithms.reptile import Reptile, minibatches
from l2l_core.errors import UsageError
from tests.algorithms.gradient_checks import (
    PROMISES,
    Net,
    batch_norm_net,
    check_strategies,
    each_task,
    picture_net,
    small_net,
)
from tests.algorithms.test_maml import TASKS, WAYS, tasks

RATE, SIZE = 0.05, 4
NETS = [small_net, batch_norm_net]


def trained_copy(
    model: nn.Module, x: Tensor, y: Tensor, batches: Tensor, squares: list[Tensor], seen: int
) -> tuple[nn.Module, list[list[Tensor]]]:
    """A copy after one step of PyTorch's Adam on each minibatch, and the gradients of each step."""
    twin = copy.deepcopy(model)
    adam = torch.optim.Adam(twin.parameters(), lr=RATE, betas=(0.0, 0.999), eps=1e-8)
    for parameter, square in zip(twin.parameters(), squares, strict=True):
        adam.state[parameter] = {
            "step": torch.tensor(float(seen)),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": square.clone(),
        }
    gradients = []
    for batch in batches:
        adam.zero_grad()
        functional.cross_entropy(twin(x[batch]), y[batch]).backward()
        gradients.append([parameter.grad.clone() for parameter in twin.parameters()])
        adam.step()
    return twin, gradients


def kept(learner: Reptile) -> list[Tensor]:
    return list(learner.moments.buffers())


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_an_outer_step_of_sgd_is_the_papers(net: Callable[[], Net], steps: int) -> None:
    learner = Reptile(net(), lr=RATE, steps=steps, minibatch=SIZE)
    outer = torch.optim.SGD(learner.parameters(), lr=0.3)
    reference = net()
    squares, seen = [torch.zeros_like(parameter) for parameter in reference.parameters()], 0
    for _ in range(3):
        loss, accuracy = learner.meta_loss(*tasks())
        outer.zero_grad()
        loss.backward()
        outer.step()

        batches = minibatches(2 * WAYS, SIZE, steps, seed=seen)
        results = [trained_copy(reference, x, y, batches, squares, seen) for x, y, _, _ in each_task()]
        losses = [
            functional.cross_entropy(twin(qx), qy).item()
            for (twin, _), (_, _, qx, qy) in zip(results, each_task(), strict=True)
        ]
        assert loss.item() == pytest.approx(sum(losses) / TASKS, rel=1e-9)
        assert accuracy.tolist() == [
            (twin(qx).argmax(dim=1) == qy).double().mean().item()
            for (twin, _), (_, _, qx, qy) in zip(results, each_task(), strict=True)
        ]
        with torch.no_grad():
            for place, theta in enumerate(reference.parameters()):
                ends = torch.stack([list(twin.parameters())[place] for twin, _ in results])
                theta += 0.3 * (ends - theta).mean(dim=0)
        for _, gradients in results:  # the moments see one task after the other
            for of_step in gradients:
                squares = [0.999 * s + 0.001 * g.square() for s, g in zip(squares, of_step, strict=True)]
                seen += 1
        for ours, theirs in zip(learner.model.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
        for ours, square in zip(kept(learner), squares, strict=True):
            torch.testing.assert_close(ours, square, rtol=1e-9, atol=1e-15)
        assert int(learner.moments_seen) == seen


def test_evaluation_starts_from_the_moments_of_training_and_leaves_them() -> None:
    learner = Reptile(small_net(), lr=RATE, steps=2, test_steps=7, minibatch=SIZE, test_minibatch=2)
    for _ in range(2):
        learner.meta_loss(*tasks())
    learner.eval()
    before, seen = [square.clone() for square in kept(learner)], int(learner.moments_seen)
    assert seen == 2 * 2 * TASKS
    support_x, support_y, query_x, query_y = tasks()
    found = learner.adapt(support_x, support_y)(query_x)
    batches = minibatches(2 * WAYS, 2, 7, seed=seen)
    for task, (x, y, qx, _) in enumerate(each_task()):
        twin, _ = trained_copy(learner.model, x, y, batches, before, seen)
        torch.testing.assert_close(found[task], twin(qx).detach(), rtol=1e-9, atol=1e-12)
    learner.meta_loss(support_x, support_y, query_x, query_y)
    with torch.no_grad():
        learner.train().meta_loss(support_x, support_y, query_x, query_y)
    assert all(torch.equal(now, then) for now, then in zip(kept(learner), before, strict=True))
    assert int(learner.moments_seen) == seen


def test_a_checkpoint_holds_the_moments() -> None:
    trained, fresh = Reptile(small_net()), Reptile(small_net())
    trained.meta_loss(*tasks())
    fresh.load_state_dict(trained.state_dict())
    assert int(fresh.moments_seen) == 5 * TASKS
    gradients = []
    for learner in (trained, fresh):
        learner.meta_loss(*tasks())[0].backward()
        gradients.append([parameter.grad for parameter in learner.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_a_batch_that_failed_leaves_no_moments() -> None:
    support_x, support_y, query_x, query_y = tasks()
    bad = support_x.clone()
    bad[2] = float("inf")
    one, other = (Reptile(small_net(), strategy="loop") for _ in range(2))
    with pytest.raises(UsageError, match=r"^the inner loss of task 2 of the batch is nan at step 1; lower the inner"):
        one.meta_loss(bad, support_y, query_x, query_y)
    for learner in (one, other):
        learner.meta_loss(support_x[:1], support_y[:1], query_x[:1], query_y[:1])
    assert all(torch.equal(*pair) for pair in zip(kept(one), kept(other), strict=True))
    assert int(one.moments_seen) == 5


def test_a_predictor_has_the_gradients_of_first_order() -> None:
    learner = Reptile(small_net(), lr=RATE, steps=3, minibatch=SIZE)
    support_x, support_y, query_x, query_y = tasks()
    logits = learner.adapt(support_x, support_y)(query_x)
    functional.cross_entropy(logits.flatten(0, 1), query_y.flatten()).backward()
    squares = [torch.zeros_like(parameter) for parameter in learner.parameters()]
    totals = [torch.zeros_like(parameter) for parameter in learner.parameters()]
    for x, y, qx, qy in each_task():
        twin, _ = trained_copy(learner.model, x, y, minibatches(2 * WAYS, SIZE, 3, seed=0), squares, 0)
        found = torch.autograd.grad(functional.cross_entropy(twin(qx), qy), list(twin.parameters()))
        totals = [total + gradient / TASKS for total, gradient in zip(totals, found, strict=True)]
    for parameter, expected in zip(learner.parameters(), totals, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("net", NETS)
def test_strategies_agree(net: Callable[[], Net]) -> None:
    check_strategies(lambda strategy: Reptile(net(), lr=RATE, steps=3, minibatch=SIZE, strategy=strategy))


def test_minibatches_go_through_all_examples_before_any_comes_again() -> None:
    batches = minibatches(10, 4, 5, seed=3)
    first, second = batches.flatten().reshape(2, 10)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert not torch.equal(first, second)
    assert torch.equal(minibatches(10, 4, 5, seed=3), batches)
    assert not torch.equal(minibatches(10, 4, 5, seed=4), batches)
    assert torch.equal(minibatches(10, 4, 3, seed=3), batches[:3])
    assert [sorted(batch) for batch in minibatches(3, 10, 2, seed=0).tolist()] == [[0, 1, 2]] * 2
    assert minibatches(3, 2, 0, seed=0).shape == (0, 2)


@pytest.mark.parametrize("promise", list(PROMISES))
def test_it_keeps_the_promises_of_every_learner(promise: str) -> None:
    PROMISES[promise](Reptile(picture_net(), steps=3, minibatch=2))


def test_it_refuses_in_words() -> None:
    refused = {
        "Reptile was asked for minibatch = 10 and test_minibatch = 0; give at least 1": {"test_minibatch": 0},
        "Reptile was asked for checkpoint = True, but it keeps no graph of its steps; leave it out": {
            "checkpoint": True
        },
        "Reptile was asked for lr = 0; give a rate above 0": {"lr": 0},
    }
    for message, settings in refused.items():
        with pytest.raises(UsageError) as error:
            Reptile(small_net(), **settings)
        assert str(error.value) == message
