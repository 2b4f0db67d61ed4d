"""Evaluation on embeddings: each example goes through the net once, then episodes cost little."""

from collections.abc import Callable
from pathlib import Path

import torch

from l2l_core.algorithms.protonet import ProtoNet
from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.evaluation.embedded import embeddings_of, logits_on_embeddings
from l2l_core.nn import Conv4
from tests.speed.measure import at_most, row, seconds
from tests.speed.stores import OMNIGLOT, made_store

EPISODES, BATCH = 10_000, 256


def measure(folder: Path) -> None:
    """Print this topic's lines."""
    torch.set_num_threads(2)
    dataset = PreparedDataset(made_store(folder / "evaluated.safetensors", *OMNIGLOT), dtype=torch.float32)
    generator = TaskGenerator(dataset, 5, 1, 15, seed=0)
    learner = ProtoNet(Conv4()).eval()
    with torch.no_grad():
        embeddings = embeddings_of(learner, generator)
        assert embeddings is not None
        (once,) = seconds(lambda: embeddings_of(learner, generator), rounds=2)
        (after,) = seconds(_all_episodes(learner, generator, embeddings), rounds=3)
        episode = generator.batch(range(16))
        (plain,) = seconds(lambda: learner.adapt(episode.support_x, episode.support_y)(episode.query_x), rounds=3)
    torch.set_num_threads(1)
    row(f"embedding {len(dataset):,} examples once, two threads", f"{once:.1f} s")
    what = f"{EPISODES:,} episodes 5w1s15q of a ProtoNet, after embedding"
    at_most(what, f"{after:.2f} s", after, 2, "seconds")
    row("  the same, embedding each episode's examples", f"{plain / 16 * EPISODES:,.0f} s", "from 16 of them")


def _all_episodes(learner: ProtoNet, generator: TaskGenerator, embeddings: torch.Tensor) -> Callable[[], None]:
    def evaluate() -> None:
        for start in range(0, EPISODES, BATCH):
            numbers = range(start, min(start + BATCH, EPISODES))
            logits, labels = logits_on_embeddings(learner, generator, embeddings, numbers)
            (logits.argmax(dim=-1) == labels).double().mean(dim=1)

    return evaluate
