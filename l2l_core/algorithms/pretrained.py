"""The base of learners whose backbone is trained by plain classification of the training classes, without episodes.

Letters in shapes: M examples, C H W image, D embedding.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core import distributed
from l2l_core.algorithms.metric import MetricLearner
from l2l_core.algorithms.normalisation import Norm
from l2l_core.errors import UsageError
from l2l_core.modules import accuracy
from l2l_core.nn.closed_form import precise

_MEMORY: Final = 100
"""Batches that the mean embedding remembers: few enough to follow the backbone, and enough for a steady mean."""


class PretrainedLearner(MetricLearner):
    """A learner with a classifier of the training classes, which trains the backbone and then has done its duty.

    A training step is `example_loss` on a plain batch. `meta_loss` works on episodes, as of every learner, to validate
    or to go on training the backbone; it has no gradient for the classifier.

    Args:
        backbone: from pictures [M, C, H, W] to embeddings [M, D], or to maps, which are flattened.
        width: D.
        classes: how many the training set has.
        classifier: from embeddings [M, D] to logits [M, classes]; None for a linear layer.
        norm: what BatchNorm does; see `Norm`.

    Attributes:
        base_mean: [D], the mean embedding of the training examples. It follows the training batches: the plain mean
            of the first hundred, and from then on each new batch moves it by a hundredth of the way, so that what the
            backbone gave long ago is forgotten. Before the first batch it is 0. For the exact one of a trained
            backbone, average its embeddings over the training set and ``copy_`` the result here.
        base_batches: how many training batches it has seen.

    Raises:
        UsageError: ``width`` or ``classes`` is below 1.
    """

    base_mean: Tensor
    base_batches: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        classes: int,
        classifier: nn.Module | None = None,
        norm: Norm = "running",
    ) -> None:
        super().__init__(backbone, norm)
        if width < 1 or classes < 1:
            raise UsageError(
                f"{type(self).__name__} was asked for width = {width} and classes = {classes}; give at least 1 of each"
            )
        self.width = width
        self.classes = classes
        self.classifier = nn.Linear(width, classes) if classifier is None else classifier
        self.register_buffer("base_mean", torch.zeros(width))
        self.register_buffer("base_batches", torch.zeros((), dtype=torch.int64))

    def example_loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The mean cross-entropy of the training classes, and the accuracy, a fraction in [0, 1], detached.

        In train mode this is a training step's forward pass: BatchNorm's running statistics and the mean embedding
        follow it.

        Args:
            x: inputs [M, …] as the backbone takes them, floating point (pictures [M, C, H, W], vectors) or int64 (token
                ids).
            y: int64 [M] in 0..classes-1.

        Raises:
            UsageError: tensors that are not so, or embeddings of another width.
        """
        self._check_examples(x, y)
        embedded_MD = self.laid_out(self.backbone(x))
        if embedded_MD.shape[1] != self.width:
            raise UsageError(
                f"{type(self).__name__} was built for embeddings of {self.width} numbers, but its backbone gives "
                f"{embedded_MD.shape[1]}; build it with width={embedded_MD.shape[1]}"
            )
        if self.training:
            self._follow(embedded_MD.detach())
        logits_MC = self.base_logits(embedded_MD)
        return functional.cross_entropy(logits_MC, y), accuracy(logits_MC.detach(), y)

    def base_logits(self, embedded_MD: Tensor) -> Tensor:
        """Logits [M, classes] of the training classes, of embeddings [M, D]: the classifier's by default."""
        logits_MC: Tensor = self.classifier(embedded_MD)
        return logits_MC

    def _follow(self, embedded_MD: Tensor) -> None:
        self.base_batches += 1
        mean_D = precise(embedded_MD).mean(dim=0)
        if distributed.size() > 1:
            # Of all processes' parts, before the logits are made: those of some methods depend on it.
            sum_and_count = torch.cat([mean_D * len(embedded_MD), mean_D.new_tensor([len(embedded_MD)])])
            total = distributed.sum_(sum_and_count)
            mean_D = total[:-1] / total[-1]
        mean_D = mean_D.to(self.base_mean.dtype)
        self.base_mean.lerp_(mean_D, (1 / self.base_batches.clamp_max(_MEMORY)).to(mean_D.dtype))

    def _check_examples(self, x: Tensor, y: Tensor) -> None:
        who = type(self).__name__
        if x.ndim < 2 or y.shape != x.shape[:1] or not x.numel():
            raise UsageError(
                f"{who} trains on inputs [M, …], such as pictures [M, C, H, W], and labels [M], but was given "
                f"{list(x.shape)} and {list(y.shape)}; give one label for each input, and at least one of them"
            )
        # Whole numbers of 64 bits are token ids; smaller ones are pictures that somebody forgot to convert.
        if not (x.is_floating_point() or x.dtype == torch.int64) or y.dtype != torch.int64:
            raise UsageError(
                f"{who} trains on floating-point pictures and int64 labels, but was given {x.dtype} and {y.dtype}; "
                "convert them, as in x.float() / 255 and y.long()"
            )
        smallest, largest = (int(bound) for bound in y.aminmax())
        if smallest < 0 or largest >= self.classes:
            raise UsageError(
                f"the labels run from {smallest} to {largest}, but {who} was built for the classes "
                f"0..{self.classes - 1}; build it with as many classes as the training set has"
            )
