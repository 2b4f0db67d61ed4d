"""Heads that compare: cosine logits, matching, nearest neighbours, and nearest centroids after CL2N.

Each is one function from support and query embeddings to logits; there is nothing to fit that a query would not need
anew. They work in float32 at least, also under autocast.

Letters in shapes: B tasks, N ways, M support examples, Q query examples, D embedding.
"""

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional

from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.nn.closed_form import check_query, exactly, one_hot_labels, precise
from l2l_core.nn.heads import prototypes, squared_distances

#: (queries [B, Q, D], others [B, M, D]) to similarities [B, Q, M], the larger the closer.
Similarity: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def cosine_similarities(query_BQD: Tensor, others_BMD: Tensor) -> Tensor:
    """The cosines [B, Q, M] in [-1, 1] of the angles between each query and each other embedding of its task.

    An embedding of zeros has cosine 0 with everything.

    Raises:
        UsageError: shapes that do not fit, or embeddings that are not finite.
    """
    if others_BMD.ndim != 3:
        raise UsageError(
            f"cosine_similarities takes embeddings [B, M, D], but was given {list(others_BMD.shape)}; "
            "add the missing axes, for one task with x[None]"
        )
    check_query(query_BQD, others_BMD.shape[0], others_BMD.shape[2])
    with exactly(query_BQD):
        return functional.normalize(precise(query_BQD), dim=2) @ functional.normalize(precise(others_BMD), dim=2).mT


def cosine_logits(
    support_BMD: Tensor, labels_BM: Tensor, query_BQD: Tensor, ways: int, scale: float | Tensor = 10.0
) -> Tensor:
    """Logits [B, Q, N]: scale · the cosine of query and prototype, the mean embedding of a class's support.

    Args:
        support_BMD, query_BQD: embeddings, floating point.
        labels_BM: int64 in 0..N-1.
        ways: N.
        scale: usually learned. Cosines alone differ by 2 at most, so that a softmax over them stays almost flat.

    Raises:
        UsageError: shapes that do not fit, labels outside 0..N-1, a class without a support example, or embeddings
            that are not finite.

    Source: Gidaris and Komodakis 2018, who learn the scale from 10 on.
    """
    support, query, _ = _checked(support_BMD, labels_BM, query_BQD, ways)
    with exactly(query):
        return scale * cosine_similarities(query, prototypes(support, labels_BM, ways))


def matching_log_probabilities(
    support_BMD: Tensor,
    labels_BM: Tensor,
    query_BQD: Tensor,
    ways: int,
    similarity: str = "euclidean",
    scale: float | Tensor = 1.0,
) -> Tensor:
    """Log-probabilities [B, Q, N]: a class has the attention that a query pays to the support examples of the class.

    They serve as logits too. A class with more examples than others starts with more attention, as in the paper.

    Args:
        support_BMD, query_BQD: embeddings, floating point.
        labels_BM: int64 in 0..N-1.
        ways: N.
        similarity: "euclidean", minus the squared distance, or "cosine".
        scale: of the similarities, before the softmax.

    Symbols of the paper and what they are here:
        a(x̂, x_i), the attention: the softmax over the support examples of scale · similarity.
        c, the cosine: ``similarity="cosine"`` with ``scale=1``; here it is not the default, since its softmax is
            almost flat and trains badly.
        f, g, the embeddings of queries and support: the caller's. Full-context embeddings are none of this head.

    Raises:
        UnknownNameError: no similarity of that name.
        UsageError: as `cosine_logits`.

    Source: Vinyals et al. 2016, section 2.1.
    """
    scores_BQM, members_BMN = _similarities(support_BMD, labels_BM, query_BQD, ways, similarity)
    scores_BQM = scale * scores_BQM
    # In logarithms from end to end: a class far away has a log-probability of -1000, and not of log 0.
    return _by_class(scores_BQM, members_BMN).logsumexp(dim=2) - scores_BQM.logsumexp(dim=2, keepdim=True)


