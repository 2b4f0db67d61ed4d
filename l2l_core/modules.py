"""Differentiable surgery on modules: copy one, change its parameters, cut it from the graph.

The names and meanings are learn2learn's. An inner loop written with them reads

    clone = clone_module(model)
    grads = torch.autograd.grad(loss(clone), list(clone.parameters()), create_graph=True)
    update_module(clone, updates=[-lr * grad for grad in grads])

after which a loss of the clone has gradients with respect to the parameters of ``model``.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Transform
from torch.func import functional_call

from l2l_core.errors import UsageError

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)
D = TypeVar("D", bound=Distribution)

#: From each module or tensor already dealt with to what took its place, so that what was shared stays shared.
Memo: TypeAlias = dict[Any, Any]

# What every module keeps for itself: the tables of parameters, buffers, submodules and hooks. A copy needs its own.
_TABLES = frozenset(name for name, value in vars(nn.Module()).items() if isinstance(value, (dict, set)))


def magic_box(x: T) -> T:
    """One, with the gradient of ``x``: exp(x − x.detach()). What is not a tensor comes back as it is.

    Source: Foerster et al. 2018, "DiCE: the infinitely differentiable Monte Carlo estimator", section 4.
    """
    if isinstance(x, Tensor):
        return cast(T, torch.exp(x - x.detach()))
    return x


def clone_module(module: T, memo: Memo | None = None) -> T:
    """A differentiable copy of a module: its parameters are clones, linked by the graph to the module's own.

    The parameters of the copy are plain tensors, not `nn.Parameter`. A parameter or submodule that occurs twice occurs
    twice in the copy too, and so it does across calls that share ``memo``. Buffers that require a gradient are cloned;
    the others are shared with the module, so that running statistics which the copy gathers are the module's own.
    What is not a module comes back as it is.

    Mended from learn2learn: hooks registered on the copy do not appear on the module (nor the other way round); a
    submodule used twice is one submodule of the copy, not two; lists of parameters that a module keeps beside its
    table (recurrent networks do) hold the copy's parameters, and not the module's.
    """
    if not isinstance(module, nn.Module):
        return module
    memo = {} if memo is None else memo
    if module in memo:
        return cast(T, memo[module])

    clone = object.__new__(type(module))
    memo[module] = clone
    own = {name: value.copy() if name in _TABLES else value for name, value in vars(module).items()}
    clone.__dict__.update(own)
    for table in (clone._parameters, clone._buffers):
        for name, tensor in table.items():
            if tensor is None or (table is clone._buffers and not tensor.requires_grad):
                continue
            if tensor not in memo:
                memo[tensor] = tensor.clone()
            table[name] = memo[tensor]
    for name, child in clone._modules.items():
        clone._modules[name] = clone_module(child, memo)
    _follow(clone, memo)
    return clone


def update_module(module: M, updates: Iterable[Tensor | None] | None = None, memo: Memo | None = None) -> M:
    """The module itself, each parameter p of which is now p + u: differentiable in both, and no longer a leaf.

    Args:
        module: changed in place.
        updates: one u for each of ``module.parameters()``, in that order and of the same shape; None leaves that
            parameter as it is. Without updates, each parameter's and each buffer's attribute ``update`` is taken, and
            cleared.
        memo: from tensors already replaced to what replaced them, for parameters tied across several modules.

    Mended from learn2learn: a wrong number of updates, or an update of another shape, is refused before anything
    changes; there a line was printed, or the update broadcast.

    Raises:
        UsageError: the updates do not fit the parameters.
    """
    memo = {} if memo is None else memo
    named: list[tuple[str, Tensor]] = list(module.named_parameters())
    if updates is None:
        named += module.named_buffers()
        given = [getattr(tensor, "update", None) for _, tensor in named]
    else:
        given = list(updates)
        if len(given) != len(named):
            raise UsageError(
                f"update_module was given {len(given)} updates for {len(named)} parameters of "
                f"{type(module).__name__}; give one for each, None where nothing changes"
            )

    for (name, tensor), update in zip(named, given, strict=True):
        if update is not None and update.shape != tensor.shape:
            raise UsageError(
                f"the update of {name!r} has shape {list(update.shape)}, but the parameter has "
                f"{list(tensor.shape)}; give an update of the parameter's own shape"
            )
    for (_, tensor), update in zip(named, given, strict=True):
        if update is not None and tensor not in memo:
            memo[tensor] = tensor + update
        if updates is None and update is not None:
            vars(tensor)["update"] = None

    for submodule in module.modules():
        for table in (submodule._parameters, submodule._buffers):
            for name, old in table.items():
                if old is not None and old in memo:
                    table[name] = memo[old]
        _follow(submodule, memo)
    return module


def detach_module(module: nn.Module, keep_requires_grad: bool = False) -> None:
    """Nothing; the parameters and buffers of the module are cut from the graph, in place.

    Args:
        module: changed in place; what is not a module is left alone.
        keep_requires_grad: parameters that required a gradient require one again, as leaves.
    """
    if not isinstance(module, nn.Module):
        return
    for tensor in (*module.parameters(), *module.buffers()):
        required = tensor.requires_grad
        tensor.detach_()
        if keep_requires_grad and required:
            tensor.requires_grad_()


def clone_distribution(distribution: D) -> D:
    """A differentiable copy of a distribution: tensors that require a gradient are clones, linked to its own.

    Modules that it holds are copied by `clone_module`, distributions and transforms that it is made of likewise; what
    occurs twice in it occurs twice in the copy.

    Mended from learn2learn: it ran only for distributions of leaf tensors that hold no other distribution.
    """
    return cast(D, _rebuilt(distribution, torch.clone, clone_module, {}))


def detach_distribution(distribution: D) -> D:
    """The distribution itself, none of whose tensors is in the graph any more; its modules are detached in place.

    Mended from learn2learn: distributions that it is made of are detached too, and a module that it holds is not lost.
    """

    def detached(module: nn.Module, _: Memo) -> nn.Module:
        detach_module(module)
        return module

    vars(distribution).update(vars(_rebuilt(distribution, Tensor.detach, detached, {})))
    return distribution


def call_with(module: nn.Module, tensors: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
    """What a module gives with other tensors in the place of some of its parameters and buffers.

    Afterwards, and where the call fails, it has its own again. A tensor that the module has in several places is
    replaced in all of them.

    Args:
        module: the module; not to be called by another thread meanwhile.
        tensors: by name, as ``named_parameters`` and ``named_buffers`` give them.
        args, kwargs: of the call.

    Raises:
        UsageError: the module has no tensor of some name.
    """
    places = {
        f"{path}.{name}" if path else name: own
        for path, part in module.named_modules()
        for table in (part._parameters, part._buffers)
        for name, own in table.items()
        if own is not None
    }
    unknown = tensors.keys() - places.keys()
    if unknown:
        raise UsageError(
            f"{type(module).__name__} was called with {min(unknown)!r}, which is none of its parameters or buffers; "
            "take the names from named_parameters() and named_buffers()"
        )
    given_for = {id(places[name]): given for name, given in tensors.items()}
    placed = {name: given_for[id(own)] for name, own in places.items() if id(own) in given_for} | dict(tensors)
    lists = [(part, part._flat_weights) for part in module.modules() if isinstance(part, nn.RNNBase)]
    try:
        # Ties are followed above, by place: left to torch, a submodule under two names would keep what it was called
        # with.
        return functional_call(module, placed, args, kwargs, tie_weights=False)
    finally:
        # Recurrent networks list their weights a second time, and would hold on to what they were called with, and
        # to its graph.
        for part, own_weights in lists:
            part._flat_weights = own_weights


def clone_parameters(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Differentiable copies of the tensors, in order."""
    return [parameter.clone() for parameter in parameters]


