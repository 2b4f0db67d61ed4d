"""How tasks share a device: which way is taken, and that nothing of it is seen from outside."""

import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from l2l_core.algorithms.over_tasks import Strategy, over_tasks, plain
from l2l_core.nn.dropblock import DropBlock

CPU = torch.device("cpu")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def hooked(register: str) -> nn.Module:
    layer = nn.Linear(2, 2)
    getattr(layer, register)(lambda *_: None)
    return layer


class Own(nn.Linear):
    pass


def way_of(model: nn.Module, tasks: int, strategy: Strategy = "auto") -> tuple[bool, list[int]]:
    """Whether threads were used, and the sizes of the chunks."""
    seen = over_tasks(lambda net, chunk: (threading.current_thread(), len(chunk)), model, tasks, CPU, strategy)
    return any(thread is not threading.main_thread() for thread, _ in seen), [size for _, size in seen]


@pytest.mark.usefixtures("two_threads")
def test_auto_takes_threads_where_tasks_do_not_meet() -> None:
    side_by_side = [
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False), nn.Dropout(0.5).eval()),
        nn.BatchNorm2d(2).eval(),
        nn.LSTM(2, 2),
        nn.TransformerEncoderLayer(2, 1, dropout=0.0),
        DropBlock(0.1).eval(),
    ]
    one_by_one = [
        nn.Dropout(0.5),
        nn.RReLU(),
        nn.LSTM(2, 2, num_layers=2, dropout=0.5),
        nn.GRU(2, 2, num_layers=2, dropout=1),
        nn.MultiheadAttention(2, 1, dropout=0.1),
        nn.FractionalMaxPool2d(2, output_size=2).eval(),
        nn.BatchNorm2d(2),
        DropBlock(0.1),
        parametrizations.spectral_norm(nn.Linear(2, 2)),
        Own(2, 2),
        *(
            hooked(register)
            for register in ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook")
        ),
    ]
    for model in side_by_side:
        assert way_of(nn.Sequential(model), 3) == (True, [1, 1, 1]), model
    for model in one_by_one:
        wrapped = nn.ModuleList([model]).train(model.training)
        assert way_of(wrapped, 3) == (False, [1, 1, 1]), model
    assert way_of(nn.Linear(2, 2), 1) == (False, [1])
    torch.set_num_threads(1)
    assert way_of(nn.Linear(2, 2), 3) == (False, [1, 1, 1])


def test_the_other_strategies_are_taken_as_they_are_asked_for() -> None:
    assert way_of(nn.Dropout(0.5), 3, "together") == (False, [3])
    assert way_of(nn.Linear(2, 2), 3, "loop") == (False, [1, 1, 1])
    assert way_of(Own(2, 2), 3, "threads") == (True, [1, 1, 1])


def test_on_a_gpu_tasks_go_together_where_there_is_a_vectorised_form() -> None:
    gpu = torch.device("cuda")  # only its name is looked at
    for model, sizes in ((nn.Linear(2, 2), [3]), (nn.GRU(2, 2), [1, 1, 1]), (nn.Dropout(0.5), [1, 1, 1])):
        assert over_tasks(lambda net, chunk: len(chunk), nn.Sequential(model), 3, gpu, "auto") == sizes


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("tasks", [2, 3, 7])
def test_threads_give_the_results_in_order_and_are_gone_afterwards(tasks: int) -> None:
    model = nn.Linear(2, 2)
    nets: set[int] = set()
    cores: set[int] = set()

    def work(net: nn.Module, chunk: range) -> tuple[range, bool]:
        nets.add(id(net))
        cores.add(torch.get_num_threads())
        return chunk, all(a is b for a, b in zip(net.parameters(), model.parameters(), strict=True))

    before = threading.active_count()
    found = over_tasks(work, model, tasks, CPU, "threads")
    assert found == [(range(task, task + 1), True) for task in range(tasks)]
    assert id(model) not in nets
    assert len(nets) == 2
    assert cores == {1}
    assert torch.get_num_threads() == 2
    assert threading.active_count() == before


@pytest.mark.usefixtures("two_threads")
def test_what_a_task_raises_arrives_and_nothing_stays_behind() -> None:
    def work(net: nn.Module, chunk: range) -> None:
        if chunk.start == 2:
            raise LookupError(f"task {chunk.start}")

    before = threading.active_count()
    with pytest.raises(LookupError, match="^'?task 2"):
        over_tasks(work, nn.Linear(2, 2), 5, CPU, "threads")
    assert torch.get_num_threads() == 2
    assert threading.active_count() == before

    # New threads of anybody's have as many cores as before, too.
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [2]


def modes(net: nn.Module, chunk: range) -> tuple[object, ...]:
    product: Tensor = torch.ones(1, 1) @ torch.ones(1, 1)
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        product.dtype,
    )


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    "context",
    [
        torch.enable_grad,
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        lambda: torch.autocast("cpu", dtype=torch.float16),
    ],
)
def test_the_callers_modes_reach_the_threads(context: Callable[[], torch.no_grad]) -> None:
    with context():
        here = modes(nn.Identity(), range(1))
        assert over_tasks(modes, nn.Linear(2, 2), 3, CPU, "threads") == [here] * 3
    here = modes(nn.Identity(), range(1))
    assert over_tasks(modes, nn.Linear(2, 2), 3, CPU, "threads") == [here] * 3


def test_a_model_is_plain_by_its_layers_alone() -> None:
    assert plain(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten()))
    assert not plain(nn.Sequential(nn.Linear(2, 2), Own(2, 2)))
    assert not plain(nn.Sequential(nn.Dropout()))
    assert plain(nn.Sequential(nn.Dropout()).eval())
