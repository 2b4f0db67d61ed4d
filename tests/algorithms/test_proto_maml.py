"""ProtoMAML: a head from prototypes, through which gradients flow."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from l2l_core.algorithms.gradient import Chunk
from l2l_core.algorithms.inner_loop import Params
from l2l_core.algorithms.proto_maml import ProtoMAML
from l2l_core.algorithms.protonet import ProtoNet
from l2l_core.errors import UsageError
from tests.algorithms.gradient_checks import (
    PROMISES,
    Tensors,
    batch_norm_net,
    check_meta_gradients,
    check_strategies,
    descended,
    mean_over_tasks,
    part,
    picture_net,
    slowly_descended,
    small_net,
)
from tests.algorithms.test_maml import SHOTS, WAYS, tasks

RATE = 0.05


def small_backbone() -> nn.Module:
    return small_net().features


def batch_norm_backbone() -> nn.Module:
    return batch_norm_net().features


MOVING = {small_backbone: {"1.weight", "1.bias"}, batch_norm_backbone: {"0.weight"}}


def head_of(embedded: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    means = torch.stack([sum(e for e, y in zip(embedded, labels, strict=True) if y == k) for k in range(WAYS)]) / SHOTS
    return 2 * means, -torch.stack([mean @ mean for mean in means])


@pytest.mark.parametrize("net", list(MOVING))
@pytest.mark.parametrize("steps", [1, 3, 5])
@pytest.mark.parametrize("first_order", [False, True])
def test_meta_gradients(net: Callable[[], nn.Module], steps: int, first_order: bool) -> None:
    backbone, moving = net(), MOVING[net]

    def by_func(theta: Tensors) -> Tensor:
        body_theta = part(theta, "model.")

        def of_task(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
            def loss(params: Tensors, x: Tensor, y: Tensor) -> Tensor:
                body = {**body_theta, **{name: params[name] for name in moving}}
                return functional.cross_entropy(functional_call(backbone, body, (x,)) @ params["W"].T + params["b"], y)

            weight, bias = head_of(functional_call(backbone, body_theta, (support_x,)), support_y)
            start = {**{name: body_theta[name] for name in moving}, "W": weight, "b": bias}
            params = descended(
                lambda params, step: loss(params, support_x, support_y),
                start,
                lambda name, g, step: RATE * g,
                steps,
                first_order,
            )[-1]
            return loss(params, query_x, query_y)

        return mean_over_tasks(of_task)

    def slow(theta: Tensors) -> float:
        def of_task(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
            twin = copy.deepcopy(backbone)
            twin.load_state_dict(part(theta, "model."))
            head = nn.Linear(*reversed(head_of(twin(support_x), support_y)[0].shape)).double()
            weight, bias = head_of(twin(support_x).detach(), support_y)
            head.load_state_dict({"weight": weight, "bias": bias})
            params = {name: twin.get_parameter(name) for name in moving} | dict(head.named_parameters())
            slowly_descended(
                lambda: functional.cross_entropy(head(twin(support_x)), support_y),
                params,
                lambda name, g, step: RATE * g,
                steps,
            )
            return functional.cross_entropy(head(twin(query_x)), query_y).detach()

        return mean_over_tasks(of_task).item()

    check_meta_gradients(
        ProtoMAML(backbone, lr=RATE, steps=steps, first_order=first_order), by_func, None if first_order else slow
    )


@pytest.mark.parametrize("net", list(MOVING))
def test_strategies_agree(net: Callable[[], nn.Module]) -> None:
    check_strategies(lambda strategy: ProtoMAML(net(), lr=RATE, steps=2, strategy=strategy))


@pytest.mark.parametrize("checkpoint", [False, True])
def test_without_a_step_it_is_a_prototypical_network(checkpoint: bool) -> None:
    support_x, support_y, query_x, query_y = tasks()
    ours, theirs = ProtoMAML(small_backbone(), lr=RATE, steps=0, checkpoint=checkpoint), ProtoNet(small_backbone())
    found, expected = (each.meta_loss(support_x, support_y, query_x, query_y) for each in (ours, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for loss, _ in (found, expected):
        loss.backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert one.grad.norm() > 1e-3
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)
    logits = [each.adapt(support_x, support_y)(query_x).softmax(dim=-1) for each in (ours, theirs)]
    torch.testing.assert_close(*logits, rtol=1e-12, atol=1e-12)


def test_checkpoints_give_the_same_gradients() -> None:
    plain, saving = (ProtoMAML(batch_norm_backbone(), lr=RATE, steps=5, checkpoint=c) for c in (False, True))
    for learner in (plain, saving):
        learner.meta_loss(*tasks())[0].backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)


def test_any_number_of_ways_will_do() -> None:
    support_x, support_y, query_x, _ = tasks()
    learner = ProtoMAML(small_backbone(), lr=RATE, steps=1).eval()
    assert learner.adapt(support_x, support_y)(query_x).shape == (3, 6, 3)
    assert learner.adapt(support_x, support_y % 2)(query_x).shape == (3, 6, 2)


def test_under_autocast_the_head_takes_steps_in_full_precision() -> None:
    backbone = small_backbone().float()
    support_x, support_y, query_x, query_y = tasks()
    seen = []

    class Watched(ProtoMAML):
        def logits(self, chunk: Chunk, params: Params, prepared: Tensor, step: int) -> Tensor:
            seen.extend(value.dtype for value in params.values())
            return super().logits(chunk, params, prepared, step)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = Watched(backbone, lr=RATE, steps=2).meta_loss(support_x.float(), support_y, query_x.float(), query_y)
    expected, _ = ProtoMAML(backbone, lr=RATE, steps=2).meta_loss(
        support_x.float(), support_y, query_x.float(), query_y
    )
    assert set(seen) == {torch.float32}
    assert loss.item() == pytest.approx(expected.item(), rel=0.05)


@pytest.mark.parametrize("promise", list(PROMISES))
def test_it_keeps_the_promises_of_every_learner(promise: str) -> None:
    PROMISES[promise](ProtoMAML(picture_net().features, lr=0.01, steps=2))


def test_it_refuses_in_words() -> None:
    with pytest.raises(UsageError, match=r"^ProtoMAML was asked for lr = -1; give a rate above 0$"):
        ProtoMAML(small_backbone(), lr=-1, steps=1)
    with pytest.raises(UsageError, match=r"^ProtoMAML was given a Flatten without a parameter to move; give a model"):
        ProtoMAML(nn.Flatten(), lr=RATE, steps=1)
