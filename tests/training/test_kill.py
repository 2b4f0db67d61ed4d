"""Training, killed at moments drawn at random, and on a full disk: the next run comes to the same end."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from l2l_core.training import read_weights
from tests.training.killing import Order
from tests.training.runs import checkpoints_of, rows_of

CHAINS = 7
"""Runs that are killed twice and then let finish."""

Trainer = Callable[..., dict[str, Any]]


@pytest.fixture
def trainer(prepared: Path) -> Iterator[Trainer]:
    """A function that has a child train, killed or not, and says how it ended."""
    environment = {
        **os.environ,
        "L2L_HOME": str(prepared / "home"),
        "L2L_CATALOG": str(prepared / "small/mine"),
        # A process with threads of its own should not fork.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.training.killing"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def train(folder: Path, **order: Any) -> dict[str, Any]:
            print(json.dumps(asdict(Order(str(folder), **order))), file=process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        yield train
        process.stdin.close()


def _same(first: Path, second: Path) -> None:
    """Both folders hold the same run, but for the seconds."""
    (ours, our_card), (theirs, their_card) = read_weights(first), read_weights(second)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for card in (our_card, their_card):
        card["seconds"] = 0
        for validation in card["history"]:
            validation["seconds"] = 0
    assert our_card == their_card
    assert rows_of(first) == rows_of(second)
    assert checkpoints_of(first) == checkpoints_of(second)


def test_killed_at_any_moment_the_next_run_ends_as_one_that_was_not(trainer: Trainer, tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole")
    assert whole["end"] == 0, whole["said"]
    assert whole["lines"] > 500
    assert len(rows_of(tmp_path / "whole")) == 1 + 6
    draws = random.Random(0)
    ends: list[int] = []
    resumed = 0
    for number in range(CHAINS):
        folder = tmp_path / str(number)
        kills = [
            {"line": draws.randrange(whole["lines"])},
            # Nearly all of the time goes by outside the lines that write.
            {"delay_s": draws.uniform(0, whole["seconds"])} if number % 2 else {"line": draws.randrange(400)},
        ]
        ends += [trainer(folder, **kill)["end"] for kill in kills]
        done = trainer(folder)
        assert done["end"] == 0, (kills, done["said"])
        resumed += any("going on after" in text for text in done["said"])
        assert not any("damaged" in text for text in done["said"]), (kills, done["said"])
        _same(folder, tmp_path / "whole")
    assert set(ends) <= {0, -9}
    assert ends.count(-9) > CHAINS
    assert resumed > CHAINS // 2


def test_a_full_disk_is_an_error_and_leaves_the_checkpoint_before(trainer: Trainer, tmp_path: Path) -> None:
    assert trainer(tmp_path / "whole")["end"] == 0
    folder = tmp_path / "full"
    assert trainer(folder, episodes=4)["end"] == 0
    before = checkpoints_of(folder)
    size = (folder / "checkpoint-00000004.safetensors").stat().st_size
    full = trainer(folder, limit_bytes=size // 2)
    assert full["end"] == 1
    assert full["said"] == [
        f"going on after 4 episodes, where {folder} stands",
        f"CacheError: cannot write checkpoint-00000006.safetensors to {folder}/checkpoint-00000006.safetensors: "
        "the file is larger than this system allows; choose another place",
    ]
    assert checkpoints_of(folder) == before
    assert not list(folder.glob(".*"))
    assert trainer(folder)["end"] == 0
    _same(folder, tmp_path / "whole")
