"""Baseline and Baseline++: no meta-learning, but a fresh classifier of each task, trained on a good one's features.

Letters in shapes: B tasks, N ways, M support examples, Q queries, D embedding.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.algorithms.gradient import call_tasks, cross_entropies
from l2l_core.algorithms.inner_loop import Params, inner_loop
from l2l_core.algorithms.metric import Head
from l2l_core.algorithms.normalisation import Norm
from l2l_core.algorithms.pretrained import PretrainedLearner
from l2l_core.errors import UsageError
from l2l_core.nn.closed_form import exactly, precise

_BATCH: Final = 4
_RATE: Final = 0.01
_MOMENTUM: Final = 0.9
_DAMPENING: Final = 0.9
_WEIGHT_DECAY: Final = 1e-3


class Baseline(PretrainedLearner):
    """Baseline: adapting trains a fresh linear classifier on the embeddings of the support set, which stay as they are.

    The training is the paper's: 100 epochs of batches of 4, by SGD with rate 0.01, momentum and dampening 0.9 and
    weight decay 1e-3. All tasks of a batch are trained at once.

    Args:
        backbone, width, classes, norm: as of `PretrainedLearner`.
        epochs: of a task's classifier.
        seed: of its initial weights and of the order of the support examples.

    Symbols of the paper and what they are here:
        f_θ, the feature extractor: ``backbone``.
        C(·|W_b), the classifier of the base classes: ``classifier``.
        C(·|W_n), the classifier of the novel classes: `new_classifier`, trained anew for each task.

    Differences from the released code: there every task draws its own initial weights and orders; here they are the
    same for all tasks, a function of ``seed``, N, D and M, so that what `adapt` gives is a function of the support set
    and a batch of tasks is its tasks one by one. And `meta_loss`, which is absent there, differentiates through the
    whole training of the classifiers; its memory grows with epochs · M / 4.

    Raises:
        UsageError: settings that no run could honour.

    Source: Chen et al. 2019, section 3.2; wyharveychen/CloserLookFewShot, ``methods/baselinefinetune.py``.
    """

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        classes: int,
        epochs: int = 100,
        seed: int = 0,
        norm: Norm = "running",
    ) -> None:
        super().__init__(backbone, width, classes, self.new_classifier(width, classes), norm)
        if epochs < 0:
            raise UsageError(f"{type(self).__name__} was asked for epochs = {epochs}; give at least 0")
        self.epochs = epochs
        self.seed = seed

    @staticmethod
    def new_classifier(width: int, classes: int) -> nn.Module:
        """A classifier of embeddings, with random weights: of the training classes, or of a task's."""
        return nn.Linear(width, classes)

    def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
        """The classifier of each task, after its training."""
        differentiable = torch.is_grad_enabled()
        # The training needs gradients, whatever mode the caller is in.
        with torch.inference_mode(False), torch.enable_grad(), exactly(support_BMD):
            support = precise(support_BMD)
            fresh = self._fresh(support, ways)
            batches = self._batches(support_y)
            trained, _ = inner_loop(
                lambda params, step: cross_entropies(
                    call_tasks(fresh, {}, params, support[:, batches[step]]), support_y[:, batches[step]]
                ),
                {name: value.expand(len(support), *value.shape) for name, value in fresh.named_parameters()},
                _sgd_step,
                None,
                range(len(batches)),
                2 if differentiable else 0,
                range(len(support)),
            )

        def classify(query_BQD: Tensor) -> Tensor:
            with exactly(query_BQD):
                return call_tasks(fresh, {}, trained, precise(query_BQD))

        return classify

    def _fresh(self, support: Tensor, ways: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            return self.new_classifier(support.shape[2], ways).to(support)

    def _batches(self, labels_BM: Tensor) -> list[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        orders = [torch.randperm(labels_BM.shape[1], generator=generator) for _ in range(self.epochs)]
        return [batch.to(labels_BM.device) for order in orders for batch in torch.split(order, _BATCH)]


class BaselinePlusPlus(Baseline):
    """Baseline++: as `Baseline`, with cosine classifiers in the place of the linear ones.

    Args:
        backbone, width, classes, epochs, seed, norm: as of `Baseline`.

    Symbols of the paper and what they are here:
        W_b, W_n = [w_1, …, w_c], class by class: the rows of a `CosineClassifier`'s ``weight``.
        s_ij, the cosine similarities: the logits divided by ``scale`` and ``gain``, neither of which the paper
            mentions.

    Raises:
        UsageError: as `Baseline`.

    Source: Chen et al. 2019, section 3.2; wyharveychen/CloserLookFewShot, ``methods/baselinefinetune.py`` and
    ``backbone.py``.
    """

    @staticmethod
    def new_classifier(width: int, classes: int) -> nn.Module:
        """A cosine classifier of embeddings, with random weights."""
        return CosineClassifier(width, classes)


class CosineClassifier(nn.Module):
    """A classifier by directions; its value is logits [M, N] of embeddings [M, D]: scale · gain · cosine.

    Args:
        width: D.
        classes: N.

    Attributes:
        weight: [N, D], directions of which the length does not matter.
        gain: [N], learned; at the start, the length of ``weight``.
        scale: 2, or 10 for more than 200 classes, as in the released code.

    Source: Chen et al. 2019, section 3.2; the gain and the scale: wyharveychen/CloserLookFewShot, ``backbone.py``.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Linear(width, classes, bias=False).weight.detach())
        self.gain = nn.Parameter(self.weight.detach().norm(dim=1))
        self.scale = 2.0 if classes <= 200 else 10.0

    def forward(self, embedded_MD: Tensor) -> Tensor:
        """Logits [M, N] of embeddings [M, D]."""
        cosines_MN = functional.normalize(embedded_MD, dim=1) @ functional.normalize(self.weight, dim=1).mT
        return self.scale * self.gain * cosines_MN


def _sgd_step(params: Params, gradients: Params, momenta: Params | None) -> tuple[Params, Params]:
    """One step of `torch.optim.SGD`, whose first momenta are the gradients themselves, undampened."""
    pulls = {name: gradients[name] + _WEIGHT_DECAY * value for name, value in params.items()}
    if momenta is not None:
        pulls = {name: _MOMENTUM * momenta[name] + (1 - _DAMPENING) * pull for name, pull in pulls.items()}
    return {name: value - _RATE * pulls[name] for name, value in params.items()}, pulls
