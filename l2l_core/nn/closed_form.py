"""Linear heads with a closed form: ridge regression, and logistic regression in a few Newton steps.

A ``fit_…`` function turns support sets into one linear classifier a task; `linear_logits` applies them to any number of
query sets. All of it is plain linear algebra on the whole batch, so autograd differentiates it, to any order.

Letters in shapes: B tasks, N ways, M support examples, Q query examples, D embedding, E = D + 1 with a bias column.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from l2l_core.errors import UsageError
from l2l_core.nn.heads import class_counts


class LinearHead(NamedTuple):
    """One linear classifier a task.

    Attributes:
        weights_BDN: a column for each class.
        biases_BN: what each class adds.
    """

    weights_BDN: Tensor
    biases_BN: Tensor


def linear_logits(head: LinearHead, query_BQD: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """Logits [B, Q, N] of query embeddings: scale · (x·w + b).

    Args:
        head: what a ``fit_…`` function gave; the logits have its dtype.
        query_BQD: embeddings, floating point.
        scale: learned in R2-D2, from 1e-4 on in its released code. The shift that is learned beside it there is left
            out: it is the same for all classes, so no softmax sees it.

    Raises:
        UsageError: queries that do not fit the head, or are not finite.
    """
    tasks, width = head.weights_BDN.shape[:2]
    check_query(query_BQD, tasks, width)
    with exactly(query_BQD):
        return scale * (query_BQD.to(head.weights_BDN.dtype) @ head.weights_BDN + head.biases_BN[:, None])


def fit_ridge(support_BMD: Tensor, labels_BM: Tensor, ways: int, lam: float | Tensor = 50.0) -> LinearHead:
    """The ridge regression of one-hot labels on embeddings, of each task.

    Args:
        support_BMD: embeddings, floating point.
        labels_BM: int64 in 0..N-1.
        ways: N.
        lam: the weight of the penalty, above 0; a scalar tensor gets gradients.

    Symbols of the paper and what they are here:
        X: the embeddings with a column of ones, divided by √M. So the bias is penalised like every other weight.
        Y: the one-hot labels, divided by √M.
        W: the minimiser of ‖XW − Y‖² + λ‖W‖²; the last row is the bias.
        λ: ``lam``; because of the √M it weighs against a mean over examples, not a sum. The released code has 50.
        α, β, the scale and shift of the logits: see `linear_logits`.

    MetaOptNet's ridge head is this one without the bias column and without the √M.

    Raises:
        UsageError: shapes that do not fit, labels outside 0..N-1, a class without a support example, embeddings that
            are not finite, ``lam`` not above 0, or so small that the system is singular in this precision.

    Source: Bertinetto et al. 2019, section 3; bertinetto/r2d2, ``fewshots/models/r2d2.py``.
    """
    check_positive("lam", lam)
    with exactly(support_BMD):
        targets_BMN = one_hot_labels(support_BMD, labels_BM, ways)
        examples = support_BMD.shape[1]
        x_BME = _with_ones(precise(support_BMD)) / math.sqrt(examples)
        y_BMN = targets_BMN / math.sqrt(examples)
        # Either form gives the same W; what is factorised is E×E in one and, by Woodbury's identity, M×M in the other.
        if examples > x_BME.shape[2]:
            system_BEE = x_BME.mT @ x_BME + lam * _identity(x_BME.shape[2], x_BME)
            weights_BEN = torch.cholesky_solve(x_BME.mT @ y_BMN, cholesky(system_BEE, "raise lam"))
        else:
            system_BMM = x_BME @ x_BME.mT + lam * _identity(examples, x_BME)
            weights_BEN = x_BME.mT @ torch.cholesky_solve(y_BMN, cholesky(system_BMM, "raise lam"))
    return LinearHead(weights_BEN[:, :-1], weights_BEN[:, -1])


def fit_logistic(
    support_BMD: Tensor, labels_BM: Tensor, ways: int, lam: float | Tensor = 50.0, steps: int = 5
) -> LinearHead:
    """The logistic regressions, each class against the others, of each task, after some Newton steps from 0.

    Gradients pass through the steps themselves and not through the optimum: after a fixed few of them the weights are
    not yet there, and what is trained is what is used.

    Args:
        support_BMD: embeddings, floating point.
        labels_BM: int64 in 0..N-1.
        ways: N.
        lam: the weight of the penalty, above 0; a scalar tensor gets gradients.
        steps: at least 1.

    Symbols of the paper and what they are here:
        X: the embeddings with a column of ones, not divided by anything; the bias is penalised.
        w: of each class, minimises Σ log(1 + exp(−y xᵀw)) + λ/2 ‖w‖², where y is 1 in the class and −1 outside.
        λ: ``lam``. The released code has 50, and no scale of the logits.
        s, z, the weights and targets of a reweighted least-squares step: ``root²`` and ``pulls / root²`` below, which
            never divides by s, so that examples far on either side cost no precision.

    With two ways there are two regressions, of opposite sign, where the paper has one: the same decision, and the
    logits differ by twice the paper's.

    Raises:
        UsageError: as `fit_ridge`; steps below 1.

    Source: Bertinetto et al. 2019, section 3; bertinetto/r2d2, ``fewshots/models/lrd2.py``. The form of the step:
    Rasmussen and Williams 2006, algorithm 3.1.
    """
    check_positive("lam", lam)
    if steps < 1:
        raise UsageError(f"fit_logistic was asked for {steps} Newton steps; give at least 1")
    with exactly(support_BMD):
        targets_BNM = one_hot_labels(support_BMD, labels_BM, ways).mT
        x_BME = _with_ones(precise(support_BMD))
        # All in the span of the examples, w = Xᵀa / λ: M×M systems, whatever D.
        gram_BMM = x_BME @ x_BME.mT / lam
        identity_MM = _identity(x_BME.shape[1], x_BME)
        scores_BNM = torch.zeros_like(targets_BNM)
        coefficients_BNM = scores_BNM
        for _ in range(steps):
            # √(σ(1−σ)) through logarithms: where it underflows its gradient is 0, and not 0·∞.
            root_BNM = (0.5 * (functional.logsigmoid(scores_BNM) + functional.logsigmoid(-scores_BNM))).exp()
            pulls_BNM = root_BNM.square() * scores_BNM + targets_BNM - scores_BNM.sigmoid()
            system_BNMM = identity_MM + root_BNM[..., :, None] * gram_BMM[:, None] * root_BNM[..., None, :]
            solved_BNM1 = torch.cholesky_solve(
                (root_BNM * (pulls_BNM @ gram_BMM))[..., None], cholesky(system_BNMM, "raise lam")
            )
            coefficients_BNM = pulls_BNM - root_BNM * solved_BNM1[..., 0]
            scores_BNM = coefficients_BNM @ gram_BMM
        weights_BEN = x_BME.mT @ coefficients_BNM.mT / lam
    return LinearHead(weights_BEN[:, :-1], weights_BEN[:, -1])


def one_hot_labels(support_BMD: Tensor, labels_BM: Tensor, ways: int) -> Tensor:
    """The labels as zeros and ones [B, M, N], in the precision that heads work in, where support and labels fit.

    Raises:
        UsageError: shapes or dtypes that do not fit, labels outside 0..N-1, a class without a support example, or
            embeddings that are not finite.
    """
    if support_BMD.ndim != 3 or labels_BM.shape != support_BMD.shape[:2] or not support_BMD.numel():
        raise UsageError(
            f"a head is fitted on embeddings [B, M, D] and labels [B, M], but was given {list(support_BMD.shape)} and "
            f"{list(labels_BM.shape)}; give one label for each embedding, and at least one of them"
        )
    if labels_BM.dtype != torch.int64:
        raise UsageError(f"the support labels must be int64, but are {labels_BM.dtype}; convert them with y.long()")
    _check_embeddings("support", support_BMD)
    class_counts(labels_BM, ways)
    return functional.one_hot(labels_BM, ways).to(precise(support_BMD).dtype)


def check_query(query_BQD: Tensor, tasks: int, width: int) -> None:
    """Nothing, where the queries are embeddings [B, Q, D] with B and D as given.

    Raises:
        UsageError: they are of another shape, or not finite floating-point numbers.
    """
    if query_BQD.ndim != 3 or query_BQD.shape[0] != tasks or query_BQD.shape[2] != width:
        raise UsageError(
            f"a head fitted on {tasks} tasks of embeddings of {width} numbers was given queries "
            f"{list(query_BQD.shape)}; give queries [{tasks}, Q, {width}]"
        )
    _check_embeddings("query", query_BQD)


def check_positive(name: str, value: float | Tensor) -> float:
    """The value as a number without a graph, where it is one finite number above 0.

    Raises:
        UsageError: it is not.
    """
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise UsageError(f"{name} must be one number, but has shape {list(value.shape)}; give a scalar")
        value = value.item()
    if not 0 < value < math.inf:
        raise UsageError(f"{name} is {value:g}; give a finite number above 0")
    return value


def precise(embeddings: Tensor) -> Tensor:
    """The embeddings in float32 at least: half precision is enough for a backbone, but not for a linear system."""
    return embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))


def exactly(embeddings: Tensor) -> torch.autocast:
    """A context without autocast, which would put every product of matrices back to half precision."""
    return torch.autocast(embeddings.device.type, enabled=False)


def cholesky(system: Tensor, advice: str) -> Tensor:
    """The lower Cholesky factor of symmetric matrices [B, …, M, M].

    Raises:
        UsageError: one is not positive definite in its precision; the message ends in the advice.
    """
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(system)
    failed = info.nonzero()
    if len(failed):
        dtype = str(system.dtype).removeprefix("torch.")
        raise UsageError(
            f"the linear system of task {int(failed[0, 0])} of the batch is singular in {dtype}; "
            f"normalise the embeddings, give them in float64, or {advice}"
        )
    return factor


def _check_embeddings(name: str, embeddings: Tensor) -> None:
    if not embeddings.is_floating_point():
        raise UsageError(f"the {name} embeddings must be floating point, but are {embeddings.dtype}; convert them")
    broken = (~embeddings.isfinite()).any(dim=2).any(dim=1).nonzero()
    if len(broken):
        raise UsageError(
            f"the {name} embeddings of task {int(broken[0])} of the batch are not all finite; look for a diverged "
            "backbone, or lower its learning rate"
        )


def _with_ones(embeddings_BMD: Tensor) -> Tensor:
    return functional.pad(embeddings_BMD, (0, 1), value=1.0)


def _identity(size: int, like: Tensor) -> Tensor:
    return torch.eye(size, dtype=like.dtype, device=like.device)
