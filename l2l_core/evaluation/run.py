"""Evaluating a learner on the episodes of a benchmark.

Within `distributed.joined` several processes share out the batches of episodes, and all of them have the whole result.
"""

import contextlib
import operator
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from l2l_core import distributed
from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.metric import MetricLearner
from l2l_core.algorithms.pretrained import PretrainedLearner
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.sampling import IntArray
from l2l_core.data.variable import VariableTasks
from l2l_core.errors import UsageError
from l2l_core.evaluation.embedded import (
    BASE_EXAMPLES,
    base_mean_of,
    device_of,
    embeddings_of,
    embeds_once,
    logits_on_embeddings,
)
from l2l_core.evaluation.report import Report, hardware, versions
from l2l_core.evaluation.statistics import mean_ci95

BATCH = 16
"""Episodes a batch: enough to fill two cores, few enough to fit a GPU with 20-way tasks."""
EMBEDDED_BATCH = 256
"""Episodes a batch where the examples are embedded already, and embeddings are so small that memory allows it."""
EMBEDDED_NUMBERS = 2**26
"""Numbers in a batch's pairs of a query and a way: of the maps of a relation network 256 episodes fill a machine."""
CONFUSIONS: Final = 200
"""So many pairs of classes are kept at most: what people look at, and not the square of some thousand classes."""


def evaluate(
    benchmark: Benchmark | str,
    learner: Learner,
    episodes: int | None = None,
    seed: int | None = None,
    *,
    method: str | None = None,
    weights: str | None = None,
    backbone: str | None = None,
    settings: Mapping[str, Any] | None = None,
    command: str | None = None,
    progress: bool = False,
) -> Report:
    """The accuracy of a learner on a benchmark's own episodes, with its 95% interval.

    Every learner gets the same episodes, so two reports with the same `episodes_digest` compare episode by episode.

    Args:
        benchmark: the opened protocol (see `load_benchmark`), or its name.
        learner: what adapts; it is in evaluation mode meanwhile, and left as it was. But one that centres embeddings
            by their mean over the training classes, and whose backbone is frozen so that no training tells it that
            mean, is given it first, and keeps it.
        episodes: how many, at least 2; the protocol's number for None.
        seed: of the episodes; the protocol's for None.
        method, weights, backbone: what to call the learner, its weights and its backbone in the report. Of a benchmark
            of texts the backbone is the encoder that makes vectors of them.
        settings, command: how the learner is set, and what was typed, for the report.
        progress: whether to show a bar on stderr, where that is a terminal.

    Raises:
        StoreError: the data set is not in the cache (says how to get it), or damaged.
        UsageError: `episodes` is below 2; the learner's logits are not finite or of another shape; or its head has a
            fixed number of ways, and the protocol has not.
    """
    benchmark = load_benchmark(benchmark).on(backbone)
    record = benchmark.record
    episodes = record.episodes if episodes is None else operator.index(episodes)
    if episodes < 2:
        raise UsageError(f"{episodes} episodes were asked for, but an interval needs at least 2; give more")
    generator = benchmark.episodes(seed=seed)
    start = time.perf_counter()
    if isinstance(learner, PretrainedLearner) and _awaits_base_mean(learner):
        _set_base_mean(learner, benchmark.dataset("train"), hidden=None if progress else True)
    per_class: dict[str, tuple[int, int]] = {}
    confusions: tuple[tuple[str, str, int], ...] = ()
    if isinstance(generator, VariableTasks):
        accuracies = _uneven_accuracies(learner, generator, episodes, hidden=None if progress else True)
        seconds = time.perf_counter() - start
    else:
        predicted_BQ = predictions_of(learner, generator, episodes, progress=progress)
        accuracies = accuracies_of_predictions(predicted_BQ, generator)
        seconds = time.perf_counter() - start
        per_class, confusions = count_mistakes(predicted_BQ, generator)
    accuracy, ci95 = mean_ci95(accuracies)
    return Report(
        benchmark=record.name,
        dataset=record.dataset,
        split=record.split,
        subset=record.subset,
        method=method or type(learner).__name__,
        weights=weights,
        ways=record.ways,
        shots=record.shots,
        queries=record.queries,
        episodes=episodes,
        seed=generator.seed,
        accuracy=accuracy,
        ci95=ci95,
        accuracies=tuple(accuracies),
        seconds=seconds,
        episodes_digest=generator.digest(episodes),
        versions=versions(),
        backbone=backbone,
        per_class=per_class,
        confusions=confusions,
        settings=settings or {},
        hardware=hardware(device_of(learner).type),
        command=command,
        date=datetime.now(UTC).date().isoformat(),
    )


