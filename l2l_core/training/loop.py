"""Training a learner on the episodes of a benchmark's training classes, and keeping what validates best.

Step s of a run trains on episodes s·b to (s + 1)·b − 1 of the run's seed, b a step, with generators seeded for that
step; the budget only says when to stop. So a run of some minutes is the beginning of a longer one, a budget in episodes
gives the same weights every time, and a run that was killed goes on from its last checkpoint to where it would have
come without. Within `distributed.joined` several processes share out each step and each validation.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm import tqdm

from l2l_core import distributed
from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.methods import TrainingSettings
from l2l_core.algorithms.pretrained import PretrainedLearner
from l2l_core.data.batches import Tasks
from l2l_core.data.benchmarks import Benchmark, load_benchmark, training_augmentation
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.pretraining import ExampleBatches
from l2l_core.data.sampling import random_words
from l2l_core.data.variable import VariableTasks
from l2l_core.errors import DivergedError, UsageError
from l2l_core.evaluation.report import hardware, versions
from l2l_core.evaluation.run import accuracies_of
from l2l_core.evaluation.statistics import mean_ci95
from l2l_core.files import writing
from l2l_core.training.build import build_learner, setting_for, settings_of, training_for, usable_device
from l2l_core.training.checkpoints import (
    load_checkpoint,
    load_optimiser,
    optimiser_tensors,
    remove_checkpoints,
    save_checkpoint,
)
from l2l_core.training.log import LogRow, TrainingLog
from l2l_core.training.rates import learning_rate
from l2l_core.training.shares import as_one, share_of, sum_gradients
from l2l_core.training.weights import FILE_NAME, save_weights, state_of

LOG_EVERY: Final = 10
"""Steps between rows of the log."""
CHECKPOINT_SECONDS: Final = 30.0
"""A checkpoint is written at the first validation after so long; a killed run repeats little more than that."""
STEPS: Final = 50
"""Stream of the random words that seed torch's generators for each step."""
OPTIMISERS: Final[Mapping[str, Callable[..., torch.optim.Optimizer]]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}


@dataclass(frozen=True, slots=True)
class Validation:
    """How a run stood when it was validated.

    Attributes:
        episodes: trained on so far.
        seconds: since the start, validation included.
        loss: mean training loss since the validation before.
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
        history: one entry a validation; the weights are those of the most accurate.
        versions: of the packages that matter.
        backbone: name of the backbone; None for the method's own.
        learner: settings of the learner, by name.
        hardware: what computed it, in one line.
        command: what was typed; None where it was no command.
    """

    benchmark: str
    method: str
    seed: int
    settings: TrainingSettings
    episodes: int
    seconds: float
    history: tuple[Validation, ...]
    versions: Mapping[str, str]
    backbone: str | None = None
    learner: Mapping[str, Any] = field(default_factory=dict)
    hardware: str = ""
    command: str | None = None

    @property
    def best(self) -> Validation:
        """The most accurate validation, the earliest of equals."""
        return max(self.history, key=lambda validation: validation.accuracy)

    @property
    def curve(self) -> tuple[tuple[float, float, float], ...]:
        """(seconds, accuracy, ci95) of each validation."""
        return tuple((validation.seconds, validation.accuracy, validation.ci95) for validation in self.history)


@dataclass(slots=True)
class _State:
    """What a run has come to.

    Attributes:
        done: episodes trained on.
        losses: of the steps since the last validation.
        best: the weights that validated best.
    """

    done: int = 0
    history: list[Validation] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best_accuracy(self) -> float:
        return max((validation.accuracy for validation in self.history), default=-1.0)

    @property
    def stale(self) -> int:
        """Validations since the best one."""
        accuracies = [validation.accuracy for validation in self.history]
        return len(accuracies) - 1 - accuracies.index(max(accuracies)) if accuracies else 0


