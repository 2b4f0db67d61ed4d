"""Modules rebuilt around what they are made of: layers substituted by learnable variants, parameters transformed.

    model = MetaModule(model, {nn.Linear: LoRA})    # the model is frozen, the low-rank corrections are learned
    optimiser = torch.optim.Adam(model.meta_parameters())

Letters in shapes: I inputs and O outputs of a linear layer, r rank.
"""

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from l2l_core.errors import UsageError
from l2l_core.nn.layers import freeze

#: From a module to what takes its place: a class, or any callable. It may hold the module (a wrapper) or not.
Substitution: TypeAlias = Callable[[Any], nn.Module]


class MetaModule(nn.Module):
    """A module with submodules substituted; its value is the substituted module's.

    The module is changed in place. Each substitution is called once for each module of exactly its type, with the
    module as it was given; a module that occurs twice has one substitute, which occurs twice. Substitutes of what is
    in turn inside a substituted module are put there too.

    Args:
        module: the module; it may itself be of a type to substitute.
        substitutions: from types to what is called with a module of that type and gives its substitute. Subclasses of
            a type are left alone.
        freeze_module: let no parameter of the module as it was given require a gradient.

    Attributes:
        wrapped_module: the module, or its substitute.

    Mended from learn2learn: `module` leaves the MetaModule as it is, and finds the module again whatever the
    substitutes are (there they had to keep it as ``.module``); tied modules stay tied; the children of a substituted
    container are substituted within that container, and not added to its substitute; `meta_parameters` knows what a
    substitute without a method of that name has brought, and gives nothing twice; a substitute for a module in eval
    mode is in eval mode.

    Raises:
        UsageError: a substitution gave no module.
    """

    def __init__(
        self,
        module: nn.Module,
        substitutions: Mapping[type[nn.Module], Substitution],
        freeze_module: bool = True,
    ) -> None:
        super().__init__()
        slots = list(module.named_modules(remove_duplicate=False))
        originals = dict.fromkeys(part for _, part in slots)
        substitutes = {
            part: _substitute(part, substitutions[type(part)], originals)
            for part in originals
            if type(part) in substitutions
        }
        # Only now: a substitution may copy the module's parameters, and copies are to be learned. And no later: from
        # here on the module has the substitutes' parameters too.
        if freeze_module:
            freeze(module)
        # The substitute's own original stays within it; everything else that has a substitute makes room.
        filled: set[nn.Module] = set()
        _fill(module, module, substitutes, filled)
        for original, substitute in substitutes.items():
            _fill(substitute, original, substitutes, filled)
        self.wrapped_module = substitutes.get(module, module)
        self.training = module.training
        # By path and not by object, so that it holds for a clone too: for each path in the module as it was given, the
        # path at which the part stands here, or the part itself where nothing holds it any more.
        paths = {part: path for path, part in self.named_modules()}
        self._originals: dict[str, str | nn.Module] = {path: paths.get(part, part) for path, part in slots}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the substituted module gives."""
        return self.wrapped_module(*args, **kwargs)

    def module(self) -> nn.Module:
        """The module as it was given, without substitutes; this MetaModule stays as it is.

        Its parameters are those that are used here, so what was learned shows. Modules with a substitute somewhere
        inside are new objects that share all but their list of submodules with those here; all others are the same
        objects. What a substitute did not keep comes back as it was when it was replaced, in a clone too.
        """
        restored: dict[nn.Module, nn.Module] = {}

        def restore(path: str) -> nn.Module:
            original = self._original(path)
            if original not in restored:
                children = dict(original._modules)
                for name, child in children.items():
                    inner = f"{path}.{name}" if path else name
                    # What was added later has no path of old, and stays.
                    if child is not None and inner in self._originals:
                        children[name] = restore(inner)
                restored[original] = _with_children(original, children)
            return restored[original]

        return restore("")

    def meta_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that the substitutes brought, each once.

        A module with a method ``meta_parameters`` speaks for itself and for what it brought; for other substitutes, it
        is all that the module as it was given did not have.
        """
        originals = {self._original(path) for path in self._originals}
        given = {parameter for original in originals for parameter in original.parameters(recurse=False)}

        def brought(module: nn.Module, spoken_for: bool) -> Iterator[nn.Parameter]:
            speaks = getattr(module, "meta_parameters", None)
            spoken_for = speaks is not None or (spoken_for and module not in originals)
            if speaks is not None:
                yield from speaks()
            elif not spoken_for:
                yield from (parameter for parameter in module.parameters(recurse=False) if parameter not in given)
            for child in module.children():
                yield from brought(child, spoken_for)

        # As keys of a dictionary each comes once, in the order of coming.
        yield from dict.fromkeys(brought(self.wrapped_module, spoken_for=False))

    def _original(self, path: str) -> nn.Module:
        place = self._originals[path]
        return self.get_submodule(place) if isinstance(place, str) else place


