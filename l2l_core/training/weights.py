"""Weights as files: safetensors that carry in their header, as their card, how they were trained."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import safetensors.torch
import torch
from torch import Tensor

from l2l_core.algorithms.learner import Learner
from l2l_core.catalog import open_catalog
from l2l_core.data.benchmarks import Benchmark
from l2l_core.errors import ContentError, UnknownNameError
from l2l_core.files import write_file
from l2l_core.nn import pretrained

if TYPE_CHECKING:
    from l2l_core.training.loop import TrainingRun

FILE_NAME: Final = "weights.safetensors"
"""What the file is called in the folder of a run."""


def state_of(module: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of a module's parameters and buffers by name, on the processor, laid out as files have them."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in module.state_dict().items()
    }


def save_weights(path: Path, learner: Learner, run: "TrainingRun", *, half: bool = False, **more: Any) -> None:
    """Write a learner's weights as one safetensors file that carries the run as its card, whole or not at all.

    Args:
        path: the file to be.
        learner: whose weights.
        run: how they were trained.
        half: whether floating-point numbers get 16 bits, as in the zoo.
        more: what else the card says.

    Raises:
        CacheError: the file cannot be written.
    """
    tensors = _halved(state_of(learner)) if half else state_of(learner)
    write_file(path, safetensors.torch.save(tensors, {"card": json.dumps({**asdict(run), **more})}))


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file of weights by name, and its card: the fields of a `TrainingRun`, and what else it says.

    Args:
        path: the file, or the folder of a run that holds it.

    Raises:
        ContentError: the file is absent, or no such file.
    """
    path = path / FILE_NAME if path.is_dir() else path
    return pretrained.read_weights(path)


def zoo_weights(benchmark: str, method: str) -> Path:
    """The file of the trained weights that travel with the package for a method on a benchmark.

    Where a recipe says that another one trains for it, as 60-way episodes do for 5-way and 20-way, those are taken.

    Raises:
        UnknownNameError: there are none (says which there are).
    """
    catalog = open_catalog()
    zoo, name = catalog.zoo(), f"{benchmark}-{method}"
    if name not in zoo and name in catalog.recipes:
        name = catalog.recipe(name).trained_by or name
    if name not in zoo:
        raise UnknownNameError("weights", name, zoo, where="in the zoo")
    return zoo[name]


def round_to_half_(learner: Learner) -> None:
    """Nothing; the learner's floating-point numbers are such as 16 bits can hold, in as many bits as before."""
    learner.load_state_dict(_halved(state_of(learner)))


def _halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}


def load_weights(path: Path, learner: Learner, benchmark: Benchmark, method: str) -> dict[str, Any]:
    """Fill a learner with the weights of a file; gives the file's card.

    Tensors of lower precision than the learner's, as the zoo's are, become as precise as those.

    Raises:
        ContentError: the file is absent or no such file, is of another method, or a tensor does not fit (named).
    """
    tensors, card = read_weights(path)
    if card["method"] != method:
        raise ContentError(f"{path} holds weights of {card['method']}, not of {method}; give --method {card['method']}")
    own = card.get("backbone")
    advice = f"train on {benchmark.record.name}"
    if card["benchmark"] == benchmark.record.name:
        advice = "leave --backbone out" if own is None else f"give --backbone {own}, or leave it out"
    mismatch = _mismatch(tensors, learner.state_dict())
    if mismatch is not None:
        raise ContentError(
            f"{path} was trained for {card['benchmark']} and does not fit {benchmark.record.name}: {mismatch}; {advice}"
        )
    learner.load_state_dict(tensors)
    return card


def _mismatch(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """The first tensor that is absent or of another shape, in words."""
    for name in sorted(found.keys() | wanted.keys()):
        shapes = [list(table[name].shape) if name in table else "absent" for table in (found, wanted)]
        if shapes[0] != shapes[1]:
            return f"{name} is {shapes[0]} in the file and {shapes[1]} in the learner"
    return None
