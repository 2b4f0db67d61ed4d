"""What an episode is, and how those of different sizes lie side by side."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from l2l_core.data.batches import apart, part_of
from l2l_core.errors import TaskError

NO_LABEL: Final = -100
"""The label of what has none: padding, and examples of distractor classes. Torch's cross-entropy leaves it out."""


class Episode(NamedTuple):
    """A task with its support and query set, or B of them stacked along a first axis.

    Tensors, or NumPy arrays of an `ArrayDataset`.

    Attributes:
        support_x: inputs [N·K, …], the K of label 0 first, then those of label 1, and so on; texts as a list.
        support_y: labels int64 [N·K], 0 to N − 1.
        query_x: inputs [N·Q, …], in the same order.
        query_y: labels int64 [N·Q].
    """

    support_x: Any
    support_y: Any
    query_x: Any
    query_y: Any


class PaddedEpisodes(NamedTuple):
    """B episodes of different sizes, each part filled up to the largest of the batch.

    Attributes:
        support_x, query_x: inputs [B, M, …]; 0 where filled up, texts "".
        support_y, query_y: labels int64 [B, M]; `NO_LABEL` where filled up.
        support_mask, query_mask: bool [B, M]; true for the examples of the episode, which come first.
    """

    support_x: Any
    support_y: Any
    query_x: Any
    query_y: Any
    support_mask: Any
    query_mask: Any

    def unpadded(self) -> list[Episode]:
        """The episodes one by one, each of its own size; views, not copies."""
        supports, queries = ([int(row.sum()) for row in mask] for mask in (self.support_mask, self.query_mask))
        return [
            Episode(
                part_of(support_x, slice(support)), support_y[:support], part_of(query_x, slice(query)), query_y[:query]
            )
            for support_x, support_y, query_x, query_y, support, query in zip(
                *map(apart, self[:4]), supports, queries, strict=True
            )
        ]


def pad_episodes(episodes: Sequence[Episode]) -> PaddedEpisodes:
    """Some episodes as one batch, with masks; also the ``collate_fn`` for a DataLoader over uneven ones.

    Args:
        episodes: at least one; their examples are of one shape and type.

    Raises:
        TaskError: they are not, or something is no `Episode`.
    """
    wrong = next((type(each).__name__ for each in episodes if not isinstance(each, Episode)), None)
    if wrong is not None or not episodes:
        raise TaskError(f"{'no episode' if wrong is None else wrong} was given to fill up; give at least one Episode")
    support_x, support_y, query_x, query_y = zip(*episodes, strict=True)
    return PaddedEpisodes(
        _padded(support_x, 0),
        _padded(support_y, NO_LABEL),
        _padded(query_x, 0),
        _padded(query_y, NO_LABEL),
        _padded([part == part for part in support_y], False),
        _padded([part == part for part in query_y], False),
    )


def _padded(parts: Sequence[Any], fill: int) -> Any:
    """Arrays [M, …] of different M, or lists of texts, one under the other."""
    one = parts[0]
    if isinstance(one, Mapping):
        return {key: _padded([part[key] for part in parts], fill) for key in one}
    longest = max(map(len, parts))
    if isinstance(one, list):
        return [[*part, *[""] * (longest - len(part))] for part in parts]
    kinds = sorted({f"{part.dtype} {list(part.shape[1:])}" for part in parts})
    if len(kinds) > 1:
        raise TaskError(
            f"the examples of these episodes are {' and '.join(kinds)}, which no batch holds; take the episodes one by "
            "one, or give the data sets one shape and type"
        )
    shape = (len(parts), longest, *one.shape[1:])
    out = one.new_full(shape, fill) if hasattr(one, "new_full") else np.full(shape, fill, one.dtype)
    for row, part in zip(out, parts, strict=True):
        row[: len(part)] = part
    return out
