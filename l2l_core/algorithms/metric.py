"""The base of learners that embed pictures and put a head on the embeddings of the support set, all tasks at once.

Letters in shapes: B tasks, N ways, M support examples, Q queries, C H W image, D embedding.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from l2l_core.algorithms.learner import Learner, Predictor, check_query, check_support, check_targets, score
from l2l_core.algorithms.normalisation import Norm, sees_company
from l2l_core.modules import call_with

#: Embeddings of queries [B, Q, D] to logits [B, Q, N].
Head: TypeAlias = Callable[[Tensor], Tensor]


class MetricLearner(Learner):
    """A learner with a backbone and a head that is fitted to the support embeddings of each task.

    A method derived from it says how the head is fitted (`fit`). Adapting is one forward pass of all support sets and
    predicting one of all query sets; training embeds both together, so that in train mode BatchNorm sees the whole
    batch of tasks. In eval mode it uses running statistics, and each query is classified on its own; give a backbone
    that has them (``Conv4(running_stats=True)``).

    Args:
        backbone: from pictures [M, C, H, W] to embeddings [M, D], or to maps, which are flattened.
        norm: what BatchNorm does; see `Norm`.
    """

    def __init__(self, backbone: nn.Module, norm: Norm = "running") -> None:
        super().__init__(norm)
        self.backbone = backbone

    @abstractmethod
    def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
        """The head of each task.

        Args:
            support_BMD: embeddings.
            support_y: int64 [B, M] in 0..ways-1.
            ways: N.
        """

    def loss(self, logits_BQN: Tensor, query_y: Tensor) -> tuple[Tensor, Tensor]:
        """The training loss, a scalar, and the accuracy per task, [B], detached; the mean cross-entropy by default."""
        return score(logits_BQN, query_y)

    def adapt(self, support_x: Tensor, support_y: Tensor) -> Predictor:
        """As `Learner.adapt`: the support sets are embedded once, here."""
        ways = check_support(support_x, support_y)
        differentiable = self.training
        with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
            head = self.fit(self._embed(support_x, self._spare_buffers()), support_y, ways)

        def predict(query_x: Tensor) -> Tensor:
            check_query(query_x, support_x)
            with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
                return head(self._embed(query_x, self._spare_buffers()))

        return predict

    def meta_loss(
        self, support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Learner.meta_loss`."""
        ways = check_support(support_x, support_y)
        check_query(query_x, support_x)
        check_targets(query_y, query_x, ways)
        # One pass over support and query: BatchNorm then treats both alike.
        shots_in_all = support_x.shape[1]
        embedded_BMD = self._embed(torch.cat([support_x, query_x], dim=1), {})
        head = self.fit(embedded_BMD[:, :shots_in_all], support_y, ways)
        return self.loss(head(embedded_BMD[:, shots_in_all:]), query_y)

    @property
    def embeds_alone(self) -> bool:
        """Whether an example's embedding does not depend on its company, in the mode that the learner is in.

        If so, each example of a data set need be embedded only once for all of its tasks.
        """
        return not sees_company(self.backbone)

    def embed(self, pictures_MCHW: Tensor) -> Tensor:
        """Embeddings [M, D] of pictures, which may be given to `fit` and its head; no parameter or buffer changes."""
        embedded: Tensor = call_with(self.backbone, self._spare_buffers(), pictures_MCHW)
        return embedded.flatten(1)

    def _embed(self, pictures_BMCHW: Tensor, buffers: dict[str, Tensor]) -> Tensor:
        tasks, examples = pictures_BMCHW.shape[:2]
        embedded: Tensor = call_with(self.backbone, buffers, pictures_BMCHW.flatten(0, 1))
        return embedded.reshape(tasks, examples, -1)

    def _spare_buffers(self) -> dict[str, Tensor]:
        # What a forward pass in train mode writes goes here, and not into the learner.
        return {name: buffer.clone() for name, buffer in self.backbone.named_buffers()}
