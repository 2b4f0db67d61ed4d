"""Accuracy against ways and shots: the benchmark's classes in episodes of other forms."""

from collections.abc import Sequence
from typing import Final

from l2l_core.algorithms.learner import Learner
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.data.generator import TaskGenerator
from l2l_core.errors import UsageError
from l2l_core.evaluation.embedded import device_of
from l2l_core.evaluation.report import GridCell
from l2l_core.evaluation.run import accuracies_of_predictions, embedded_once, evaluating, predictions_of
from l2l_core.evaluation.statistics import mean_ci95

WAYS: Final = (2, 5, 10, 20)
SHOTS: Final = (1, 2, 5, 10)
EPISODES: Final = 200


def accuracy_grid(
    benchmark: Benchmark | str,
    learner: Learner,
    ways: Sequence[int] = WAYS,
    shots: Sequence[int] = SHOTS,
    episodes: int = EPISODES,
    seed: int | None = None,
) -> tuple[GridCell, ...]:
    """The accuracies of a learner at other ways and shots, on the classes and with the queries of a benchmark.

    Left out is what cannot be: more ways than there are classes, more shots than the smallest class has examples beside
    its queries, and other ways than the benchmark's for a learner whose head has a fixed number of them.

    Args:
        benchmark: the opened protocol (see `load_benchmark`), or its name.
        learner: what adapts; it is in evaluation mode meanwhile, and left as it was.
        ways, shots: each of the one with each of the other; the benchmark's own are added.
        episodes: of each cell, at least 2.
        seed: of the episodes; the protocol's for None.

    Raises:
        StoreError: the data set is not in the cache (says how to get it), or damaged.
        UsageError: `episodes` is below 2, or the learner's logits are not finite or of another shape;
            or the protocol's episodes vary in their form.
    """
    benchmark = load_benchmark(benchmark)
    record, dataset = benchmark.record, benchmark.dataset()
    if record.kind == "variable":
        raise UsageError(f"the episodes of {record.name} vary in ways and shots themselves; leave the grid out")
    seed = record.seed if seed is None else seed
    room = int(dataset.class_index.counts_C.min()) - record.queries
    all_ways = sorted(n for n in {*ways, record.ways} if n <= len(dataset.class_index))
    all_shots = sorted(k for k in {*shots, record.shots} if k <= room)

    def drawn(n: int, k: int) -> TaskGenerator:
        return TaskGenerator(dataset, n, k, record.queries, seed)

    cells: list[GridCell] = []
    own = drawn(record.ways, record.shots)
    with evaluating(learner):
        embeddings_MD = embedded_once(learner, own, episodes * len(all_ways) * len(all_shots))
    for n in all_ways:
        if n != record.ways and not _takes(learner, drawn(n, all_shots[0])):
            continue
        for k in all_shots:
            generator = drawn(n, k)
            predicted = predictions_of(learner, generator, episodes, embeddings_MD=embeddings_MD)
            cells.append(GridCell(n, k, *mean_ci95(accuracies_of_predictions(predicted, generator))))
    return tuple(cells)


def _takes(learner: Learner, generator: TaskGenerator) -> bool:
    """Whether a learner can be evaluated with so many ways, which is seen by trying.

    Of several processes each tries, since what one of them found the others would not know of.
    """
    support_x, support_y, query_x, query_y = (part.to(device_of(learner)) for part in generator.batch([0]))
    try:
        with evaluating(learner):
            logits_BQN = learner.adapt(support_x, support_y)(query_x)
    except UsageError:
        return False
    return logits_BQN.shape == (*query_y.shape, generator.ways)