def train(
    benchmark: Benchmark | str,
    method: str,
    *,
    minutes: float | None = None,
    episodes: int | None = None,
    examples: int | None = None,
    seed: int = 0,
    backbone: str | None = None,
    settings: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    fresh: bool = False,
    device: str | torch.device | None = None,
    command: str | None = None,
    progress: bool = False,
    say: Callable[[str], object] = warnings.warn,
) -> tuple[Learner, TrainingRun]:
    """A learner trained on the benchmark's training classes, with the weights that did best on its validation classes.

    Args:
        benchmark: the opened protocol, or its name.
        method: name of the method; its recipe says how episodes are formed. Where the data set has fewer classes than
            its ways, or fewer examples than its queries, the episodes are as large as the data set allows.
        minutes: time budget, validation included.
        episodes: budget in training episodes, rounded up to whole steps.
        examples: budget in training examples, support and query, rounded up to whole steps, so that methods with other
            episodes can be compared; one of the three budgets, exactly.
        seed: of the initial weights and of the episodes.
        backbone: name of the backbone; the method's own for None.
        settings: in place of the method's own, by name: those of `TrainingSettings`, and arguments of the learner.
        folder: where to write checkpoints, the log ``training.csv`` and at the end ``weights.safetensors``. A run that
            the folder holds unfinished goes on, and a finished one is not trained again. None writes nothing.
            Of several processes only the first one looks at its folder, and writes.
        fresh: whether to begin anew whatever the folder holds.
        device: where to train, as torch calls it; a GPU where there is one, else the processor, for None. Several
            processes of a machine have a GPU each.
        command: what was typed, for the card of the weights.
        progress: whether to show a bar on stderr, where that is a terminal.
        say: is told, in words, where a run goes on from, and of damaged checkpoints.

    Ctrl-C ends the training early, once something has validated.

    Raises:
        UnknownNameError: no such method, backbone or setting.
        UsageError: no budget, two, or one that is not a positive number; a seed that does not fit 64 bits; a setting
            that cannot be; the folder holds another run, or another process is training in it.
        TaskError: the training or validation classes are too few for the benchmark's ways, or one has too few examples.
        DivergedError: the loss, or a weight, became infinite or NaN. What validated best before is in the folder.
        StoreError: the data set is not in the cache (says how to get it), or damaged.
        CacheError: the folder cannot be written to.
    """
    given = {"minutes": minutes, "episodes": episodes, "examples": examples}
    budgets = [value for value in given.values() if value is not None]
    if len(budgets) != 1 or not 0 < budgets[0] < math.inf:
        found = ", ".join(f"{name} = {value}" for name, value in given.items())
        raise UsageError(f"found {found}; give one of them, above 0")
    benchmark = load_benchmark(benchmark).on(backbone)
    classes = benchmark.dataset("train")
    setting = setting_for(benchmark, method, backbone, settings)
    how = training_for(method, setting, benchmark.record, classes.class_index, settings or {})
    learner = build_learner(benchmark, method, seed, backbone=backbone, settings=settings)
    learner = learner.to(usable_device(distributed.own_device(device)))
    augmentations = training_augmentation(replace(benchmark.record, augmentation=how.augmentation or "none"))
    if not any(parameter.requires_grad for parameter in learner.parameters()):
        raise UsageError(
            f"{method} on {backbone} has nothing to learn, since its backbone is frozen; evaluate it without training"
        )
    tasks: Tasks
    if how.batch_size is None:
        form = how.train_ways, how.train_shots, how.train_queries
        tasks = TaskGenerator(classes, *form, seed=seed, augmentations=augmentations)
        each = how.train_ways * (how.train_shots + how.train_queries)
    else:
        drop_last = len(classes) >= how.batch_size
        tasks = ExampleBatches(classes, how.batch_size, seed, drop_last=drop_last, augmentations=augmentations)
        each = how.batch_size
    if examples is not None:
        episodes = math.ceil(examples / each)
    run = _Run(
        TrainingRun(
            benchmark.record.name,
            method,
            seed,
            how,
            *(0, 0.0, (), versions(), backbone),
            settings_of(benchmark, method, backbone, settings),
            hardware(next((each.device.type for each in learner.parameters()), "cpu")),
            command,
        ),
        learner,
        tasks,
        # With the top bit turned over: other episodes than any seed that a user would train or test with.
        benchmark.episodes("validation", seed=seed ^ 2**63),
        minutes,
        episodes,
        folder,
    )
    # Dropout and its kin draw from the global generators, which are the caller's again afterwards.
    on_gpu = sorted({parameter.device.index for parameter in learner.parameters() if parameter.is_cuda})
    with _kept_free(folder), distributed.interrupts_held() as interrupted:
        run.begin(fresh, say)
        try:
            with torch.random.fork_rng(on_gpu):
                run.go(progress, interrupted)
        except KeyboardInterrupt:
            # Ctrl-C is an early end: what has validated best is kept, if anything has.
            if not run.state.best:
                raise
        except (DivergedError, UsageError) as error:
            # What once validated was asked for rightly; when a learner refuses its own numbers later, it has diverged.
            if not run.state.best:
                raise
            if folder is None:
                raise DivergedError(str(error)) from None
            done = run.finish()[1]
            raise DivergedError(
                f"{error}; {folder / FILE_NAME} holds the weights of before, those after {done.best.episodes:,} "
                "episodes"
            ) from None
        return run.finish()


