"""How the tasks of a batch share a device: one after the other, on threads, or all in one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from typing import Literal, TypeAlias, TypeVar

import torch
from torch import nn

from l2l_core.algorithms.normalisation import writes_buffers
from l2l_core.modules import clone_module
from l2l_core.nn.batch_norm import quickened
from l2l_core.nn.pretrained import FrozenBackbone

R = TypeVar("R")

#: "loop": one after the other. "threads": as many side by side as there are cores, each on one core. "together": in
#: one computation, vectorised. "auto": what is quickest on the device and right for the model.
#:
#: On a processor, threads: a task's tensors are small, and one core works on one task better than two do on two halves
#: of each of its operations. MAML of second order on Conv4, 28×28, 16 tasks of 5-way 1-shot with 15 queries, against
#: the plain loop on two cores: 1.4 to 1.6 times as fast with 1 inner step and 1.5 with 5, pictures laid out channels
#: last (which alone makes 1.5 and 1.2 times on one core), BatchNorm's second derivative by `quickened`; see
#: tests/speed/inner_loop.py. Vectorising makes grouped convolutions of the tasks' own weights, which are two to three
#: times slower there. On a GPU, where a single task leaves most of the device idle, together; that has not been
#: measured.
Strategy: TypeAlias = Literal["auto", "loop", "threads", "together"]


def over_tasks(
    work: Callable[[nn.Module, range], R], model: nn.Module, tasks: int, device: torch.device, strategy: Strategy
) -> list[R]:
    """What `work` makes of each chunk of the tasks, in order.

    Args:
        work: is given a model with the parameters of `model`, which no other thread uses, and the numbers of the tasks.
        model: what the tasks are adapted with.
        tasks: how many.
        device: where they lie.
        strategy: how they share it.
    """
    if strategy == "auto":
        strategy = _quickest(model, tasks, device)
    if strategy == "together":
        return [work(model, range(tasks))]
    chunks = [range(task, task + 1) for task in range(tasks)]
    if strategy == "loop":
        net = _twin(model) if device.type == "cpu" and plain(model) else model
        return [work(net, chunk) for chunk in chunks]
    return _on_threads(work, model, chunks)


def _quickest(model: nn.Module, tasks: int, device: torch.device) -> Strategy:
    if tasks == 1 or not plain(model) or writes_buffers(model):
        return "loop"
    if device.type == "cuda":
        # There is no vectorised form of whole recurrent networks.
        return "loop" if any(isinstance(layer, nn.RNNBase) for layer in model.modules()) else "together"
    return "threads" if device.type == "cpu" and torch.get_num_threads() > 1 else "loop"


def plain(model: nn.Module) -> bool:
    """Whether the model gives the same for tasks side by side as one after the other, and in any memory format.

    That cannot be said of layers that somebody else wrote, of hooks, of parametrizations, or of random choices that all
    tasks take from one generator.
    """
    # Of a frozen network, always in eval mode, it is known whoever wrote it.
    frozen = {part for layer in model.modules() if isinstance(layer, FrozenBackbone) for part in layer.net.modules()}
    for layer in model.modules():
        if layer in frozen:
            continue
        if not type(layer).__module__.startswith(("torch.nn.modules.", "l2l_core.")):
            return False
        if any(vars(layer)[name] for name in vars(layer) if name.endswith("_hooks")):
            return False
        if isinstance(layer, nn.FractionalMaxPool2d | nn.FractionalMaxPool3d) or (layer.training and _random(layer)):
            return False
    return True


def _random(layer: nn.Module) -> bool:
    # Attention and recurrent networks have a rate of their own, beside a dropout layer or without one.
    rate = layer.p if isinstance(layer, nn.modules.dropout._DropoutNd) else getattr(layer, "dropout", 0.0)
    return isinstance(layer, nn.RReLU) or (isinstance(rate, float | int) and rate > 0)


def _on_threads(work: Callable[[nn.Module, range], R], model: nn.Module, chunks: list[range]) -> list[R]:
    cores = torch.get_num_threads()
    workers = min(cores, len(chunks))
    settings = _settings()

    def work_through(mine: list[range]) -> list[R]:
        torch.set_num_threads(1)
        # A functional call puts parameters into the module meanwhile, so each thread needs modules of its own.
        twin = _twin(model)
        with settings():
            return [work(twin, chunk) for chunk in mine]

    try:
        with ThreadPoolExecutor(workers, thread_name_prefix="l2l-task") as pool:
            parts = list(pool.map(work_through, [chunks[worker::workers] for worker in range(workers)]))
    finally:
        # New threads take the number that was set last, by whichever thread.
        torch.set_num_threads(cores)
    return [parts[place % workers][place // workers] for place in range(len(chunks))]


def _twin(model: nn.Module) -> nn.Module:
    """Other modules with the same tensors, and quicker ones where there are any."""
    return quickened(clone_module(model, memo={tensor: tensor for tensor in (*model.parameters(), *model.buffers())}))


def _settings() -> Callable[[], ExitStack]:
    """What puts a thread into the modes of autograd and autocast that this one is in; both belong to threads."""
    gradients, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    autocast = [
        (device, torch.get_autocast_dtype(device)) for device in ("cpu", "cuda") if torch.is_autocast_enabled(device)
    ]

    def entered() -> ExitStack:
        stack = ExitStack()
        stack.enter_context(torch.inference_mode() if inference else nullcontext())
        stack.enter_context(torch.set_grad_enabled(gradients))
        for device, dtype in autocast:
            stack.enter_context(torch.autocast(device, dtype=dtype))
        return stack

    return entered
