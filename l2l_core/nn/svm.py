"""The multi-class support vector machine of MetaOptNet: a batched solver of its dual, and heads on top of it.

The dual of each task, over α [M, N] with one row a support example and one column a class, is

    minimise ½ Σ_n α_nᵀ (G + I) α_n − Σ α∘Y   subject to   α ≤ C·Y,   Σ_n α_in = 0 for each example i,

where G is the Gram matrix of the support, α_n a column, and Y the one-hot labels. It is strictly convex, and its
constraints are independent at any feasible point (a row whose every entry is at its bound would sum to C), so solution
and multipliers are unique.

Letters in shapes: B tasks, N ways, M support examples, Q query examples, D embedding.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

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

# How far short of the nearest bound a step stops where the predictor got nowhere; where it got far, less in proportion,
# which makes the last iterations faster than linear. On random tasks with Gram matrices from 1 to 1e6, after 15
# iterations, a constant 0.01 was up to 1e3 times less exact, and 5 or 10 times this number up to 100 times.
_SHORT_OF_BOUND = 0.01


def svm_dual(
    support_BMD: Tensor,
    labels_BM: Tensor,
    ways: int,
    C_reg: float | Tensor = 0.1,
    max_iters: int = 15,
) -> Tensor:
    """The dual solution α [B, M, N], differentiable in the support and in C.

    An interior-point method with predictor and corrector (Mehrotra's) walks to the solution without a graph. It starts
    at a point that is feasible in the primal and in the dual, and stays so; a task that has arrived stands still.
    Gradients are those of the optimality conditions at the point reached, by the implicit function theorem, and not of
    the walk: memory does not grow with the iterations, and at the solution the gradients are exact. There, second
    derivatives are right too. Where a bound is reached with a multiplier of 0, the solution has a kink, and there is no
    gradient; what comes back lies between those of the two sides.

    Args:
        support_BMD: embeddings, floating point.
        labels_BM: int64 in 0..N-1.
        ways: N.
        C_reg: C, above 0; a scalar tensor gets gradients.
        max_iters: iterations, at least 1. On random tasks in float64, with embeddings of length up to 100, α was right
            to 2e-6 of its largest entry after 15, more often than not to the last digit, and always so after 20.

    Raises:
        UsageError: shapes that do not fit, labels outside 0..N-1, a class without a support example, embeddings that
            are not finite or too long for their precision, C not above 0, or iterations below 1.

    Source: Lee et al. 2019, section 3 (after Crammer and Singer 2001); kjunelee/MetaOptNet,
    ``models/classification_heads.py``, for C = 0.1 and the identity added to the Gram matrix. The derivative: Amos and
    Kolter 2017, section 3. The walk: Nocedal and Wright 2006, algorithm 16.4.
    """
    C_number = check_positive("C_reg", C_reg)
    if max_iters < 1:
        raise UsageError(f"the SVM was asked for max_iters = {max_iters}; give at least 1")
    with exactly(support_BMD):
        targets_BNM = one_hot_labels(support_BMD, labels_BM, ways).mT
        support = precise(support_BMD)
        gram_BMM = support @ support.mT + torch.eye(support.shape[1], dtype=support.dtype, device=support.device)
        with torch.no_grad():
            slack_BNM, dual_BNM = _walk(gram_BMM, targets_BNM, C_number, max_iters)
        # One more linear system, that of the optimality conditions linearised at the end of the walk. Its solution is
        # the point itself, and what the Gram matrix and C do to it is what the implicit function theorem says.
        stiff_BNM = dual_BNM / slack_BNM
        bound_BNM = C_reg * targets_BNM
        saddle = _Saddle.of(gram_BMM, stiff_BNM)
        alpha_BNM, _ = saddle.solve(
            targets_BNM - dual_BNM + stiff_BNM * (bound_BNM - slack_BNM),
            torch.zeros_like(labels_BM, dtype=support.dtype),
        )
    return alpha_BNM.mT


def fit_svm(
    support_BMD: Tensor,
    labels_BM: Tensor,
    ways: int,
    C_reg: float | Tensor = 0.1,
    max_iters: int = 15,
) -> LinearHead:
    """The support vector machine of each task, w_n = Σ_i α_in x_i, without biases; for `linear_logits`.

    Args:
        support_BMD, labels_BM, ways, C_reg, max_iters: as `svm_dual` takes them.

    Symbols of the paper and what they are here:
        α: `svm_dual`.
        C: ``C_reg``; 0.1, as in the released code.
        γ, the learned scale of the logits: `linear_logits`' ``scale``.
        I added to the Gram matrix: in the released code and not in the paper; it keeps the dual strictly convex.

    Raises:
        UsageError: as `svm_dual`.

    Source: Lee et al. 2019, section 3.
    """
    alpha_BMN = svm_dual(support_BMD, labels_BM, ways, C_reg, max_iters)
    with exactly(support_BMD):
        weights_BDN = precise(support_BMD).mT @ alpha_BMN
    return LinearHead(weights_BDN, torch.zeros_like(weights_BDN[:, 0]))


class SVClassifier(nn.Module):
    """A support vector classifier of embeddings; its value for queries [Q, D] is logits [Q, N].

    With learn2learn's meaning: labels are 0..N-1.

    Attributes:
        head: the linear classifier of one task; None before `fit_`.

    Args:
        support, labels: given both, the classifier is fitted at once.
        ways: N; None takes the number of distinct labels.
        normalize: bring support and queries to length 1.
        C_reg: C, above 0.
        max_iters: iterations of the solver, as `svm_dual` takes them.

    Mended from learn2learn: it needs no qpth, which no longer installs; labels and shapes that do not fit are refused
    in words; half precision works, the classifier being fitted in float32.

    Raises:
        UsageError: as `fit_`, or support without labels.

    Source: Lee et al. 2019, section 3.
    """

    def __init__(
        self,
        support: Tensor | None = None,
        labels: Tensor | None = None,
        ways: int | None = None,
        normalize: bool = False,
        C_reg: float = 0.1,
        max_iters: int = 15,
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.C_reg = C_reg
        self.max_iters = max_iters
        self.head: LinearHead | None = None
        if (support is None) != (labels is None):
            raise UsageError("SVClassifier was given only one of support and labels; give both or neither")
        if support is not None and labels is not None:
            self.fit_(support, labels, ways)

    def fit_(
        self,
        support: Tensor,
        labels: Tensor,
        ways: int | None = None,
        C_reg: float | None = None,
        max_iters: int | None = None,
    ) -> LinearHead:
        """The linear classifier of the support, which is also kept.

        Args:
            support: embeddings [M, D].
            labels: int64 [M] in 0..N-1.
            ways: N; None takes the number of distinct labels.
            C_reg, max_iters: for this once; None takes the classifier's own.

        Raises:
            UsageError: as `svm_dual`.
        """
        if support.ndim != 2 or labels.shape != support.shape[:1]:
            raise UsageError(
                f"fit_ takes embeddings [M, D] and labels [M], but was given {list(support.shape)} and "
                f"{list(labels.shape)}; give one label for each embedding"
            )
        self.head = fit_svm(
            self._scaled(support)[None],
            labels[None],
            len(torch.unique(labels)) if ways is None else ways,
            self.C_reg if C_reg is None else C_reg,
            self.max_iters if max_iters is None else max_iters,
        )
        return self.head

    def forward(self, queries: Tensor) -> Tensor:
        """Logits [Q, N] of query embeddings [Q, D].

        Raises:
            UsageError: not fitted yet, or queries of another shape.
        """
        if self.head is None:
            raise UsageError("SVClassifier was asked to classify before it saw a support set; call fit_ first")
        width = self.head.weights_BDN.shape[1]
        if queries.ndim != 2 or queries.shape[1] != width:
            raise UsageError(
                f"SVClassifier was fitted on embeddings of {width} numbers, but was given queries "
                f"{list(queries.shape)}; give queries [Q, {width}]"
            )
        return linear_logits(self.head, self._scaled(queries)[None])[0]

    def _scaled(self, embeddings: Tensor) -> Tensor:
        return functional.normalize(precise(embeddings), dim=1) if self.normalize else embeddings


class _Saddle(NamedTuple):
    """The factors of the system (G + diag(d_n)) x_n + v = r_n for each class n, and Σ_n x_n = t.

    The classes meet only in v, so N blocks of M×M and one Schur complement do the work of one matrix of NM + M rows:
    about N² times less.
    """

    blocks_BNMM: Tensor
    schur_BMM: Tensor

    @classmethod
    def of(cls, gram_BMM: Tensor, diagonal_BNM: Tensor) -> "_Saddle":
        advice = "lower C_reg"
        blocks_BNMM = cholesky(gram_BMM[:, None] + torch.diag_embed(diagonal_BNM), advice)
        identity_MM = torch.eye(gram_BMM.shape[1], dtype=gram_BMM.dtype, device=gram_BMM.device)
        # Σ_n H_n⁻¹ as the Gram matrix of the stacked L_n⁻¹: symmetric and positive whatever the rounding.
        stacked = torch.linalg.solve_triangular(blocks_BNMM, identity_MM, upper=False).flatten(1, 2)
        return cls(blocks_BNMM, cholesky(stacked.mT @ stacked, advice))

    def solve(self, r_BNM: Tensor, t_BM: Tensor) -> tuple[Tensor, Tensor]:
        free_BNM = torch.cholesky_solve(r_BNM[..., None], self.blocks_BNMM)[..., 0]
        v_BM = torch.cholesky_solve((free_BNM.sum(dim=1) - t_BM)[..., None], self.schur_BMM)[..., 0]
        x_BNM = torch.cholesky_solve((r_BNM - v_BM[:, None])[..., None], self.blocks_BNMM)[..., 0]
        return x_BNM, v_BM


def _walk(gram_BMM: Tensor, targets_BNM: Tensor, C_reg: float, iterations: int) -> tuple[Tensor, Tensor]:
    """The slacks C·Y − α and the multipliers of α ≤ C·Y, both [B, N, M] and above 0, at the end of the walk."""
    # Inside: each α is below its bound and each row sums to 0. Where the Gram matrix is large the solution is small,
    # and so is the start; the multipliers then start at about 1, whatever the scale.
    curvature_B11 = gram_BMM.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    alpha_BNM = (1 / curvature_B11).clamp_max(C_reg / 2) * (targets_BNM - targets_BNM.mean(dim=1, keepdim=True))
    slack_BNM = C_reg * targets_BNM - alpha_BNM
    slope_BNM = alpha_BNM @ gram_BMM - targets_BNM
    level_BM = -slope_BNM.amax(dim=1) - 1
    dual_BNM = -slope_BNM - level_BM[:, None]
    # Complementarity can be brought far below the rounding of α; here it is so small that nothing is left to gain.
    arrived = torch.finfo(gram_BMM.dtype).eps ** 1.5 * C_reg

    for _ in range(iterations):
        # 0 in exact arithmetic, since the start is feasible; taken along, so that rounding does not add up.
        residual_BNM = alpha_BNM @ gram_BMM - targets_BNM + dual_BNM + level_BM[:, None]
        row_sums_BM = alpha_BNM.sum(dim=1)
        stiff_BNM = dual_BNM / slack_BNM
        gaps_BNM = slack_BNM * dual_BNM
        gap_B11 = gaps_BNM.mean(dim=(1, 2), keepdim=True)
        saddle = _Saddle.of(gram_BMM, stiff_BNM)

        # Predictor: straight for complementarity 0. How far that gets says how much to recentre.
        d_alpha, _ = saddle.solve(dual_BNM - residual_BNM, -row_sums_BM)
        d_dual = stiff_BNM * d_alpha - dual_BNM
        step_B11 = _longest(slack_BNM, -d_alpha, dual_BNM, d_dual)
        predicted_BNM = (slack_BNM - step_B11 * d_alpha) * (dual_BNM + step_B11 * d_dual)
        left_B11 = (predicted_BNM.mean(dim=(1, 2), keepdim=True) / gap_B11).clamp(1e-3, 1.0)
        target_B11 = gap_B11 * left_B11**3

        # Corrector: the same matrix, with the second-order term that the predictor left out.
        wanted_BNM = gaps_BNM - d_alpha * d_dual - target_B11
        d_alpha, d_level = saddle.solve(wanted_BNM / slack_BNM - residual_BNM, -row_sums_BM)
        d_dual = stiff_BNM * d_alpha - wanted_BNM / slack_BNM
        step_B11 = (1 - _SHORT_OF_BOUND * left_B11) * _longest(slack_BNM, -d_alpha, dual_BNM, d_dual)
        step_B11 = step_B11 * (gaps_BNM.amax(dim=(1, 2), keepdim=True) > arrived)

        alpha_BNM = alpha_BNM + step_B11 * d_alpha
        slack_BNM = slack_BNM - step_B11 * d_alpha
        dual_BNM = dual_BNM + step_B11 * d_dual
        level_BM = level_BM + step_B11[:, 0] * d_level
    return slack_BNM, dual_BNM


def _longest(slack: Tensor, d_slack: Tensor, dual: Tensor, d_dual: Tensor) -> Tensor:
    """The longest step [B, 1, 1], 1 at most, after which no slack and no multiplier is below 0."""
    steepest = torch.maximum(-d_slack / slack, -d_dual / dual).amax(dim=(1, 2), keepdim=True)
    return 1 / steepest.clamp_min(1.0)