@contextmanager
def _kept_free(folder: Path | None) -> Iterator[None]:
    """A context in which no other process trains in the folder; of a job's processes the first one keeps it free.

    Raises:
        UsageError: another process is training in it.
        CacheError: the folder cannot be written to.
    """
    if folder is None:
        yield
        return
    path = folder / "training.lock"
    lock = FileLock(path)

    def acquire() -> None:
        with writing("the lock of a run", path, "choose another place"):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise UsageError(
                    f"another process is training in {folder}; wait until it is done, or give another folder"
                ) from None

    distributed.from_first(acquire)
    try:
        yield
    finally:
        # While it is held: whoever has opened the file that goes here finds out, and looks again.
        if lock.is_locked:
            with suppress(OSError):
                path.unlink()
        lock.release()


class _Run:
    """A run under way.

    Args:
        about: what is trained how; what becomes of it is filled in at the end.
        learner: on its device.
        tasks: to train on.
        validation: episodes to validate on.
        minutes, episodes: the budget, one of them.
        folder: where to write to; None writes nothing.
    """

    def __init__(
        self,
        about: TrainingRun,
        learner: Learner,
        tasks: Tasks,
        validation: TaskGenerator | VariableTasks,
        minutes: float | None,
        episodes: int | None,
        folder: Path | None,
    ) -> None:
        self.about, self.how, self.learner, self.tasks = about, about.settings, learner, tasks
        self.validation, self.folder = validation, folder
        self.first = distributed.is_first()
        self.timed = minutes is not None
        self.budget = 60 * minutes if minutes is not None else float(episodes or 0)
        self.unit = " s" if self.timed else " episodes"
        decay = {"weight_decay": self.how.weight_decay} if self.how.weight_decay else {}
        self.optimiser = OPTIMISERS[self.how.optimiser](learner.parameters(), lr=self.how.learning_rate, **decay)
        self.device = next((parameter.device for parameter in learner.parameters()), torch.device("cpu"))
        self.state = _State()
        self.start = self.saved = time.perf_counter()
        self.clock = 0.0

    @property
    def plan(self) -> dict[str, Any]:
        """What decides every step; a checkpoint of another plan is another run's."""
        about = asdict(self.about)
        plan = {name: about[name] for name in ("benchmark", "method", "backbone", "seed", "settings", "learner")}
        # Where the rate follows the budget, so does every step; else a longer run begins like a shorter one.
        return {**plan, "budget": f"{self.budget:.15g}{self.unit}" if self.how.decay or self.how.drops else None}

    @property
    def seconds(self) -> float:
        """Since the start, those of earlier processes included."""
        return time.perf_counter() - self.start

    @property
    def spent(self) -> float:
        """Of the budget, by the clock of the first process when it was last looked at."""
        return self.clock if self.timed else float(self.state.done)

    @property
    def over(self) -> bool:
        """Whether the budget is spent, or patience at an end."""
        return self.spent >= self.budget or (self.how.patience is not None and self.state.stale >= self.how.patience)

    def begin(self, fresh: bool, say: Callable[[str], object]) -> None:
        """Nothing; the run stands where the folder's last checkpoint has it, or at its beginning."""
        step, units = 0, self.how.batch_size or self.how.meta_batch
        if units < distributed.size() and self.first:
            what = "example" if self.how.batch_size else "episode"
            say(
                f"a step has {units} {what}{'s' if units > 1 else ''}, which {distributed.size()} processes cannot "
                f"share out, so each of them does all of it and only validation is quicker; see "
                f"{'batch_size' if self.how.batch_size else 'meta_batch'}"
            )
        found = distributed.from_first(lambda: self._found(fresh, say))
        distributed.as_in_first(self.learner)
        if found is not None:
            self._restore(*found)
            step = found[1]["step"]
        self._look_at_clock()
        if found is not None and not self.over and self.first:
            say(f"going on after {self.state.done:,} episodes, where {self.folder} stands")
        self.log = TrainingLog(self.folder if self.first else None, step)

    def _found(self, fresh: bool, say: Callable[[str], object]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The folder's last checkpoint."""
        if self.folder is None:
            return None
        if fresh:
            remove_checkpoints(self.folder)
        return load_checkpoint(self.folder, self.plan, say)

    def go(self, progress: bool, interrupted: Callable[[], bool]) -> None:
        """Nothing; the budget is spent, or patience is at an end.

        Args:
            progress: whether to show a bar.
            interrupted: whether Ctrl-C has been pressed, where it does not end the process.

        Raises:
            KeyboardInterrupt: it has, in one of the processes.
        """
        self.learner.train()
        # As whole numbers, since a bar of floats counts in long decimals.
        bar_format = "{l_bar}{bar}| {n:.0f}/{total:.0f}{unit} [{elapsed}<{remaining}{postfix}]"
        with tqdm(
            desc=f"training {self.about.method}",
            initial=min(self.spent, self.budget),
            total=self.budget,
            unit=self.unit,
            bar_format=bar_format,
            disable=None if progress else True,
        ) as bar:
            logged: list[float] = []
            while not self.over:
                rate = learning_rate(self.how, self.state.done, self.spent / self.budget)
                logged.append(self._step(rate))
                self._look_at_clock(interrupted())
                step = self.state.done // self.how.meta_batch
                scores: tuple[float, float] | tuple[()] = ()
                if step % self.how.validate_every == 0 or self.over:
                    scores = self._validate()
                    loss = self.state.history[-1].loss
                    bar.set_postfix_str(f"loss {loss:.3f}, validation {100 * scores[0]:.1f} %")
                    self._look_at_clock(interrupted())
                if scores or step % LOG_EVERY == 0:
                    mean = sum(logged) / len(logged)
                    self.log.add(LogRow(step, self.state.done, self.seconds, mean, rate, *scores))
                    logged.clear()
                # The log first: what a checkpoint covers must be in it.
                if scores and (time.perf_counter() - self.saved >= CHECKPOINT_SECONDS or self.over):
                    self._save(step)
                bar.n = min(self.spent, self.budget)
                bar.refresh()

    def finish(self) -> tuple[Learner, TrainingRun]:
        """The learner with its best weights, and what the run did; both are in the folder."""
        self.learner.load_state_dict(self.state.best)
        self.learner.eval()
        state = self.state
        run = replace(self.about, episodes=state.done, seconds=self.seconds, history=tuple(state.history))
        if self.folder is not None and self.first:
            save_weights(self.folder / FILE_NAME, self.learner, run)
        return self.learner, run

    def _look_at_clock(self, interrupted: bool = False) -> None:
        """Nothing; all processes have the same time, or stop."""
        self.clock, stop = distributed.agreed(self.seconds, interrupted)
        if stop:
            raise KeyboardInterrupt

    def _step(self, rate: float) -> float:
        """One step of the outer loop on the next episodes; its loss."""
        done, how, learner = self.state.done, self.how, self.learner
        share = share_of(how.batch_size or how.meta_batch)
        words = random_words(self.about.seed, STEPS, np.array([done]), share.draws + 1)
        torch.manual_seed(int(words[0, share.draws]) >> 1)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if how.batch_size is None:
            of_episodes = self.tasks.batch(range(done + share.part.start, done + share.part.stop))
            loss_of: Callable[..., tuple[Tensor, Tensor]] = learner.meta_loss
            inputs = self._moved(of_episodes)
        else:
            assert isinstance(learner, PretrainedLearner)
            x, y = self.tasks[done]
            share = share_of(len(y))
            part = slice(share.part.start, share.part.stop)
            loss_of, inputs = learner.example_loss, self._moved((x[part], y[part]))
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=how.precision == "bfloat16")
        with as_one(learner, share), half:
            loss = loss_of(*inputs)[0] * share.weight
        value = float(distributed.summed(np.array([loss.item()]))[0])
        if not math.isfinite(value):
            raise self._diverged(f"the training loss is {value}")
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        sum_gradients(learner)
        if how.clip is not None:
            torch.nn.utils.clip_grad_norm_(learner.parameters(), how.clip)
        self.optimiser.step()
        self.state.losses.append(value)
        self.state.done += how.meta_batch
        return value

    def _moved(self, parts: Iterable[Tensor]) -> list[Tensor]:
        return [part.to(self.device, non_blocking=True) for part in parts]

    def _validate(self) -> tuple[float, float]:
        """Accuracy on the validation episodes and its interval; the best weights so far are kept."""
        state = self.state
        if not all(value.isfinite().all() for value in (*self.learner.parameters(), *self.learner.buffers())):
            raise self._diverged("a weight is no finite number")
        accuracy, ci95 = mean_ci95(accuracies_of(self.learner, self.validation, self.how.validation_episodes))
        if accuracy > state.best_accuracy:
            state.best = state_of(self.learner)
        mean = sum(state.losses) / len(state.losses)
        state.history.append(Validation(state.done, self.seconds, mean, accuracy, ci95))
        state.losses.clear()
        return accuracy, ci95

    def _diverged(self, what: str) -> DivergedError:
        return DivergedError(
            f"{what} after {self.state.done:,} episodes; "
            "try another seed, a lower learning rate, or a method that has one"
        )

    def _save(self, step: int) -> None:
        if self.folder is None or not self.first:
            return
        parts = {
            "learner": state_of(self.learner),
            "optimiser": optimiser_tensors(self.optimiser),
            "best": self.state.best,
        }
        tensors = {f"{part}.{name}": value for part, table in parts.items() for name, value in table.items()}
        card = {
            "plan": self.plan,
            "episodes": self.state.done,
            "seconds": self.seconds,
            "history": [asdict(validation) for validation in self.state.history],
            "versions": dict(self.about.versions),
        }
        save_checkpoint(self.folder, step, tensors, card)
        self.saved = time.perf_counter()

    def _restore(self, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            whole = f"{prefix}."
            return {name.removeprefix(whole): tensors[name] for name in tensors if name.startswith(whole)}

        self.learner.load_state_dict(part("learner"))
        load_optimiser(self.optimiser, part("optimiser"))
        history = [Validation(**validation) for validation in card["history"]]
        self.state = _State(card["episodes"], history, best=part("best"))
        self.start = time.perf_counter() - card["seconds"]
