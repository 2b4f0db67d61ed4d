"""Short runs on the small data set, and when two of them are the same."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.methods import METHODS, Setting
from l2l_core.training import Validation

QUICK = {"validate_every": 2, "validation_episodes": 10}
"""Settings under which a run of some steps is validated several times."""


def smallest(method: str, **more: Any) -> dict[str, Any]:
    """Settings under which a step of any method takes milliseconds, and each is validated."""
    on_examples = METHODS[method].training(Setting(3, 2)).batch_size is not None
    size = (
        {"batch_size": 8} if on_examples else {"train_ways": 3, "train_shots": 2, "train_queries": 2, "meta_batch": 2}
    )
    return {**size, "validate_every": 1, "validation_episodes": 2, **more}


def same_weights(first: Learner, second: Learner) -> bool:
    """Whether two learners have the same parameters and buffers, bit by bit."""
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def timeless(history: Sequence[Validation]) -> list[Validation]:
    """A history without what differs from run to run."""
    return [replace(validation, seconds=0) for validation in history]


def rows_of(folder: Path) -> list[list[str]]:
    """The log of a run, header first, without the seconds."""
    rows = [line.split(",") for line in (folder / "training.csv").read_text().splitlines()]
    assert rows[0][2] == "seconds"
    return [[*row[:2], *row[3:]] for row in rows]


def checkpoints_of(folder: Path) -> list[str]:
    """The names of its checkpoints' files."""
    return sorted(path.name for path in folder.glob("checkpoint-*"))
