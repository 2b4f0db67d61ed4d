"""Several processes that do one piece of work: which of them this is, and what they tell each other.

Work is shared out within `joined` and nowhere else; outside of it, and in a single process, each function here is that
of a group of one. All processes of a group must make the same calls in the same order.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch import distributed as dist

from l2l_core.errors import DistributedError, L2LError, UsageError

T = TypeVar("T")

TIMEOUT_S: Final = 600.0
"""How long a process waits for the others. One that dies is noticed at once, since its connections close; so this is
for machines that vanish, and long enough for the first process to open a data set on a slow disk."""

_state = {"joined": False}


@contextmanager
def joined(timeout_s: float = TIMEOUT_S) -> Iterator[None]:
    """A context in which this process is one of those that ``torchrun``, or another starter, has told of each other.

    They are told by the environment: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. Without WORLD_SIZE, or
    where it is 1, nothing happens. A process group that is there already is used, and left alone at the end.

    Args:
        timeout_s: how long to wait for the others, here and later, until they count as lost.

    Raises:
        DistributedError: the group cannot be joined, or another process is lost on the way.
    """
    if _state["joined"] or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    who = f"process {os.environ.get('RANK', '?')} (counted from 0) of {os.environ['WORLD_SIZE']}"
    own = not dist.is_initialized()
    if own:
        try:
            # Small things go by way of the processor in either case.
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
        except (RuntimeError, ValueError) as error:
            raise DistributedError(
                f"{who} cannot join the others: {_reason(error)}; see that all are started, with RANK, WORLD_SIZE, "
                "MASTER_ADDR and MASTER_PORT as torchrun sets them"
            ) from None
    _state["joined"] = True
    try:
        yield
        dist.barrier()  # nobody leaves while another still reads
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise DistributedError(
            f"{who} has lost another one, and the job ends ({_reason(error)}); see what the other one said, then start "
            "the same again: a training goes on from its last checkpoint"
        ) from None
    finally:
        _state["joined"] = False
        if own:
            with suppress(RuntimeError):
                dist.destroy_process_group()


def size() -> int:
    """How many processes share the work."""
    return dist.get_world_size() if _state["joined"] else 1


def rank() -> int:
    """Which of them this is, counted from 0."""
    return dist.get_rank() if _state["joined"] else 0


def is_first() -> bool:
    """Whether this process is the one that prints and writes files."""
    return rank() == 0


def own_device(name: str | torch.device | None) -> str | torch.device | None:
    """The device for this process: of several on a machine with GPUs each has its own, unless one is named.

    Raises:
        UsageError: there are fewer GPUs than processes on this machine.
    """
    if size() == 1 or name not in (None, "cuda") or not torch.cuda.is_available():
        return name
    place, gpus = int(os.environ.get("LOCAL_RANK", rank())), torch.cuda.device_count()
    if place >= gpus:
        raise UsageError(
            f"there are more processes on this machine than its {gpus} GPU{'s' if gpus > 1 else ''}; start fewer, or "
            "give --device cpu"
        )
    torch.cuda.set_device(place)
    return f"cuda:{place}"


def share(count: int) -> range:
    """The numbers of 0..count-1 that are this process's; shares follow each other and differ by 1 at most."""
    return range(count * rank() // size(), count * (rank() + 1) // size())


def sum_(tensor: Tensor) -> Tensor:
    """The tensor itself, which is now the sum of those of all processes, the same bits in each."""
    if size() > 1:
        dist.all_reduce(tensor)
    return tensor


def summed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The sum of the arrays of all processes, the same bits in each; where all but one hold 0, that one's value."""
    return sum_(torch.from_numpy(array.copy())).numpy()


def gathered(tensor: Tensor) -> Tensor:
    """The tensors of all processes, [R, …]."""
    table = tensor.new_zeros(size(), *tensor.shape)
    table[rank()] = tensor
    return sum_(table)


def from_first(call: Callable[[], T]) -> T:
    """What the call gave in the first process, the only one to make it; its error, if it had one, is that of all."""
    if size() == 1:
        return call()
    # Pickled, but among processes of one job.
    answer: list[Any] = [None, None]
    raised: L2LError | None = None
    if is_first():
        try:
            answer[0] = call()
        except L2LError as error:
            raised, answer[1] = error, str(error)
    dist.broadcast_object_list(answer, src=0, device=torch.device("cpu"))
    if answer[1] is not None:
        raise raised or L2LError(answer[1])
    result: T = answer[0]
    return result


def as_in_first(module: nn.Module) -> None:
    """Nothing; parameters and buffers of the module are those that the first process has."""
    if size() > 1:
        for tensor in module.state_dict().values():
            whole = tensor.contiguous()
            dist.broadcast(whole, src=0)
            tensor.copy_(whole)


@contextmanager
def interrupts_held() -> Iterator[Callable[[], bool]]:
    """A context in which Ctrl-C does nothing, if there are several processes, but tell what it yields.

    Ctrl-C reaches them at different moments, and some twice, from the terminal and from what started them: they have to
    agree on when they stop.
    """
    if size() == 1 or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = threading.Event()

    def press(_: int, __: FrameType | None) -> None:
        pressed.set()

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def agreed(seconds: float, interrupted: bool) -> tuple[float, bool]:
    """The first process's time, and whether any of the processes has been interrupted: the same in each."""
    time, count = summed(np.array([seconds if is_first() else 0.0, float(interrupted)]))
    return float(time), count > 0


def _reason(error: Exception) -> str:
    """The first sentence of what gloo, NCCL or the store said, without the place in their code."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.rpartition("] ")[2].partition(". ")[0][:200].strip()