def _awaits_base_mean(learner: PretrainedLearner) -> bool:
    """Whether no training can give it a base mean: nothing in its backbone learns, and none has."""
    learns = any(parameter.requires_grad for parameter in learner.backbone.parameters())
    return not learns and not learner.base_batches


def _set_base_mean(learner: PretrainedLearner, source: PreparedDataset, hidden: bool | None) -> None:
    total = min(len(source), BASE_EXAMPLES)
    with (
        evaluating(learner),
        tqdm(desc="embedding training classes", total=total, unit=" examples", disable=hidden, leave=False) as bar,
    ):
        learner.base_mean.copy_(base_mean_of(learner, source, bar.update))


def accuracies_of(
    learner: Learner, generator: TaskGenerator | VariableTasks, episodes: int, *, progress: bool = False
) -> list[float]:
    """The accuracy of a learner on each of the first `episodes` episodes, fractions in [0, 1].

    Args:
        learner: what adapts; it is in evaluation mode meanwhile, and left as it was.
        generator: gives the episodes.
        episodes: how many.
        progress: whether to show a bar on stderr, where that is a terminal.
    """
    if isinstance(generator, VariableTasks):
        return _uneven_accuracies(learner, generator, episodes, hidden=None if progress else True)
    return accuracies_of_predictions(predictions_of(learner, generator, episodes, progress=progress), generator)


def predictions_of(
    learner: Learner,
    generator: TaskGenerator,
    episodes: int,
    *,
    embeddings_MD: Tensor | None = None,
    progress: bool = False,
) -> IntArray:
    """What a learner takes each query for, labels int64 [B, N·Q]; the queries of label 0 come first, as they are drawn.

    Args:
        learner: what adapts; it is in evaluation mode meanwhile, and left as it was.
        generator: gives the episodes.
        episodes: B, from the first on.
        embeddings_MD: of `embeddings_of`, for who has them already.
        progress: whether to show a bar on stderr, where that is a terminal.
    """
    with evaluating(learner):
        answers, batch = _answers(learner, generator, episodes, embeddings_MD, hidden=None if progress else True)
        predicted_BQ = np.zeros((episodes, generator.ways * generator.queries), np.int64)
        own = _own_batches(episodes, batch)
        total = sum(map(len, own))
        with tqdm(
            desc="evaluating", total=total, unit=" episodes", disable=None if progress else True, leave=False
        ) as bar:
            for indices in own:
                logits_BQN, query_y = answers(indices)
                _check_logits(logits_BQN, (*query_y.shape, generator.ways), type(learner).__name__)
                predicted_BQ[indices.start : indices.stop] = logits_BQN.argmax(dim=-1).cpu().numpy()
                bar.update(len(indices))
    return distributed.summed(predicted_BQ)


@contextlib.contextmanager
def evaluating(learner: Learner) -> Iterator[None]:
    """A context in which a learner is in evaluation mode and no graph is kept; then it is left as it was."""
    # Each part has a mode of its own: a frozen one may be in evaluation mode within a learner that trains.
    modes = {part: part.training for part in learner.modules()}
    learner.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes.items():
            part.training = training


def _truth(generator: TaskGenerator) -> IntArray:
    """The label of each query of an episode, int64 [N·Q]."""
    return np.repeat(np.arange(generator.ways), generator.queries)


def accuracies_of_predictions(predicted_BQ: IntArray, generator: TaskGenerator) -> list[float]:
    """The fraction of right labels in each episode, of what `predictions_of` gave for this generator."""
    accuracies: list[float] = (predicted_BQ == _truth(generator)).mean(axis=1).tolist()
    return accuracies


