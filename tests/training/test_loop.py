"""Training: repeatable, better than no training, ended where it should be; and the same in plain loops."""

import contextlib
import os
import pty
import sys
import termios
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.methods import METHODS, Setting
from l2l_core.algorithms.protonet import ProtoNet
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.data.generator import TaskGenerator
from l2l_core.errors import DivergedError, UsageError
from l2l_core.evaluation.run import evaluate
from l2l_core.evaluation.statistics import mean_ci95
from l2l_core.training import build_learner, loop, read_weights, train
from tests.training.runs import QUICK, same_weights, smallest, timeless


@pytest.mark.parametrize("method", ["protonet", "maml"])
def test_a_run_is_repeated_bit_by_bit_and_the_seed_matters(opened: Benchmark, method: str) -> None:
    settings = {**QUICK, "meta_batch": 2}
    first, run = train(opened, method, episodes=8, seed=3, settings=settings)
    torch.rand(5)  # the global generator is no part of it
    second, again = train(opened, method, episodes=8, seed=3, settings=settings)
    assert same_weights(first, second)
    assert timeless(run.history) == timeless(again.history)
    other, _ = train(opened, method, episodes=8, seed=4, settings=settings)
    assert not same_weights(first, other)
    assert not first.training


def test_a_short_run_is_the_beginning_of_a_long_one(opened: Benchmark) -> None:
    _, short = train(opened, "protonet", episodes=4, settings=QUICK)
    _, long = train(opened, "protonet", episodes=8, settings=QUICK)
    assert [checkpoint.episodes for checkpoint in long.history] == [2, 4, 6, 8]
    assert timeless(short.history) == timeless(long.history[:2])


def test_a_folder_has_one_run_at_a_time(opened: Benchmark, tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def second_run(_: str) -> None:
        with pytest.raises(UsageError) as error:
            train(opened, "protonet", episodes=4, settings=QUICK, folder=folder)
        assert str(error.value) == (
            f"another process is training in {folder}; wait until it is done, or give another folder"
        )
        seen.append(sorted(path.name for path in folder.iterdir()))

    seen: list[list[str]] = []
    train(opened, "protonet", episodes=4, settings=QUICK, folder=folder)
    train(opened, "protonet", episodes=8, settings=QUICK, folder=folder, say=second_run)  # it says that it goes on
    assert len(seen) == 1
    train(opened, "protonet", episodes=8, settings=QUICK, folder=folder)
    assert "training.lock" not in {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("settings", "plain"),
    [
        ({}, torch.optim.Adam),
        ({"weight_decay": 0.1}, lambda parameters: torch.optim.Adam(parameters, weight_decay=0.1)),
        (
            {"optimiser": "nesterov", "weight_decay": 0.05, "clip": 0.01},
            lambda parameters: torch.optim.SGD(parameters, momentum=0.9, nesterov=True, weight_decay=0.05),
        ),
        ({"optimiser": "sgd"}, lambda parameters: torch.optim.SGD(parameters)),
    ],
)
def test_steps_are_those_of_a_plain_loop_with_halved_rates(
    opened: Benchmark, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], plain: Any
) -> None:
    rates = [0.02, 0.02, 0.01, 0.01, 0.005, 0.005]
    # The last validation is the best one, so that its weights come back.
    scores = iter([0.1, 0.2, 0.3])
    monkeypatch.setattr(loop, "accuracies_of", lambda *_: [next(scores)] * 2)
    schedule = {"meta_batch": 2, "learning_rate": 0.02, "halve_every": 4}
    learner, run = train(opened, "protonet", episodes=12, seed=5, settings={**QUICK, **schedule, **settings})

    slow = build_learner(opened, "protonet", 5)
    slow.train()
    episodes = TaskGenerator(opened.dataset("train"), 6, 2, 5, seed=5)
    parameters = list(slow.parameters())
    optimiser = plain(parameters)
    losses = []
    for number, rate in zip(range(0, 12, 2), rates, strict=True):
        pair = [torch.stack(parts) for parts in zip(episodes[number], episodes[number + 1], strict=True)]
        loss = slow.meta_loss(*pair)[0]
        losses.append(loss.item())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        if "clip" in settings:
            torch.nn.utils.clip_grad_norm_(parameters, settings["clip"])
        optimiser.param_groups[0]["lr"] = rate
        optimiser.step()
    assert same_weights(learner, slow)
    assert [validation.loss for validation in run.history] == pytest.approx(
        [sum(losses[start : start + 2]) / 2 for start in (0, 2, 4)]
    )


