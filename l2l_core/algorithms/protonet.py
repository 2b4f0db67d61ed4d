"""Prototypical networks: classify a query by the nearest class mean in a learned embedding.

Letters in shapes: B tasks, N ways, M support examples, Q queries, C H W image, D embedding.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from l2l_core.algorithms.learner import Learner, Predictor, check_query, check_support, check_targets, score
from l2l_core.nn.heads import prototypes, squared_distances


class ProtoNet(Learner):
    """A prototypical network: p(y = k | x) ∝ exp(−‖f(x) − c_k‖²), where c_k is the mean embedding of class k's support.

    Adapting is one forward pass of all support sets, predicting one of all query sets; training embeds both together.
    In train mode BatchNorm therefore sees the whole batch of tasks. In eval mode it uses running statistics, and each
    query is classified on its own; give a backbone that has them (``Conv4(running_stats=True)``).

    Args:
        backbone: from pictures [M, C, H, W] to embeddings [M, D], or to maps, which are flattened.

    Symbols of the paper and what they are here:
        f_φ, the embedding: ``backbone``.
        S_k, the support examples of class k: where ``support_y == k``.
        c_k, the prototype: ``prototypes(…)[b, k]``.
        d, the distance: squared Euclidean, `squared_distances`.
        N_C, N_S, N_Q of an episode: ways, shots, queries per class; they are the data's business, not the learner's.
        J(φ), the loss: `meta_loss`, the mean over queries and episodes.

    Source: Snell et al. 2017, section 2 and algorithm 1.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def adapt(self, support_x: Tensor, support_y: Tensor) -> Predictor:
        """As `Learner.adapt`: the support sets are embedded once, here."""
        ways = check_support(support_x, support_y)
        differentiable = self.training
        with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
            prototypes_BND = prototypes(self._embed(support_x, self._spare_buffers()), support_y, ways)

        def predict(query_x: Tensor) -> Tensor:
            check_query(query_x, support_x)
            with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
                return -squared_distances(self._embed(query_x, self._spare_buffers()), prototypes_BND)

        return predict

    def meta_loss(
        self, support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Learner.meta_loss`: J(φ), and the accuracy per task."""
        ways = check_support(support_x, support_y)
        check_query(query_x, support_x)
        check_targets(query_y, query_x, ways)
        # One pass over support and query, as in the paper's released code: BatchNorm then treats both alike.
        shots_in_all = support_x.shape[1]
        embedded_BMD = self._embed(torch.cat([support_x, query_x], dim=1), {})
        prototypes_BND = prototypes(embedded_BMD[:, :shots_in_all], support_y, ways)
        return score(-squared_distances(embedded_BMD[:, shots_in_all:], prototypes_BND), query_y)

    def _embed(self, pictures_BMCHW: Tensor, buffers: dict[str, Tensor]) -> Tensor:
        tasks, examples = pictures_BMCHW.shape[:2]
        embedded: Tensor = functional_call(self.backbone, buffers, (pictures_BMCHW.flatten(0, 1),))
        return embedded.reshape(tasks, examples, -1)

    def _spare_buffers(self) -> dict[str, Tensor]:
        # What a forward pass in train mode writes goes here, and not into the learner.
        return {name: buffer.clone() for name, buffer in self.backbone.named_buffers()}
