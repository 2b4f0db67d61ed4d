"""R2-D2 and LR-D2: ridge or logistic regression of each task on learned embeddings, differentiated in closed form.

Letters in shapes: B tasks, N ways, M support examples, Q queries, C H W image, D embedding.
"""

import math

import torch
from torch import Tensor, nn

from l2l_core.algorithms.metric import Head, MetricLearner, scale_of
from l2l_core.algorithms.normalisation import Norm
from l2l_core.errors import UsageError
from l2l_core.nn.closed_form import check_positive, fit_logistic, fit_ridge, linear_logits


class _Penalised(MetricLearner):
    """A learner whose head has a penalty of learned weight λ."""

    def __init__(self, backbone: nn.Module, lam: float, norm: Norm) -> None:
        super().__init__(backbone, norm)
        self.log_lam = nn.Parameter(torch.tensor(math.log(check_positive("lam", lam))))

    @property
    def lam(self) -> Tensor:
        """λ, the weight of the penalty."""
        return self.log_lam.exp()


class R2D2(_Penalised):
    """R2-D2: the ridge regression of each task's one-hot labels on its embeddings.

    Args:
        backbone: from pictures [M, C, H, W] to embeddings [M, D], or to maps, which are flattened.
        lam: λ at the start.
        scale: of the logits, at the start. It starts so low in the released code, where the learning rate, 5e-3, is
            fifty times that.
        norm: what BatchNorm does; see `Norm`.

    Symbols of the paper and what they are here:
        φ, the embedding with parameters ω: ``backbone``.
        Λ, the ridge regression: `fit_ridge`, which says what X, Y and W are.
        λ: ``lam``. Learned through its logarithm, ``log_lam``, so that it stays above 0; the released code learns it
            or the exponent of a given base.
        α, the scale of the logits: ``scale``, learned.
        β, their shift: left out; it is one number for all classes, which no softmax sees.

    Raises:
        UsageError: ``lam`` or ``scale`` is not a finite number above 0.

    Source: Bertinetto et al. 2019, section 3; bertinetto/r2d2, ``fewshots/models/r2d2.py`` and ``adjust.py``.
    """

    def __init__(self, backbone: nn.Module, lam: float = 50.0, scale: float = 1e-4, norm: Norm = "running") -> None:
        super().__init__(backbone, lam, norm)
        self.scale = scale_of(scale, learned=True)

    def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
        """The scaled predictions of the ridge regression."""
        head = fit_ridge(support_BMD, support_y, ways, self.lam)
        return lambda query_BQD: linear_logits(head, query_BQD, self.scale)


class LRD2(_Penalised):
    """LR-D2: the logistic regressions of each task, one class against the others, after some Newton steps.

    Args:
        backbone: from pictures [M, C, H, W] to embeddings [M, D], or to maps, which are flattened.
        lam: λ at the start.
        steps: Newton steps.
        norm: what BatchNorm does; see `Norm`.

    Symbols of the paper and what they are here:
        φ, the embedding with parameters ω: ``backbone``.
        Λ, the logistic regression by iteratively reweighted least squares: `fit_logistic`, which says what X, w, s and
            z are.
        λ: ``lam``, learned through its logarithm, ``log_lam``, so that it stays above 0.
        ways: two in the paper, for which there is one regression; here any number N, with N regressions.

    Raises:
        UsageError: ``lam`` is not a finite number above 0, or ``steps`` is below 1.

    Source: Bertinetto et al. 2019, section 3; bertinetto/r2d2, ``fewshots/models/lrd2.py``.
    """

    def __init__(self, backbone: nn.Module, lam: float = 50.0, steps: int = 5, norm: Norm = "running") -> None:
        super().__init__(backbone, lam, norm)
        if steps < 1:
            raise UsageError(f"LRD2 was asked for steps = {steps}; give at least 1")
        self.steps = steps

    def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
        """The log-odds of each class against the others."""
        head = fit_logistic(support_BMD, support_y, ways, self.lam, self.steps)
        return lambda query_BQD: linear_logits(head, query_BQD)
