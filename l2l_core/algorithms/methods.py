"""The algorithms by name, each with the settings of its paper except where a comment says otherwise. It imports no
torch, so that listing them is instant.

To add one, write its learner and one entry in `METHODS`: what builds it, and how it is trained.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal

from l2l_core.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from l2l_core.algorithms.learner import Learner


@dataclass(frozen=True, slots=True)
class Setting:
    """What a learner is built for.

    Attributes:
        ways, shots: of the test episodes.
        image: C, H and W of the pictures.
        classes: how many training classes there are, which methods that learn to tell all of them apart need to know.
        backbone: name of the backbone (see `l2l_core.nn.by_name`); the method's own for None.
    """

    ways: int
    shots: int
    image: tuple[int, int, int] = (1, 28, 28)
    classes: int = 0
    backbone: str | None = None

    @property
    def colour(self) -> bool:
        """Whether the pictures are photographs, as of mini-ImageNet, and not drawings, as of Omniglot."""
        return self.image[0] > 1


@dataclass(frozen=True, slots=True)
class TrainingDefaults:
    """How a method is trained, where nobody says otherwise: on episodes of this form, or on plain batches.

    Attributes:
        train_ways, train_shots, train_queries: classes, support and query examples per class.
        meta_batch: episodes a step.
        learning_rate: the optimiser's, at the start.
        halve_every: episodes after which the learning rate is halved, again and again; None keeps it.
        optimiser: "adam"; or "sgd", plain, for outer steps that are no gradients.
        decay: whether the learning rate goes to 0 in proportion to the budget left.
        clip: the length to which the gradient of a step is shortened where it is longer; None leaves it.
        batch_size: examples of all training classes a step, for methods that learn to tell these apart; a step then
            counts as one episode. None trains on episodes.
    """

    train_ways: int
    train_shots: int
    train_queries: int
    meta_batch: int
    learning_rate: float
    halve_every: int | None = None
    optimiser: Literal["adam", "sgd"] = "adam"
    decay: bool = False
    clip: float | None = None
    batch_size: int | None = None


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A method that has a name.

    Attributes:
        description: one line.
        build: an untrained learner for a setting; its initial weights come from torch's global generator.
        training: how it is trained for a setting.
    """

    description: str
    build: Callable[[Setting], "Learner"]
    training: Callable[[Setting], TrainingDefaults]


def get_method(name: str) -> MethodSpec:
    """The method of that name.

    Raises:
        UnknownNameError: there is none.
        UsageError: that is no name.
    """
    if not isinstance(name, str):
        raise UsageError(
            f"found a {type(name).__name__} instead of the name of a method; put a MethodSpec of your own into "
            "METHODS, and give its name"
        )
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]


_Settings = Callable[[Setting], dict[str, Any]]


def _learner(path: str) -> Any:
    """The class ``module:Name`` of this package, imported when a learner is built."""
    module, _, name = path.partition(":")
    return getattr(import_module(f"l2l_core.algorithms.{module}"), name)


def _on_classifier(path: str, settings: _Settings = lambda _: {}, **fixed: Any) -> Callable[[Setting], "Learner"]:
    """What builds a learner on a backbone with a linear classifier for the ways, in MAML's initialisation.

    BatchNorm takes the batch's statistics, in training and in test, as in Finn et al. 2017, unless ``running_stats``.
    """
    running_stats = fixed.pop("running_stats", False)
    norm = "running" if running_stats else "batch"

    def build(setting: Setting) -> "Learner":
        from l2l_core.nn import ConvClassifier, maml_init_
        from l2l_core.nn.by_name import build_backbone

        # Finn et al. 2017: strides for Omniglot, 32 channels and pools for the colour pictures of mini-ImageNet.
        own = "conv4-32" if setting.colour else "conv4-stride"
        backbone = build_backbone(setting.backbone or own, setting.image, running_stats)
        model = maml_init_(ConvClassifier(backbone, setting.ways, setting.image[1:]))
        learner: Learner = _learner(path)(model, **{"norm": norm, **fixed, **settings(setting)})
        return learner

    return build


