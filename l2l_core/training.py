"""Training a learner on the episodes of a benchmark's training classes, and keeping what validates best.

Step s of a run trains on episodes s·b to (s + 1)·b − 1 of the run's seed, b a step; the budget only says when to stop.
So a run of some minutes is the beginning of a longer one, and a budget in episodes gives the same weights every time.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm import tqdm

from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.methods import Setting, TrainingDefaults, get_method
from l2l_core.algorithms.pretrained import PretrainedLearner
from l2l_core.data.batches import Tasks, check_seed
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.index import ClassIndex
from l2l_core.data.pretraining import ExampleBatches
from l2l_core.data.sampling import random_words
from l2l_core.errors import ContentError, DivergedError, TaskError, UsageError
from l2l_core.evaluation.report import versions
from l2l_core.evaluation.run import accuracies_of
from l2l_core.evaluation.statistics import mean_ci95
from l2l_core.files import write_file
from l2l_core.records import BenchmarkRecord

VALIDATION_EPISODES: Final = 100
VALIDATE_EVERY: Final = 100
"""Steps between validations: at a few tenths of a second a step, some 5 % of the time goes into them."""
STEPS: Final = 50
"""Stream of the random words that seed torch's generators for each step."""
OPTIMISERS: Final[Mapping[str, Callable[..., torch.optim.Optimizer]]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a run stood when it was validated.

    Attributes:
        episodes: trained on so far.
        seconds: since the start, validation included.
        loss: mean training loss since the checkpoint before.
        accuracy, ci95: on the validation episodes, fractions.
    """

    episodes: int
    seconds: float
    loss: float
    accuracy: float
    ci95: float


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What a run did; with the weights it makes their card.

    Attributes:
        benchmark, method, seed: what was trained on what, from which seed.
        settings: form of the training episodes and the optimiser's schedule, as they were used.
        episodes, seconds: spent in all.
        history: one checkpoint a validation; the weights are those of the most accurate.
        versions: of the packages that matter.
        backbone: name of the backbone; None for the method's own.
    """

    benchmark: str
    method: str
    seed: int
    settings: TrainingDefaults
    episodes: int
    seconds: float
    history: tuple[Checkpoint, ...]
    versions: Mapping[str, str]
    backbone: str | None = None

    @property
    def best(self) -> Checkpoint:
        """The most accurate checkpoint, the earliest of equals."""
        return max(self.history, key=lambda checkpoint: checkpoint.accuracy)

    @property
    def curve(self) -> tuple[tuple[float, float, float], ...]:
        """(seconds, accuracy, ci95) of each checkpoint."""
        return tuple((checkpoint.seconds, checkpoint.accuracy, checkpoint.ci95) for checkpoint in self.history)


def build_learner(benchmark: Benchmark | str, method: str, seed: int = 0, *, backbone: str | None = None) -> Learner:
    """An untrained learner for a benchmark; its initial weights are a function of the seed.

    Args:
        benchmark: the opened protocol, or its name.
        method: its name.
        seed: of the initial weights.
        backbone: name of the backbone; the method's own for None.

    Raises:
        UnknownNameError: no such method or backbone.
        UsageError: the seed does not fit 64 bits, or the backbone cannot take the pictures.
        StoreError: the data set is not in the cache (says how to get it), or damaged.
    """
    spec, benchmark = get_method(method), load_benchmark(benchmark)
    setting = _setting(benchmark, method, backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(check_seed(seed))
        return spec.build(setting)


def _setting(benchmark: Benchmark, method: str, backbone: str | None) -> Setting:
    """What a learner for a benchmark is built for."""
    record, train_set = benchmark.record, benchmark.dataset("train")
    if train_set.modality != "images":
        raise UsageError(f"{method} takes pictures, but {record.dataset} holds {train_set.modality}; take another")
    channels, height, width = train_set.example_shape
    return Setting(record.ways, record.shots, (channels, height, width), len(train_set.classes), backbone)


def train(
    benchmark: Benchmark | str,
    method: str,
    *,
    minutes: float | None = None,
    episodes: int | None = None,
    seed: int = 0,
    backbone: str | None = None,
    progress: bool = False,
) -> tuple[Learner, TrainingRun]:
    """A learner trained on the benchmark's training classes, with the weights that did best on its validation classes.

    Args:
        benchmark: the opened protocol, or its name.
        method: name of the method; its recipe says how episodes are formed. Where the data set has fewer classes than
            its ways, or fewer examples than its queries, the episodes are as large as the data set allows.
        minutes: time budget, validation included.
        episodes: budget in training episodes, rounded up to whole steps; one of the two budgets, exactly.
        seed: of the initial weights and of the episodes.
        backbone: name of the backbone; the method's own for None.
        progress: whether to show a bar on stderr, where that is a terminal.

    Ctrl-C ends the training early, once something has validated.

    Raises:
        UnknownNameError: no such method or backbone.
        UsageError: no budget, two, or one that is not a positive number; or a seed that does not fit 64 bits.
        TaskError: the training or validation classes are too few for the benchmark's ways, or one has too few examples.
        DivergedError: the loss became infinite or NaN.
        StoreError: the data set is not in the cache (says how to get it), or damaged.
    """
    if (minutes is None) == (episodes is None) or not 0 < (minutes or episodes or 0) < math.inf:
        raise UsageError(f"found minutes = {minutes} and episodes = {episodes}; give one of them, above 0")
    benchmark = load_benchmark(benchmark)
    record = benchmark.record
    classes = benchmark.dataset("train")
    setting = _setting(benchmark, method, backbone)
    settings = _within(get_method(method).training(setting), record, classes.class_index)
    learner = build_learner(benchmark, method, seed, backbone=backbone)
    tasks: Tasks
    if settings.batch_size is None:
        form = settings.train_ways, settings.train_shots, settings.train_queries
        tasks = TaskGenerator(classes, *form, seed=seed)
    else:
        tasks = ExampleBatches(classes, settings.batch_size, seed, drop_last=len(classes) >= settings.batch_size)
    # With the top bit turned over: other episodes than any seed that a user would train or test with.
    validation = benchmark.episodes("validation", seed=seed ^ 2**63)
    optimiser = OPTIMISERS[settings.optimiser](learner.parameters(), lr=settings.learning_rate)
    learner.train()
    history: list[Checkpoint] = []
    best: dict[str, Tensor] = {}
    best_accuracy = -1.0
    losses: list[float] = []
    start, done = time.perf_counter(), 0
    budget = 60 * minutes if minutes is not None else float(episodes or 0)
    unit = " s" if minutes is not None else " episodes"
    bar_format = "{l_bar}{bar}| {n:.0f}/{total:.0f}{unit} [{elapsed}<{remaining}{postfix}]"
    disable = None if progress else True
    devices = sorted({parameter.device.index for parameter in learner.parameters() if parameter.is_cuda})
    try:
        # Dropout and its kin draw from the global generators, which are the caller's again afterwards.
        with (
            torch.random.fork_rng(devices),
            tqdm(desc=f"training {method}", total=budget, unit=unit, bar_format=bar_format, disable=disable) as bar,
        ):
            spent = 0.0
            while spent < budget:
                torch.manual_seed(int(random_words(seed, STEPS, np.array([done]), 1)[0, 0]) >> 1)
                losses.append(_step(learner, optimiser, tasks, settings, done, spent / budget))
                done += settings.meta_batch
                spent = _spent(start, done, minutes)
                if done // settings.meta_batch % VALIDATE_EVERY == 0 or spent >= budget:
                    accuracy, ci95 = mean_ci95(accuracies_of(learner, validation, VALIDATION_EPISODES))
                    seconds = time.perf_counter() - start
                    history.append(Checkpoint(done, seconds, sum(losses) / len(losses), accuracy, ci95))
                    losses.clear()
                    if accuracy > best_accuracy:
                        best_accuracy = accuracy
                        best = {name: value.clone() for name, value in learner.state_dict().items()}
                    bar.set_postfix_str(f"loss {history[-1].loss:.3f}, validation {100 * accuracy:.1f} %")
                    spent = _spent(start, done, minutes)
                bar.n = min(spent, budget)
                bar.refresh()
    except KeyboardInterrupt:
        # Ctrl-C is an early end: what has validated best is kept, if anything has.
        if not best:
            raise
    learner.load_state_dict(best)
    learner.eval()
    seconds = time.perf_counter() - start
    run = TrainingRun(record.name, method, seed, settings, done, seconds, tuple(history), versions(), backbone)
    return learner, run


def _within(settings: TrainingDefaults, record: BenchmarkRecord, index: ClassIndex) -> TrainingDefaults:
    """The settings with no more ways than there are training classes, and no more queries than the smallest has left.

    Raises:
        TaskError: there are fewer classes than the benchmark has ways, so that a learner for it cannot be trained.
    """
    if len(index) < record.ways:
        raise TaskError(
            f"{record.name} is {record.ways}-way, but {record.dataset} has only {len(index)} training classes; "
            "train on a benchmark with fewer ways"
        )
    left = int(index.counts_C.min()) - settings.train_shots
    return replace(
        settings,
        train_ways=min(settings.train_ways, len(index)),
        # At least 1, so that a class without enough examples is refused by its name.
        train_queries=max(1, min(settings.train_queries, left)),
    )


def _spent(start: float, episodes: int, minutes: float | None) -> float:
    return float(episodes) if minutes is None else time.perf_counter() - start


def _step(
    learner: Learner,
    optimiser: torch.optim.Optimizer,
    tasks: Tasks,
    settings: TrainingDefaults,
    done: int,
    fraction: float,
) -> float:
    """One step of the outer loop on the next episodes, `fraction` of the budget being spent; its loss."""
    halvings = done // settings.halve_every if settings.halve_every else 0
    left = max(0.0, 1 - fraction) if settings.decay else 1.0
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * 0.5**halvings * left
    numbers = range(done, done + settings.meta_batch)
    if settings.batch_size is None:
        loss, _ = learner.meta_loss(*tasks.batch(numbers))
    else:
        assert isinstance(learner, PretrainedLearner)
        loss, _ = learner.example_loss(*tasks[done])
    if not loss.isfinite():
        raise DivergedError(
            f"the training loss is {loss.item()} after {done:,} episodes; "
            "try another seed, or a method with a lower learning rate"
        )
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    if settings.clip is not None:
        torch.nn.utils.clip_grad_norm_(learner.parameters(), settings.clip)
    optimiser.step()
    return loss.item()


def save_weights(path: Path, learner: Learner, run: TrainingRun) -> None:
    """Write a learner's weights as one safetensors file that carries the run as its card, whole or not at all.

    Raises:
        CacheError: the file cannot be written.
    """
    tensors = {name: value.contiguous() for name, value in learner.state_dict().items()}
    content = safetensors.torch.save(tensors, {"card": json.dumps(asdict(run))})
    write_file(path, content)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file of weights by name, and its card: the fields of a `TrainingRun`.

    Raises:
        ContentError: the file is absent, or no such file.
    """
    if not path.is_file():
        raise ContentError(f"there is no file {path}; give a file of weights that `l2l train` wrote")
    try:
        with safe_open(path, "pt") as file:
            card: dict[str, Any] = json.loads((file.metadata() or {})["card"])
        tensors = safetensors.torch.load_file(path)
        card["method"], card["benchmark"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ContentError(
            f"{path} holds no weights with a card ({error}); give a file of weights that `l2l train` wrote"
        ) from None
    return tensors, card


def load_weights(path: Path, learner: Learner, benchmark: Benchmark, method: str) -> dict[str, Any]:
    """Fill a learner with the weights of a file; gives the file's card.

    Raises:
        ContentError: the file is absent or no such file, is of another method, or a tensor does not fit (named).
    """
    tensors, card = read_weights(path)
    if card["method"] != method:
        raise ContentError(f"{path} holds weights of {card['method']}, not of {method}; give --method {card['method']}")
    expected = learner.state_dict()
    own = card.get("backbone")
    advice = f"train on {benchmark.record.name}"
    if card["benchmark"] == benchmark.record.name:
        advice = "leave --backbone out" if own is None else f"give --backbone {own}, or leave it out"
    for name in sorted(expected.keys() | tensors.keys()):
        found, wanted = (list(table[name].shape) if name in table else "absent" for table in (tensors, expected))
        if found != wanted:
            raise ContentError(
                f"{path} was trained for {card['benchmark']} and does not fit {benchmark.record.name}: "
                f"{name} is {found} in the file and {wanted} in the learner; {advice}"
            )
    learner.load_state_dict(tensors)
    return card
