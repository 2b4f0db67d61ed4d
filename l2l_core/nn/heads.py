"""Heads: from embeddings of a support set to a classifier of query embeddings.

Letters in shapes: B tasks, N ways, M support examples, Q query examples, D embedding.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.errors import UnknownNameError, UsageError

#: (prototypes [N, D], queries [Q, D]) to distances [Q, N].
Distance: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def prototypes(support_BMD: Tensor, labels_BM: Tensor, ways: int) -> Tensor:
    """Prototypes [B, N, D]: the mean embedding of each class's support examples, of which there may be any number.

    Args:
        support_BMD: embeddings, floating point.
        labels_BM: int64 in 0..N-1.
        ways: N.

    Raises:
        UsageError: shapes that do not fit, labels outside 0..N-1, or a class without a support example.

    Source: Snell et al. 2017, equation 1.
    """
    if support_BMD.ndim != 3 or labels_BM.shape != support_BMD.shape[:2]:
        raise UsageError(
            f"prototypes takes embeddings [B, M, D] and labels [B, M], but was given {list(support_BMD.shape)} and "
            f"{list(labels_BM.shape)}; give one label for each embedding"
        )
    counts_BN = class_counts(labels_BM, ways)
    # A product with the indicator matrix, not index_add: the same sums, and deterministic on every device.
    members_BNM = functional.one_hot(labels_BM, ways).to(support_BMD.dtype).transpose(1, 2)
    return members_BNM @ support_BMD / counts_BN[:, :, None]


def squared_distances(query_BQD: Tensor, prototypes_BND: Tensor) -> Tensor:
    """Squared Euclidean distances [B, Q, N] of each query to each prototype of its task.

    Raises:
        UsageError: shapes that do not fit.
    """
    fit = query_BQD.ndim == prototypes_BND.ndim == 3 and all(
        query_BQD.shape[axis] == prototypes_BND.shape[axis] for axis in (0, 2)
    )
    if not fit:
        raise UsageError(
            f"squared_distances takes queries [B, Q, D] and prototypes [B, N, D], but was given "
            f"{list(query_BQD.shape)} and {list(prototypes_BND.shape)}; B and D must agree"
        )
    # The differences themselves, not |q|² − 2qp + |p|²: that form cancels where queries are close to a prototype, and
    # the memory it would save, B·Q·N·D numbers, is small beside the backbone's.
    return (query_BQD[:, :, None, :] - prototypes_BND[:, None, :, :]).square().sum(dim=-1)


def class_counts(labels_BM: Tensor, ways: int) -> Tensor:
    """How many examples [B, N] each class of each task has, none of them 0.

    Args:
        labels_BM: int64.
        ways: N.

    Raises:
        UsageError: labels outside 0..N-1, or a class without an example.
    """
    smallest, largest = (int(bound) for bound in labels_BM.aminmax())
    if smallest < 0 or largest >= ways:
        raise UsageError(
            f"the support labels run from {smallest} to {largest}, but {ways} ways are numbered 0..{ways - 1}; "
            "renumber them within each task"
        )
    counts_BN = functional.one_hot(labels_BM, ways).sum(dim=1)
    missing = (counts_BN == 0).nonzero()
    if len(missing):
        task, label = missing[0].tolist()
        raise UsageError(
            f"class {label} of 0..{ways - 1} has no support example in task {task} of the batch; "
            "give at least one of each class, or renumber the labels"
        )
    return counts_BN


class PrototypicalClassifier(nn.Module):
    """A nearest-prototype classifier of embeddings; its value for queries [Q, D] is logits [Q, N], minus the distances.

    With learn2learn's meaning: classes are the sorted distinct labels, each with any number of examples; they need not
    be 0..N-1.

    Attributes:
        prototypes: [N, D], sorted by label; None before `fit_`.

    Args:
        support, labels: given both, the classifier is fitted at once.
        distance: "euclidean", squared; "cosine", minus the cosine, which forces ``normalize``; or a function of
            prototypes [N, D] and queries [Q, D] to [Q, N].
        normalize: bring prototypes and queries to length 1.

    Mended from learn2learn: shapes that do not fit and an unknown distance are refused in words, and `fit_` broadcasts
    nothing.

    Raises:
        UnknownNameError: no distance of that name.
        UsageError: as `fit_`, or support without labels.

    Source: Snell et al. 2017, section 2.2.
    """

    def __init__(
        self,
        support: Tensor | None = None,
        labels: Tensor | None = None,
        distance: str | Distance = "euclidean",
        normalize: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(distance, str):
            if distance not in DISTANCES:
                raise UnknownNameError("distance", distance, DISTANCES)
            self.normalize = normalize or distance == "cosine"
            self.distance = DISTANCES[distance]
        else:
            self.normalize = normalize
            self.distance = distance
        self.prototypes: Tensor | None = None
        if (support is None) != (labels is None):
            raise UsageError("PrototypicalClassifier was given only one of support and labels; give both or neither")
        if support is not None and labels is not None:
            self.fit_(support, labels)

    def fit_(self, support: Tensor, labels: Tensor) -> Tensor:
        """The prototypes [N, D], which are also kept.

        Args:
            support: embeddings [M, D].
            labels: integers [M].

        Raises:
            UsageError: shapes that do not fit, or no example.
        """
        if support.ndim != 2 or labels.shape != support.shape[:1] or not len(labels):
            raise UsageError(
                f"fit_ takes embeddings [M, D] and labels [M], but was given {list(support.shape)} and "
                f"{list(labels.shape)}; give one label for each embedding, and at least one of them"
            )
        classes, positions = torch.unique(labels, return_inverse=True)
        means = prototypes(support[None], positions[None], len(classes))[0]
        self.prototypes = functional.normalize(means, dim=1) if self.normalize else means
        return self.prototypes

    def forward(self, queries: Tensor) -> Tensor:
        """Logits [Q, N] of query embeddings [Q, D].

        Raises:
            UsageError: not fitted yet, or queries of another shape.
        """
        if self.prototypes is None:
            raise UsageError(
                "PrototypicalClassifier was asked to classify before it saw a support set; call fit_ first"
            )
        if queries.ndim != 2 or queries.shape[1] != self.prototypes.shape[1]:
            raise UsageError(
                f"PrototypicalClassifier was fitted on embeddings of {self.prototypes.shape[1]} numbers, but was given "
                f"queries {list(queries.shape)}; give queries [Q, {self.prototypes.shape[1]}]"
            )
        if self.normalize:
            queries = functional.normalize(queries, dim=1)
        return -self.distance(self.prototypes, queries)


def _euclidean(prototypes_ND: Tensor, queries_QD: Tensor) -> Tensor:
    return squared_distances(queries_QD[None], prototypes_ND[None])[0]


def _cosine(prototypes_ND: Tensor, queries_QD: Tensor) -> Tensor:
    return -queries_QD @ prototypes_ND.T  # both are of length 1


#: The distances that have a name.
DISTANCES: Mapping[str, Distance] = {"cosine": _cosine, "euclidean": _euclidean}
