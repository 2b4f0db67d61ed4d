"""Training in two processes: as in one with the same steps, whatever the method; and what differs between processes."""

import os
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from l2l_core import distributed
from l2l_core.algorithms import METHODS, Setting
from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.maml import MAMLLearner
from l2l_core.data.batches import Tasks
from l2l_core.data.benchmarks import load_benchmark
from l2l_core.data.variable import VariableTasks
from l2l_core.errors import DistributedError, UsageError
from l2l_core.evaluation.grid import accuracy_grid
from l2l_core.evaluation.run import accuracies_of, evaluate
from l2l_core.training import loop
from l2l_core.training.build import build_learner
from l2l_core.training.loop import TrainingRun, train
from l2l_core.training.shares import share_of
from tests.opened import open_small
from tests.ranks import Ranks, ranks
from tests.small import SmallData

WAYS, SHOTS, QUERIES, CLASSES, SIDE = 3, 2, 2, 5, 16
SETTINGS = {"optimiser": "sgd", "learning_rate": 0.05, "meta_batch": 3, "validate_every": 2, "validation_episodes": 20}


@pytest.fixture(scope="module")
def two() -> Iterator[Ranks]:
    with ranks(2) as group:
        yield group


class _Made(Tasks):
    """Pictures in double precision: three tasks, or five examples, are a function of the step."""

    num_tasks = -1

    def __init__(self, plain: bool) -> None:
        self.plain = plain

    def batch(self, indices: Any) -> tuple[Tensor, ...]:
        def part(index: int) -> list[Tensor]:
            draws = torch.Generator().manual_seed(index)
            if self.plain:
                labels = torch.randint(CLASSES, (5,), generator=draws)
                return [torch.rand(5, 1, SIDE, SIDE, generator=draws, dtype=torch.float64), labels]
            parts = []
            for each in (SHOTS, QUERIES):
                parts.append(torch.rand(WAYS * each, 1, SIDE, SIDE, generator=draws, dtype=torch.float64))
                parts.append(torch.arange(WAYS).repeat_interleave(each))
            return parts

        return tuple(torch.stack(parts) for parts in zip(*map(part, indices), strict=True))


def _steps(method: str, clip: float | None, settings: dict[str, Any]) -> tuple[list[float], dict[str, Tensor]]:
    """The losses of three steps, and all parameters and buffers after them."""
    setting = Setting(WAYS, SHOTS, (1, SIDE, SIDE), CLASSES, settings=settings)
    how = METHODS[method].training(setting)
    plain = how.batch_size is not None
    how = replace(how, meta_batch=1 if plain else 3, batch_size=5 if plain else None, optimiser="sgd", clip=clip)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        learner = METHODS[method].build(setting).double().train()
        about = TrainingRun("none", method, 0, how, 0, 0.0, (), {})
        run = loop._Run(about, learner, _Made(plain), None, None, 100, None)  # type: ignore[arg-type]  # never validates
        losses = [run._step(0.01) for _ in range(3)]
    return losses, dict(learner.state_dict())


def _same(found: dict[str, Tensor], expected: dict[str, Tensor], atol: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=atol, msg=f"{name} is another")


@pytest.mark.parametrize("method", METHODS)
def test_steps_of_two_processes_are_those_of_one(two: Ranks, method: str) -> None:
    losses, state = _steps(method, None, {})
    moved = METHODS[method].build(Setting(WAYS, SHOTS, (1, SIDE, SIDE), CLASSES)).state_dict()
    assert any(not torch.equal(value, moved[name].double()) for name, value in state.items())
    for their_losses, theirs in two.call(_steps, method, None, {}):
        assert their_losses == pytest.approx(losses, abs=1e-12)
        _same(theirs, state, 1e-11)


@pytest.mark.parametrize(("method", "settings"), [("maml", {"norm": "running"}), ("proto-maml", {"norm": "running"})])
def test_gradients_are_clipped_as_a_whole(two: Ranks, method: str, settings: dict[str, Any]) -> None:
    _, state = _steps(method, 0.01, settings)
    _, unclipped = _steps(method, None, settings)
    assert any(not torch.equal(value, unclipped[name]) for name, value in state.items())
    for _, theirs in two.call(_steps, method, 0.01, settings):
        _same(theirs, state, 1e-12)


def _shares(units: Sequence[int]) -> list[tuple[range, float, bool, int]]:
    return [(share.part, share.weight, share.is_part, share.draws) for share in map(share_of, units)]


