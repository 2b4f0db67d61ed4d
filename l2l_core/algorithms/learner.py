"""What every algorithm is to those that train and evaluate it: something that adapts to tasks and predicts.

Letters in shapes: B tasks, N ways, M support examples of a task, Q query examples of a task, C H W image.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.algorithms.normalisation import Norm, follow
from l2l_core.errors import UsageError
from l2l_core.nn.heads import class_counts

#: Queries [B, Q, …] to logits [B, Q, N], of the tasks that a learner was adapted to.
Predictor: TypeAlias = Callable[[Tensor], Tensor]


class Learner(nn.Module, ABC):
    """A few-shot algorithm with its parameters. A batch of tasks is a support set and a query set for each of B tasks.

    support_x, query_x are inputs [B, M, …] and [B, Q, …] as the learner's model takes them, floating point (pictures
    [B, M, C, H, W], vectors, sequences) or int64 (token ids); support_y, query_y are int64 [B, M] and [B, Q] in
    0..N-1, where N is one more than the largest support label and each class has support in each task.

    Args:
        norm: what normalisation layers do; see `Norm`.

    Raises:
        UsageError: no such policy.
    """

    def __init__(self, norm: Norm = "running") -> None:
        super().__init__()
        if norm not in get_args(Norm):
            raise UsageError(
                f"{type(self).__name__} was asked for norm = {norm!r}; choose {', '.join(map(repr, get_args(Norm)))}"
            )
        self.norm = norm

    def train(self, mode: bool = True) -> Self:
        """The learner itself, in train or eval mode, its normalisation layers as the policy has it."""
        super().train(mode)
        follow(self, self.norm)
        return self

    @abstractmethod
    def adapt(self, support_x: Tensor, support_y: Tensor) -> Predictor:
        """A predictor for the tasks with these support sets.

        It leaves every parameter and buffer of the learner as it was, in train and in eval mode, so nothing passes
        from one call to the next. Gradients reach the learner's parameters through the predictor in train mode only;
        in eval mode no graph is kept.

        Raises:
            UsageError: tensors that are not as described above.
        """

    @abstractmethod
    def meta_loss(
        self, support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mean cross-entropy of the queries after adaptation, and the accuracy per task.

        In train mode this is a training step's forward pass, so buffers (BatchNorm's running statistics) follow it.

        Returns:
            The loss, a scalar whose gradients with respect to the learner's parameters ``backward`` finds; and the
            accuracies, fractions in [0, 1], [B], detached.

        Raises:
            UsageError: tensors that are not as described above.
        """


def check_support(support_x: Tensor, support_y: Tensor) -> int:
    """N, the number of ways of these support sets.

    Raises:
        UsageError: tensors that are not as `Learner` describes them.
    """
    _check_inputs("support_x", support_x)
    _check_labels("support_y", support_y, support_x)
    ways = int(support_y.max()) + 1
    class_counts(support_y, ways)
    return ways


def check_query(query_x: Tensor, support_x: Tensor) -> None:
    """Nothing, where the queries fit the support sets.

    Raises:
        UsageError: they are not as `Learner` describes them.
    """
    _check_inputs("query_x", query_x)
    if query_x.shape[0] != support_x.shape[0]:
        raise UsageError(
            f"query_x holds {query_x.shape[0]} tasks, but support_x holds {support_x.shape[0]}; "
            "give a query set for each support set"
        )
    if query_x.ndim == support_x.ndim == 5 and query_x.shape[2:] != support_x.shape[2:]:
        raise UsageError(
            f"query_x holds pictures {list(query_x.shape[2:])}, but support_x {list(support_x.shape[2:])}; "
            "give pictures of one size"
        )


def check_targets(query_y: Tensor, query_x: Tensor, ways: int) -> None:
    """Nothing, where the labels fit the queries.

    Raises:
        UsageError: they are not as `Learner` describes them.
    """
    _check_labels("query_y", query_y, query_x)
    smallest, largest = (int(bound) for bound in query_y.aminmax())
    if smallest < 0 or largest >= ways:
        raise UsageError(
            f"the query labels run from {smallest} to {largest}, but the support has the classes 0..{ways - 1}; "
            "number both in the same way"
        )


def score(logits_BQN: Tensor, query_y: Tensor) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy over all queries, a scalar, and the accuracy per task, [B], detached.

    Args:
        logits_BQN: one row a query.
        query_y: int64 [B, Q] in 0..N-1.
    """
    loss = functional.cross_entropy(logits_BQN.flatten(0, 1), query_y.flatten())
    correct_BQ = logits_BQN.detach().argmax(dim=-1) == query_y
    # Half precision does not know 1/75 from 1/76.
    return loss, correct_BQ.to(torch.promote_types(logits_BQN.dtype, torch.float32)).mean(dim=1)


def _check_inputs(name: str, inputs: Tensor) -> None:
    if not isinstance(inputs, Tensor):
        raise UsageError(f"{name} must be a tensor, but is a {type(inputs).__name__}; convert it with torch.as_tensor")
    if inputs.ndim < 3:
        raise UsageError(
            f"{name} must be [tasks, examples, …], of pictures [tasks, examples, C, H, W], but has shape "
            f"{list(inputs.shape)}; add the missing axes, for one task with x[None]"
        )
    if not inputs.numel():
        raise UsageError(f"{name} has shape {list(inputs.shape)} and holds no example; give at least one a task")
    # Whole numbers of 64 bits are token ids; smaller ones are pictures that somebody forgot to convert.
    if not inputs.is_floating_point() and inputs.dtype != torch.int64:
        raise UsageError(f"{name} must be floating point, but is {inputs.dtype}; convert it, as in x.float() / 255")


def _check_labels(name: str, labels: Tensor, inputs: Tensor) -> None:
    if not isinstance(labels, Tensor):
        raise UsageError(f"{name} must be a tensor, but is a {type(labels).__name__}; convert it with torch.as_tensor")
    if labels.shape != inputs.shape[:2]:
        raise UsageError(
            f"{name} has shape {list(labels.shape)}, but its inputs come as {list(inputs.shape[:2])} "
            "[tasks, examples]; give one label for each, and a single task as x[None], y[None]"
        )
    if labels.dtype != torch.int64:
        raise UsageError(f"{name} must be int64, but is {labels.dtype}; convert it with y.long()")
