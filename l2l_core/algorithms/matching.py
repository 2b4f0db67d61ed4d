"""Matching networks: a query's class is that of the support examples it attends to.

Letters in shapes: B tasks, N ways, M support examples, Q queries, C H W image, D embedding.
"""

from torch import Tensor, nn

from l2l_core.algorithms.metric import Head, MetricLearner, scale_of
from l2l_core.algorithms.normalisation import Norm
from l2l_core.errors import UnknownNameError
from l2l_core.nn.metric_heads import SIMILARITIES, matching_log_probabilities


class MatchingNet(MetricLearner):
    """A matching network; its logits are the log-probabilities of the classes.

    Args:
        backbone: from pictures [M, C, H, W] to embeddings [M, D], or to maps, which are flattened.
        similarity: "euclidean", minus the squared distance, or "cosine".
        scale: what similarities are multiplied by before the softmax.
        learn_scale: whether it is trained with the backbone.
        norm: what BatchNorm does; see `Norm`.

    Symbols of the paper and what they are here:
        f, g, the embeddings of queries and of support: ``backbone``, one for both.
        a(x̂, x_i), the attention: the softmax over the support of scale · similarity.
        c, the cosine: ``similarity="cosine"``; with the paper's scale of 1 that softmax is almost flat, and trains
            badly. Therefore the squared distance is the default here.
        full context embeddings, by which support and query see the whole support set: left out. The paper has them
            change Omniglot little, and they make an embedding depend on the order of the support.

    Raises:
        UnknownNameError: no similarity of that name.
        UsageError: the scale is not a finite number above 0.

    Source: Vinyals et al. 2016, section 2.1.
    """

    def __init__(
        self,
        backbone: nn.Module,
        similarity: str = "euclidean",
        scale: float = 1.0,
        learn_scale: bool = False,
        norm: Norm = "running",
    ) -> None:
        super().__init__(backbone, norm)
        if similarity not in SIMILARITIES:
            raise UnknownNameError("similarity", similarity, SIMILARITIES)
        self.similarity = similarity
        self.scale: float | Tensor = scale_of(scale, learn_scale)

    def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
        """The log of the attention that each class's support gets."""
        return lambda query_BQD: matching_log_probabilities(
            support_BMD, support_y, query_BQD, ways, self.similarity, self.scale
        )
