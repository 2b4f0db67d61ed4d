"""Relation networks: a learned module says how well the maps of a query and of a class go together.

Letters in shapes: B tasks, N ways, M support examples, Q queries, C H W image, D h w maps.
"""

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.algorithms.learner import score
from l2l_core.algorithms.metric import Head, MetricLearner
from l2l_core.algorithms.normalisation import Norm
from l2l_core.errors import UsageError
from l2l_core.nn.heads import class_counts

Objective: TypeAlias = Literal["mse", "cross-entropy"]


class RelationNet(MetricLearner):
    """A relation network; its logits are the relation scores, which are between 0 and 1 where the module ends so.

    Args:
        backbone: from pictures [M, C, H, W] to maps [M, D, h, w]; see `relation_backbone`.
        relation: from two maps put together [M, 2·D, h, w], the class's first, to scores [M] or [M, 1]; see
            `RelationModule`.
        objective: "mse", the mean squared error of the scores, which should be 1 for the right class and 0 for the
            others, or "cross-entropy", for a module whose scores have no bounds.
        norm: what BatchNorm does, in the backbone and in the relation module; see `Norm`.

    Symbols of the paper and what they are here:
        f_φ, the embedding module: ``backbone``.
        g_φ, the relation module: ``relation``.
        C(·, ·), the concatenation: along the channels.
        several shots: the maps of a class's support are summed, as in the paper, and not averaged, so train with the
            shots of the test.
        r_ij, the relation scores: the logits.
        the objective: the paper has the sum of squares; here and in the released code it is their mean.
        gradients clipped to 0.5, as in the released code: the training's business.

    Raises:
        UsageError: no such objective.

    Source: Sung et al. 2018, section 3; floodsung/LearningToCompare_FSL.
    """

    def __init__(
        self, backbone: nn.Module, relation: nn.Module, objective: Objective = "mse", norm: Norm = "running"
    ) -> None:
        super().__init__(backbone, norm)
        if objective not in get_args(Objective):
            raise UsageError(
                f"RelationNet was asked for objective = {objective!r}; "
                f"choose {', '.join(map(repr, get_args(Objective)))}"
            )
        self.relation = relation
        self.objective = objective

    def laid_out(self, embedded_M: Tensor) -> Tensor:
        """The maps as they are.

        Raises:
            UsageError: they are none.
        """
        if embedded_M.ndim != 4:
            raise UsageError(
                f"RelationNet compares maps [M, D, h, w], but its backbone gives {list(embedded_M.shape)}; "
                "give one that does not flatten them, such as relation_backbone()"
            )
        return embedded_M

    def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
        """The relation of each query with the sum of each class's support; both are maps, [B, ·, D, h, w]."""
        class_counts(support_y, ways)
        members_BMN = functional.one_hot(support_y, ways).to(support_BMD.dtype)
        classes_BNDhw = torch.einsum("bmn,bmdhw->bndhw", members_BMN, support_BMD)

        def relate(query_BQDhw: Tensor) -> Tensor:
            shape = (*query_BQDhw.shape[:2], *classes_BNDhw.shape[1:])
            pairs = torch.cat(
                [classes_BNDhw[:, None].expand(shape), query_BQDhw[:, :, None].expand(shape)], dim=3
            ).flatten(0, 2)
            scores: Tensor = self.relation(pairs)
            if scores.numel() != len(pairs):
                raise UsageError(
                    f"the relation module gave {list(scores.shape)} for {len(pairs)} pairs of maps; "
                    "let it give one score for each"
                )
            return scores.reshape(shape[:3])

        return relate

    def loss(self, logits_BQN: Tensor, query_y: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of the objective, and the accuracy per task, [B], detached."""
        cross_entropy, accuracy_B = score(logits_BQN, query_y)
        if self.objective == "cross-entropy":
            return cross_entropy, accuracy_B
        wanted_BQN = functional.one_hot(query_y, logits_BQN.shape[2]).to(logits_BQN.dtype)
        return functional.mse_loss(logits_BQN, wanted_BQN), accuracy_B


class RelationModule(nn.Module):
    """Two convolutional blocks and two linear layers; its value is scores [M, 1] between 0 and 1 of pairs of maps.

    Each block halves the maps, as long as there is something to halve: those of pictures below 28×28 are smaller than
    the paper's.

    Args:
        map_size: h and w.
        channels: D, also of the blocks.
        hidden: numbers between the linear layers.

    Raises:
        UsageError: a size below 1.

    Source: Sung et al. 2018, section 3.4 and figure 3.
    """

    def __init__(self, map_size: tuple[int, int] = (5, 5), channels: int = 64, hidden: int = 8) -> None:
        super().__init__()
        height, width = map_size
        if min(height, width, channels, hidden) < 1:
            raise UsageError(
                f"RelationModule was asked for maps of {height}×{width}, channels = {channels} and hidden = {hidden}; "
                "give at least 1 of each"
            )
        self.blocks = nn.Sequential()
        for before in (2 * channels, channels):
            pool = min(height, width) > 1
            self.blocks.append(_block(before, channels, pool))
            height, width = (height // 2, width // 2) if pool else (height, width)
        self.classifier = nn.Sequential(
            nn.Linear(channels * height * width, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid()
        )

    def forward(self, pairs: Tensor) -> Tensor:
        """Scores [M, 1] of pairs [M, 2·D, h, w]."""
        return self.classifier(self.blocks(pairs).flatten(1))  # type: ignore[no-any-return]  # Module.__call__ is untyped


def relation_backbone(channels: int = 1, hidden: int = 64) -> nn.Sequential:
    """The paper's embedding module: from pictures [M, C, H, W] to maps [M, hidden, h, w], 5×5 of 28×28 pictures.

    Four convolutional blocks, the first two without padding and with a max-pool. BatchNorm keeps running statistics
    with torch's momentum, where the released code keeps those of the last batch.

    Args:
        channels: C.
        hidden: channels of every block.

    Source: Sung et al. 2018, section 3.4 and figure 3; floodsung/LearningToCompare_FSL, ``omniglot``.
    """
    return nn.Sequential(
        _block(channels, hidden, pool=True, padding=0),
        _block(hidden, hidden, pool=True, padding=0),
        _block(hidden, hidden, pool=False),
        _block(hidden, hidden, pool=False),
    )


def _block(before: int, after: int, pool: bool, padding: int = 1) -> nn.Sequential:
    # No bias, and the pool before the ReLU, for the reasons that Conv4 gives.
    layers: list[nn.Module] = [nn.Conv2d(before, after, 3, padding=padding, bias=False), nn.BatchNorm2d(after)]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.ReLU())