def test_drops_and_decay_reach_each_step(opened: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.SGD.step

    def watched(self: torch.optim.SGD) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    settings = {**QUICK, "optimiser": "nesterov", "meta_batch": 2, "learning_rate": 0.4, "halve_every": None}
    train(opened, "protonet", episodes=20, settings={**settings, "drops": [[0.3, 0.5], [0.75, 0.1]]})
    assert rates == pytest.approx([0.4] * 3 + [0.2] * 5 + [0.04] * 2)
    rates.clear()
    train(opened, "protonet", episodes=8, settings={**settings, "decay": "linear"})
    assert rates == pytest.approx([0.4, 0.3, 0.2, 0.1])


@pytest.mark.parametrize(("accuracies", "best"), [([0.2, 0.6, 0.4], 1), ([0.6, 0.6, 0.4], 0), ([0.0, 0.0, 0.1], 2)])
def test_the_best_validation_comes_back_and_of_equals_the_earliest(
    opened: Benchmark, monkeypatch: pytest.MonkeyPatch, accuracies: list[float], best: int
) -> None:
    states: list[dict[str, Tensor]] = []

    def validate(learner: Learner, generator: TaskGenerator, episodes: int) -> list[float]:
        states.append({name: value.clone() for name, value in learner.state_dict().items()})
        return [accuracies[len(states) - 1]] * episodes

    monkeypatch.setattr(loop, "accuracies_of", validate)
    learner, run = train(opened, "protonet", episodes=6, settings=QUICK)
    assert run.best == run.history[best]
    same = [all(torch.equal(value, state[name]) for name, value in learner.state_dict().items()) for state in states]
    assert same == [number == best for number in range(3)]


def test_validation_is_on_validation_classes_and_episodes_of_its_own(
    opened: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[TaskGenerator] = []

    def validate(learner: Learner, generator: TaskGenerator, episodes: int) -> list[float]:
        seen.append(generator)
        return [0.5] * episodes

    monkeypatch.setattr(loop, "accuracies_of", validate)
    for seed in (0, 2**64 - 1):
        train(opened, "protonet", episodes=1, seed=seed, settings=QUICK)
    assert [generator.seed for generator in seen] == [2**63, 2**63 - 1]
    assert seen[0].digest(3) == opened.episodes("validation", seed=2**63).digest(3)


def test_history_is_sane(opened: Benchmark) -> None:
    _, run = train(opened, "protonet", episodes=5, settings=QUICK)
    assert [validation.episodes for validation in run.history] == [2, 4, 5]
    assert run.episodes == 5
    seconds = [validation.seconds for validation in run.history]
    assert 0 < seconds[0] < seconds[1] < seconds[2] <= run.seconds
    assert all(validation.loss > 0 and 0 <= validation.accuracy <= 1 for validation in run.history)
    assert (run.benchmark, run.method, run.seed) == ("small-3w2s", "protonet", 0)
    assert "torch" in run.versions


def test_a_budget_of_episodes_is_rounded_up_to_steps(opened: Benchmark) -> None:
    assert train(opened, "maml", episodes=5, settings={**QUICK, "meta_batch": 4})[1].episodes == 8


@pytest.mark.parametrize(
    ("method", "examples", "episodes"),
    # Episodes of 3 · (2 + 2) examples, two a step; and batches of 8.
    [("protonet", 60, 6), ("protonet", 49, 6), ("protonet", 48, 4), ("simpleshot", 25, 4)],
)
def test_a_budget_of_examples_is_one_of_episodes(opened: Benchmark, method: str, examples: int, episodes: int) -> None:
    settings = smallest(method)
    ours, run = train(opened, method, examples=examples, settings=settings)
    theirs, _ = train(opened, method, episodes=episodes, settings=settings)
    assert run.episodes == episodes
    assert same_weights(ours, theirs)


def test_a_run_of_minutes_is_repeated_by_its_episodes(opened: Benchmark) -> None:
    learner, run = train(opened, "protonet", minutes=0.005, settings=QUICK)
    assert 0.3 <= run.seconds < 5
    again, _ = train(opened, "protonet", episodes=run.episodes, settings=QUICK)
    assert same_weights(learner, again)


@pytest.mark.parametrize(
    ("minutes", "episodes"),
    [(None, None), (1.0, 5), (0.0, None), (-1.0, None), (None, 0), (None, -3), (float("nan"), None), (1e999, None)],
)
def test_budgets_that_cannot_be(opened: Benchmark, minutes: float | None, episodes: int | None) -> None:
    with pytest.raises(UsageError) as caught:
        train(opened, "protonet", minutes=minutes, episodes=episodes)
    found = f"found minutes = {minutes}, episodes = {episodes}, examples = None"
    assert str(caught.value) == f"{found}; give one of them, above 0"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("step", [2, 4])
def test_a_diverged_run_says_when_and_keeps_what_validated_best(
    opened: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: float, step: int
) -> None:
    meta_loss = ProtoNet.meta_loss
    calls: list[int] = []

    def broken(self: ProtoNet, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(1)
        loss, accuracy = meta_loss(self, *tensors)
        return (loss * bad if len(calls) == step else loss), accuracy

    monkeypatch.setattr(ProtoNet, "meta_loss", broken)
    with pytest.raises(DivergedError) as caught:
        train(opened, "protonet", episodes=10, settings=QUICK, folder=tmp_path)
    when = f"the training loss is {bad} after {step - 1} episodes; try another seed, a lower learning rate, or a method"
    kept = tmp_path / "weights.safetensors"
    assert kept.is_file() == (step == 4)
    if step == 2:
        assert str(caught.value) == f"{when} that has one"
        return
    assert str(caught.value) == (f"{when} that has one; {kept} holds the weights of before, those after 2 episodes")
    expected, _ = train(opened, "protonet", episodes=2, settings=QUICK)
    tensors, card = read_weights(tmp_path)
    assert all(torch.equal(tensors[name], value) for name, value in expected.state_dict().items())
    assert (card["episodes"], len(card["history"])) == (3, 1)


@pytest.mark.usefixtures("always_saved")
@pytest.mark.parametrize(("method", "rate"), [("maml", 1e4), ("protonet", 1e4), ("simpleshot", 10.0)])
def test_a_rate_that_diverges_does_so_again_and_a_lower_one_is_another_run(
    opened: Benchmark, tmp_path: Path, method: str, rate: float
) -> None:
    settings = smallest(method, optimiser="sgd", learning_rate=rate)
    asked: dict[str, Any] = {"episodes": 40, "folder": tmp_path, "say": lambda _: None}
    messages = []
    for _ in range(2):
        # Whoever meets the first number that is not finite has words of its own for it.
        with pytest.raises(DivergedError) as caught:
            train(opened, method, settings=settings, **asked)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    kept = tmp_path / "weights.safetensors"
    best = max(read_weights(kept)[1]["history"], key=lambda validation: validation["accuracy"])["episodes"]
    assert messages[0].endswith(f"; {kept} holds the weights of before, those after {best} episodes")
    lower = {**settings, "learning_rate": 0.1}
    with pytest.raises(UsageError, match="but learning_rate = 0.1 was asked for; "):
        train(opened, method, settings=lower, **asked)
    assert train(opened, method, settings=lower, fresh=True, **asked)[1].episodes == 40


@pytest.mark.parametrize("what", ["parameter", "buffer"])
def test_a_weight_that_is_no_number_is_found_when_it_validates(
    opened: Benchmark, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    step = loop._Run._step

    def broken(self: loop._Run, rate: float) -> float:
        loss = step(self, rate)
        table = dict(self.learner.named_parameters() if what == "parameter" else self.learner.named_buffers())
        if self.state.done == 3:
            next(value for value in table.values() if value.is_floating_point()).data.flatten()[0] = float("nan")
        return loss

    monkeypatch.setattr(loop._Run, "_step", broken)
    with pytest.raises(DivergedError) as caught:
        train(opened, "protonet", episodes=3, settings=QUICK)
    assert str(caught.value) == (
        "a weight is no finite number after 3 episodes; "
        "try another seed, a lower learning rate, or a method that has one"
    )


@pytest.mark.parametrize(
    ("patience", "episodes"),
    # Validated every two: the second is the best for a while, the fifth and sixth better still.
    [(1, 6), (2, 8), (3, 18), (None, 20)],
)
def test_training_ends_when_patience_does(
    opened: Benchmark, monkeypatch: pytest.MonkeyPatch, patience: int | None, episodes: int
) -> None:
    scores = iter([0.3, 0.5, 0.5, 0.4, 0.6, 0.7, 0.1, 0.7, 0.2, 0.0])
    monkeypatch.setattr(loop, "accuracies_of", lambda *_: [next(scores)] * 2)
    _, run = train(opened, "protonet", episodes=20, settings={**QUICK, "patience": patience})
    assert run.episodes == episodes
    assert run.history[-1].episodes == episodes


def test_ctrl_c_keeps_what_has_validated_best(opened: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    meta_loss = ProtoNet.meta_loss
    calls: list[int] = []

    def interrupted(self: ProtoNet, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(1)
        if len(calls) in (4, 6):
            raise KeyboardInterrupt
        return meta_loss(self, *tensors)

    monkeypatch.setattr(ProtoNet, "meta_loss", interrupted)
    _, run = train(opened, "protonet", episodes=10, settings=QUICK)
    assert (run.episodes, [validation.episodes for validation in run.history]) == (3, [2])
    with pytest.raises(KeyboardInterrupt):
        train(opened, "protonet", episodes=10, settings=QUICK)


# Enough for each to be beyond its untrained self, and no more, as there are many.
EPISODES = {
    "anil": 160,
    "baseline": 50,
    "baseline++": 50,
    "boil": 160,
    "classemes": 150,
    "fomaml": 320,
    "kfo": 400,
    "lr-d2": 12,
    "maml": 320,
    "maml++": 96,
    "matching-net": 24,
    "meta-curvature": 400,
    "meta-sgd": 80,
    "metaoptnet": 24,
    "metaoptnet-ridge": 40,
    "nearest-neighbour": 140,
    "proto-maml": 40,
    "protonet": 12,
    "protonet-cosine": 24,
    "r2d2": 12,
    "relation-net": 60,
    "reptile": 100,
    "simpleshot": 150,
}


@pytest.mark.parametrize(
    "method", [each if each in ("protonet", "r2d2") else pytest.param(each, marks=pytest.mark.slow) for each in METHODS]
)
def test_training_pays(glyphs_home: Path, method: str) -> None:
    settings: dict[str, Any] = {"validation_episodes": 10}
    if METHODS[method].training(Setting(5, 1)).train_ways == 60:
        settings["train_ways"] = 20  # a third of the paper's, and of its time
    benchmark = load_benchmark("glyphs-5w1s", root=glyphs_home)
    untrained = evaluate(benchmark, build_learner(benchmark, method), 40)
    learner, _ = train(benchmark, method, episodes=EPISODES[method], settings=settings)
    trained = evaluate(benchmark, learner, 40)
    # Both saw the same episodes, so the gain is that of each episode.
    mean, ci95 = mean_ci95(np.subtract(trained.accuracies, untrained.accuracies))
    assert trained.episodes_digest == untrained.episodes_digest
    assert mean - ci95 > 0


def test_dropout_is_a_function_of_the_seed_too(opened: Benchmark) -> None:
    runs = []
    for caller in (1, 2):
        torch.manual_seed(caller)
        before = torch.get_rng_state()
        runs.append(train(opened, "anil", episodes=2, seed=3, backbone="r2d2", settings=QUICK)[0])
        assert torch.equal(torch.get_rng_state(), before)
    assert same_weights(*runs)


@pytest.mark.parametrize("method", METHODS)
def test_mixed_precision_goes_the_same_way_and_keeps_weights_in_32_bits(opened: Benchmark, method: str) -> None:
    # Large inner steps on so few examples would make much of small differences.
    rates: dict[str, Any] = {
        **dict.fromkeys(("anil", "boil", "fomaml", "kfo", "maml", "maml++", "meta-curvature"), {"lr": 1e-3}),
        "meta-sgd": {"lr_range": [5e-4, 1e-3]},
    }
    outer = {"optimiser": "sgd", "decay": None, "learning_rate": 1.0 if method == "reptile" else 1e-3}
    moves, losses = [], []
    for precision in ("float32", "bfloat16"):
        settings = smallest(method, precision=precision, **outer, **rates.get(method, {}))
        learner, run = train(opened, method, episodes=settings.get("meta_batch", 1), seed=1, settings=settings)
        assert all(
            not each.is_floating_point() or each.dtype == torch.float32 for each in learner.state_dict().values()
        )
        before = build_learner(opened, method, 1, settings=settings)
        moves.append(_difference(learner, before))
        losses.append(run.history[0].loss)
    assert not torch.equal(*moves)
    assert losses[1] == pytest.approx(losses[0], rel=0.05, abs=0.02)
    assert torch.cosine_similarity(*moves, dim=0) > 0.85


def _difference(first: Learner, second: Learner) -> Tensor:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return torch.cat([(ours - theirs).detach().flatten() for ours, theirs in pairs])


def test_a_terminal_shows_loss_validation_accuracy_and_the_time_left(
    opened: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = pty.openpty()
    termios.tcsetwinsize(writing, (24, 120))
    with os.fdopen(writing, "w") as screen, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", screen)
        train(opened, "protonet", episodes=2, settings=QUICK)
        os.set_blocking(reading, False)
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)  # nobody asked for a bar
        _, run = train(opened, "protonet", episodes=6, settings=QUICK, progress=True)
        # The kernel hands on what was written in its own time.
        shown, until = "", time.monotonic() + 20
        while "100%" not in shown and time.monotonic() < until:
            with contextlib.suppress(BlockingIOError):
                shown += os.read(reading, 100_000).decode()
    os.close(reading)
    texts = [text for text in shown.replace("\n", "").split("\r") if text.startswith("training protonet:")]
    best = run.history[1]
    last = next(text for text in texts if "| 5/6 episodes [" in text)
    left = last.split("[")[1]
    assert left.count("<") == 1
    assert all(clock.count(":") == 1 for clock in left.split(",")[0].split("<"))
    assert left.endswith(f"loss {best.loss:.3f}, validation {100 * best.accuracy:.1f} %]")
    assert "100%" in texts[-1]
