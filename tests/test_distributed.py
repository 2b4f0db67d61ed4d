"""Several processes: each promise by two real ones that talk over gloo, against one process that does all the work."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from l2l_core import distributed
from l2l_core.errors import DistributedError, L2LError, UsageError
from l2l_core.nn.shared_batch_norm import statistics_of_all
from tests.ranks import Ranks, ranks


@pytest.fixture(scope="module")
def two() -> Iterator[Ranks]:
    with ranks(2) as group:
        yield group


def _who() -> tuple[int, int, bool, list[range]]:
    return (
        distributed.rank(),
        distributed.size(),
        distributed.is_first(),
        [distributed.share(count) for count in (0, 1, 4, 5)],
    )


def test_shares_follow_each_other(two: Ranks) -> None:
    assert _who() == (0, 1, True, [range(count) for count in (0, 1, 4, 5)])
    assert two.call(_who) == [
        (0, 2, True, [range(0), range(0), range(2), range(2)]),
        (1, 2, False, [range(0), range(1), range(2, 4), range(2, 5)]),
    ]


def _sums() -> tuple[Any, ...]:
    rank = distributed.rank()
    numbers = np.arange(3) + 10 * rank
    net = nn.Linear(2, 1).requires_grad_(True)
    nn.init.constant_(net.weight, rank + 1.0)
    distributed.as_in_first(net)
    found: dict[str, Any] = distributed.from_first(lambda: {"rank": rank, "tensor": torch.ones(2)})
    return (
        distributed.summed(numbers).tolist(),
        numbers.tolist(),
        distributed.gathered(torch.tensor([rank + 1.5])).tolist(),
        net.weight.tolist(),
        (found["rank"], found["tensor"].tolist()),
        distributed.agreed(5.0 + rank, interrupted=rank == 1),
        distributed.agreed(5.0 + rank, interrupted=False),
    )


def test_what_they_tell_each_other(two: Ranks) -> None:
    first, second = two.call(_sums)
    for rank, found in enumerate((first, second)):
        sums, own, *rest = found
        assert sums == [10, 12, 14]
        assert own == [10 * rank, 10 * rank + 1, 10 * rank + 2]
        assert rest == [[[1.5], [2.5]], [[1.0, 1.0]], (0, [1.0, 1.0]), (5.0, True), (5.0, False)]
    assert _sums()[:3] == ([0, 1, 2], [0, 1, 2], [[1.5]])


def _refused() -> str:
    def refuse() -> None:
        if distributed.rank():
            raise AssertionError("only the first one is asked")
        raise UsageError("no such thing")

    try:
        distributed.from_first(refuse)
    except L2LError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def test_an_error_of_the_first_one_is_that_of_all(two: Ranks) -> None:
    assert _refused() == "UsageError: no such thing"
    assert two.call(_refused) == ["UsageError: no such thing", "L2LError: no such thing"]


def _in_turn(rank_that_fails: int) -> None:
    if distributed.rank() == rank_that_fails:
        os.kill(os.getpid(), signal.SIGKILL)
    distributed.summed(np.ones(3))


@pytest.mark.parametrize("killed", [0, 1])
def test_a_dead_process_is_noticed_at_once_and_said_in_words(killed: int) -> None:
    with ranks(2) as group:
        answers = group.call(_in_turn, killed)
    assert answers[killed] is None
    left = answers[1 - killed]
    assert isinstance(left, DistributedError)
    begin = f"process {1 - killed} (counted from 0) of 2 has lost another one, and the job ends ("
    assert str(left).startswith(begin)
    assert "onnection" in str(left).removeprefix(begin)
    assert str(left).endswith(
        "; see what the other one said, then start the same again: a training goes on from its last checkpoint"
    )


def test_a_group_that_cannot_be_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(DistributedError) as caught, distributed.joined():
        pass
    assert str(caught.value).startswith("process 1 (counted from 0) of 2 cannot join the others: ")
    assert str(caught.value).endswith(
        "MASTER_PORT expected, but not set; see that all are started, with RANK, WORLD_SIZE, MASTER_ADDR and "
        "MASTER_PORT as torchrun sets them"
    )
    assert distributed.size() == 1


def test_one_process_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    with distributed.joined():
        assert (distributed.rank(), distributed.size()) == (0, 1)
        assert not torch.distributed.is_initialized()


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", set_to.append)
    assert distributed.own_device(None) is None
    monkeypatch.setattr(distributed, "size", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert [distributed.own_device(name) for name in (None, "cuda", "cpu", "cuda:0")] == [
        "cuda:1",
        "cuda:1",
        "cpu",
        "cuda:0",
    ]
    assert set_to == [1, 1]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError) as caught:
        distributed.own_device(None)
    assert str(caught.value) == (
        "there are more processes on this machine than its 2 GPUs; start fewer, or give --device cpu"
    )


KINDS: dict[str, Callable[[], nn.Module]] = {
    "2d": lambda: nn.BatchNorm2d(3),
    "1d": lambda: nn.BatchNorm1d(3),
    "without statistics": lambda: nn.BatchNorm2d(3, track_running_stats=False),
    "without scale": lambda: nn.BatchNorm2d(3, affine=False),
    "cumulative": lambda: nn.BatchNorm2d(3, momentum=None),
    "channels last": lambda: nn.BatchNorm2d(3),
}
EXAMPLES = 7


def _normalised(kind: str, dtype: torch.dtype) -> dict[str, Any]:
    """Two training passes through a layer: what comes out, what flows back, what is kept. Shares are of 3 and 4."""
    draws = torch.Generator().manual_seed(1)
    layer = KINDS[kind]().to(dtype)
    shape = (EXAMPLES, 3, 5) if kind == "1d" else (EXAMPLES, 3, 4, 5)
    share = distributed.share(EXAMPLES)
    part = slice(share.start, share.stop)
    found: dict[str, Any] = {}
    for turn in range(2):
        x, pull = (torch.randn(shape, generator=draws, dtype=torch.float64).to(dtype) + 3 for _ in range(2))
        if kind == "channels last":
            x = x.contiguous(memory_format=torch.channels_last)
        own = x[part].clone().requires_grad_()
        with statistics_of_all(layer):
            y = layer(own)
        torch.autograd.backward((y * pull[part]).sum())
        found |= {f"y{turn}": y.detach(), f"gradient{turn}": own.grad}
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None
        found[f"sum of {name}"] = distributed.sum_(parameter.grad)
    layer.eval()
    with statistics_of_all(layer):
        found["eval"] = layer(x[part]).detach()
    kept = dict(layer.named_buffers())
    return {**found, **{f"kept {name}": value for name, value in kept.items()}, "type": type(layer).__name__}


@pytest.mark.parametrize("kind", KINDS)
def test_batch_norm_takes_the_statistics_of_all(two: Ranks, kind: str) -> None:
    parts = two.call(_normalised, kind, torch.float64)
    whole = _plainly(kind)
    assert whole.keys() == parts[0].keys()
    for name, expected in whole.items():
        if not isinstance(expected, torch.Tensor):
            assert parts[0][name] == parts[1][name] == expected
            continue
        halves = [part[name] for part in parts]
        together = torch.cat(halves) if name.startswith(("y", "gradient", "eval")) else halves[0]
        if not (name == "eval" and "kept running_mean" not in whole):
            torch.testing.assert_close(together, expected, rtol=1e-11, atol=1e-12, msg=f"{name} is another")


def _plainly(kind: str) -> dict[str, Any]:
    """The same by PyTorch's own layer in one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.test_distributed.statistics_of_all", lambda _: torch.enable_grad())
        return _normalised(kind, torch.float64)


