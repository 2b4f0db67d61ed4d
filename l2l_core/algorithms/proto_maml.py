"""ProtoMAML: MAML whose classifier starts, in each task, as a prototypical network's.

Letters in shapes: B tasks, N ways, M examples of a task, D embedding, C H W image.
"""

from typing import Final, Unpack

from torch import Tensor, nn

from l2l_core.algorithms.gradient import Chunk, GradientLearner, Settings, call_tasks, checked_rate
from l2l_core.algorithms.inner_loop import Params, Rule, gradient_step
from l2l_core.algorithms.normalisation import without_normalisation
from l2l_core.nn.heads import prototypes

# Beside the names of the backbone's parameters, none of which holds a space.
_WEIGHT: Final = "head weight"
_BIAS: Final = "head bias"


class ProtoMAML(GradientLearner):
    """MAML with a linear head that is built from each task's prototypes, so that any number of ways will do.

    The head starts at W_k = 2 c_k, b_k = −‖c_k‖², whose logits are −‖f(x) − c_k‖² but for a term that all classes
    share; then backbone and head take gradient steps together. With 0 steps this is a prototypical network.

    Args:
        backbone: from pictures [M, C, H, W] to embeddings [M, D], or to maps, which are flattened.
        lr: the inner learning rate, on the mean cross-entropy.
        steps, test_steps: inner steps in train mode, and in eval mode; None for as many.
        first_order: take inner gradients as constants; the head's start stays linked to the backbone.
        settings: the others of a `GradientLearner`.

    Symbols of the paper and what they are here:
        θ, the initialisation: the parameters of ``backbone``; normalisation layers' scale and shift do not move within
            a task.
        c_k, the prototype: of the support set's embeddings at θ, in a forward pass of its own (running statistics
            follow it, dropout masks are its own).
        W_k = 2 c_k, b_k = −‖c_k‖²: `start`. Gradients flow through them into θ, as in the paper.
        α: ``lr``.

    Raises:
        UsageError: settings that no run could honour, or a backbone without a parameter to move.

    Source: Triantafillou et al. 2020, "Meta-Dataset: a dataset of datasets for learning to learn from few examples",
    section 3.
    """

    def __init__(
        self,
        backbone: nn.Module,
        lr: float,
        steps: int,
        test_steps: int | None = None,
        first_order: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        moving = without_normalisation(backbone)
        super().__init__(backbone, moving, steps, test_steps, first_order=first_order, **settings)
        self.lr = checked_rate(self, lr)

    def rule(self) -> tuple[Rule[None], None]:
        """Plain gradient descent."""
        return gradient_step(self.lr), None

    def start(self, chunk: Chunk) -> Params:
        """The backbone's parameters, and the head's from the prototypes."""
        embedded_BMD = call_tasks(chunk.net, chunk.buffers, {}, chunk.support_x).flatten(2)
        body = super().start(chunk)
        # Under autocast embeddings are in lower precision, in which small steps of the head would be lost.
        precision = next(iter(body.values())).dtype
        prototypes_BND = prototypes(embedded_BMD, chunk.support_y, chunk.ways).to(precision)
        return body | {_WEIGHT: 2 * prototypes_BND, _BIAS: -prototypes_BND.square().sum(dim=2)}

    def logits(self, chunk: Chunk, params: Params, prepared: Tensor, step: int) -> Tensor:
        """The head's, of embeddings."""
        body = {name: params[name] for name in self.moving}
        embedded_BMD = call_tasks(chunk.net, chunk.buffers, body, prepared).flatten(2)
        return embedded_BMD @ params[_WEIGHT].transpose(1, 2) + params[_BIAS][:, None]
