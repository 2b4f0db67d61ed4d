"""Weights on their way through a file, and files that do not hold what was asked for."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.methods import METHODS, Setting
from l2l_core.data.benchmarks import Benchmark
from l2l_core.errors import CacheError, ContentError
from l2l_core.evaluation.run import evaluate
from l2l_core.training import TrainingRun, build_learner, load_weights, read_weights, save_weights, train
from l2l_core.training.weights import state_of
from tests.training.runs import QUICK, same_weights


@pytest.fixture
def weights(opened: Benchmark, tmp_path: Path) -> tuple[Path, Learner, TrainingRun]:
    """A file of weights of a ProtoNet, and what it was written from."""
    learner, run = train(opened, "protonet", episodes=2, seed=9, settings=QUICK)
    save_weights(tmp_path / "out" / "w.safetensors", learner, run)
    return tmp_path / "out" / "w.safetensors", learner, run


def test_weights_and_card_go_round(opened: Benchmark, weights: tuple[Path, Learner, TrainingRun]) -> None:
    path, learner, run = weights
    blank = build_learner(opened, "protonet", 1)
    assert not same_weights(blank, learner)
    card = load_weights(path, blank, opened, "protonet")
    assert same_weights(blank, learner)
    assert card == json.loads(json.dumps(asdict(run)))
    assert card["settings"]["train_ways"] == 6
    assert evaluate(opened, blank).accuracies == evaluate(opened, learner).accuracies


def test_weights_where_nothing_can_be_written(weights: tuple[Path, Learner, TrainingRun]) -> None:
    path, learner, run = weights
    with pytest.raises(CacheError, match="cannot write v.safetensors to .*: a file stands where a folder should be"):
        save_weights(path / "v.safetensors", learner, run)


def _without_card(path: Path) -> None:
    safetensors.torch.save_file(safetensors.torch.load_file(path), path)


def _with_card(card: str) -> Callable[[Path], None]:
    return lambda path: safetensors.torch.save_file(safetensors.torch.load_file(path), path, {"card": card})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (Path.unlink, "there is no file {path}; "),
        (lambda path: (path.unlink(), path.mkdir()), "there is no file {path}/weights.safetensors; "),
        (lambda path: path.write_bytes(b""), "{path} holds no weights with a card ("),
        (lambda path: path.write_text("weights"), "{path} holds no weights with a card ("),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "{path} holds no weights with a card ("),
        (_without_card, "{path} holds no weights with a card (no '__metadata__'); "),
        (_with_card("no json"), "{path} holds no weights with a card ("),
        (_with_card("[]"), "{path} holds no weights with a card ("),
        (_with_card("{}"), "{path} holds no weights with a card (no 'method'); "),
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
    assert same_weights(blank, build_learner(opened, "protonet", 1))


def test_weights_that_were_cut_off(opened: Benchmark, weights: tuple[Path, Learner, TrainingRun]) -> None:
    path, _, _ = weights
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ContentError) as caught:
        load_weights(path, build_learner(opened, "protonet"), opened, "protonet")
    assert str(caught.value).startswith(f"{path} is damaged (")
    assert str(caught.value).endswith("); train again, or get another copy")


def test_weights_of_another_method(opened: Benchmark, weights: tuple[Path, Learner, TrainingRun]) -> None:
    path, _, _ = weights
    with pytest.raises(ContentError) as caught:
        load_weights(path, build_learner(opened, "maml"), opened, "maml")
    assert str(caught.value) == f"{path} holds weights of protonet, not of maml; give --method protonet"


def test_weights_of_another_number_of_ways(opened: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "maml.safetensors"
    two_way = replace(opened, record=replace(opened.record, ways=2))
    learner = build_learner(two_way, "maml")
    run = TrainingRun("small-2w2s", "maml", 0, METHODS["maml"].training(Setting(2, 2)), 0, 0.0, (), {})
    save_weights(path, learner, run)
    three_way = build_learner(opened, "maml")
    with pytest.raises(ContentError) as caught:
        load_weights(path, three_way, opened, "maml")
    assert str(caught.value) == (
        f"{path} was trained for small-2w2s and does not fit small-3w2s: model.classifier.bias is [2] in the file and "
        "[3] in the learner; train on small-3w2s"
    )
    assert same_weights(three_way, build_learner(opened, "maml"))


def test_weights_with_a_tensor_missing(opened: Benchmark, weights: tuple[Path, Learner, TrainingRun]) -> None:
    path, _, run = weights
    tensors = safetensors.torch.load_file(path)
    first = min(tensors)
    del tensors[first]
    safetensors.torch.save_file(tensors, path, {"card": json.dumps(asdict(run))})
    with pytest.raises(ContentError, match=f"{first} is absent in the file and "):
        load_weights(path, build_learner(opened, "protonet"), opened, "protonet")


def test_a_folder_stands_for_the_weights_in_it(opened: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(ContentError) as caught:
        read_weights(tmp_path)
    assert str(caught.value) == (
        f"there is no file {tmp_path}/weights.safetensors; give a file of weights that `l2l train` wrote"
    )
    settings = {**QUICK, "distance": "cosine"}
    learner, run = train(opened, "protonet", episodes=2, settings=settings, folder=tmp_path)
    tensors, card = read_weights(tmp_path)
    assert all(torch.equal(tensors[name], value) for name, value in learner.state_dict().items())
    assert card == json.loads(json.dumps(asdict(run)))
    assert card["learner"] == {"distance": "cosine"}
    assert "distance" not in card["settings"]


def test_the_card_has_settings_of_the_method_as_well_as_those_given(opened: Benchmark, tmp_path: Path) -> None:
    settings = {**QUICK, "steps": 2}
    train(opened, "maml", episodes=1, settings={**settings, "meta_batch": 1}, folder=tmp_path)
    assert read_weights(tmp_path)[1]["learner"] == {"norm": "batch", "lr": 0.5, "steps": 2, "test_steps": 3}


def test_weights_of_half_precision_become_as_precise_as_the_learner(
    opened: Benchmark, weights: tuple[Path, Learner, TrainingRun]
) -> None:
    path, learner, run = weights
    state = learner.state_dict()
    half = {name: value.half() if value.is_floating_point() else value for name, value in state_of(learner).items()}
    safetensors.torch.save_file(half, path, {"card": json.dumps(asdict(run))})
    blank = build_learner(opened, "protonet", 1)
    load_weights(path, blank, opened, "protonet")
    for name, value in blank.state_dict().items():
        assert value.dtype == state[name].dtype
        assert torch.equal(value, half[name].to(value.dtype))
