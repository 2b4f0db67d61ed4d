"""Episodes of embeddings: where an example is embedded alike in all of them, once is enough.

Letters in shapes: M examples of the subset, B episodes, N ways, K shots, Q queries a class, D embedding.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeGuard

import numpy as np
import torch
from torch import Tensor

from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.metric import MetricLearner
from l2l_core.data.generator import TaskGenerator

_EXAMPLES: Final = 256
"""Examples that are embedded at a time."""
_NUMBERS: Final = 2**28
"""So many numbers of embeddings are kept at most: a gigabyte."""


def embeds_once(learner: Learner, generator: TaskGenerator, episodes: int) -> TypeGuard[MetricLearner]:
    """Whether to embed every example once is right, and less work than to embed those of each episode.

    It is right where an example's embedding depends on nothing else: of a learner with a head on embeddings, whose
    layers do not look at a batch's other examples in the mode that it is in, on examples that do not change from one
    episode to the next. The results are then those of `Learner.adapt` up to rounding, since a processor may add up in
    another order for another batch size.
    """
    if not isinstance(learner, MetricLearner) or not learner.embeds_alone:
        return False
    # Whoever wrote another way to adapt or to embed wants that to be evaluated.
    if any(getattr(type(learner), name) is not getattr(MetricLearner, name) for name in ("adapt", "embed")):
        return False
    source = generator.dataset
    if not source.gathers_at_once or generator.describe([0]).augmentations:
        return False
    return len(source) <= episodes * generator.ways * (generator.shots + generator.queries)


def embeddings_of(
    learner: MetricLearner, generator: TaskGenerator, progress: Callable[[int], object] = lambda _: None
) -> Tensor | None:
    """The embeddings of all examples that the generator draws from, [M, D]; None where they would be too large.

    Args:
        learner: in the mode it is to be evaluated in.
        generator: of the episodes.
        progress: called with the number of examples embedded since the last call.
    """
    examples, parts = len(generator.dataset), []
    for start in range(0, examples, _EXAMPLES):
        ids_M = np.arange(start, min(start + _EXAMPLES, examples))
        parts.append(learner.embed(generator.dataset.gather(ids_M)))
        if parts[0].shape[1] * examples > _NUMBERS:
            return None
        progress(len(ids_M))
    return torch.cat(parts)


def logits_on_embeddings(
    learner: MetricLearner, generator: TaskGenerator, embeddings_MD: Tensor, numbers: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Logits [B, N·Q, N] of some episodes' queries, and their labels, int64 [B, N·Q].

    Args:
        learner: in the mode it is to be evaluated in.
        generator: of the episodes.
        embeddings_MD: of `embeddings_of`.
        numbers: of the episodes.
    """
    ways, shots, device = generator.ways, generator.shots, embeddings_MD.device
    ids_BNK = torch.from_numpy(generator.describe(numbers).all_ids_BNK).to(device)

    def part(ids: Tensor) -> Iterator[Tensor]:
        tasks, _, each = ids.shape
        yield embeddings_MD[ids.reshape(tasks, -1)]
        yield torch.arange(ways, device=device).repeat_interleave(each).expand(tasks, -1)

    support, support_y = part(ids_BNK[:, :, :shots])
    query, query_y = part(ids_BNK[:, :, shots:])
    return learner.fit(support, support_y, ways)(query), query_y