def count_mistakes(
    predicted_BQ: IntArray, generator: TaskGenerator
) -> tuple[dict[str, tuple[int, int]], tuple[tuple[str, str, int], ...]]:
    """How often each class was recognised, and the most frequent mistakes, as `Report` describes them.

    Args:
        predicted_BQ: of `predictions_of`.
        generator: that gave the episodes.
    """
    index, truth_Q = generator.dataset.class_index, _truth(generator)
    classes = len(index)
    right_C, queries_C = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    wrong: list[IntArray] = []
    for part in _batches(len(predicted_BQ), 1024):
        found_BQ = predicted_BQ[part.start : part.stop]
        classes_BN = generator.describe(part).all_classes_BN
        true_BQ, right_BQ = classes_BN[:, truth_Q], found_BQ == truth_Q
        queries_C += generator.queries * np.bincount(classes_BN.ravel(), minlength=classes)
        right_C += np.bincount(true_BQ[right_BQ], minlength=classes)
        # A pair of classes as one number.
        wrong.append(true_BQ[~right_BQ] * classes + np.take_along_axis(classes_BN, found_BQ, axis=1)[~right_BQ])
    per_class = {
        index.name(row): (int(right_C[row]), int(queries_C[row])) for row in np.flatnonzero(queries_C).tolist()
    }
    pairs, counts = np.unique(np.concatenate(wrong), return_counts=True)
    most = np.argsort(-counts, kind="stable")[:CONFUSIONS]
    confusions = tuple(
        (index.name(pair // classes), index.name(pair % classes), count)
        for pair, count in zip(pairs[most].tolist(), counts[most].tolist(), strict=True)
    )
    return per_class, confusions


def _uneven_accuracies(learner: Learner, tasks: VariableTasks, episodes: int, hidden: bool | None) -> list[float]:
    """The accuracy on each of the first episodes, one by one, since no two of them need be of one size.

    Raises:
        UsageError: the learner cannot do as many ways as an episode has; its logits are not finite.
    """
    accuracies_B, device = np.zeros(episodes), device_of(learner)
    own = distributed.share(episodes)
    with evaluating(learner):
        for number in tqdm(own, desc="evaluating", unit=" episodes", disable=hidden, leave=False):
            support_x, support_y, query_x, query_y = (part[None].to(device) for part in tasks[number])
            ways, name = int(support_y.max()) + 1, type(learner).__name__
            try:
                logits_BQN = learner.adapt(support_x, support_y)(query_x)
                _check_logits(logits_BQN, (*query_y.shape, ways), name)
            except UsageError as error:
                raise UsageError(
                    f"{name} cannot do episode {number}, of {ways} ways, in a protocol whose episodes differ in their "
                    f"ways ({error}); take a method that makes its head of the support set, such as protonet"
                ) from None
            accuracies_B[number] = (logits_BQN.argmax(dim=-1) == query_y).double().mean().item()
    accuracies: list[float] = distributed.summed(accuracies_B).tolist()
    return accuracies


def _check_logits(logits: Tensor, shape: tuple[int, ...], learner: str) -> None:
    """Refuse what argmax would turn into a figure without meaning."""
    if logits.shape != shape:
        raise UsageError(
            f"{learner} gave logits {list(logits.shape)} instead of [tasks, queries, ways] = {list(shape)}; "
            f"its predictor must score every way for every query"
        )
    if not logits.isfinite().all():
        raise UsageError(
            f"{learner} gave logits that are not finite, so its accuracy has no meaning; look at its training"
        )


def _answers(
    learner: Learner, generator: TaskGenerator, episodes: int, embeddings_MD: Tensor | None, hidden: bool | None
) -> tuple[Callable[[range], tuple[Tensor, Tensor]], int]:
    """What gives the logits and labels of some episodes' queries, and how many episodes to ask it for at a time."""

    device = device_of(learner)

    def adapted(indices: range) -> tuple[Tensor, Tensor]:
        support_x, support_y, query_x, query_y = (part.to(device) for part in generator.batch(indices))
        return learner.adapt(support_x, support_y)(query_x), query_y

    if embeddings_MD is None:
        embeddings_MD = embedded_once(learner, generator, episodes, hidden)
    if embeddings_MD is None:
        return adapted, BATCH
    assert isinstance(learner, MetricLearner)
    pairs = generator.ways**2 * generator.queries * embeddings_MD[0].numel()
    batch = max(1, min(EMBEDDED_BATCH, EMBEDDED_NUMBERS // pairs))
    return partial(logits_on_embeddings, learner, generator, embeddings_MD), batch


def embedded_once(
    learner: Learner, generator: TaskGenerator, episodes: int, hidden: bool | None = True
) -> Tensor | None:
    """The embeddings of all examples, [M, D], where one of each is right and pays; else None.

    Args:
        learner: in the mode it is to be evaluated in.
        generator: of the episodes.
        episodes: how many there will be.
        hidden: whether to show no bar; None shows one where stderr is a terminal.
    """
    if not embeds_once(learner, generator, episodes):
        return None
    examples = len(generator.dataset)
    with tqdm(desc="embedding", total=examples, unit=" examples", disable=hidden, leave=False) as bar:
        return embeddings_of(learner, generator, bar.update)


def _own_batches(episodes: int, size: int) -> list[range]:
    """The batches of this process: whole ones, so that an episode has the same company in every number of processes."""
    batches = list(_batches(episodes, size))
    share = distributed.share(len(batches))
    return batches[share.start : share.stop]


def _batches(episodes: int, size: int) -> Iterator[range]:
    for start in range(0, episodes, size):
        yield range(start, min(start + size, episodes))
