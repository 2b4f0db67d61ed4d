"""Where a run stands, on disk: what is kept, what another run may not take, and what damage does."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from l2l_core.algorithms.methods import METHODS
from l2l_core.data.benchmarks import Benchmark
from l2l_core.errors import UsageError
from l2l_core.training import loop, train
from l2l_core.training.checkpoints import load_checkpoint, load_optimiser, newest, optimiser_tensors, save_checkpoint
from l2l_core.training.loop import OPTIMISERS
from tests.training.runs import QUICK, checkpoints_of, rows_of, same_weights, smallest, timeless

pytestmark = pytest.mark.usefixtures("always_saved")

SETTINGS = {**QUICK, "train_ways": 3, "train_queries": 2}


class StoppedError(Exception):
    """Ends a run from within."""


def _stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """The next run ends, as if its process did, when it has made so many steps and begins another."""
    step, made = loop._Run._step, []

    def stopped(self: loop._Run, rate: float) -> float:
        if len(made) == steps:
            monkeypatch.setattr(loop._Run, "_step", step)
            raise StoppedError
        made.append(1)
        return step(self, rate)

    monkeypatch.setattr(loop._Run, "_step", stopped)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_stopped_goes_on_bit_by_bit(
    opened: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    settings = smallest(method)
    asked: dict[str, Any] = {"episodes": 4 * settings.get("meta_batch", 1), "seed": 3, "settings": settings}
    whole, run = train(opened, method, folder=tmp_path / "whole", **asked)
    _stop_after(monkeypatch, 2)
    with pytest.raises(StoppedError):
        train(opened, method, folder=tmp_path / "stopped", **asked)
    assert not (tmp_path / "stopped/weights.safetensors").exists()
    torch.rand(3)
    said: list[str] = []
    resumed, again = train(opened, method, folder=tmp_path / "stopped", say=said.append, **asked)
    assert said == [f"going on after {asked['episodes'] // 2} episodes, where {tmp_path / 'stopped'} stands"]
    assert same_weights(resumed, whole)
    assert timeless(again.history) == timeless(run.history)
    assert rows_of(tmp_path / "stopped") == rows_of(tmp_path / "whole")
    # The state at the end too, and not only the best one.
    ends = []
    for folder in (tmp_path / "whole", tmp_path / "stopped"):
        path = newest(folder)
        assert path is not None
        ends.append(path.read_bytes())
    assert ends[0] == ends[1]


@pytest.mark.parametrize("changes", [{"optimiser": "nesterov"}, {"decay": "cosine"}, {"drops": [[0.4, 0.1]]}])
def test_momentum_and_schedules_go_on_too(
    opened: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    asked: dict[str, Any] = {"episodes": 8, "settings": {**SETTINGS, "learning_rate": 0.01, **changes}}
    whole, _ = train(opened, "protonet-cosine", **asked)
    _stop_after(monkeypatch, 5)
    with pytest.raises(StoppedError):
        train(opened, "protonet-cosine", folder=tmp_path, **asked)
    resumed, run = train(opened, "protonet-cosine", folder=tmp_path, say=lambda _: None, **asked)
    assert same_weights(resumed, whole)
    assert [validation.episodes for validation in run.history] == [2, 4, 6, 8]


def test_a_finished_run_is_not_trained_again_but_a_larger_budget_goes_on(opened: Benchmark, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"settings": SETTINGS, "folder": tmp_path}
    first, _ = train(opened, "protonet", episodes=4, **asked)
    said: list[str] = []
    again, run = train(opened, "protonet", episodes=4, say=said.append, **asked)
    assert (said, run.episodes) == ([], 4)
    assert same_weights(first, again)
    longer, run = train(opened, "protonet", episodes=8, say=said.append, **asked)
    assert said == [f"going on after 4 episodes, where {tmp_path} stands"]
    at_once, expected = train(opened, "protonet", episodes=8, settings=SETTINGS)
    assert same_weights(longer, at_once)
    assert timeless(run.history) == timeless(expected.history)
    # Nor is one less than what there is.
    assert train(opened, "protonet", episodes=6, **asked)[1].episodes == 8


def test_a_run_that_patience_ended_is_not_trained_again(
    opened: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 1e9)
    monkeypatch.setattr(loop, "accuracies_of", lambda *_: [0.5, 0.5])
    asked: dict[str, Any] = {"episodes": 40, "settings": {**SETTINGS, "patience": 2}, "folder": tmp_path}
    assert train(opened, "protonet", **asked)[1].episodes == 6
    _stop_after(monkeypatch, 0)
    said: list[str] = []
    assert train(opened, "protonet", say=said.append, **asked)[1].episodes == 6
    assert said == []


def test_fresh_begins_anew(opened: Benchmark, tmp_path: Path) -> None:
    train(opened, "protonet", episodes=8, settings=SETTINGS, folder=tmp_path)
    _, run = train(opened, "maml", episodes=8, settings=SETTINGS, folder=tmp_path, fresh=True)
    assert (run.method, run.episodes) == ("maml", 8)
    assert [row[0] for row in rows_of(tmp_path)] == ["step", "1"]
    assert checkpoints_of(tmp_path) == ["checkpoint-00000001.json", "checkpoint-00000001.safetensors"]


def test_the_two_newest_are_kept_and_what_a_kill_left_is_removed(opened: Benchmark, tmp_path: Path) -> None:
    (tmp_path / "checkpoint-00000003.safetensors").write_bytes(b"its card was never written")
    train(opened, "protonet", episodes=10, settings=SETTINGS, folder=tmp_path)
    assert checkpoints_of(tmp_path) == [
        *("checkpoint-00000008.json", "checkpoint-00000008.safetensors"),
        *("checkpoint-00000010.json", "checkpoint-00000010.safetensors"),
    ]


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 5}, "seed = 0, but seed = 5"),
        ({"method": "maml"}, "method = protonet, but method = maml"),
        ({"backbone": "conv4-32"}, "backbone = None, but backbone = conv4-32"),
        ({"settings": {**SETTINGS, "learning_rate": 0.1}}, "learning_rate = 0.001, but learning_rate = 0.1"),
        ({"settings": {**SETTINGS, "scale": 2.0}}, "scale = None, but scale = 2.0"),
        ({"settings": {**SETTINGS, "decay": "linear"}}, "halve_every = 2000, but halve_every = None"),
    ],
)
def test_a_folder_of_another_run_is_refused_and_kept(
    opened: Benchmark, tmp_path: Path, changes: dict[str, Any], difference: str
) -> None:
    asked: dict[str, Any] = {"method": "protonet", "episodes": 4, "settings": SETTINGS, "folder": tmp_path}
    train(opened, **asked)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError) as caught:
        train(opened, **{**asked, **changes})
    assert str(caught.value) == (
        f"{tmp_path} holds a run with {difference} was asked for; choose another folder with --out, or begin anew "
        "with --fresh"
    )
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("schedule", [{"decay": "linear"}, {"drops": [[0.5, 0.1]]}])
def test_where_rates_follow_the_budget_another_one_is_another_run(
    opened: Benchmark, tmp_path: Path, schedule: dict[str, Any]
) -> None:
    asked: dict[str, Any] = {"settings": {**SETTINGS, **schedule}, "folder": tmp_path}
    train(opened, "protonet", episodes=4, **asked)
    with pytest.raises(UsageError) as caught:
        train(opened, "protonet", episodes=8, **asked)
    assert str(caught.value).startswith(
        f"{tmp_path} holds a run with budget = 4 episodes, but budget = 8 episodes was asked for; "
    )
    with pytest.raises(UsageError, match="but budget = 240 s was asked for"):
        train(opened, "protonet", minutes=4, **asked)


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def _lie(card: Path) -> None:
    """One digit of the card is another, which leaves it JSON."""
    text = card.read_text()
    loss = re.search(r'"loss": \d\.\d*(\d)', text)
    assert loss is not None
    place = loss.start(1)
    card.write_text(f"{text[:place]}{(int(text[place]) + 1) % 10}{text[place + 1 :]}")


SPOILT: dict[str, Callable[[Path, Path], object]] = {
    "tensors cut off": lambda tensors, card: tensors.write_bytes(tensors.read_bytes()[:-7]),
    "a bit of the tensors": lambda tensors, card: _flip(tensors, -1000),
    "a bit of their header": lambda tensors, card: _flip(tensors, 3),
    "tensors empty": lambda tensors, card: tensors.write_bytes(b""),
    "tensors gone": lambda tensors, card: tensors.unlink(),
    "card empty": lambda tensors, card: card.write_bytes(b""),
    "card cut off": lambda tensors, card: card.write_bytes(card.read_bytes()[:-30]),
    "card no text": lambda tensors, card: card.write_bytes(b"\xff\xfe\x00"),
    "card a list": lambda tensors, card: card.write_text("[1, 2]"),
    "card a number": lambda tensors, card: card.write_text("3"),
    "card without a digest": lambda tensors, card: card.write_text("{}"),
    "card untrue": lambda tensors, card: _lie(card),
}


@pytest.mark.parametrize(
    ("name", "all_of_them"), [*((name, False) for name in SPOILT), ("tensors empty", True), ("card cut off", True)]
)
def test_damage_falls_back_to_the_one_before_and_says_so(
    opened: Benchmark, tmp_path: Path, name: str, all_of_them: bool
) -> None:
    asked: dict[str, Any] = {"episodes": 6, "seed": 2, "settings": SETTINGS, "folder": tmp_path}
    whole, run = train(opened, "protonet-cosine", **asked)
    rows = rows_of(tmp_path)
    steps = (4, 6) if all_of_them else (6,)
    for step in steps:
        SPOILT[name](tmp_path / f"checkpoint-{step:08}.safetensors", tmp_path / f"checkpoint-{step:08}.json")
    said: list[str] = []
    again, repeated = train(opened, "protonet-cosine", say=said.append, **asked)
    ends = (
        ["and there is none before; beginning anew"] * 2
        if all_of_them
        else [
            "going on from checkpoint-00000004.json, the one before",
            f"going on after 4 episodes, where {tmp_path} stands",
        ]
    )
    assert len(said) == 2
    assert said[0].startswith(f"the checkpoint {tmp_path}/checkpoint-00000006.json is damaged (")
    assert [text.endswith(end) for text, end in zip(said, ends, strict=True)] == [True, True]
    assert same_weights(again, whole)
    assert timeless(repeated.history) == timeless(run.history)
    assert rows_of(tmp_path) == rows
    assert len(checkpoints_of(tmp_path)) == 4


def test_numbers_of_a_card_come_back_bit_by_bit(tmp_path: Path) -> None:
    card = {"plan": {"a": 0.1}, "seconds": 1 / 3, "history": [1e-300, float("nan")], "ü": "ß"}
    save_checkpoint(tmp_path, 7, {"x": torch.tensor([1.0, 2.0])}, card)
    found = load_checkpoint(tmp_path, {"a": 0.1}, pytest.fail)
    assert found is not None
    assert torch.equal(found[0]["x"], torch.tensor([1.0, 2.0]))
    assert json.dumps(found[1]) == json.dumps({**card, "step": 7})


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_optimiser_goes_on_as_if_it_were_the_old_one(name: str) -> None:
    nets = [torch.nn.Linear(3, 2) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    optimisers = [OPTIMISERS[name](net.parameters(), lr=0.1, weight_decay=0.01) for net in nets]
    generator = torch.Generator().manual_seed(0)

    def step(number: int, x: torch.Tensor) -> None:
        optimisers[number].zero_grad()
        nets[number](x).square().sum().backward()
        optimisers[number].step()

    for _ in range(3):
        step(0, torch.randn(5, 3, generator=generator))
    kept = optimiser_tensors(optimisers[0])
    nets[1].load_state_dict(nets[0].state_dict())
    load_optimiser(optimisers[1], kept)
    for _ in range(3):
        x = torch.randn(5, 3, generator=generator)
        step(0, x)
        step(1, x)
    assert all(torch.equal(*pair) for pair in zip(*(net.parameters() for net in nets), strict=True))
    assert bool(kept) == (name != "sgd")