def _on_backbone(
    path: str, settings: _Settings = lambda _: {}, *, photographs: str = "conv4", **fixed: Any
) -> Callable[[Setting], "Learner"]:
    """What builds a learner on a backbone, which keeps running statistics unless ``running_stats`` says otherwise.

    It is Conv4 for drawings, and for photographs the one of that name.
    """
    running_stats = fixed.pop("running_stats", True)

    def build(setting: Setting) -> "Learner":
        from l2l_core.nn.by_name import build_backbone

        own = photographs if setting.colour else "conv4"
        backbone = build_backbone(setting.backbone or own, setting.image, running_stats)
        learner: Learner = _learner(path)(backbone, **fixed, **settings(setting))
        return learner

    return build


def _pretrained(path: str, **fixed: Any) -> Callable[[Setting], "Learner"]:
    """What builds a learner that tells the training classes apart before it sees a task."""

    def build(setting: Setting) -> "Learner":
        from l2l_core.nn.by_name import build_backbone
        from l2l_core.nn.pictures import embedding_size

        backbone = build_backbone(setting.backbone or "conv4", setting.image)
        width = embedding_size(backbone, setting.image)
        learner: Learner = _learner(path)(backbone, width, max(1, setting.classes), **fixed)
        return learner

    return build


def _build_relation_net(setting: Setting) -> "Learner":
    from l2l_core.algorithms.relation import RelationModule, RelationNet, relation_backbone
    from l2l_core.nn.pictures import output_shape

    if setting.backbone is not None:
        raise UsageError(
            f"relation-net was asked for the backbone {setting.backbone}, but it compares maps, which only its own "
            "gives; leave it out"
        )
    backbone = relation_backbone(setting.image[0])
    channels, height, width = output_shape(backbone, setting.image)
    return RelationNet(backbone, RelationModule((height, width), channels))


# Finn et al. 2017 have one recipe for 5-way and one for 20-way episodes; other numbers of ways take the nearer.
def _many_ways(ways: int) -> bool:
    return ways > 12


def _maml_settings(setting: Setting) -> dict[str, Any]:
    if setting.colour:
        # For mini-ImageNet the paper's 0.01 of the summed loss is 0.05 of the mean one in 5-way; 5 and 10 steps.
        return {"lr": 0.05, "steps": 5, "test_steps": 10}
    # The paper's 0.4 (5-way) and 0.1 (20-way) are for a loss summed over classes, whose gradient is `ways` times ours:
    # 2.0 on the mean cross-entropy. learn2learn's 0.5 learns faster where hours, not days, are spent: a minute on
    # Omniglot 5w1s gave 86.7 ± 1.2 % with it and 76.5 ± 1.5 % with 2.0 (8 tasks a step, 5 queries, 200 test episodes).
    many = _many_ways(setting.ways)
    return {"lr": 0.5, "steps": 5 if many else 1, "test_steps": 5 if many else 3}


def _train_maml(setting: Setting) -> TrainingDefaults:
    ways, shots = setting.ways, setting.shots
    if setting.colour:
        # As the paper for mini-ImageNet, but that it clips each number of the gradient, at 10 of a summed loss.
        return TrainingDefaults(ways, shots, 15, meta_batch=4 if shots == 1 else 2, learning_rate=1e-3, clip=10.0)
    # The paper takes 32 (20-way: 16) tasks a step and as many queries as shots. A quarter of the tasks with five
    # queries each makes more of the same time: a minute on Omniglot 5w1s, 86.7 ± 1.2 % against 71.5 ± 1.6 %.
    return TrainingDefaults(ways, shots, 5, meta_batch=4 if _many_ways(ways) else 8, learning_rate=1e-3)


def _train_boil(setting: Setting) -> TrainingDefaults:
    return replace(_train_maml(setting), meta_batch=4)


def _train_reptile(setting: Setting) -> TrainingDefaults:
    # Nichol et al. 2018, table of hyper-parameters for Omniglot: 10 training shots, 5 tasks a step, an outer rate of 1
    # that falls to 0. One query a class, since they are for the record only.
    shots = max(10, setting.shots)
    return TrainingDefaults(setting.ways, shots, 1, meta_batch=5, learning_rate=1.0, optimiser="sgd", decay=True)


