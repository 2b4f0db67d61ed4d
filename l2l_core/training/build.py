"""An untrained learner for a benchmark, and the settings that it and its training take."""

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import torch

from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.methods import Setting, TrainingSettings, get_method
from l2l_core.data.batches import check_seed
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.data.index import ClassIndex
from l2l_core.data.tokens import TokenDataset
from l2l_core.errors import TaskError, UsageError
from l2l_core.records import TRAINING_AUGMENTATIONS, BenchmarkRecord

_TRAINING = frozenset(field.name for field in fields(TrainingSettings))


def build_learner(
    benchmark: Benchmark | str,
    method: str,
    seed: int = 0,
    *,
    backbone: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Learner:
    """An untrained learner for a benchmark; its initial weights are a function of the seed.

    Args:
        benchmark: the opened protocol, or its name.
        method: its name.
        seed: of the initial weights.
        backbone: name of the backbone; the method's own for None.
        settings: of the learner in place of the method's own, by name; those of its training have no effect here.

    Raises:
        UnknownNameError: no such method, backbone or setting.
        UsageError: the seed does not fit 64 bits, the backbone cannot take the pictures, or a setting cannot be so.
        StoreError: the data set is not in the cache (says how to get it), or damaged.
    """
    spec, benchmark = get_method(method), load_benchmark(benchmark).on(backbone)
    setting = setting_for(benchmark, method, backbone, settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(check_seed(seed))
        return spec.build(setting)


def setting_for(
    benchmark: Benchmark, method: str, backbone: str | None = None, settings: Mapping[str, Any] | None = None
) -> Setting:
    """What a learner for a benchmark is built for; of the settings those that are not its training's."""
    record, train_set = benchmark.record, benchmark.on(backbone).dataset("train")
    own = {name: value for name, value in (settings or {}).items() if name not in _TRAINING}
    # Episodes of a variable protocol have ways and shots of their own; a head of fixed ways is refused by the first.
    vocabulary = train_set.vocabulary if isinstance(train_set, TokenDataset) else 0
    shape, classes = train_set.example_shape, len(train_set.classes)
    return Setting(record.ways or 5, record.shots or 5, shape, classes, backbone, own, vocabulary)


def settings_of(
    benchmark: Benchmark, method: str, backbone: str | None = None, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The settings of the learner that `build_learner` builds with these arguments, by name, for reports."""
    return dict(get_method(method).settings(setting_for(benchmark, method, backbone, settings)))


def training_for(
    method: str, setting: Setting, record: BenchmarkRecord, index: ClassIndex, settings: Mapping[str, Any]
) -> TrainingSettings:
    """How a method is trained: as it says, but for the given settings, and no more than the data set allows.

    There are no more ways than training classes, and no more queries than the smallest class has left.

    Raises:
        TaskError: there are fewer classes than the benchmark has ways, so that a learner for it cannot be trained.
        UsageError: a setting cannot be so.
    """
    own = get_method(method).training(setting)
    given = {name: value for name, value in settings.items() if name in _TRAINING}
    if not given.keys().isdisjoint(_SCHEDULE):
        # Whoever gives a schedule gives the whole of it: the method's own halving is not in force beside it.
        given = {**_SCHEDULE, **given}
    if "drops" in given:
        given["drops"] = _pairs(given["drops"])
    asked = _checked(replace(own, **given))
    if own.batch_size is None and asked.batch_size is not None:
        raise UsageError(
            f"batch_size = {asked.batch_size} was asked for, but {method} trains on episodes; leave it out"
        )
    if asked.batch_size is not None and asked.meta_batch != 1:
        raise UsageError(
            f"meta_batch = {asked.meta_batch} was asked for, but {method} trains on batches of examples; set batch_size"
        )
    if len(index) < record.ways:
        raise TaskError(
            f"{record.name} is {record.ways}-way, but {record.dataset} has only {len(index)} training classes; "
            "train on a benchmark with fewer ways"
        )
    left = int(index.counts_C.min()) - asked.train_shots
    return replace(
        asked,
        augmentation=asked.augmentation or record.augmentation,
        train_ways=min(asked.train_ways, len(index)),
        # At least 1, so that a class without enough examples is refused by its name.
        train_queries=max(1, min(asked.train_queries, left)),
    )


def usable_device(name: str | torch.device | None = None) -> torch.device:
    """The device of that name; for None a GPU where there is one, else the processor.

    Raises:
        UsageError: there is no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        # Also a number back: some devices hold tensors, but compute nothing.
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"cannot use the device {name}: {reason}; choose another, such as cpu") from None
    return device


_SCHEDULE: Mapping[str, Any] = {"halve_every": None, "decay": None, "drops": ()}
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "optimiser": ("adam", "sgd", "nesterov"),
    "decay": (None, "linear", "cosine"),
    "precision": ("float32", "bfloat16"),
    "augmentation": (None, *TRAINING_AUGMENTATIONS),
}
_COUNTS = ("train_ways", "train_shots", "train_queries", "meta_batch", "validate_every", "validation_episodes")
_COUNTS_OR_NONE = ("halve_every", "batch_size", "patience")


def _checked(settings: TrainingSettings) -> TrainingSettings:
    """The settings, where a run can honour them."""
    for name, known in _CHOICES.items():
        if getattr(settings, name) not in known:
            raise UsageError(
                f"{name} = {getattr(settings, name)!r} was asked for; choose {', '.join(map(repr, known))}"
            )
    for name in (*_COUNTS, *_COUNTS_OR_NONE):
        value = getattr(settings, name)
        if value is None and name in _COUNTS_OR_NONE:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{name} = {value!r} was asked for; give a whole number of at least 1")
    if settings.validation_episodes < 2:
        raise UsageError("validation_episodes = 1 was asked for, but an interval needs at least 2; give more")
    if not _is_amount(settings.learning_rate):
        raise UsageError(f"learning_rate = {settings.learning_rate!r} was asked for; give a number above 0")
    if settings.clip is not None and not _is_amount(settings.clip):
        raise UsageError(f"clip = {settings.clip!r} was asked for; give a number above 0")
    if settings.weight_decay != 0 and not _is_amount(settings.weight_decay):
        raise UsageError(f"weight_decay = {settings.weight_decay!r} was asked for; give a number of at least 0")
    fractions = [fraction for fraction, _ in settings.drops]
    if fractions != sorted(set(fractions)) or not all(0 < fraction < 1 for fraction in fractions):
        raise UsageError(f"drops = {settings.drops} was asked for; give fractions between 0 and 1 that rise")
    if not all(_is_amount(factor) for _, factor in settings.drops):
        raise UsageError(f"drops = {settings.drops} was asked for; give factors above 0")
    return settings


def _is_amount(value: object) -> bool:
    """Whether it is a finite number above 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _pairs(drops: Any) -> tuple[tuple[float, float], ...]:
    """The drops as JSON has them, lists of lists, as pairs."""
    try:
        return tuple((float(fraction), float(factor)) for fraction, factor in drops)
    except (TypeError, ValueError):
        raise UsageError(
            f"drops = {drops!r} was asked for; give [FRACTION, FACTOR] pairs, as in [[0.5, 0.1], [0.75, 0.01]]"
        ) from None
