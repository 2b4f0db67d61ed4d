"""Prototypical networks: classify a query by the nearest class mean in a learned embedding.

Letters in shapes: B tasks, N ways, M support examples, Q queries, C H W image, D embedding.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from l2l_core.algorithms.metric import Head, MetricLearner, scale_of
from l2l_core.algorithms.normalisation import Norm
from l2l_core.errors import UnknownNameError
from l2l_core.nn.closed_form import exactly, precise
from l2l_core.nn.heads import prototypes, squared_distances
from l2l_core.nn.metric_heads import Similarity, cosine_similarities


class ProtoNet(MetricLearner):
    """A prototypical network: p(y = k | x) ∝ exp(−‖f(x) − c_k‖²), where c_k is the mean embedding of class k's support.

    Args:
        backbone: from pictures [M, C, H, W] to embeddings [M, D], or to maps, which are flattened.
        distance: "euclidean", the squared distance of Snell et al.; "euclidean per feature", the same divided by D, as
            MetaOptNet's prototypical network has it, with a learned scale; "cosine", minus the cosine, which needs a
            scale of about 10, or a learned one, since a softmax over cosines alone is almost flat.
        scale: what minus the distance is multiplied by.
        learn_scale: whether the scale is trained with the backbone.
        norm: what BatchNorm does; see `Norm`.

    Symbols of the paper and what they are here:
        f_φ, the embedding: ``backbone``.
        S_k, the support examples of class k: where ``support_y == k``.
        c_k, the prototype: ``prototypes(…)[b, k]``.
        d, the distance: squared Euclidean, `squared_distances`.
        N_C, N_S, N_Q of an episode: ways, shots, queries per class; they are the data's business, not the learner's.
        J(φ), the loss: `meta_loss`, the mean over queries and episodes.

    Raises:
        UnknownNameError: no distance of that name.
        UsageError: the scale is not a finite number above 0.

    Source: Snell et al. 2017, section 2 and algorithm 1. The division by D and the scale: kjunelee/MetaOptNet,
    ``models/classification_heads.py``.
    """

    def __init__(
        self,
        backbone: nn.Module,
        distance: str = "euclidean",
        scale: float = 1.0,
        learn_scale: bool = False,
        norm: Norm = "running",
    ) -> None:
        super().__init__(backbone, norm)
        if distance not in _CLOSENESS:
            raise UnknownNameError("distance", distance, _CLOSENESS)
        self.distance = distance
        self.scale: float | Tensor = scale_of(scale, learn_scale)

    def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
        """Minus the distances to the prototypes, scaled."""
        with exactly(support_BMD):
            prototypes_BND = prototypes(precise(support_BMD), support_y, ways)

        def logits(query_BQD: Tensor) -> Tensor:
            # A squared distance loses in half precision what tells the ways apart.
            with exactly(query_BQD):
                return self.scale * _CLOSENESS[self.distance](precise(query_BQD), prototypes_BND)

        return logits


def _euclidean(query_BQD: Tensor, prototypes_BND: Tensor) -> Tensor:
    return -squared_distances(query_BQD, prototypes_BND)


def _euclidean_per_feature(query_BQD: Tensor, prototypes_BND: Tensor) -> Tensor:
    return _euclidean(query_BQD, prototypes_BND) / query_BQD.shape[2]


_CLOSENESS: Mapping[str, Similarity] = {
    "cosine": cosine_similarities,
    "euclidean": _euclidean,
    "euclidean per feature": _euclidean_per_feature,
}