def _train_protonet(setting: Setting) -> TrainingDefaults:
    # Snell et al. 2017, sections 3.1 and 3.2: 60-way on Omniglot whatever the test, with 5 queries; on mini-ImageNet
    # 30-way for 1 shot and 20-way for 5, with 15 queries. Shots as at test.
    ways, queries = (60, 5) if not setting.colour else (30 if setting.shots == 1 else 20, 15)
    return TrainingDefaults(ways, setting.shots, queries, meta_batch=1, learning_rate=1e-3, halve_every=2_000)


def _train_matching(setting: Setting) -> TrainingDefaults:
    # As oscarknagg/few-shot reproduces Vinyals et al. 2016: episodes as at test, 15 queries, Adam.
    return TrainingDefaults(setting.ways, setting.shots, 15, meta_batch=4, learning_rate=1e-3)


def _train_relation(setting: Setting) -> TrainingDefaults:
    # Sung et al. 2018, floodsung/LearningToCompare_FSL: 19 queries with 1 shot, 15 with 5 (of 20 examples a class),
    # gradients clipped to 0.5, the rate halved every 100,000 episodes.
    queries = max(1, 20 - setting.shots)
    return TrainingDefaults(setting.ways, setting.shots, queries, 1, 1e-3, halve_every=100_000, clip=0.5)


def _train_r2d2(setting: Setting) -> TrainingDefaults:
    # Bertinetto et al. 2019 train on 60 ways (Omniglot) or 16 (mini-ImageNet) with 1 to 9 shots, drawn anew; here the
    # shots are the test's.
    ways, queries = (16, 15) if setting.colour else (60, 5)
    return TrainingDefaults(ways, setting.shots, queries, meta_batch=1, learning_rate=5e-3, halve_every=2_000)


def _train_meta_opt_net(setting: Setting) -> TrainingDefaults:
    # Lee et al. 2019: 8 episodes a step, 6 queries, and more shots than at test (15 on mini-ImageNet), of which
    # Omniglot has few. They take SGD at 0.1 for 60,000 steps; Adam gets further in the short runs that a processor can
    # make.
    shots = 15 if setting.colour else max(5, setting.shots)
    return TrainingDefaults(setting.ways, shots, 6, meta_batch=8, learning_rate=1e-3)


def _train_classifier(setting: Setting) -> TrainingDefaults:
    # Chen et al. 2019, section 4.2: Adam at 1e-3. Their 16 examples a batch are 64 here, for the sake of the processor.
    return TrainingDefaults(setting.ways, setting.shots, 15, meta_batch=1, learning_rate=1e-3, batch_size=64)


