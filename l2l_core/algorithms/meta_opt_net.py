"""MetaOptNet: a convex classifier of each task on learned embeddings, a support vector machine or a ridge regression.

Letters in shapes: B tasks, N ways, M support examples, Q queries, C H W image, D embedding.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.algorithms.learner import score
from l2l_core.algorithms.metric import Head, MetricLearner, scale_of
from l2l_core.algorithms.normalisation import Norm
from l2l_core.errors import UsageError
from l2l_core.nn.closed_form import (
    LinearHead,
    check_positive,
    cholesky,
    exactly,
    linear_logits,
    one_hot_labels,
    precise,
)
from l2l_core.nn.svm import fit_svm


class _MetaOptNet(MetricLearner):
    """What both heads share: a linear classifier without biases, a learned scale, a smoothed loss."""

    def __init__(self, backbone: nn.Module, label_smoothing: float, norm: Norm) -> None:
        super().__init__(backbone, norm)
        if not 0 <= label_smoothing <= 0.5:
            raise UsageError(
                f"{type(self).__name__} was asked for label_smoothing = {label_smoothing}; give what is to be taken "
                "from the right class, at least 0 and at most 0.5"
            )
        self.label_smoothing = label_smoothing
        self.scale = scale_of(1.0, learned=True)

    @abstractmethod
    def solve(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> LinearHead:
        """The classifier of each task; see `fit`."""

    def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
        """The scaled values of the linear classifier."""
        head = self.solve(support_BMD, support_y, ways)
        return lambda query_BQD: linear_logits(head, query_BQD, self.scale)

    def loss(self, logits_BQN: Tensor, query_y: Tensor) -> tuple[Tensor, Tensor]:
        """The mean cross-entropy of smoothed labels, and the accuracy per task, [B], detached."""
        # Torch spreads what it takes from the right class over all N classes, the right one too; here it goes to the
        # N − 1 others.
        ways = logits_BQN.shape[2]
        smoothing = self.label_smoothing * ways / max(ways - 1, 1)
        _, accuracy_B = score(logits_BQN, query_y)
        return (
            functional.cross_entropy(logits_BQN.flatten(0, 1), query_y.flatten(), label_smoothing=smoothing),
            accuracy_B,
        )


class MetaOptNet(_MetaOptNet):
    """MetaOptNet-SVM: the multi-class support vector machine of each task.

    Args:
        backbone: from pictures [M, C, H, W] to embeddings [M, D], or to maps, which are flattened.
        C_reg: C, above 0.
        max_iters: of the solver, in train and in eval mode; the released code takes 15 and 3. Ours is right to the last
            digits after 15, and after 3 no more than a guess; see `svm_dual`.
        label_smoothing: what the loss takes from the right class and gives to the others in equal parts; 0.1 in the
            released recipe for mini-ImageNet.
        norm: what BatchNorm does; see `Norm`.

    Symbols of the paper and what they are here:
        f_φ, the embedding: ``backbone``.
        A, the base learner, and its solution θ = w: `fit_svm`.
        C: ``C_reg``; 0.1 as in the released code.
        γ, the scale of the logits: ``scale``, learned, 1 at the start.

    Raises:
        UsageError: settings that no run could honour.

    Source: Lee et al. 2019, section 3; kjunelee/MetaOptNet, ``train.py`` and ``models/classification_heads.py``.
    """

    def __init__(
        self,
        backbone: nn.Module,
        C_reg: float = 0.1,
        max_iters: int = 15,
        label_smoothing: float = 0.0,
        norm: Norm = "running",
    ) -> None:
        super().__init__(backbone, label_smoothing, norm)
        if max_iters < 1:
            raise UsageError(f"MetaOptNet was asked for max_iters = {max_iters}; give at least 1")
        self.C_reg = check_positive("C_reg", C_reg)
        self.max_iters = max_iters

    def solve(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> LinearHead:
        """The support vector machine."""
        return fit_svm(support_BMD, support_y, ways, self.C_reg, self.max_iters)


class MetaOptNetRidge(_MetaOptNet):
    """MetaOptNet-RR: the ridge regression of each task's one-hot labels on its embeddings.

    Unlike `R2D2`, it has no bias, weighs λ against a sum over examples instead of a mean, and does not learn it.

    Args:
        backbone: from pictures [M, C, H, W] to embeddings [M, D], or to maps, which are flattened.
        lam: λ, above 0.
        label_smoothing: as of `MetaOptNet`.
        norm: what BatchNorm does; see `Norm`.

    Symbols of the paper and what they are here:
        f_φ, the embedding: ``backbone``.
        w, the minimiser of ‖Xw − Y‖² + λ‖w‖²: Xᵀ(XXᵀ + λI)⁻¹Y. The released code gets twice that, which the scale
            makes up for.
        λ: ``lam``; 50 as in the released code.
        γ, the scale of the logits: ``scale``, learned, 1 at the start.

    Raises:
        UsageError: settings that no run could honour.

    Source: as `MetaOptNet`.
    """

    def __init__(
        self, backbone: nn.Module, lam: float = 50.0, label_smoothing: float = 0.0, norm: Norm = "running"
    ) -> None:
        super().__init__(backbone, label_smoothing, norm)
        self.lam = check_positive("lam", lam)

    def solve(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> LinearHead:
        """The ridge regression."""
        with exactly(support_BMD):
            targets_BMN = one_hot_labels(support_BMD, support_y, ways)
            x_BMD = precise(support_BMD)
            identity_MM = torch.eye(x_BMD.shape[1], dtype=x_BMD.dtype, device=x_BMD.device)
            factor_BMM = cholesky(x_BMD @ x_BMD.mT + self.lam * identity_MM, "raise lam")
            weights_BDN = x_BMD.mT @ torch.cholesky_solve(targets_BMN, factor_BMM)
        return LinearHead(weights_BDN, torch.zeros_like(weights_BDN[:, 0]))
