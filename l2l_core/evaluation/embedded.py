"""Episodes of embeddings: where an example is embedded alike in all of them, once is enough.

Letters in shapes: M examples of the subset, B episodes, N ways, K shots, Q queries a class, D embedding.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeGuard

import numpy as np
import torch
from torch import Tensor

from l2l_core import distributed
from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.metric import MetricLearner
from l2l_core.algorithms.pretrained import PretrainedLearner
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.sources import Source

_EXAMPLES: Final = 256
"""Examples that are embedded at a time."""
BASE_EXAMPLES: Final = 20_000
"""Of so many examples the mean embedding is taken at most: it is then off by a hundredth of their spread."""
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
    examples = len(generator.dataset)
    pieces = [np.arange(start, min(start + _EXAMPLES, examples)) for start in range(0, examples, _EXAMPLES)]
    device = device_of(learner)
    embeddings_MD: Tensor | None = None
    # Each process has a piece, so that all know how large the embeddings are.
    few = len(pieces) < distributed.size()
    for piece in range(len(pieces)) if few else distributed.share(len(pieces)):
        ids_M = pieces[piece]
        embedded = learner.embed(generator.dataset.gather(ids_M).to(device))
        if embeddings_MD is None:
            if embedded[0].numel() * examples > _NUMBERS:
                return None
            embeddings_MD = embedded.new_zeros(examples, *embedded.shape[1:])
        embeddings_MD[ids_M[0] : ids_M[-1] + 1] = embedded
        progress(len(ids_M))
    assert embeddings_MD is not None
    return embeddings_MD if few else distributed.sum_(embeddings_MD)


def base_mean_of(
    learner: PretrainedLearner, source: Source, progress: Callable[[int], object] = lambda _: None
) -> Tensor:
    """The mean embedding of the training classes' examples, [D]: what `PretrainedLearner` keeps as its base mean.

    Of a data set of more than 20,000 examples it is the mean of so many, which lie evenly spread over it.

    Args:
        learner: in the mode it is to be evaluated in.
        source: the training classes.
        progress: called with the number of examples embedded since the last call.
    """
    examples, mean_D = min(len(source), BASE_EXAMPLES), learner.base_mean
    starts = range(0, examples, _EXAMPLES)
    # A row a piece, so that the sum has the same order however many processes there are.
    sums_PD = mean_D.new_zeros(len(starts), len(mean_D), dtype=torch.float64)
    for piece in distributed.share(len(starts)):
        ids_M = np.arange(starts[piece], min(starts[piece] + _EXAMPLES, examples)) * len(source) // examples
        sums_PD[piece] = learner.embed(source.gather(ids_M).to(mean_D.device)).double().sum(dim=0)
        progress(len(ids_M))
    return (distributed.sum_(sums_PD).sum(dim=0) / examples).to(mean_D.dtype)


def device_of(learner: Learner) -> torch.device:
    """Where a learner is, and its episodes have to be."""
    return next((parameter.device for parameter in learner.parameters()), torch.device("cpu"))


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
