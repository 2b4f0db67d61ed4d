"""The episodes that a learner found hardest and easiest, drawn again from the data set."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.data.episodes import Episode
from l2l_core.data.generator import TaskGenerator
from l2l_core.errors import UsageError
from l2l_core.evaluation.report import Report


@dataclass(frozen=True, slots=True)
class Drawn:
    """An episode of a report.

    Attributes:
        number: i, of which with the report's seed it is a function.
        accuracy: of the learner on it, a fraction.
        episode: its pictures [N·K, C, H, W] and [N·Q, C, H, W], floats in [0, 1].
        names: of its N classes, in the order of their labels.
    """

    number: int
    accuracy: float
    episode: Episode
    names: tuple[str, ...]


def extreme_episodes(report: Report, count: int, root: Path | None = None) -> tuple[list[Drawn], list[Drawn]]:
    """The hardest episodes, hardest first, and the easiest, easiest first; of equals the earlier.

    Args:
        report: whose episodes.
        count: how many of each at most.
        root: folder of the cache; None for the usual one.

    Raises:
        UnknownNameError: the catalogue has no such benchmark.
        StoreError: the data set is not in the cache (says how to get it), or damaged.
        UsageError: what is in the cache cannot be drawn, or gives other episodes than the report's.
    """
    generator = _generator(report, load_benchmark(report.benchmark, root=root))
    accuracies = np.array(report.accuracies)
    half = min(count, len(accuracies) // 2)
    order = np.argsort(accuracies, kind="stable")
    easiest = np.argsort(-accuracies, kind="stable")

    def drawn(number: int) -> Drawn:
        classes_N = generator.describe([number]).all_classes_BN[0].tolist()
        names = tuple(generator.dataset.class_index.name(row) for row in classes_N)
        return Drawn(number, report.accuracies[number], generator[number], names)

    return [drawn(int(i)) for i in order[:half]], [drawn(int(i)) for i in easiest[:half]]


def _generator(report: Report, benchmark: Benchmark) -> TaskGenerator:
    if benchmark.record.kind == "variable":
        raise UsageError(f"the episodes of {report.benchmark} vary in their form, and are not drawn here")
    # Of the benchmark as it is today; that the report's was another, the digest tells.
    dataset = benchmark.dataset()
    if dataset.modality != "images":
        raise UsageError(f"{report.dataset} holds {dataset.modality}, which have no picture")
    generator = TaskGenerator(dataset, report.ways, report.shots, report.queries, report.seed)
    if generator.digest(report.episodes) != report.episodes_digest:
        raise UsageError(
            f"the report is of other episodes than {report.benchmark} gives here, so its data was another; "
            "evaluate again with the data that is here"
        )
    return generator
