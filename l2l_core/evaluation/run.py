"""Evaluating a learner on the episodes of a benchmark."""

import operator
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from l2l_core.algorithms.learner import Learner
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.data.generator import TaskGenerator
from l2l_core.errors import UsageError
from l2l_core.evaluation.embedded import embeddings_of, embeds_once, logits_on_embeddings
from l2l_core.evaluation.report import Report, versions
from l2l_core.evaluation.statistics import mean_ci95

BATCH = 16
"""Episodes a batch: enough to fill two cores, few enough to fit a GPU with 20-way tasks."""
EMBEDDED_BATCH = 256
"""Episodes a batch where the examples are embedded already."""


def evaluate(
    benchmark: Benchmark | str,
    learner: Learner,
    episodes: int | None = None,
    seed: int | None = None,
    *,
    method: str | None = None,
    weights: str | None = None,
    backbone: str | None = None,
    progress: bool = False,
) -> Report:
    """The accuracy of a learner on a benchmark's own episodes, with its 95% interval.

    Every learner gets the same episodes, so two reports with the same `episodes_digest` compare episode by episode.

    Args:
        benchmark: the opened protocol (see `load_benchmark`), or its name.
        learner: what adapts; it is in evaluation mode meanwhile, and left as it was.
        episodes: how many, at least 2; the protocol's number for None.
        seed: of the episodes; the protocol's for None.
        method, weights, backbone: what to call the learner, its weights and its backbone in the report.
        progress: whether to show a bar on stderr, where that is a terminal.

    Raises:
        StoreError: the data set is not in the cache (says how to get it), or damaged.
        UsageError: `episodes` is below 2, or the learner's logits are not finite or of another shape.
    """
    benchmark = load_benchmark(benchmark)
    record = benchmark.record
    episodes = record.episodes if episodes is None else operator.index(episodes)
    if episodes < 2:
        raise UsageError(f"{episodes} episodes were asked for, but an interval needs at least 2; give more")
    generator = benchmark.episodes(seed=seed)
    start = time.perf_counter()
    accuracies = accuracies_of(learner, generator, episodes, progress=progress)
    seconds = time.perf_counter() - start
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
    )


def accuracies_of(learner: Learner, generator: TaskGenerator, episodes: int, *, progress: bool = False) -> list[float]:
    """The accuracy of a learner on each of the first `episodes` episodes, fractions in [0, 1].

    Args:
        learner: what adapts; it is in evaluation mode meanwhile, and left as it was.
        generator: gives the episodes.
        episodes: how many.
        progress: whether to show a bar on stderr, where that is a terminal.
    """
    # Each part has a mode of its own: a frozen one may be in evaluation mode within a learner that trains.
    modes = {part: part.training for part in learner.modules()}
    learner.eval()
    try:
        with torch.no_grad():
            answers, batch = _answers(learner, generator, episodes, hidden=None if progress else True)
            accuracies: list[float] = []
            with tqdm(
                desc="evaluating", total=episodes, unit=" episodes", disable=None if progress else True, leave=False
            ) as bar:
                for indices in _batches(episodes, batch):
                    logits_BQN, query_y = answers(indices)
                    _check_logits(logits_BQN, (*query_y.shape, generator.ways), type(learner).__name__)
                    accuracies += (logits_BQN.argmax(dim=-1) == query_y).double().mean(dim=1).tolist()
                    bar.update(len(indices))
    finally:
        for part, training in modes.items():
            part.training = training
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
    learner: Learner, generator: TaskGenerator, episodes: int, hidden: bool | None
) -> tuple[Callable[[range], tuple[Tensor, Tensor]], int]:
    """What gives the logits and labels of some episodes' queries, and how many episodes to ask it for at a time."""

    def adapted(indices: range) -> tuple[Tensor, Tensor]:
        episode = generator.batch(indices)
        return learner.adapt(episode.support_x, episode.support_y)(episode.query_x), episode.query_y

    if not embeds_once(learner, generator, episodes):
        return adapted, BATCH
    examples = len(generator.dataset)
    with tqdm(desc="embedding", total=examples, unit=" examples", disable=hidden, leave=False) as bar:
        embeddings_MD = embeddings_of(learner, generator, bar.update)
    if embeddings_MD is None:
        return adapted, BATCH
    return lambda indices: logits_on_embeddings(learner, generator, embeddings_MD, indices), EMBEDDED_BATCH


def _batches(episodes: int, size: int) -> Iterator[range]:
    for start in range(0, episodes, size):
        yield range(start, min(start + size, episodes))
