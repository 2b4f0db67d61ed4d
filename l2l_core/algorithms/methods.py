"""The algorithms by name, each with the settings of its paper except where a comment says otherwise. It imports no
torch, so that listing them is instant.

To add one, write its learner, a function that builds it, a function that says how it is trained, and one line in
`METHODS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from l2l_core.errors import UnknownNameError

if TYPE_CHECKING:
    from l2l_core.algorithms.learner import Learner


@dataclass(frozen=True, slots=True)
class TrainingDefaults:
    """How a method is trained, where nobody says otherwise: with Adam, on episodes of this form.

    Attributes:
        train_ways, train_shots, train_queries: classes, support and query examples per class.
        meta_batch: episodes a step.
        learning_rate: Adam's, at the start.
        halve_every: episodes after which the learning rate is halved, again and again; None keeps it.
    """

    train_ways: int
    train_shots: int
    train_queries: int
    meta_batch: int
    learning_rate: float
    halve_every: int | None = None


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A method that has a name.

    Attributes:
        description: one line.
        build: (ways, shots, channels) to an untrained learner for such test episodes, of pictures with that many
            channels; its initial weights come from torch's global generator.
        training: (ways, shots) of the test episodes to how it is trained for them.
    """

    description: str
    build: Callable[[int, int, int], "Learner"]
    training: Callable[[int, int], TrainingDefaults]


def get_method(name: str) -> MethodSpec:
    """The method of that name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]


def _build_protonet(ways: int, shots: int, channels: int) -> "Learner":
    from l2l_core.algorithms.protonet import ProtoNet
    from l2l_core.nn import Conv4

    return ProtoNet(Conv4(channels, downsample="pool", running_stats=True))


def _train_protonet(ways: int, shots: int) -> TrainingDefaults:
    # Snell et al. 2017, section 3.1: 60-way whatever the test, shots as at test, 5 queries.
    return TrainingDefaults(60, shots, 5, meta_batch=1, learning_rate=1e-3, halve_every=2_000)


# Finn et al. 2017 have one recipe for 5-way and one for 20-way episodes; other numbers of ways take the nearer.
def _many_ways(ways: int) -> bool:
    return ways > 12


def _build_maml(ways: int, shots: int, channels: int, first_order: bool = False) -> "Learner":
    from l2l_core.algorithms.maml import MAMLLearner
    from l2l_core.nn import Conv4, ConvClassifier, maml_init_

    backbone = Conv4(channels, downsample="stride", running_stats=False)
    # The paper's 0.4 (5-way) and 0.1 (20-way) are for a loss summed over classes, whose gradient is `ways` times ours:
    # 2.0 on the mean cross-entropy. learn2learn's 0.5 learns faster where hours, not days, are spent: a minute on
    # Omniglot 5w1s gave 86.7 ± 1.2 % with it and 76.5 ± 1.5 % with 2.0 (8 tasks a step, 5 queries, 200 test episodes).
    return MAMLLearner(
        maml_init_(ConvClassifier(backbone, ways)),
        lr=0.5,
        steps=5 if _many_ways(ways) else 1,
        test_steps=5 if _many_ways(ways) else 3,
        first_order=first_order,
    )


def _build_fomaml(ways: int, shots: int, channels: int) -> "Learner":
    return _build_maml(ways, shots, channels, first_order=True)


def _train_maml(ways: int, shots: int) -> TrainingDefaults:
    # The paper takes 32 (20-way: 16) tasks a step and as many queries as shots. A quarter of the tasks with five
    # queries each makes more of the same time: a minute on Omniglot 5w1s, 86.7 ± 1.2 % against 71.5 ± 1.6 %.
    return TrainingDefaults(ways, shots, 5, meta_batch=4 if _many_ways(ways) else 8, learning_rate=1e-3)


METHODS: Mapping[str, MethodSpec] = {
    "fomaml": MethodSpec(
        "first-order MAML: as maml, without differentiating through the inner steps",
        _build_fomaml,
        _train_maml,
    ),
    "maml": MethodSpec(
        "model-agnostic meta-learning: an initialisation that few gradient steps adapt (Finn et al. 2017)",
        _build_maml,
        _train_maml,
    ),
    "protonet": MethodSpec(
        "prototypical networks: the nearest class mean in a learned embedding (Snell et al. 2017)",
        _build_protonet,
        _train_protonet,
    ),
}