class ParameterTransform(nn.Module):
    """A module that is called with its parameters transformed; its value is the module's.

    In between, and where the call fails, the module has its own parameters.

    Args:
        module: the module, with submodules or not.
        transform: called once with each parameter, gives the module that transforms it, such as
            ``lambda parameter: Scale(parameter.shape)``.

    Attributes:
        module: the module.
        parameter_transforms: a ModuleDict from the parameters' names, with "/" for ".", to what transforms them.

    Mended from learn2learn: parameters of submodules are transformed too; a parameter with two names is transformed
    once, under both; the module has its own parameters back after an error too.

    Raises:
        UsageError: ``transform`` gave no module.
    """

    def __init__(self, module: nn.Module, transform: Callable[[nn.Parameter], nn.Module]) -> None:
        super().__init__()
        transforms: dict[str, nn.Module] = {}
        first_names: dict[nn.Parameter, str] = {}
        # Each place of a parameter once, with the name of what transforms it: a module under two names is one place,
        # a parameter of two modules is in two.
        self._places: dict[str, str] = {}
        for path, part in module.named_modules():
            for name, parameter in part.named_parameters(path, recurse=False, remove_duplicate=False):
                if parameter not in first_names:
                    first_names[parameter] = name
                    transforms[_key(name)] = _made_transform(name, transform(parameter))
                self._places[name] = first_names[parameter]
        self.module = module
        self.parameter_transforms = nn.ModuleDict(transforms)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module gives with transformed parameters."""
        # By name and at each call, since in a clone, or after an update, the parameters are other tensors.
        transformed: dict[str, Tensor] = {
            name: self.parameter_transforms[_key(name)](attrgetter(name)(self.module))
            for name in dict.fromkeys(self._places.values())
        }
        # We tie: left to functional_call, a module under two names would keep its transformed parameters.
        placed = {place: transformed[name] for place, name in self._places.items()}
        return functional_call(self.module, placed, args, kwargs, tie_weights=False)

    def meta_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the transforms, each once."""
        return self.parameter_transforms.parameters()