METHODS: Final[Mapping[str, MethodSpec]] = {
    "anil": MethodSpec(
        "almost no inner loop: as maml, but only the classifier adapts (Raghu et al. 2020)",
        _on_classifier("anil:ANIL", lr=0.1, steps=5),
        _train_maml,
    ),
    "baseline": MethodSpec(
        "a classifier of the training classes; on a task, a new linear layer on frozen features (Chen et al. 2019)",
        _pretrained("baseline:Baseline"),
        _train_classifier,
    ),
    "baseline++": MethodSpec(
        "as baseline, with classifiers by cosine (Chen et al. 2019)",
        _pretrained("baseline:BaselinePlusPlus"),
        _train_classifier,
    ),
    "boil": MethodSpec(
        "body only in the inner loop: as maml, but the classifier does not adapt (Oh et al. 2021)",
        _on_classifier("anil:BOIL", lr=0.5, steps=1),
        _train_boil,
    ),
    "fomaml": MethodSpec(
        "first-order MAML: as maml, without differentiating through the inner steps",
        _on_classifier("maml:MAMLLearner", _maml_settings, first_order=True),
        _train_maml,
    ),
    "kfo": MethodSpec(
        "as maml, inner gradients going through learned Kronecker-factored transforms (Arnold et al. 2021)",
        _on_classifier("meta_curvature:KFOLearner", _maml_settings),
        _train_maml,
    ),
    "lr-d2": MethodSpec(
        "logistic regression by Newton steps on a learned embedding (Bertinetto et al. 2019)",
        _on_backbone("r2d2:LRD2", photographs="r2d2"),
        _train_r2d2,
    ),
    "maml": MethodSpec(
        "model-agnostic meta-learning: an initialisation that few gradient steps adapt (Finn et al. 2017)",
        _on_classifier("maml:MAMLLearner", _maml_settings),
        _train_maml,
    ),
    "maml++": MethodSpec(
        "maml with rates and normalisation of each step and losses after each (Antoniou et al. 2019)",
        _on_classifier(
            "maml_plus_plus:MAMLPlusPlus",
            lambda setting: {"lr": 0.01 if setting.colour else 0.1},
            steps=5,
            running_stats=True,
        ),
        _train_maml,
    ),
    "matching-net": MethodSpec(
        "matching networks: attention over the support set (Vinyals et al. 2016)",
        _on_backbone("matching:MatchingNet"),
        _train_matching,
    ),
    "meta-curvature": MethodSpec(
        "as maml, inner gradients going through a learned curvature (Park & Oliva 2019)",
        _on_classifier("meta_curvature:MetaCurvatureLearner", _maml_settings),
        _train_maml,
    ),
    "meta-sgd": MethodSpec(
        "as maml, with a learned inner rate for each number (Li et al. 2017)",
        _on_classifier("meta_sgd:MetaSGDLearner", steps=1),
        _train_maml,
    ),
    "metaoptnet": MethodSpec(
        "a support vector machine on a learned embedding, differentiated through (Lee et al. 2019)",
        _on_backbone("meta_opt_net:MetaOptNet", photographs="resnet12"),
        _train_meta_opt_net,
    ),
    "metaoptnet-ridge": MethodSpec(
        "as metaoptnet, with ridge regression (Lee et al. 2019)",
        _on_backbone("meta_opt_net:MetaOptNetRidge", photographs="resnet12"),
        _train_meta_opt_net,
    ),
    "nearest-neighbour": MethodSpec(
        "as simpleshot, with the nearest support example instead of the nearest mean (Wang et al. 2019)",
        _pretrained("simple_shot:NearestNeighbour"),
        _train_classifier,
    ),
    "proto-maml": MethodSpec(
        "as maml, the classifier starting from prototypes (Triantafillou et al. 2020)",
        # A rate of 0.1, which suits others, undoes in 5-shot what the prototypes know; in 1-shot they have their own
        # support right from the start, so that no rate moves much.
        _on_backbone("proto_maml:ProtoMAML", running_stats=False, norm="batch", lr=0.003, steps=3, test_steps=10),
        _train_maml,
    ),
    "protonet": MethodSpec(
        "prototypical networks: the nearest class mean in a learned embedding (Snell et al. 2017)",
        _on_backbone("protonet:ProtoNet"),
        _train_protonet,
    ),
    "protonet-cosine": MethodSpec(
        "as protonet, by cosine with a learned scale (Gidaris & Komodakis 2018)",
        _on_backbone("protonet:ProtoNet", distance="cosine", scale=10.0, learn_scale=True),
        _train_protonet,
    ),
    "r2d2": MethodSpec(
        "ridge regression in closed form on a learned embedding (Bertinetto et al. 2019)",
        _on_backbone("r2d2:R2D2", photographs="r2d2"),
        _train_r2d2,
    ),
    "relation-net": MethodSpec(
        "relation networks: a learned comparison of maps (Sung et al. 2018)",
        _build_relation_net,
        _train_relation,
    ),
    "reptile": MethodSpec(
        "an initialisation near the parameters that tasks lead to (Nichol et al. 2018)",
        _on_classifier("reptile:Reptile", lr=1e-3, steps=5, test_steps=50, minibatch=10, test_minibatch=5),
        _train_reptile,
    ),
    "simpleshot": MethodSpec(
        "a classifier of the training classes; on a task, the nearest centred mean of unit length (Wang et al. 2019)",
        _pretrained("simple_shot:SimpleShot"),
        _train_classifier,
    ),
}
