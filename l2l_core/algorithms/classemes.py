"""Classemes: what an example has of each training class, beside its embedding.

Letters in shapes: B tasks, N ways, M support examples, Q queries, D embedding, C training classes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.algorithms.metric import Head
from l2l_core.algorithms.normalisation import Norm
from l2l_core.algorithms.pretrained import PretrainedLearner
from l2l_core.errors import UsageError
from l2l_core.nn.closed_form import check_positive, exactly
from l2l_core.nn.heads import prototypes
from l2l_core.nn.metric_heads import cl2n, cosine_similarities

_SCALE = 10.0
"""Of the logits, as of `cosine_logits`; it changes no decision."""


class Classemes(PretrainedLearner):
    """The nearest centroid by cosine, of embeddings with their classemes beside them.

    A classifier of the training classes, by the cosine with a learned direction of each, says how probable each of
    these is for an example. The square roots of the probabilities, minus their mean, stand beside the embedding, which
    has been centred and brought to length 1 (CL2N): the cosine of two examples then grows with their Bhattacharyya
    coefficient, so that what two of them share of the training classes counts beside what their embeddings share. On a
    frozen backbone one direction a training class is all that is learned.

    Of queries and prototypes a part of the prototypes' mean is taken away, which is what the ways have in common.

    Args:
        backbone, width, classes, norm: as of `PretrainedLearner`.
        scale: of the cosines before the softmax over the training classes, in training and in test.
        share: how much the classemes count beside the embedding, whose length is 1.
        common: the part of the prototypes' mean that is taken away, in [0, 1).

    Attributes:
        classifier: `Directions`, of the training classes.

    Raises:
        UsageError: a scale that is not above 0, a negative share, or a common part outside [0, 1).

    Source: Torresani et al. 2010 for classemes, there the outputs of classifiers of a web search's classes; Wang et al.
    2019, section 3, for CL2N. The square roots and the rest are this library's: of frozen sentence embeddings of news
    headlines they were chosen on training and validation classes.
    """

    classifier: "Directions"

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        classes: int,
        scale: float = 15.0,
        share: float = 0.5,
        common: float = 0.5,
        norm: Norm = "running",
    ) -> None:
        check_positive("scale", scale)
        super().__init__(backbone, width, classes, Directions(width, classes, scale), norm)
        if not (share >= 0 and 0 <= common < 1):
            raise UsageError(
                f"{type(self).__name__} was asked for share = {share} and common = {common}; give a share of at least "
                "0, and for the common part a number from 0 to below 1"
            )
        self.share = share
        self.common = common

    def base_logits(self, embedded_MD: Tensor) -> Tensor:
        """Logits [M, C] of the training classes, of centred embeddings of length 1."""
        logits_MC: Tensor = self.classifier(cl2n(embedded_MD, self.base_mean))
        return logits_MC

    def joined(self, embedded_BMD: Tensor) -> Tensor:
        """The embeddings after CL2N with their classemes behind them, [B, M, D + C]."""
        centred_BMD = cl2n(embedded_BMD, self.base_mean)
        # Half the logarithm is the square root, with a gradient where a probability is all but 0.
        roots_BMC = (functional.log_softmax(self.classifier(centred_BMD), dim=-1) / 2).exp()
        return torch.cat([centred_BMD, self.share * (roots_BMC - roots_BMC.mean(dim=-1, keepdim=True))], dim=-1)

    def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
        """Cosines with the prototypes, without what is common to these."""
        with exactly(support_BMD):
            prototypes_BND = prototypes(self.joined(support_BMD), support_y, ways)
            common_B1D = self.common * prototypes_BND.mean(dim=1, keepdim=True)

        def classify(query_BQD: Tensor) -> Tensor:
            with exactly(query_BQD):
                return _SCALE * cosine_similarities(self.joined(query_BQD) - common_B1D, prototypes_BND - common_B1D)

        return classify


class Directions(nn.Module):
    """A classifier by directions; its value is logits [..., C] of embeddings [..., D]: scale times the cosine.

    Args:
        width: D.
        classes: C.
        scale: of the cosines.

    Attributes:
        weight: [C, D], directions of which the length does not matter.
    """

    def __init__(self, width: int, classes: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Linear(width, classes, bias=False).weight.detach())
        self.scale = scale

    def forward(self, embedded: Tensor) -> Tensor:
        """Logits [..., C] of embeddings [..., D]."""
        return self.scale * functional.normalize(embedded, dim=-1) @ functional.normalize(self.weight, dim=-1).mT
