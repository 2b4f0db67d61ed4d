"""learn2learn's modules for Lightning, which comes with the extra `lightning`: a task a step, or a batch of tasks.

They are made for `lightning.pytorch`; a program that imports `pytorch_lightning` mixes two packages, and has to import
the Trainer from `lightning.pytorch` instead.

Letters in shapes: B tasks, N ways, M examples of a task, S support examples, Q queries.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR

from l2l_core.algorithms.maml import MAML
from l2l_core.data.partition import partition_task
from l2l_core.errors import UsageError
from l2l_core.modules import accuracy
from l2l_core.nn.heads import PrototypicalClassifier

try:
    from lightning.pytorch import LightningModule
except ImportError as error:
    raise ImportError(
        f"the package lightning is not here ({error}); install it with `pip install l2l-core[lightning]`"
    ) from None

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


class LightningEpisodicModule(LightningModule):
    """A Lightning module whose steps learn from tasks. A class derived from it says `meta_learn`.

    Its steps log the loss and accuracy of "train", "valid" and "test", as in "valid_accuracy", averaged over the tasks
    of an epoch; Adam trains it.

    Args:
        settings: any of the attributes below; other names are let be, so that a whole command line can be handed in.

    Attributes:
        train_ways, train_shots, train_queries: classes a task, and support and query examples a class, in training.
        test_ways, test_shots, test_queries: in validation and test.
        lr: of Adam.
        scheduler_step, scheduler_decay: every so many epochs the rate is multiplied by that.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = (
        *("train_ways", "train_shots", "train_queries", "test_ways", "test_shots", "test_queries"),
        *("lr", "scheduler_step", "scheduler_decay"),
    )
    """Names of the attributes that are settings; those of the class are the defaults."""

    train_ways: int = 5
    train_shots: int = 1
    train_queries: int = 1
    test_ways: int = 5
    test_shots: int = 1
    test_queries: int = 1
    lr: float = 0.001
    scheduler_step: int = 20
    scheduler_decay: float = 1.0

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        chosen = {name: settings.get(name, getattr(self, name)) for name in self.SETTINGS}
        for name, value in chosen.items():
            setattr(self, name, value)
        self.save_hyperparameters(chosen)

    @classmethod
    def add_model_specific_args(cls, parent_parser: ArgumentParser) -> ArgumentParser:
        """A parser of what the parent parses and of the settings, ``--train_ways`` and so on."""
        parser = ArgumentParser(parents=[parent_parser], conflict_handler="resolve")
        for name in cls.SETTINGS:
            default = getattr(cls, name)
            parser.add_argument(f"--{name}", type=type(default), default=default)
        return parser

    def meta_learn(self, batch: Any, batch_idx: int, ways: int, shots: int, queries: int) -> tuple[Tensor, Tensor]:
        """The loss to descend, a scalar, and the accuracy in [0, 1], of a task or the mean of several.

        Args:
            batch: inputs [M, …] and labels [M] of a task; or of B tasks, with that axis in front.
            batch_idx: its number.
            ways, shots, queries: what the task is made of: M = ways · (shots + queries).
        """
        raise NotImplementedError(f"{type(self).__name__} is an episodic module without meta_learn; write that method")

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a step of training."""
        return self._step("train", batch, batch_idx, self.train_ways, self.train_shots, self.train_queries)

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a step of validation."""
        return self._step("valid", batch, batch_idx, self.test_ways, self.test_shots, self.test_queries).detach()

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a step of testing."""
        return self._step("test", batch, batch_idx, self.test_ways, self.test_shots, self.test_queries).detach()

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """Adam, and the schedule of its rate."""
        optimizer = Adam(self.parameters(), lr=self.lr)
        return [optimizer], [StepLR(optimizer, step_size=self.scheduler_step, gamma=self.scheduler_decay)]

    def _step(self, stage: str, batch: Any, batch_idx: int, ways: int, shots: int, queries: int) -> Tensor:
        loss, its_accuracy = self.meta_learn(batch, batch_idx, ways, shots, queries)
        for what, value in (("loss", loss), ("accuracy", its_accuracy)):
            # batch_size 1: every batch counts the same; Lightning would count the examples of a task.
            self.log(
                f"{stage}_{what}",
                value.detach(),
                on_step=False,
                on_epoch=True,
                prog_bar=what == "accuracy",
                batch_size=1,
            )
        return loss


class _ClassifiesQueries(LightningEpisodicModule):
    """The episodic modules here: what differs is how they come by the logits of the queries of a task.

    Statistics of BatchNorm are always those of the batch, as in learn2learn: the parts run in train mode.

    Mended from learn2learn: examples may come in any order; validation and test leave modes and running statistics as
    they were, and work under Lightning's inference mode; B tasks may come stacked.
    """

    def __init__(self, loss: Loss | None, **settings: Any) -> None:
        super().__init__(**settings)
        self.loss = nn.CrossEntropyLoss() if loss is None else loss

    def meta_learn(self, batch: Any, batch_idx: int, ways: int, shots: int, queries: int) -> tuple[Tensor, Tensor]:
        """As `LightningEpisodicModule.meta_learn`; the loss is that of the queries.

        Raises:
            UsageError: a task has other ways, or other numbers of examples a class.
            TaskError: its classes have different numbers of examples.
        """
        data, labels = batch
        if labels.ndim == 1:
            data, labels = data[None], labels[None]
        differentiable = torch.is_grad_enabled()
        losses, accuracies = [], []
        # The inner loop needs gradients, which inference mode cannot be asked for; so it is left in here.
        with torch.inference_mode(False), torch.set_grad_enabled(differentiable), _in_train_mode(self):
            for x, y in zip(data, labels, strict=True):
                x, y = (each.clone() if each.is_inference() else each for each in (x, y))
                (support_x, support_y), (query_x, query_y) = _partition(x, y, ways, shots, queries)
                logits_QN = self._query_logits(support_x, support_y, query_x)
                losses.append(self.loss(logits_QN, query_y))
                accuracies.append(accuracy(logits_QN, query_y))
        return torch.stack(losses).mean(), torch.stack(accuracies).mean()

    def _query_logits(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        """Logits [Q, N] of the queries of a task."""
        raise NotImplementedError

    def _check_same_ways(self) -> None:
        if self.train_ways != self.test_ways:
            raise UsageError(
                f"{type(self).__name__} was asked for train_ways = {self.train_ways} and test_ways = "
                f"{self.test_ways}, but its classifier has one number of outputs; give the same"
            )


class LightningMAML(_ClassifiesQueries):
    """MAML as a Lightning module.

    Args:
        model: from inputs [M, …] to logits [M, N].
        loss: of logits and labels; None for the mean cross-entropy.
        settings: as of `LightningEpisodicModule`, and the attributes below.

    Attributes:
        model: the model, wrapped in a `MAML`.
        adaptation_steps: inner steps.
        adaptation_lr: of an inner step.

    Raises:
        UsageError: train_ways and test_ways differ.

    Source: Finn et al. 2017, algorithm 1.
    """

    SETTINGS = (*LightningEpisodicModule.SETTINGS, "adaptation_lr", "adaptation_steps")
    adaptation_steps: int = 1
    adaptation_lr: float = 0.1

    def __init__(self, model: nn.Module, loss: Loss | None = None, **settings: Any) -> None:
        super().__init__(loss, **settings)
        self._check_same_ways()
        self.model = MAML(model, lr=self.adaptation_lr)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [M, N] of the model as it is, not adapted."""
        logits: Tensor = self.model(x)
        return logits

    def _query_logits(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        learner = _adapted(self.model, self.loss, support_x, support_y, self.adaptation_steps)
        logits: Tensor = learner(query_x)
        return logits


class LightningANIL(_ClassifiesQueries):
    """ANIL as a Lightning module: only the classifier is adapted; support and queries go through the features at once.

    Args:
        features: from inputs [M, …] to embeddings [M, D].
        classifier: from these to logits [M, N].
        loss, settings: as of `LightningMAML`.

    Attributes:
        features: the same.
        classifier: the classifier, wrapped in a `MAML`.
        adaptation_steps, adaptation_lr: as of `LightningMAML`.

    Raises:
        UsageError: train_ways and test_ways differ.

    Source: Raghu et al. 2020, section 4.
    """

    SETTINGS = LightningMAML.SETTINGS
    adaptation_steps: int = LightningMAML.adaptation_steps
    adaptation_lr: float = LightningMAML.adaptation_lr

    def __init__(self, features: nn.Module, classifier: nn.Module, loss: Loss | None = None, **settings: Any) -> None:
        super().__init__(loss, **settings)
        self._check_same_ways()
        self.features = features
        self.classifier = MAML(classifier, lr=self.adaptation_lr)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [M, N] of the classifier as it is, not adapted."""
        logits: Tensor = self.classifier(self.features(x))
        return logits

    def _query_logits(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        support, query = self.features(torch.cat([support_x, query_x])).split([len(support_x), len(query_x)])
        learner = _adapted(self.classifier, self.loss, support, support_y, self.adaptation_steps)
        logits: Tensor = learner(query)
        return logits


class LightningPrototypicalNetworks(_ClassifiesQueries):
    """Prototypical networks as a Lightning module.

    Args:
        features: from inputs [M, …] to embeddings [M, D].
        loss: as of `LightningMAML`.
        settings: as of `LightningEpisodicModule`, and the attribute below.

    Attributes:
        features: the same.
        classifier: a `PrototypicalClassifier`, fitted on the support of the latest task.
        distance_metric: "euclidean" or "cosine".

    Raises:
        UnknownNameError: no such distance.

    Source: Snell et al. 2017, algorithm 1.
    """

    SETTINGS = (*LightningEpisodicModule.SETTINGS, "distance_metric")
    distance_metric: str = "euclidean"

    def __init__(self, features: nn.Module, loss: Loss | None = None, **settings: Any) -> None:
        super().__init__(loss, **settings)
        self.features = features
        self.classifier = self._make_classifier()

    def predict_step(self, batch: Tensor, batch_idx: int = 0, dataloader_idx: int = 0) -> Tensor:
        """Logits [M, N] of inputs [M, …], by the classifier as it is fitted."""
        logits: Tensor = self.classifier(self.features(batch))
        return logits

    def _make_classifier(self) -> Any:
        return PrototypicalClassifier(distance=self.distance_metric)

    def _query_logits(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        support, query = self.features(torch.cat([support_x, query_x])).split([len(support_x), len(query_x)])
        self.classifier.fit_(support, support_y)
        logits: Tensor = self.classifier(query)
        return logits


class LightningMetaOptNet(LightningPrototypicalNetworks):
    """MetaOptNet as a Lightning module: a support vector machine on the embeddings.

    Args:
        features, loss: as of `LightningPrototypicalNetworks`.
        settings: as of `LightningEpisodicModule`, and the attributes below.

    Attributes:
        features: the same.
        classifier: an `SVClassifier`, fitted on the support of the latest task.
        svm_C_reg: bound of the dual variables.
        svm_max_iters: iterations of the solver, at most.

    Mended from learn2learn: a loss that is given is used.

    Source: Lee et al. 2019, section 3.
    """

    SETTINGS = (*LightningEpisodicModule.SETTINGS, "svm_C_reg", "svm_max_iters")
    svm_C_reg: float = 0.1
    svm_max_iters: int = 15

    def _make_classifier(self) -> Any:
        from l2l_core.nn.svm import SVClassifier  # here, so that the other modules do without its solver

        return SVClassifier(C_reg=self.svm_C_reg, max_iters=self.svm_max_iters)


def _partition(
    x: Tensor, y: Tensor, ways: int, shots: int, queries: int
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Support and query set of a task, as `partition_task` gives them, of the size that was announced."""
    classes = len(torch.unique(y))
    if classes != ways or len(y) != ways * (shots + queries):
        raise UsageError(
            f"the task has {len(y)} examples of {classes} classes, but ways = {ways}, shots = {shots} and queries = "
            f"{queries} make {ways * (shots + queries)} of {ways}; give the module the numbers that the tasks have"
        )
    return partition_task(x, y, shots)


def _adapted(maml: MAML, loss: Loss, support_x: Tensor, support_y: Tensor, steps: int) -> MAML:
    """A clone, after so many steps on the support."""
    with torch.enable_grad():
        learner = maml.clone()
        for _ in range(steps):
            learner.adapt(loss(learner(support_x), support_y))
    return learner


@contextmanager
def _in_train_mode(module: nn.Module) -> Iterator[None]:
    """All parts in train mode, then each in its own again; where the whole was not, its buffers are put back, too."""
    modes = {part: part.training for part in module.modules()}
    kept = [] if module.training else [(buffer, buffer.clone()) for buffer in module.buffers()]
    module.train()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