def nearest_neighbour_logits(
    support_BMD: Tensor, labels_BM: Tensor, query_BQD: Tensor, ways: int, similarity: str = "euclidean"
) -> Tensor:
    """Logits [B, Q, N]: the similarity of the query to the closest support example of the class.

    Args:
        support_BMD, query_BQD: embeddings, floating point.
        labels_BM: int64 in 0..N-1.
        ways: N.
        similarity: "euclidean", minus the squared distance, or "cosine".

    Raises:
        UnknownNameError: no similarity of that name.
        UsageError: as `cosine_logits`.
    """
    return _by_class(*_similarities(support_BMD, labels_BM, query_BQD, ways, similarity)).amax(dim=2)


def cl2n(embeddings: Tensor, base_mean_D: Tensor) -> Tensor:
    """The embeddings [..., D], minus the mean embedding of the base classes, brought to length 1.

    Args:
        embeddings: floating point.
        base_mean_D: the mean over the examples that the backbone was trained on.

    Raises:
        UsageError: shapes that do not fit.

    Source: Wang et al. 2019 (SimpleShot), section 3.
    """
    if embeddings.shape[-1:] != base_mean_D.shape:
        raise UsageError(
            f"cl2n takes embeddings [..., D] and a mean [D], but was given {list(embeddings.shape)} and "
            f"{list(base_mean_D.shape)}; give the mean over all base examples, one number a feature"
        )
    return functional.normalize(precise(embeddings) - base_mean_D, dim=-1)


def cl2n_logits(support_BMD: Tensor, labels_BM: Tensor, query_BQD: Tensor, ways: int, base_mean_D: Tensor) -> Tensor:
    """Logits [B, Q, N]: minus the squared distance to the class's centroid, all embeddings having passed `cl2n`.

    The centroid is the mean of embeddings of length 1, and is not brought to length 1 again.

    Args:
        support_BMD, query_BQD: embeddings, floating point.
        labels_BM: int64 in 0..N-1.
        ways: N.
        base_mean_D: the mean over the examples that the backbone was trained on.

    Raises:
        UsageError: as `cosine_logits`; a mean of another shape.

    Source: Wang et al. 2019 (SimpleShot), section 3; mileyan/simple_shot.
    """
    support, query, _ = _checked(support_BMD, labels_BM, query_BQD, ways)
    with exactly(query):
        centroids_BND = prototypes(cl2n(support, base_mean_D), labels_BM, ways)
        return -squared_distances(cl2n(query, base_mean_D), centroids_BND)


def _checked(support_BMD: Tensor, labels_BM: Tensor, query_BQD: Tensor, ways: int) -> tuple[Tensor, Tensor, Tensor]:
    """Support and query in working precision, and which support example is of which class, [B, M, N]."""
    members_BMN = one_hot_labels(support_BMD, labels_BM, ways)
    check_query(query_BQD, support_BMD.shape[0], support_BMD.shape[2])
    return precise(support_BMD), precise(query_BQD), members_BMN


def _similarities(
    support_BMD: Tensor, labels_BM: Tensor, query_BQD: Tensor, ways: int, similarity: str
) -> tuple[Tensor, Tensor]:
    if similarity not in SIMILARITIES:
        raise UnknownNameError("similarity", similarity, SIMILARITIES)
    support, query, members_BMN = _checked(support_BMD, labels_BM, query_BQD, ways)
    with exactly(query):
        return SIMILARITIES[similarity](query, support), members_BMN


def _by_class(scores_BQM: Tensor, members_BMN: Tensor) -> Tensor:
    """The scores [B, Q, M, N] with -∞ in every class but the example's own; no class is left without a number."""
    return scores_BQM[..., None].masked_fill(members_BMN[:, None] == 0, -math.inf)


def _euclidean(query_BQD: Tensor, others_BMD: Tensor) -> Tensor:
    return -squared_distances(query_BQD, others_BMD)


#: The similarities that have a name.
SIMILARITIES: Mapping[str, Similarity] = {"cosine": cosine_similarities, "euclidean": _euclidean}
