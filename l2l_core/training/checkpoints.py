"""Where a run stands, on disk: a safetensors file and a JSON card beside it, so that a killed run goes on.

A checkpoint counts once its card is there, which is written last and holds the digest of both. The two newest are kept:
where one is damaged, the one before it is taken.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from l2l_core.errors import UsageError
from l2l_core.files import write_file

_KEPT: Final = 2


def save_checkpoint(folder: Path, step: int, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write a checkpoint, and remove those that it makes superfluous.

    Args:
        folder: of the run.
        step: how many steps were done.
        tensors: by name.
        card: what else there is to know; JSON.

    Raises:
        CacheError: a file cannot be written.
    """
    content = safetensors.torch.save(dict(tensors))
    path = _path(folder, step)
    write_file(path, content)
    card = {**card, "step": step}
    card["sha256"] = _digest(content, card)
    write_file(path.with_suffix(".json"), f"{json.dumps(card)}\n".encode())
    kept = {card.stem for card in sorted(_cards(folder))[-_KEPT:]}
    # Those without a card too, whose writing was killed.
    for old in folder.glob("checkpoint-*.safetensors"):
        if old.stem not in kept:
            _remove(old.with_suffix(".json"))


def load_checkpoint(
    folder: Path, plan: Mapping[str, Any], say: Callable[[str], object]
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors and the card of the newest checkpoint that is whole; None where there is none.

    Args:
        folder: of the run.
        plan: what the run is to do; a checkpoint's card has it under the same name.
        say: is told of a damaged checkpoint.

    Raises:
        UsageError: the folder holds a run with another plan (says where they differ).
    """
    damaged: list[tuple[Path, str]] = []
    for path in sorted(_cards(folder), reverse=True):
        try:
            card: Any = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(card, dict):
                raise ValueError("its card is no table")
            content = path.with_suffix(".safetensors").read_bytes()
            if _digest(content, card) != card.pop("sha256"):
                raise ValueError("its digest is another")
            tensors = safetensors.torch.load(content)
            found = card["plan"]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            damaged.append((path, str(error)))
            continue
        _check_plan(folder, found, json.loads(json.dumps(plan)))
        for broken, reason in damaged:
            say(f"the checkpoint {broken} is damaged ({reason}); going on from {path.name}, the one before")
            _remove(broken)
        return tensors, card
    for broken, reason in damaged:
        say(f"the checkpoint {broken} is damaged ({reason}), and there is none before; beginning anew")
        _remove(broken)
    return None


def remove_checkpoints(folder: Path) -> None:
    """Nothing; the folder's checkpoints are gone."""
    for card in list(_cards(folder)):
        _remove(card)


def newest(folder: Path) -> Path | None:
    """The tensors of the newest checkpoint, damaged or not; None where there is none."""
    cards = sorted(_cards(folder))
    return cards[-1].with_suffix(".safetensors") if cards else None


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser remembers of each parameter, by ``number.what``."""
    state = optimiser.state_dict()["state"]
    return {
        f"{number}.{what}": value.cpu().clone(memory_format=torch.contiguous_format)
        for number, remembered in state.items()
        for what, value in remembered.items()
        if isinstance(value, Tensor)
    }


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Nothing; the optimiser remembers what `optimiser_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, what = name.partition(".")
        state.setdefault(int(number), {})[what] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _check_plan(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    found, wanted = _flat(found), _flat(wanted)
    # In the order of the plan: of another method most settings differ too.
    for name in {**wanted, **found}:
        if found.get(name) != wanted.get(name):
            raise UsageError(
                f"{folder} holds a run with {name} = {found.get(name)}, but {name} = {wanted.get(name)} was asked for; "
                "choose another folder with --out, or begin anew with --fresh"
            )


def _flat(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan with what stands in its tables beside them."""
    flat: dict[str, Any] = {}
    for name, value in plan.items():
        flat.update(value if isinstance(value, dict) else {name: value})
    return flat


def _digest(content: bytes, card: Mapping[str, Any]) -> str:
    """Of the tensors' file and of what the card says; JSON gives back each number as it was."""
    said = {name: value for name, value in card.items() if name != "sha256"}
    return hashlib.sha256(content + json.dumps(said).encode()).hexdigest()


def _path(folder: Path, step: int) -> Path:
    return folder / f"checkpoint-{step:08}.safetensors"


def _cards(folder: Path) -> Iterator[Path]:
    return folder.glob("checkpoint-*.json")


def _remove(card: Path) -> None:
    # The card first: without it, the tensors are no checkpoint.
    for path in (card, card.with_suffix(".safetensors")):
        with suppress(OSError):
            path.unlink()