def _of_half_precision() -> tuple[torch.dtype, float]:
    layer = nn.BatchNorm2d(2)
    x = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(distributed.rank())).bfloat16()
    with statistics_of_all(layer), torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    return y.dtype, float(distributed.sum_(y.float().mean()))


def test_batch_norm_under_autocast(two: Ranks) -> None:
    for dtype, mean in two.call(_of_half_precision):
        assert dtype == torch.bfloat16
        assert abs(mean) < 1e-3


def test_a_layer_of_somebody_else_is_left_alone() -> None:
    class Own(nn.BatchNorm2d):
        pass

    net = nn.Sequential(nn.BatchNorm2d(1), Own(1), nn.InstanceNorm2d(1))
    with statistics_of_all(net):
        assert [type(layer).__name__ for layer in net] == ["_OfAll", "Own", "InstanceNorm2d"]
    assert [type(layer).__name__ for layer in net] == ["BatchNorm2d", "Own", "InstanceNorm2d"]


def _interrupted(path: Path) -> list[bool]:
    with distributed.interrupts_held() as interrupted:
        before = interrupted()
        if distributed.rank() == 1:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
        after = interrupted()
    return [before, after, distributed.agreed(0.0, after)[1]]


def test_ctrl_c_is_held_until_all_know_of_it(two: Ranks, tmp_path: Path) -> None:
    assert two.call(_interrupted, tmp_path) == [[False, False, True], [False, True, True]]
    with pytest.raises(KeyboardInterrupt), distributed.interrupts_held():
        os.kill(os.getpid(), signal.SIGINT)
