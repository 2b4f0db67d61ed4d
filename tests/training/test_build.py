"""What a learner and its training are set to: the method's recipe, within the data's limits, and what was asked for."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from l2l_core.algorithms.methods import METHODS, Setting
from l2l_core.algorithms.protonet import ProtoNet
from l2l_core.data.benchmarks import Benchmark
from l2l_core.errors import TaskError, UnknownNameError, UsageError
from l2l_core.training import build_learner, train
from l2l_core.training.build import training_for, usable_device
from tests.training.runs import QUICK, same_weights


def _changed(benchmark: Benchmark, **record: int) -> Benchmark:
    return replace(benchmark, record=replace(benchmark.record, **record))


def test_initial_weights_are_a_function_of_the_seed_and_disturb_no_generator(opened: Benchmark) -> None:
    state = torch.random.get_rng_state()
    first, same, other = (build_learner(opened, "protonet", seed) for seed in (1, 1, 2))
    assert same_weights(first, same)
    assert not same_weights(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


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
    _, run = train(_changed(opened, shots=shots, queries=1), "protonet", episodes=1, settings=QUICK)
    used = run.settings
    assert (used.train_ways, used.train_shots, used.train_queries) == form
    assert shapes == [(form[0] * form[1], form[0] * form[2])]
    assert (used.learning_rate, used.halve_every) == (1e-3, 2000)


def test_a_recipe_that_fits_is_kept_with_the_augmentation_of_the_benchmark(opened: Benchmark) -> None:
    index, setting = opened.dataset("train").class_index, Setting(3, 2)
    own = METHODS["maml"].training(setting)
    assert training_for("maml", setting, opened.record, index, {}) == replace(own, augmentation="none")
    photographs = replace(opened.record, augmentation="crop-flip-jitter")
    assert training_for("maml", setting, photographs, index, {}).augmentation == "crop-flip-jitter"
    assert training_for("maml", setting, photographs, index, {"augmentation": "none"}).augmentation == "none"


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


def test_settings_go_where_they_belong(opened: Benchmark) -> None:
    settings = {**QUICK, "distance": "cosine", "scale": 4.0, "learning_rate": 0.01, "drops": [[0.5, 0.1]]}
    learner, run = train(opened, "protonet", episodes=1, settings=settings)
    assert isinstance(learner, ProtoNet)
    assert run.learner == {"distance": "cosine", "scale": 4.0}
    assert (run.settings.learning_rate, run.settings.drops) == (0.01, ((0.5, 0.1),))
    plain = build_learner(opened, "protonet", settings={"learning_rate": 0.01})
    assert same_weights(plain, build_learner(opened, "protonet"))


ADVICE = {
    "optimiser": "choose 'adam', 'sgd', 'nesterov'",
    "decay": "choose None, 'linear', 'cosine'",
    "precision": "choose 'float32', 'bfloat16'",
    "augmentation": "choose None, 'none', 'crop-flip-jitter'",
    **dict.fromkeys(
        (
            *("train_ways", "train_shots", "train_queries", "meta_batch", "validate_every"),
            *("validation_episodes", "halve_every", "batch_size", "patience"),
        ),
        "give a whole number of at least 1",
    ),
    **dict.fromkeys(("learning_rate", "clip"), "give a number above 0"),
    "weight_decay": "give a number of at least 0",
    "drops": "give [FRACTION, FACTOR] pairs, as in [[0.5, 0.1], [0.75, 0.01]]",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimiser", "lbfgs"),
        ("decay", True),
        ("precision", "float16"),
        ("augmentation", "flip"),
        ("train_ways", 2.5),
        ("train_shots", "2"),
        ("train_queries", None),
        ("meta_batch", 0),
        ("validate_every", True),
        ("validation_episodes", -1),
        ("halve_every", 0),
        ("batch_size", "8"),
        ("patience", 0),
        ("learning_rate", 0),
        ("learning_rate", "0.1"),
        ("learning_rate", None),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("clip", True),
        ("clip", -1.0),
        ("weight_decay", -1e-3),
        ("weight_decay", "a"),
        ("drops", "abc"),
        ("drops", 3),
        ("drops", [0.5, 0.1]),
        ("drops", [[0.5]]),
    ],
)
def test_training_settings_that_cannot_be(opened: Benchmark, name: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        train(opened, "protonet", episodes=1, settings={name: value})
    assert str(caught.value) == f"{name} = {value!r} was asked for; {ADVICE[name]}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"validation_episodes": 1},
            "validation_episodes = 1 was asked for, but an interval needs at least 2; give more",
        ),
        (
            {"drops": [[0.8, 0.1], [0.5, 0.2]]},
            "drops = ((0.8, 0.1), (0.5, 0.2)) was asked for; give fractions between 0 and 1 that rise",
        ),
        ({"drops": [[20, 0.1]]}, "drops = ((20.0, 0.1),) was asked for; give fractions between 0 and 1 that rise"),
        ({"drops": [[0.5, -1]]}, "drops = ((0.5, -1.0),) was asked for; give factors above 0"),
        ({"batch_size": 4}, "batch_size = 4 was asked for, but protonet trains on episodes; leave it out"),
    ],
)
def test_training_settings_that_do_not_go_together(opened: Benchmark, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        train(opened, "protonet", episodes=1, settings=settings)
    assert str(caught.value) == message


def test_batches_of_examples_come_one_a_step(opened: Benchmark) -> None:
    with pytest.raises(UsageError) as caught:
        train(opened, "simpleshot", episodes=1, settings={"meta_batch": 4})
    assert str(caught.value) == (
        "meta_batch = 4 was asked for, but simpleshot trains on batches of examples; set batch_size"
    )


def test_learner_settings_that_cannot_be(opened: Benchmark) -> None:
    with pytest.raises(UnknownNameError) as unknown:
        build_learner(opened, "maml", settings={"test_step": 3})
    assert (
        str(unknown.value) == "unknown setting 'test_step' of MAMLLearner or its training; did you mean 'test_steps'?"
    )
    for value in ("fast", None, [0.1]):
        with pytest.raises(UsageError, match="lr"):
            build_learner(opened, "maml", settings={"lr": value})


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_device("cpu") == usable_device(torch.device("cpu")) == torch.device("cpu")
    for there, expected in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert usable_device() == torch.device(expected)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gpu0", "Invalid device string: 'gpu0'"),
        ("meta", "Tensor.item() cannot be called on meta tensors"),
        ("hpu", ""),
    ],
)
def test_devices_that_are_not_here(opened: Benchmark, name: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        train(opened, "protonet", episodes=1, device=name)
    text = str(caught.value)
    assert text.startswith(f"cannot use the device {name}: {reason}")
    assert text.endswith("; choose another, such as cpu")
    assert "\n" not in text
