"""Training: repeatable, within the data's limits, better than no training; and weights on their way through a file."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from l2l_core import training
from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.maml import MAMLLearner
from l2l_core.algorithms.methods import METHODS, Setting, TrainingDefaults
from l2l_core.algorithms.protonet import ProtoNet
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.data.generator import TaskGenerator
from l2l_core.errors import CacheError, ContentError, TaskError, UnknownNameError, UsageError
from l2l_core.evaluation.run import evaluate
from l2l_core.evaluation.statistics import mean_ci95
from l2l_core.training import Checkpoint, DivergedError, TrainingRun, build_learner, load_weights, save_weights, train
from tests.opened import open_small
from tests.small import SmallData


@pytest.fixture
def opened(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    """``small-3w2s``, validated every second step on ten episodes."""
    monkeypatch.setattr(training, "VALIDATE_EVERY", 2)
    monkeypatch.setattr(training, "VALIDATION_EPISODES", 10)
    return open_small(small, monkeypatch)


def _changed(benchmark: Benchmark, **record: int) -> Benchmark:
    return replace(benchmark, record=replace(benchmark.record, **record))


def _recipe(monkeypatch: pytest.MonkeyPatch, method: str, **changes: object) -> None:
    """Another recipe for a method, for one test."""
    spec = METHODS[method]

    def changed(setting: Setting) -> TrainingDefaults:
        return replace(spec.training(setting), **changes)

    monkeypatch.setattr(training, "get_method", lambda name: replace(spec, training=changed))


def _same_weights(first: Learner, second: Learner) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def _timeless(history: Sequence[Checkpoint]) -> list[Checkpoint]:
    return [replace(checkpoint, seconds=0) for checkpoint in history]


@pytest.mark.parametrize("method", ["protonet", "maml"])
def test_a_run_is_repeated_bit_by_bit_and_the_seed_matters(
    opened: Benchmark, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    _recipe(monkeypatch, method, meta_batch=2)
    first, run = train(opened, method, episodes=8, seed=3)
    torch.rand(5)  # the global generator is no part of it
    second, again = train(opened, method, episodes=8, seed=3)
    assert _same_weights(first, second)
    assert _timeless(run.history) == _timeless(again.history)
    other, _ = train(opened, method, episodes=8, seed=4)
    assert not _same_weights(first, other)
    assert not first.training


def test_initial_weights_are_a_function_of_the_seed_and_disturb_no_generator(opened: Benchmark) -> None:
    state = torch.random.get_rng_state()
    first, same, other = (build_learner(opened, "protonet", seed) for seed in (1, 1, 2))
    assert _same_weights(first, same)
    assert not _same_weights(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_short_run_is_the_beginning_of_a_long_one(opened: Benchmark) -> None:
    _, short = train(opened, "protonet", episodes=4)
    _, long = train(opened, "protonet", episodes=8)
    assert [checkpoint.episodes for checkpoint in long.history] == [2, 4, 6, 8]
    assert _timeless(short.history) == _timeless(long.history[:2])


def test_steps_are_those_of_a_plain_loop_with_halved_rates(opened: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    _recipe(monkeypatch, "protonet", meta_batch=2, learning_rate=0.02, halve_every=4)
    rates: list[float] = []
    step = torch.optim.Adam.step

    def watched(self: torch.optim.Adam) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    # The last checkpoint is the best one, so that its weights come back.
    scores = iter([0.1, 0.2, 0.3])
    monkeypatch.setattr(training, "accuracies_of", lambda *_: [next(scores)] * 2)
    learner, run = train(opened, "protonet", episodes=12, seed=5)
    assert rates == [0.02, 0.02, 0.01, 0.01, 0.005, 0.005]

    slow = build_learner(opened, "protonet", 5)
    slow.train()
    episodes = TaskGenerator(opened.dataset("train"), 6, 2, 5, seed=5)
    parameters = list(slow.parameters())
    adam = torch.optim.Adam(parameters)
    losses = []
    for number, rate in zip(range(0, 12, 2), rates, strict=True):
        pair = [torch.stack(parts) for parts in zip(episodes[number], episodes[number + 1], strict=True)]
        loss = slow.meta_loss(*pair)[0]
        losses.append(loss.item())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        adam.param_groups[0]["lr"] = rate
        step(adam)
    assert _same_weights(learner, slow)
    assert [checkpoint.loss for checkpoint in run.history] == pytest.approx(
        [sum(losses[start : start + 2]) / 2 for start in (0, 2, 4)]
    )


@pytest.mark.parametrize(("accuracies", "best"), [([0.2, 0.6, 0.4], 1), ([0.6, 0.6, 0.4], 0), ([0.0, 0.0, 0.1], 2)])
def test_the_best_checkpoint_comes_back_and_of_equals_the_earliest(
    opened: Benchmark, monkeypatch: pytest.MonkeyPatch, accuracies: list[float], best: int
) -> None:
    states: list[dict[str, Tensor]] = []

    def validate(learner: Learner, generator: TaskGenerator, episodes: int) -> list[float]:
        states.append({name: value.clone() for name, value in learner.state_dict().items()})
        return [accuracies[len(states) - 1]] * episodes

    monkeypatch.setattr(training, "accuracies_of", validate)
    learner, run = train(opened, "protonet", episodes=6)
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

    monkeypatch.setattr(training, "accuracies_of", validate)
    for seed in (0, 2**64 - 1):
        train(opened, "protonet", episodes=1, seed=seed)
    assert [generator.seed for generator in seen] == [2**63, 2**63 - 1]
    assert seen[0].digest(3) == opened.episodes("validation", seed=2**63).digest(3)


def test_history_is_sane(opened: Benchmark) -> None:
    _, run = train(opened, "protonet", episodes=5)
    assert [checkpoint.episodes for checkpoint in run.history] == [2, 4, 5]
    assert run.episodes == 5
    seconds = [checkpoint.seconds for checkpoint in run.history]
    assert 0 < seconds[0] < seconds[1] < seconds[2] <= run.seconds
    assert all(checkpoint.loss > 0 and 0 <= checkpoint.accuracy <= 1 for checkpoint in run.history)
    assert (run.benchmark, run.method, run.seed) == ("small-3w2s", "protonet", 0)
    assert "torch" in run.versions


def test_a_budget_of_episodes_is_rounded_up_to_steps(opened: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    _recipe(monkeypatch, "maml", meta_batch=4)
    assert train(opened, "maml", episodes=5)[1].episodes == 8


def test_a_run_of_minutes_is_repeated_by_its_episodes(opened: Benchmark) -> None:
    learner, run = train(opened, "protonet", minutes=0.005)
    assert 0.3 <= run.seconds < 5
    again, _ = train(opened, "protonet", episodes=run.episodes)
    assert _same_weights(learner, again)


@pytest.mark.parametrize(
    ("minutes", "episodes"),
    [(None, None), (1.0, 5), (0.0, None), (-1.0, None), (None, 0), (None, -3), (float("nan"), None), (1e999, None)],
)
def test_budgets_that_cannot_be(opened: Benchmark, minutes: float | None, episodes: int | None) -> None:
    with pytest.raises(UsageError) as caught:
        train(opened, "protonet", minutes=minutes, episodes=episodes)
    assert str(caught.value) == f"found minutes = {minutes} and episodes = {episodes}; give one of them, above 0"


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_that_cannot_be(opened: Benchmark, seed: int) -> None:
    message = rf"seed {seed} is not between 0 and 2\*\*64 - 1"
    with pytest.raises(UsageError, match=message):
        train(opened, "protonet", episodes=1, seed=seed)
    with pytest.raises(UsageError, match=message):
        build_learner(opened, "protonet", seed)


def test_an_unknown_method(opened: Benchmark) -> None:
    with pytest.raises(UnknownNameError, match="unknown method 'protonets'; did you mean 'protonet'"):
        train(opened, "protonets", episodes=1)


@pytest.mark.parametrize(
    ("shots", "form"),
    # 6 training classes of 8 examples; the recipe is 60 ways and 5 queries.
    [(2, (6, 2, 5)), (3, (6, 3, 5)), (4, (6, 4, 4)), (7, (6, 7, 1))],
)
def test_episodes_are_as_large_as_the_data_allows_and_the_card_says_so(
    opened: Benchmark, monkeypatch: pytest.MonkeyPatch, shots: int, form: tuple[int, int, int]
) -> None:
    shapes: list[tuple[int, int]] = []
    meta_loss = ProtoNet.meta_loss

    def watched(self: ProtoNet, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        shapes.append((tensors[1].shape[1], tensors[3].shape[1]))
        return meta_loss(self, *tensors)

    monkeypatch.setattr(ProtoNet, "meta_loss", watched)
    _, run = train(_changed(opened, shots=shots, queries=1), "protonet", episodes=1)
    used = run.settings
    assert (used.train_ways, used.train_shots, used.train_queries) == form
    assert shapes == [(form[0] * form[1], form[0] * form[2])]
    assert (used.learning_rate, used.halve_every) == (1e-3, 2000)


def test_a_recipe_that_fits_is_kept(opened: Benchmark) -> None:
    settings = METHODS["maml"].training(Setting(3, 2))
    assert training._within(settings, opened.record, opened.dataset("train").class_index) == settings


def test_training_classes_that_are_too_few_or_too_small(opened: Benchmark) -> None:
    with pytest.raises(TaskError) as caught:
        train(_changed(opened, ways=7), "maml", episodes=1)
    assert str(caught.value) == (
        "small-3w2s is 7-way, but small has only 6 training classes; train on a benchmark with fewer ways"
    )
    with pytest.raises(TaskError) as caught:
        train(_changed(opened, shots=8, queries=1), "protonet", episodes=1)
    assert str(caught.value) == (
        "class 'set/Abc/character01' has 8 examples, but shots + queries = 9; lower one of them or drop the class"
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_diverged_run_says_when(opened: Benchmark, monkeypatch: pytest.MonkeyPatch, bad: float) -> None:
    meta_loss = ProtoNet.meta_loss
    calls: list[int] = []

    def broken(self: ProtoNet, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(1)
        loss, accuracy = meta_loss(self, *tensors)
        return (loss * bad if len(calls) == 4 else loss), accuracy

    monkeypatch.setattr(ProtoNet, "meta_loss", broken)
    with pytest.raises(DivergedError) as caught:
        train(opened, "protonet", episodes=10)
    assert str(caught.value) == (
        f"the training loss is {bad} after 3 episodes; try another seed, or a method with a lower learning rate"
    )


def test_ctrl_c_keeps_what_has_validated_best(opened: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "VALIDATE_EVERY", 2)
    monkeypatch.setattr(training, "VALIDATION_EPISODES", 5)
    meta_loss = ProtoNet.meta_loss
    calls: list[int] = []

    def interrupted(self: ProtoNet, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(1)
        if len(calls) in (4, 6):
            raise KeyboardInterrupt
        return meta_loss(self, *tensors)

    monkeypatch.setattr(ProtoNet, "meta_loss", interrupted)
    _, run = train(opened, "protonet", episodes=10)
    assert (run.episodes, [checkpoint.episodes for checkpoint in run.history]) == (3, [2])
    with pytest.raises(KeyboardInterrupt):
        train(opened, "protonet", episodes=10)


# Enough for each to be beyond its untrained self, and no more, as there are many.
EPISODES = {
    "anil": 160,
    "baseline": 50,
    "baseline++": 50,
    "boil": 160,
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


@pytest.mark.parametrize("method", METHODS)
def test_training_pays(glyphs_home: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(training, "VALIDATION_EPISODES", 10)
    if METHODS[method].training(Setting(5, 1)).train_ways == 60:
        _recipe(monkeypatch, method, train_ways=20)  # a third of the paper's, and of its time
    benchmark = load_benchmark("glyphs-5w1s", root=glyphs_home)
    untrained = evaluate(benchmark, build_learner(benchmark, method), 40)
    learner, run = train(benchmark, method, episodes=EPISODES[method])
    trained = evaluate(benchmark, learner, 40)
    # Both saw the same episodes, so the gain is that of each episode.
    mean, ci95 = mean_ci95(np.subtract(trained.accuracies, untrained.accuracies))
    assert run.settings == training.get_method(method).training(Setting(5, 1))
    assert trained.episodes_digest == untrained.episodes_digest
    assert mean - ci95 > 0


def test_dropout_is_a_function_of_the_seed_too(opened: Benchmark) -> None:
    runs = []
    for caller in (1, 2):
        torch.manual_seed(caller)
        before = torch.get_rng_state()
        runs.append(train(opened, "anil", episodes=2, seed=3, backbone="r2d2")[0])
        assert torch.equal(torch.get_rng_state(), before)
    assert _same_weights(*runs)


@pytest.fixture
def weights(opened: Benchmark, tmp_path: Path) -> tuple[Path, Learner, TrainingRun]:
    """A file of weights of a ProtoNet, and what it was written from."""
    learner, run = train(opened, "protonet", episodes=2, seed=9)
    save_weights(tmp_path / "out" / "w.safetensors", learner, run)
    return tmp_path / "out" / "w.safetensors", learner, run


def test_weights_and_card_go_round(opened: Benchmark, weights: tuple[Path, Learner, TrainingRun]) -> None:
    path, learner, run = weights
    blank = build_learner(opened, "protonet", 1)
    assert not _same_weights(blank, learner)
    card = load_weights(path, blank, opened, "protonet")
    assert _same_weights(blank, learner)
    assert card == json.loads(json.dumps(asdict(run)))
    assert card["settings"]["train_ways"] == 6
    assert evaluate(opened, blank).accuracies == evaluate(opened, learner).accuracies


def test_weights_where_nothing_can_be_written(weights: tuple[Path, Learner, TrainingRun]) -> None:
    path, learner, run = weights
    with pytest.raises(CacheError, match="cannot write v.safetensors to .*: a file stands where a folder should be"):
        save_weights(path / "v.safetensors", learner, run)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _without_card(path: Path) -> None:
    safetensors.torch.save_file(safetensors.torch.load_file(path), path)


def _with_card(card: str) -> Callable[[Path], None]:
    return lambda path: safetensors.torch.save_file(safetensors.torch.load_file(path), path, {"card": card})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (Path.unlink, "there is no file {path}; "),
        (lambda path: (path.unlink(), path.mkdir()), "there is no file {path}; "),
        (lambda path: path.write_bytes(b""), "{path} holds no weights with a card ("),
        (lambda path: path.write_text("weights"), "{path} holds no weights with a card ("),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "{path} holds no weights with a card ("),
        (_cut, "{path} holds no weights with a card ("),
        (_without_card, "{path} holds no weights with a card ('card'); "),
        (_with_card("no json"), "{path} holds no weights with a card ("),
        (_with_card("[]"), "{path} holds no weights with a card ("),
        (_with_card("{}"), "{path} holds no weights with a card ('method'); "),
    ],
)
def test_files_that_hold_no_weights(
    opened: Benchmark,
    weights: tuple[Path, Learner, TrainingRun],
    spoil: Callable[[Path], object],
    message: str,
) -> None:
    path, _, _ = weights
    spoil(path)
    blank = build_learner(opened, "protonet", 1)
    with pytest.raises(ContentError) as caught:
        load_weights(path, blank, opened, "protonet")
    text = str(caught.value)
    assert text.startswith(message.format(path=path))
    assert text.endswith("; give a file of weights that `l2l train` wrote")
    assert "\n" not in text
    assert _same_weights(blank, build_learner(opened, "protonet", 1))


def test_weights_of_another_method(opened: Benchmark, weights: tuple[Path, Learner, TrainingRun]) -> None:
    path, _, _ = weights
    with pytest.raises(ContentError) as caught:
        load_weights(path, build_learner(opened, "maml"), opened, "maml")
    assert str(caught.value) == f"{path} holds weights of protonet, not of maml; give --method protonet"


def test_weights_of_another_number_of_ways(opened: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "maml.safetensors"
    two_way = _changed(opened, ways=2)
    learner = build_learner(two_way, "maml")
    assert isinstance(learner, MAMLLearner)
    run = TrainingRun("small-2w2s", "maml", 0, METHODS["maml"].training(Setting(2, 2)), 0, 0.0, (), {})
    save_weights(path, learner, run)
    three_way = build_learner(opened, "maml")
    with pytest.raises(ContentError) as caught:
        load_weights(path, three_way, opened, "maml")
    assert str(caught.value) == (
        f"{path} was trained for small-2w2s and does not fit small-3w2s: model.classifier.bias is [2] in the file and "
        "[3] in the learner; train on small-3w2s"
    )
    assert _same_weights(three_way, build_learner(opened, "maml"))


def test_weights_with_a_tensor_missing(opened: Benchmark, weights: tuple[Path, Learner, TrainingRun]) -> None:
    path, _, run = weights
    tensors = safetensors.torch.load_file(path)
    first = min(tensors)
    del tensors[first]
    safetensors.torch.save_file(tensors, path, {"card": json.dumps(asdict(run))})
    with pytest.raises(ContentError, match=f"{first} is absent in the file and "):
        load_weights(path, build_learner(opened, "protonet"), opened, "protonet")