def test_fewer_tasks_than_processes_are_not_shared_out(two: Ranks) -> None:
    assert _shares([1, 3]) == [(range(1), 1, False, 0), (range(3), 1, False, 0)]
    assert two.call(_shares, [1, 3]) == [
        [(range(1), 0.5, False, 0), (range(1), 1 / 3, True, 0)],
        [(range(1), 0.5, False, 0), (range(1, 3), 2 / 3, True, 1)],
    ]


@pytest.fixture
def benchmark(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a benchmark that every process can open."""
    open_small(small, monkeypatch)
    return "small-3w2s"


def _train(
    benchmark: str, method: str, folder: Path | None, changes: dict[str, Any], fail_at: int | None, how: str
) -> tuple[dict[str, Tensor], TrainingRun, list[str]]:
    """A training; at that step of its own the second process fails, as the last argument says."""
    said: list[str] = []
    calls = 0
    meta_loss = MAMLLearner.meta_loss

    def failing(self: MAMLLearner, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        if calls == fail_at and distributed.rank() == distributed.size() - 1:
            if how == "error":
                raise UsageError("this one has an error")
            os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.SIGINT)
        loss, accuracy = meta_loss(self, *tensors)
        if how == "nan" and calls == fail_at and distributed.rank() == distributed.size() - 1:
            loss = loss * float("nan")
        return loss, accuracy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MAMLLearner, "meta_loss", failing)
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        budget: dict[str, Any] = {"minutes": 0.02} if how == "minutes" else {"episodes": 3 if how == "short" else 18}
        if how == "minutes" and distributed.rank():
            # A clock that runs faster.
            clock = time.perf_counter
            patch.setattr(time, "perf_counter", lambda: 10 * clock())
        learner, run = train(
            benchmark, method, **budget, folder=folder, settings={**SETTINGS, **changes}, say=said.append
        )
    return learner.state_dict(), run, said


def _alone(benchmark: str, method: str, folder: Path | None, how: str = "", **changes: Any) -> Any:
    return _train(benchmark, method, folder, changes, None, how)


@pytest.mark.parametrize(("method", "atol"), [("maml", 1e-5), ("protonet", 1e-3), ("simpleshot", 1e-3)])
def test_training_of_two_processes_is_that_of_one(
    two: Ranks, benchmark: str, tmp_path: Path, method: str, atol: float
) -> None:
    # Of pictures that are blank for the most part, BatchNorm makes three hundred times as much of a rounding, layer by
    # layer; what is exact is in double precision, above.
    # Small and few steps, since in single precision the net soon makes much of a rounding.
    changes = {"learning_rate": 1e-3, **({"batch_size": 7, "meta_batch": 1} if method == "simpleshot" else {})}
    state, run, _ = _alone(benchmark, method, None, "short", **changes)
    folder = tmp_path / "run"
    both = two.call(_train, benchmark, method, folder, changes, None, "short")
    for theirs, their_run, said in both:
        assert said == []
        _same(theirs, state, atol)
        assert [each.accuracy for each in their_run.history] == pytest.approx([each.accuracy for each in run.history])
        assert [each.loss for each in their_run.history] == pytest.approx([each.loss for each in run.history], abs=atol)
    # The two of them have the same bits.
    _same(both[0][0], both[1][0], 0.0)
    assert {path.name for path in folder.iterdir()} > {"weights.safetensors", "training.csv"}
    assert len((folder / "training.csv").read_text().splitlines()) == 1 + len(run.history)


def test_a_step_that_cannot_be_shared_out_is_said_once(two: Ranks, benchmark: str) -> None:
    state, _, _ = _alone(benchmark, "protonet", None, meta_batch=1, learning_rate=1e-3, validate_every=18)
    changes = {"meta_batch": 1, "learning_rate": 1e-3, "validate_every": 18}
    (first, _, said), (second, _, other) = two.call(_train, benchmark, "protonet", None, changes, None, "")
    assert said == [
        "a step has 1 episode, which 2 processes cannot share out, so each of them does all of it and only validation "
        "is quicker; see meta_batch"
    ]
    assert other == []
    for theirs in (first, second):
        _same(theirs, state, 1e-5)


@pytest.mark.parametrize("how", ["kill", "error"])
def test_a_process_that_fails_ends_the_job_and_it_goes_on_from_the_checkpoint(
    two: Ranks, benchmark: str, tmp_path: Path, how: str
) -> None:
    (whole, _, _), _ = two.call(_train, benchmark, "maml", tmp_path / "whole", {}, None, "")
    start = time.perf_counter()
    with ranks(2) as group:
        left, failed = group.call(_train, benchmark, "maml", tmp_path / "cut", {}, 4, how)
    assert time.perf_counter() - start < 60, "a waiting process would be there for as long as it may wait"
    assert isinstance(left, DistributedError)
    assert "process 0 (counted from 0) of 2 has lost another one, and the job ends" in str(left)
    assert failed is None if how == "kill" else str(failed).startswith("this one has an error")
    assert not (tmp_path / "cut/weights.safetensors").exists()
    # The other one's folder is of another machine, and holds nothing.
    folders = [tmp_path / "cut", tmp_path / "elsewhere"]
    (first, run, said), (second, _, _) = two.call_each(
        _train, [(benchmark, "maml", folder, {}, None, "") for folder in folders]
    )
    assert said == [f"going on after 6 episodes, where {tmp_path / 'cut'} stands"]
    assert run.episodes == 18
    _same(first, whole, 0.0)
    _same(second, whole, 0.0)
    assert not folders[1].exists()


def test_another_run_in_the_folder_is_refused_by_all(two: Ranks, benchmark: str, tmp_path: Path) -> None:
    _alone(benchmark, "maml", tmp_path)
    assert two.call(_refused, benchmark, tmp_path) == [
        ("UsageError", True),
        ("L2LError", True),
    ]


def _refused(benchmark: str, folder: Path) -> tuple[str, bool]:
    try:
        _alone(benchmark, "anil", folder)
    except Exception as error:
        return type(error).__name__, f"{folder} holds a run with method = maml, but method = anil" in str(error)
    return "", False


def test_ctrl_c_in_one_process_ends_all_at_the_same_step(two: Ranks, benchmark: str) -> None:
    for _, run, _ in two.call(_train, benchmark, "maml", None, {}, 4, "interrupt"):
        assert (run.episodes, [each.episodes for each in run.history]) == (12, [6])


def test_minutes_are_those_of_the_first_process(two: Ranks, benchmark: str) -> None:
    (_, first, _), (_, second, _) = two.call(_train, benchmark, "maml", None, {}, None, "minutes")
    assert first.episodes == second.episodes
    assert [each.accuracy for each in first.history] == [each.accuracy for each in second.history]


def _diverged(benchmark: str) -> str:
    try:
        _train(benchmark, "maml", None, {}, 4, "nan")
    except ArithmeticError:
        raise
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def test_a_loss_that_is_infinite_in_one_process_is_so_in_all(two: Ranks, benchmark: str) -> None:
    for said in two.call(_diverged, benchmark):
        assert said.startswith("DivergedError: the training loss is nan after 9 episodes")


def _evaluate(benchmark: str, method: str, kind: str) -> dict[str, Any]:
    opened = load_benchmark(benchmark)
    learner: Learner = build_learner(opened, method, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = evaluate(opened, learner, 300 if kind == "embedded" else 50)
        cells = accuracy_grid(opened, learner, (2, 3), (1, 2), 10)
    return {
        name: getattr(report, name)
        for name in ("accuracies", "accuracy", "ci95", "episodes_digest", "per_class", "confusions")
    } | {"grid": cells}


@pytest.mark.parametrize(
    ("method", "kind"),
    [("maml", ""), ("protonet", "embedded"), ("simpleshot", "embedded"), ("maml++", "")],
)
def test_evaluation_in_two_processes_is_that_in_one_to_the_bit(
    two: Ranks, benchmark: str, method: str, kind: str
) -> None:
    whole = _evaluate(benchmark, method, kind)
    assert len(set(whole["accuracies"])) > 2
    assert len(whole["grid"]) == (4 if kind == "embedded" else 2)
    assert two.call(_evaluate, benchmark, method, kind) == [whole, whole]


def _uneven(benchmark: str) -> list[float]:
    opened = load_benchmark(benchmark)
    return accuracies_of(build_learner(opened, "protonet", 1), VariableTasks(opened.dataset(), 0, min_ways=2), 20)


def test_episodes_of_several_sizes_are_shared_out_too(two: Ranks, benchmark: str) -> None:
    whole = _uneven(benchmark)
    assert len(set(whole)) > 2
    assert two.call(_uneven, benchmark) == [whole, whole]