def clone_named_parameters(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Differentiable copies of the tensors, by name."""
    return {name: parameter.clone() for name, parameter in parameters.items()}


def accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """The fraction in [0, 1] of examples whose highest score is their target's, as a float scalar tensor.

    Args:
        predictions: scores [M, N].
        targets: class numbers [M] or [M, 1].
    """
    return (predictions.argmax(dim=1).view(targets.shape) == targets).float().mean()


def _follow(module: nn.Module, memo: Memo) -> None:
    """Let the lists of tensors that a module keeps as plain attributes follow its parameters, as RNNs' lists must."""
    for name, value in vars(module).items():
        if isinstance(value, list) and any(isinstance(item, Tensor) and item in memo for item in value):
            vars(module)[name] = [memo.get(item, item) if isinstance(item, Tensor) else item for item in value]


def _rebuilt(
    value: Any,
    of_tensor: Callable[[Tensor], Tensor],
    of_module: Callable[[nn.Module, Memo], nn.Module],
    memo: Memo,
) -> Any:
    """A distribution, or part of one, with other tensors where they require a gradient, and with other modules.

    A deep copy would not do: it refuses tensors inside the graph.
    """
    if isinstance(value, tuple | list):
        return type(value)([_rebuilt(item, of_tensor, of_module, memo) for item in value])
    if isinstance(value, nn.Module):
        return of_module(value, memo)
    if isinstance(value, Tensor) and value.requires_grad:
        if value not in memo:
            memo[value] = of_tensor(value)
        return memo[value]
    if not isinstance(value, Distribution | Transform):
        return value
    if id(value) not in memo:  # some of these cannot be hashed
        memo[id(value)] = rebuilt = object.__new__(type(value))
        rebuilt.__dict__.update(
            {name: _rebuilt(item, of_tensor, of_module, memo) for name, item in vars(value).items()}
        )
    return memo[id(value)]
