"""Which statistics normalise, and which buffers change: for each policy, in both modes, in each call."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.algorithms import MAMLLearner
from l2l_core.algorithms.normalisation import follow, gathers_statistics, sees_company, writes_buffers
from l2l_core.errors import UsageError

TASKS, WAYS, RATE, STEPS = 2, 3, 0.3, 2


def tasks() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    support_x = torch.randn(TASKS, 6, 1, 2, 3, dtype=torch.float64, generator=generator)
    query_x = 1 + 2 * torch.randn(TASKS, 4, 1, 2, 3, dtype=torch.float64, generator=generator)
    support_y = torch.stack([torch.arange(6) % WAYS] * TASKS)
    return support_x, support_y, query_x, torch.tensor([[0, 1, 2, 0]] * TASKS)


def model(running: bool = True) -> nn.Module:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(2, track_running_stats=running)
    if running:
        norm.running_mean.copy_(torch.tensor([0.4, -0.2]))
        norm.running_var.copy_(torch.tensor([0.5, 3.0]))
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), norm, nn.Softplus(), nn.Flatten(), nn.Linear(12, WAYS)).double()


def written_out(start: nn.Module, by_batch: bool, task: int, queries: Tensor, steps: int = STEPS) -> Tensor:
    """Logits of the queries, all in one batch, by plain descent on a copy whose BatchNorm is written out."""
    support_x, support_y, _, _ = tasks()
    twin = copy.deepcopy(start)

    def forward(x: Tensor) -> Tensor:
        maps, layer = twin[0](x), twin[1]
        if by_batch:
            mean, var = maps.mean(dim=(0, 2, 3)), maps.var(dim=(0, 2, 3), unbiased=False)
        else:
            mean, var = start[1].running_mean, start[1].running_var
        normal = (maps - mean[:, None, None]) / (var[:, None, None] + layer.eps).sqrt()
        return twin[4](twin[3](twin[2](normal * layer.weight[:, None, None] + layer.bias[:, None, None])))

    moving = [*twin[0].parameters(), *twin[4].parameters()]
    for _ in range(steps):
        gradients = torch.autograd.grad(functional.cross_entropy(forward(support_x[task]), support_y[task]), moving)
        with torch.no_grad():
            for parameter, gradient in zip(moving, gradients, strict=True):
                parameter -= RATE * gradient
    return forward(queries).detach()


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    ("norm", "running", "by_batch_in"),
    [
        ("running", True, ["train"]),
        ("running", False, ["train", "eval"]),
        ("batch", True, ["train", "eval"]),
        ("batch", False, ["train", "eval"]),
        ("frozen", True, []),
    ],
)
def test_the_statistics_are_those_of_the_policy(norm: Any, running: bool, by_batch_in: list[str], mode: str) -> None:
    support_x, support_y, query_x, query_y = tasks()
    net = model(running)
    start = copy.deepcopy(net)
    learner = MAMLLearner(net, RATE, STEPS, norm=norm)
    by_batch = mode in by_batch_in
    expected = torch.stack([written_out(start, by_batch, task, query_x[task]) for task in range(TASKS)])
    before = {name: buffer.clone() for name, buffer in learner.named_buffers()}
    if mode == "eval":
        learner.eval()
    # As built, a learner is in train mode, and follows its policy without being told so.
    predictor = learner.adapt(support_x, support_y)
    torch.testing.assert_close(predictor(query_x).detach(), expected)
    assert all(torch.equal(before[name], buffer) for name, buffer in learner.named_buffers())

    loss, _ = learner.meta_loss(support_x, support_y, query_x, query_y)
    torch.testing.assert_close(
        loss.detach(), functional.cross_entropy(expected.flatten(0, 1), query_y.flatten()), check_dtype=False
    )
    # In eval mode evaluation writes nowhere, though with batch statistics the layers would.
    gathers = running and mode == "train" and norm != "frozen"
    assert gathers_statistics(learner) is writes_buffers(learner) is (running and by_batch)
    assert sees_company(learner) is by_batch
    for name, buffer in learner.named_buffers():
        assert torch.equal(before[name], buffer) is not gathers
        if gathers and name.endswith("num_batches_tracked"):
            assert buffer == TASKS * (STEPS + 1)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("norm", ["running", "batch", "frozen"])
@pytest.mark.parametrize("strategy", ["auto", "loop", "threads", "together"])
def test_queries_alone_see_the_support_set_and_no_other_query(strategy: Any, norm: Any, mode: str) -> None:
    support_x, support_y, query_x, _ = tasks()
    net = model()
    start = copy.deepcopy(net)
    learner = MAMLLearner(net, RATE, STEPS, norm=norm, queries="alone", strategy=strategy).train(mode == "train")
    found = learner.adapt(support_x, support_y)(query_x)
    by_batch = norm == "batch" or (norm == "running" and mode == "train")
    for task in range(TASKS):
        for place in range(query_x.shape[1]):
            company = torch.cat([support_x[task], query_x[task, place : place + 1]])
            expected = written_out(start, by_batch, task, company)[-1]
            torch.testing.assert_close(found[task, place].detach(), expected)
    one = learner.adapt(support_x, support_y)(query_x[:, 2:3])
    torch.testing.assert_close(one, found[:, 2:3])


def test_frozen_statistics_must_be_there() -> None:
    with pytest.raises(UsageError) as error:
        MAMLLearner(model(running=False), RATE, STEPS, norm="frozen")
    assert str(error.value) == (
        "norm = 'frozen' normalises with running statistics, but BatchNorm2d 'model.1' keeps none; build it with "
        "track_running_stats=True, or choose norm = 'batch'"
    )
    # InstanceNorm normalises each picture with its own, so that nothing is to be frozen.
    follow(nn.Sequential(nn.InstanceNorm2d(2)), "frozen")


def test_the_policy_goes_with_the_mode() -> None:
    net = model()
    for norm, in_train, in_eval in (("running", True, False), ("batch", True, True), ("frozen", False, False)):
        learner = MAMLLearner(net.train(), RATE, STEPS, norm=norm)
        assert net[1].training is in_train
        assert learner.eval().model[1].training is in_eval
        assert learner.train().model[1].training is in_train
        assert net[0].training


def test_what_layers_keep_besides_statistics_counts_as_written() -> None:
    spectral = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))
    assert writes_buffers(nn.Sequential(spectral))
    assert not writes_buffers(nn.Sequential(spectral).eval())
    assert not gathers_statistics(nn.Sequential(spectral))
    assert not writes_buffers(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, track_running_stats=False)))