class LoRA(nn.Module):
    """A linear layer with a learned correction of low rank; its value is that of weight W + (alpha/r) · B A.

    At the start B is zero, and so is the correction. It can be given as a substitution, `{nn.Linear: LoRA}`.

    Args:
        module: the linear layer, which is not frozen here.
        rank: r.
        alpha: the correction's scale times r.

    Attributes:
        module: the linear layer, with W [O, I].
        down: A [r, I], at the start normal with variance 1/I, so that A x is of the size of x (the paper says
            Gaussian only).
        up: B [O, r].

    Raises:
        UsageError: a rank below 1, or a module that is no nn.Linear.

    Source: Hu et al. 2021, "LoRA: low-rank adaptation of large language models", section 4.1.
    """

    def __init__(self, module: nn.Linear, rank: int = 4, alpha: float = 4.0) -> None:
        super().__init__()
        _check_linear("LoRA", module)
        if rank < 1:
            raise UsageError(f"LoRA was asked for rank = {rank}; give at least 1")
        weight = module.weight
        self.module = module
        self.scale = alpha / rank
        down = torch.randn(rank, module.in_features, device=weight.device, dtype=weight.dtype)
        self.down = nn.Parameter(down / module.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(module.out_features, rank, device=weight.device, dtype=weight.dtype))

    @property
    def weight(self) -> Tensor:
        """The corrected weight [O, I], for modules that read their linear layers' weights (transformers do)."""
        return self.module.weight + self.scale * self.up @ self.down

    @property
    def bias(self) -> Tensor | None:
        """The linear layer's bias."""
        return self.module.bias

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [..., O] of inputs [..., I]."""
        # Through the rank: O·I numbers for the corrected weight would be written and kept for backward otherwise.
        correction = functional.linear(functional.linear(x, self.down), self.up)
        return cast(Tensor, self.module(x) + self.scale * correction)

    def meta_parameters(self) -> Iterator[nn.Parameter]:
        """A and B."""
        yield from (self.down, self.up)


class Adapter(nn.Module):
    """A linear layer followed by a learned bottleneck; its value is y + up(ReLU(down(y))), y the layer's value.

    It can be given as a substitution, `{nn.Linear: Adapter}`. One difference from the paper: ``up`` starts at zero, so
    that the adapter starts as the identity exactly, and not nearly.

    Args:
        module: the linear layer, which is not frozen here.
        width: of the bottleneck.

    Attributes:
        module: the linear layer.
        down, up: the linear layers of the bottleneck.

    Raises:
        UsageError: a width below 1, or a module that is no nn.Linear.

    Source: Houlsby et al. 2019, "Parameter-efficient transfer learning for NLP", section 2.1.
    """

    def __init__(self, module: nn.Linear, width: int = 16) -> None:
        super().__init__()
        _check_linear("Adapter", module)
        if width < 1:
            raise UsageError(f"Adapter was asked for width = {width}; give at least 1")
        weight = module.weight
        self.module = module
        self.down = nn.Linear(module.out_features, width, device=weight.device, dtype=weight.dtype)
        self.up = nn.Linear(width, module.out_features, device=weight.device, dtype=weight.dtype)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [..., O] of inputs [..., I]."""
        y = self.module(x)
        return cast(Tensor, y + self.up(self.down(y).relu()))

    def meta_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the bottleneck."""
        yield from self.down.parameters()
        yield from self.up.parameters()


def _substitute(part: nn.Module, substitution: Substitution, originals: Mapping[nn.Module, None]) -> nn.Module:
    """A module's substitute, in eval mode if the module is."""
    made = substitution(part)
    if not isinstance(made, nn.Module):
        raise UsageError(
            f"MetaModule needs a module in the place of each {type(part).__name__}, but the substitution gave "
            f"{_described(made)}; let it return a module"
        )
    for new in made.modules():
        if new not in originals:
            new.training = new.training and part.training
    return made


def _fill(
    holder: nn.Module, own: nn.Module, substitutes: Mapping[nn.Module, nn.Module], filled: set[nn.Module]
) -> None:
    """Put substitutes in the place of what a module holds, all the way down; ``own`` stays where it is."""
    if holder in filled:
        return
    filled.add(holder)
    for name, child in holder._modules.items():
        if child is None:
            continue
        if child is not own and child in substitutes:
            holder._modules[name] = substitutes[child]
        else:
            _fill(child, own, substitutes, filled)


def _with_children(module: nn.Module, children: dict[str, nn.Module | None]) -> nn.Module:
    """The module seen with these submodules: itself if it has them, else an object that shares all else with it."""
    if all(children[name] is child for name, child in module._modules.items()):
        return module
    seen: nn.Module = object.__new__(type(module))
    vars(seen).update(vars(module))
    seen._modules = children
    return seen


def _made_transform(name: str, made: object) -> nn.Module:
    if not isinstance(made, nn.Module):
        raise UsageError(
            f"ParameterTransform needs a module to transform {name!r}, but the transform gave {_described(made)}; "
            "give a function that makes a module for a parameter, such as lambda parameter: Scale(parameter.shape)"
        )
    return made


def _key(name: str) -> str:
    return name.replace(".", "/")  # a ModuleDict takes no dots


def _check_linear(asker: str, module: nn.Module) -> None:
    if not isinstance(module, nn.Linear):
        raise UsageError(f"{asker} takes a linear layer, but was given a {type(module).__name__}; give an nn.Linear")


def _described(made: object) -> str:
    return "None" if made is None else f"a {type(made).__name__}"
