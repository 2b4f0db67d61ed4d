"""The base of learners that embed pictures and put a head on the embeddings of the support set, all tasks at once.

Letters in shapes: B tasks, N ways, M support examples, Q queries, C H W image, D embedding.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

import torch
from torch import Tensor, nn

from l2l_core.algorithms.learner import Learner, Predictor, check_query, check_support, check_targets, score
from l2l_core.algorithms.normalisation import Norm, follow, sees_company, writes_buffers
from l2l_core.algorithms.over_tasks import plain
from l2l_core.errors import UsageError
from l2l_core.nn.closed_form import check_positive

_PIECE: Final = 128
"""Pictures that are embedded at a time, on a processor, where they do not see each other."""

#: Embeddings of queries [B, Q, D], or maps [B, Q, D, h, w], to logits [B, Q, N].
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
        # Kernels with their channels last are convolved sooner: on two cores a step of a ProtoNet on Omniglot took
        # 0.097 s instead of 0.152. No value changes but for rounding.
        self.backbone = backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        follow(self, norm)

    @abstractmethod
    def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
        """The head of each task.

        Args:
            support_BMD: embeddings.
            support_y: int64 [B, M] in 0..ways-1.
            ways: N.

        Returns:
            A function of query embeddings [B, Q, D] that gives logits [B, Q, N].
        """

    def laid_out(self, embedded_M: Tensor) -> Tensor:
        """What the backbone gave for M pictures, as `fit` and its head take it: vectors [M, D] by default."""
        return embedded_M.flatten(1)

    def loss(self, logits_BQN: Tensor, query_y: Tensor) -> tuple[Tensor, Tensor]:
        """The training loss, a scalar, and the accuracy per task, [B], detached; the mean cross-entropy by default."""
        return score(logits_BQN, query_y)

    def adapt(self, support_x: Tensor, support_y: Tensor) -> Predictor:
        """As `Learner.adapt`: the support sets are embedded once, here."""
        ways = check_support(support_x, support_y)
        differentiable = self.training
        with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()), spared_buffers(self):
            head = self.fit(self._embed(support_x), support_y, ways)

        def predict(query_x: Tensor) -> Tensor:
            check_query(query_x, support_x)
            with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()), spared_buffers(self):
                return self._checked(head(self._embed(query_x)), query_x, ways)

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
        embedded_BMD = self._embed(torch.cat([support_x, query_x], dim=1))
        head = self.fit(embedded_BMD[:, :shots_in_all], support_y, ways)
        return self.loss(self._checked(head(embedded_BMD[:, shots_in_all:]), query_x, ways), query_y)

    @property
    def embeds_alone(self) -> bool:
        """Whether what becomes of an example does not depend on its company, in the mode that the learner is in.

        If so, each example of a data set need be embedded only once for all of its tasks. Of layers that somebody else
        wrote it is not known, nor of those that draw at random or keep a count.
        """
        return not sees_company(self) and plain(self.backbone) and not writes_buffers(self.backbone)

    def embed(self, pictures_MCHW: Tensor) -> Tensor:
        """Embeddings [M, D] of pictures, which may be given to `fit` and its head; no parameter or buffer changes."""
        with spared_buffers(self):
            return self._of_all(pictures_MCHW)

    def _checked(self, logits_BQN: Tensor, query_x: Tensor, ways: int) -> Tensor:
        """The logits, where the head gave such."""
        if logits_BQN.shape != (*query_x.shape[:2], ways):
            raise UsageError(
                f"the head of {type(self).__name__} gave {list(logits_BQN.shape)} instead of logits "
                f"{[*query_x.shape[:2], ways]}; let fit return a function that scores every way for every query"
            )
        return logits_BQN

    def _embed(self, pictures_BMCHW: Tensor) -> Tensor:
        embedded_M = self._of_all(pictures_BMCHW.flatten(0, 1))
        return embedded_M.reshape(*pictures_BMCHW.shape[:2], *embedded_M.shape[1:])

    def _of_all(self, pictures_MCHW: Tensor) -> Tensor:
        if pictures_MCHW.device.type != "cpu" or not self.embeds_alone:
            return self.laid_out(self.backbone(pictures_MCHW))
        # A processor is through sooner with pieces whose maps stay in memory that it has at hand.
        pieces = torch.split(pictures_MCHW, _PIECE)
        return torch.cat([self.laid_out(self.backbone(piece)) for piece in pieces])


@contextmanager
def spared_buffers(module: nn.Module) -> Iterator[None]:
    """Within it, the module's buffers are copies: what a forward pass in train mode writes does not reach the module.

    No other thread may use the module meanwhile.
    """
    copies: dict[Tensor, Tensor] = {}
    own = [(part._buffers, dict(part._buffers)) for part in module.modules()]
    for table, buffers in own:
        for name, buffer in buffers.items():
            if buffer is not None:
                if buffer not in copies:
                    copies[buffer] = buffer.clone()
                table[name] = copies[buffer]
    try:
        yield
    finally:
        for table, buffers in own:
            table.update(buffers)


def scale_of(scale: float, learned: bool) -> float | nn.Parameter:
    """The scale of a method's logits: a number, or a parameter that starts there.

    Raises:
        UsageError: it is not a finite number above 0.
    """
    scale = float(check_positive("scale", scale))
    return nn.Parameter(torch.tensor(scale)) if learned else scale
