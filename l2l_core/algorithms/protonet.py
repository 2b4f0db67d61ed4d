"""Prototypical networks: classify a query by the nearest class mean in a learned embedding.

Letters in shapes: B tasks, N ways, M support examples, Q queries, C H W image, D embedding.
"""

from torch import Tensor

from l2l_core.algorithms.metric import Head, MetricLearner
from l2l_core.nn.heads import prototypes, squared_distances


class ProtoNet(MetricLearner):
    """A prototypical network: p(y = k | x) ∝ exp(−‖f(x) − c_k‖²), where c_k is the mean embedding of class k's support.

    Symbols of the paper and what they are here:
        f_φ, the embedding: ``backbone``.
        S_k, the support examples of class k: where ``support_y == k``.
        c_k, the prototype: ``prototypes(…)[b, k]``.
        d, the distance: squared Euclidean, `squared_distances`.
        N_C, N_S, N_Q of an episode: ways, shots, queries per class; they are the data's business, not the learner's.
        J(φ), the loss: `meta_loss`, the mean over queries and episodes.

    Source: Snell et al. 2017, section 2 and algorithm 1.
    """

    def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
        """Minus the squared distances to the prototypes."""
        prototypes_BND = prototypes(support_BMD, support_y, ways)
        return lambda query_BQD: -squared_distances(query_BQD, prototypes_BND)
