"""Learners that move one half of a network within a task: ANIL its classifier, BOIL its features.

Letters in shapes: B tasks, N ways, M examples of a task, D embedding, C H W image.
"""

from typing import Unpack

from torch import Tensor, nn

from l2l_core.algorithms.gradient import Chunk, GradientLearner, Settings, call_tasks, checked_rate
from l2l_core.algorithms.inner_loop import Params, Rule, gradient_step
from l2l_core.algorithms.normalisation import without_normalisation
from l2l_core.errors import UsageError


class ANIL(GradientLearner):
    """Almost no inner loop: the classifier alone takes gradient steps within a task, on features that stay as they are.

    So features are computed once for the support set and once for the queries, however many steps there are. Each set
    is a batch of its own: where BatchNorm takes a batch's statistics, the support's features have the support's and
    the queries' have the queries', and running statistics follow each set once.

    Args:
        model: from pictures [M, C, H, W] to logits [M, N], as ``model.classifier(model.features(x))``.
        lr: the inner learning rate, on the mean cross-entropy.
        steps, test_steps: inner steps in train mode, and in eval mode; None for as many.
        first_order: take inner gradients as constants.
        settings: the others of a `GradientLearner`.

    Symbols of the paper and what they are here:
        θ_1 … θ_{l−1}, the body: the parameters of ``model.features``, learned across tasks only.
        θ_l, the head: the parameters of ``model.classifier``, but normalisation layers' scale and shift.
        α, the inner step size: ``lr``.
        the features of support and queries: learn2learn's example embeds both in one batch, with common statistics; we
            take one batch each, as the paper's MAML does, so that `adapt` needs no query.

    Raises:
        UsageError: a model without features and classifier, or without a parameter to move; or settings that no run
            could honour.

    Source: Raghu et al. 2020, "Rapid learning or feature reuse? Towards understanding the effectiveness of MAML",
    section 4.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        steps: int,
        test_steps: int | None = None,
        first_order: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        moving = _moving(type(self).__name__, model, of_classifier=True)
        super().__init__(model, moving, steps, test_steps, first_order=first_order, **settings)
        self.lr = checked_rate(self, lr)

    def rule(self) -> tuple[Rule[None], None]:
        """Plain gradient descent."""
        return gradient_step(self.lr), None

    def prepare(self, chunk: Chunk, x: Tensor) -> Tensor:
        """The features."""
        return call_tasks(chunk.net.get_submodule("features"), _of("features", chunk.buffers), {}, x)

    def logits(self, chunk: Chunk, params: Params, prepared: Tensor, step: int) -> Tensor:
        """The classifier's, of features."""
        classifier = chunk.net.get_submodule("classifier")
        return call_tasks(classifier, _of("classifier", chunk.buffers), _of("classifier", params), prepared)


class BOIL(GradientLearner):
    """Body only update in inner loop: the features take gradient steps within a task, while the classifier stays.

    Args:
        model: from pictures [M, C, H, W] to logits [M, N], as ``model.classifier(model.features(x))``. Give BatchNorm
            without running statistics, or ``norm="batch"``, to have the released code's.
        lr: the inner learning rate of the body, on the mean cross-entropy.
        steps, test_steps: inner steps in train mode, and in eval mode; None for as many.
        first_order: take inner gradients as constants.
        settings: the others of a `GradientLearner`.

    Symbols of the paper and what they are here:
        θ_b, the body: the parameters of ``model`` that are not its classifier's; normalisation layers' scale and shift
            are learned across tasks only, as in our `MAMLLearner`.
        θ_h, the head: the parameters of ``model.classifier``, learned across tasks only.
        α_b and α_h, the inner step sizes: ``lr`` and 0.

    Raises:
        UsageError: a model without features and classifier, or without a parameter to move; or settings that no run
            could honour.

    Source: Oh et al. 2021, "BOIL: towards representation change for few-shot learning", section 3; HJ-Yoo/BOIL.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 0.5,
        steps: int = 1,
        test_steps: int | None = None,
        first_order: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        moving = _moving(type(self).__name__, model, of_classifier=False)
        super().__init__(model, moving, steps, test_steps, first_order=first_order, **settings)
        self.lr = checked_rate(self, lr)

    def rule(self) -> tuple[Rule[None], None]:
        """Plain gradient descent."""
        return gradient_step(self.lr), None


def _moving(who: str, model: nn.Module, of_classifier: bool) -> tuple[str, ...]:
    """The names of what can move in the classifier, or of what can move elsewhere."""
    for part in ("features", "classifier"):
        if not isinstance(getattr(model, part, None), nn.Module):
            raise UsageError(
                f"{who} was given a {type(model).__name__} without a submodule {part!r}; give a model that is "
                "classifier(features(x)), as ConvClassifier is"
            )
    features, classifier = model.get_submodule("features"), model.get_submodule("classifier")
    shared = set(features.parameters()) & set(classifier.parameters())
    if shared:
        name = next(name for name, parameter in model.named_parameters() if parameter in shared)
        raise UsageError(f"{who} tells features and classifier apart, but {name!r} belongs to both; give each its own")
    return tuple(name for name in without_normalisation(model) if name.startswith("classifier.") is of_classifier)


def _of(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of a submodule, by their names there."""
    prefix = f"{part}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
