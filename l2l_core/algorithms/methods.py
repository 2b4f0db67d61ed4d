"""The algorithms by name, each with the settings of its paper except where a comment says otherwise. It imports no
torch, so that listing them is instant.

To add one, write its learner and one entry in `METHODS`: what builds it, and how it is trained.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal

from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.records import TrainingAugmentation

if TYPE_CHECKING:
    from l2l_core.algorithms.learner import Learner


@dataclass(frozen=True, slots=True)
class Setting:
    """What a learner is built for.

    Attributes:
        ways, shots: of the test episodes.
        image: C, H and W of the pictures; D of vectors that an encoder has made; L of texts as token ids.
        classes: how many training classes there are, which methods that learn to tell all of them apart need to know.
        backbone: name of the backbone (see `l2l_core.nn.by_name`); the method's own for None.
        settings: of the learner, in place of the method's own: arguments of its class, by name.
        vocabulary: of texts as token ids, how many different ids there are; else 0.
    """

    ways: int
    shots: int
    image: tuple[int, ...] = (1, 28, 28)
    classes: int = 0
    backbone: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    vocabulary: int = 0

    @property
    def colour(self) -> bool:
        """Whether the pictures are photographs, as of mini-ImageNet, and not drawings, as of Omniglot."""
        return len(self.image) == 3 and self.image[0] > 1


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a method is trained: on episodes of this form, or on plain batches.

    Attributes:
        train_ways, train_shots, train_queries: classes, support and query examples per class.
        meta_batch: episodes a step.
        learning_rate: the optimiser's, at the start.
        halve_every: episodes after which the learning rate is halved, again and again; None keeps it.
        optimiser: "adam"; "sgd", plain, for outer steps that are no gradients; or "nesterov", SGD with that momentum of
            0.9.
        decay: how the learning rate goes to 0 with the budget left: "linear", in proportion; "cosine", as half a wave;
            None keeps it.
        drops: (fraction, factor) pairs: once that fraction of the budget is spent, the learning rate is that factor of
            the first; the last one reached counts.
        weight_decay: the optimiser's: this times the weights is added to their gradient.
        clip: the length to which the gradient of a step is shortened where it is longer; None leaves it.
        batch_size: examples of all training classes a step, for methods that learn to tell these apart; a step then
            counts as one episode. None trains on episodes.
        augmentation: what is done with the pictures of training episodes, by name; what the benchmark says for None.
        precision: "float32"; or "bfloat16", which is automatic mixed precision: what a layer can compute in 16 bits is
            computed so, while weights, gradients and steps stay in 32.
        validate_every: steps between validations.
        validation_episodes: episodes of a validation.
        patience: validations without a better one after which training ends; None goes on to the end of the budget.
    """

    train_ways: int
    train_shots: int
    train_queries: int
    meta_batch: int
    learning_rate: float
    halve_every: int | None = None
    optimiser: Literal["adam", "sgd", "nesterov"] = "adam"
    decay: Literal["linear", "cosine"] | None = None
    drops: tuple[tuple[float, float], ...] = ()
    weight_decay: float = 0.0
    clip: float | None = None
    batch_size: int | None = None
    augmentation: TrainingAugmentation | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    validate_every: int = 100
    validation_episodes: int = 100
    patience: int | None = None


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A method that has a name.

    Attributes:
        description: one line.
        build: an untrained learner for a setting; its initial weights come from torch's global generator.
        training: how it is trained for a setting, where nobody says otherwise.
        settings: the arguments of the learner's class that `build` gives it for a setting, those of the setting itself
            included, so that reports can say them.
    """

    description: str
    build: Callable[[Setting], "Learner"]
    training: Callable[[Setting], TrainingSettings]
    settings: Callable[[Setting], Mapping[str, Any]] = lambda setting: setting.settings


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


def _learner(path: str, body: tuple[Any, ...], settings: Mapping[str, Any]) -> "Learner":
    """The class ``module:Name`` of this package, imported when a learner is built, on what it is built of.

    Raises:
        UnknownNameError: the class has no setting of that name.
        UsageError: a setting cannot be so.
    """
    module, _, name = path.partition(":")
    cls = getattr(import_module(f"l2l_core.algorithms.{module}"), name)
    parameters = inspect.signature(cls).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind != parameter.VAR_KEYWORD][len(body) :]
    if len(known) + len(body) < len(parameters):
        from l2l_core.algorithms.gradient import Settings

        known += Settings.__annotations__
    for unknown in settings.keys() - known:
        of_training = [field.name for field in fields(TrainingSettings)]
        raise UnknownNameError("setting", unknown, [*known, *of_training], where=f"of {name} or its training")
    try:
        learner: Learner = cls(*body, **settings)
    except TypeError as error:
        raise UsageError(f"{name} cannot be built with {dict(settings)}: {error}; give other settings") from None
    return learner


def _on_classifier(
    description: str,
    path: str,
    training: Callable[[Setting], TrainingSettings],
    settings: _Settings = lambda _: {},
    *,
    running_stats: bool = False,
    **fixed: Any,
) -> MethodSpec:
    """A method on a backbone with a linear classifier for the ways, in MAML's initialisation.

    BatchNorm takes the batch's statistics, in training and in test, as in Finn et al. 2017, unless ``running_stats``.
    """
    norm = "running" if running_stats else "batch"

    def all_settings(setting: Setting) -> Mapping[str, Any]:
        return {"norm": norm, **fixed, **settings(setting), **setting.settings}

    def build(setting: Setting) -> "Learner":
        from l2l_core.nn import BackboneClassifier, maml_init_
        from l2l_core.nn.by_name import build_backbone
        from l2l_core.nn.pictures import embedding_size

        # Finn et al. 2017: strides for Omniglot, 32 channels and pools for the colour pictures of mini-ImageNet.
        own = "conv4-32" if setting.colour else "conv4-stride"
        backbone = build_backbone(setting.backbone or own, setting.image, running_stats, setting.vocabulary)
        model = maml_init_(BackboneClassifier(backbone, setting.ways, embedding_size(backbone, setting.image)))
        return _learner(path, (model,), all_settings(setting))

    return MethodSpec(description, build, training, all_settings)


def _on_backbone(
    description: str,
    path: str,
    training: Callable[[Setting], TrainingSettings],
    *,
    photographs: str = "conv4",
    running_stats: bool = True,
    **fixed: Any,
) -> MethodSpec:
    """A method on a backbone, which keeps running statistics unless ``running_stats`` says otherwise.

    It is Conv4 for drawings, and for photographs the one of that name.
    """

    def all_settings(setting: Setting) -> Mapping[str, Any]:
        return {**fixed, **setting.settings}

    def build(setting: Setting) -> "Learner":
        from l2l_core.nn.by_name import build_backbone

        own = photographs if setting.colour else "conv4"
        backbone = build_backbone(setting.backbone or own, setting.image, running_stats, setting.vocabulary)
        return _learner(path, (backbone,), all_settings(setting))

    return MethodSpec(description, build, training, all_settings)


def _pretrained(description: str, path: str, **fixed: Any) -> MethodSpec:
    """A method that learns to tell the training classes apart before it sees a task."""

    def all_settings(setting: Setting) -> Mapping[str, Any]:
        return {**fixed, **setting.settings}

    def build(setting: Setting) -> "Learner":
        from l2l_core.nn.by_name import build_backbone
        from l2l_core.nn.pictures import embedding_size

        backbone = build_backbone(setting.backbone or "conv4", setting.image, vocabulary=setting.vocabulary)
        width = embedding_size(backbone, setting.image)
        return _learner(path, (backbone, width, max(1, setting.classes)), all_settings(setting))

    return MethodSpec(description, build, _train_classifier, all_settings)


def _build_relation_net(setting: Setting) -> "Learner":
    from l2l_core.algorithms.relation import RelationModule, relation_backbone
    from l2l_core.nn.pictures import output_shape

    if len(setting.image) != 3:
        raise UsageError(
            f"relation-net compares maps of pictures, but was asked to take {list(setting.image)}; take a method "
            "with a head on embeddings, such as simpleshot, protonet or r2d2"
        )
    if setting.backbone is not None:
        raise UsageError(
            f"relation-net was asked for the backbone {setting.backbone}, but it compares maps, which only its own "
            "gives; leave it out"
        )
    backbone = relation_backbone(setting.image[0])
    channels, height, width = output_shape(backbone, setting.image)
    relation = RelationModule((height, width), channels)
    return _learner("relation:RelationNet", (backbone, relation), setting.settings)


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


def _train_maml(setting: Setting) -> TrainingSettings:
    ways, shots = setting.ways, setting.shots
    if setting.colour:
        # As the paper for mini-ImageNet, but that it clips each number of the gradient, at 10 of a summed loss.
        return TrainingSettings(ways, shots, 15, meta_batch=4 if shots == 1 else 2, learning_rate=1e-3, clip=10.0)
    # The paper takes 32 (20-way: 16) tasks a step and as many queries as shots. A quarter of the tasks with five
    # queries each makes more of the same time: a minute on Omniglot 5w1s, 86.7 ± 1.2 % against 71.5 ± 1.6 %.
    return TrainingSettings(ways, shots, 5, meta_batch=4 if _many_ways(ways) else 8, learning_rate=1e-3)


def _train_boil(setting: Setting) -> TrainingSettings:
    return replace(_train_maml(setting), meta_batch=4)


def _train_reptile(setting: Setting) -> TrainingSettings:
    # Nichol et al. 2018, table of hyper-parameters for Omniglot: 10 training shots, 5 tasks a step, an outer rate of 1
    # that falls to 0. One query a class, since they are for the record only.
    shots = max(10, setting.shots)
    return TrainingSettings(setting.ways, shots, 1, meta_batch=5, learning_rate=1.0, optimiser="sgd", decay="linear")


def _train_protonet(setting: Setting) -> TrainingSettings:
    # Snell et al. 2017, sections 3.1 and 3.2: 60-way on Omniglot whatever the test, with 5 queries; on mini-ImageNet
    # 30-way for 1 shot and 20-way for 5, with 15 queries. Shots as at test.
    ways, queries = (60, 5) if not setting.colour else (30 if setting.shots == 1 else 20, 15)
    return TrainingSettings(ways, setting.shots, queries, meta_batch=1, learning_rate=1e-3, halve_every=2_000)


def _train_matching(setting: Setting) -> TrainingSettings:
    # As oscarknagg/few-shot reproduces Vinyals et al. 2016: episodes as at test, 15 queries, Adam.
    return TrainingSettings(setting.ways, setting.shots, 15, meta_batch=4, learning_rate=1e-3)


def _train_relation(setting: Setting) -> TrainingSettings:
    # Sung et al. 2018, floodsung/LearningToCompare_FSL: 19 queries with 1 shot, 15 with 5 (of 20 examples a class),
    # gradients clipped to 0.5, the rate halved every 100,000 episodes.
    queries = max(1, 20 - setting.shots)
    return TrainingSettings(setting.ways, setting.shots, queries, 1, 1e-3, halve_every=100_000, clip=0.5)


def _train_r2d2(setting: Setting) -> TrainingSettings:
    # Bertinetto et al. 2019 train on 60 ways (Omniglot) or 16 (mini-ImageNet) with 1 to 9 shots, drawn anew; here the
    # shots are the test's.
    ways, queries = (16, 15) if setting.colour else (60, 5)
    return TrainingSettings(ways, setting.shots, queries, meta_batch=1, learning_rate=5e-3, halve_every=2_000)


def _train_meta_opt_net(setting: Setting) -> TrainingSettings:
    # Lee et al. 2019: 8 episodes a step, 6 queries, and more shots than at test (15 on mini-ImageNet), of which
    # Omniglot has few. They take SGD at 0.1 for 60,000 steps; Adam gets further in the short runs that a processor can
    # make.
    shots = 15 if setting.colour else max(5, setting.shots)
    return TrainingSettings(setting.ways, shots, 6, meta_batch=8, learning_rate=1e-3)


def _train_classifier(setting: Setting) -> TrainingSettings:
    # Chen et al. 2019, section 4.2: Adam at 1e-3. Their 16 examples a batch are 64 here, for the sake of the processor.
    return TrainingSettings(setting.ways, setting.shots, 15, meta_batch=1, learning_rate=1e-3, batch_size=64)


METHODS: Final[dict[str, MethodSpec]] = {
    "anil": _on_classifier(
        "almost no inner loop: as maml, but only the classifier adapts (Raghu et al. 2020)",
        "anil:ANIL",
        _train_maml,
        lr=0.1,
        steps=5,
    ),
    "baseline": _pretrained(
        "a classifier of the training classes; on a task, a new linear layer on frozen features (Chen et al. 2019)",
        "baseline:Baseline",
    ),
    "baseline++": _pretrained(
        "as baseline, with classifiers by cosine (Chen et al. 2019)",
        "baseline:BaselinePlusPlus",
    ),
    "boil": _on_classifier(
        "body only in the inner loop: as maml, but the classifier does not adapt (Oh et al. 2021)",
        "anil:BOIL",
        _train_boil,
        lr=0.5,
        steps=1,
    ),
    "classemes": _pretrained(
        "as simpleshot, by cosine, with the training classes' probabilities beside embeddings (Torresani et al. 2010)",
        "classemes:Classemes",
    ),
    "fomaml": _on_classifier(
        "first-order MAML: as maml, without differentiating through the inner steps",
        "maml:MAMLLearner",
        _train_maml,
        _maml_settings,
        first_order=True,
    ),
    "kfo": _on_classifier(
        "as maml, inner gradients going through learned Kronecker-factored transforms (Arnold et al. 2021)",
        "meta_curvature:KFOLearner",
        _train_maml,
        _maml_settings,
    ),
    "lr-d2": _on_backbone(
        "logistic regression by Newton steps on a learned embedding (Bertinetto et al. 2019)",
        "r2d2:LRD2",
        _train_r2d2,
        photographs="r2d2",
    ),
    "maml": _on_classifier(
        "model-agnostic meta-learning: an initialisation that few gradient steps adapt (Finn et al. 2017)",
        "maml:MAMLLearner",
        _train_maml,
        _maml_settings,
    ),
    "maml++": _on_classifier(
        "maml with rates and normalisation of each step and losses after each (Antoniou et al. 2019)",
        "maml_plus_plus:MAMLPlusPlus",
        _train_maml,
        lambda setting: {"lr": 0.01 if setting.colour else 0.1},
        steps=5,
        running_stats=True,
    ),
    "matching-net": _on_backbone(
        "matching networks: attention over the support set (Vinyals et al. 2016)",
        "matching:MatchingNet",
        _train_matching,
    ),
    "meta-curvature": _on_classifier(
        "as maml, inner gradients going through a learned curvature (Park & Oliva 2019)",
        "meta_curvature:MetaCurvatureLearner",
        _train_maml,
        _maml_settings,
    ),
    "meta-sgd": _on_classifier(
        "as maml, with a learned inner rate for each number (Li et al. 2017)",
        "meta_sgd:MetaSGDLearner",
        _train_maml,
        steps=1,
    ),
    "metaoptnet": _on_backbone(
        "a support vector machine on a learned embedding, differentiated through (Lee et al. 2019)",
        "meta_opt_net:MetaOptNet",
        _train_meta_opt_net,
        photographs="resnet12",
    ),
    "metaoptnet-ridge": _on_backbone(
        "as metaoptnet, with ridge regression (Lee et al. 2019)",
        "meta_opt_net:MetaOptNetRidge",
        _train_meta_opt_net,
        photographs="resnet12",
    ),
    "nearest-neighbour": _pretrained(
        "as simpleshot, with the nearest support example instead of the nearest mean (Wang et al. 2019)",
        "simple_shot:NearestNeighbour",
    ),
    "proto-maml": _on_backbone(
        "as maml, the classifier starting from prototypes (Triantafillou et al. 2020)",
        # A rate of 0.1, which suits others, undoes in 5-shot what the prototypes know; in 1-shot they have their own
        # support right from the start, so that no rate moves much.
        "proto_maml:ProtoMAML",
        _train_maml,
        running_stats=False,
        norm="batch",
        lr=0.003,
        steps=3,
        test_steps=10,
    ),
    "protonet": _on_backbone(
        "prototypical networks: the nearest class mean in a learned embedding (Snell et al. 2017)",
        "protonet:ProtoNet",
        _train_protonet,
    ),
    "protonet-cosine": _on_backbone(
        "as protonet, by cosine with a learned scale (Gidaris & Komodakis 2018)",
        "protonet:ProtoNet",
        _train_protonet,
        distance="cosine",
        scale=10.0,
        learn_scale=True,
    ),
    "r2d2": _on_backbone(
        "ridge regression in closed form on a learned embedding (Bertinetto et al. 2019)",
        "r2d2:R2D2",
        _train_r2d2,
        photographs="r2d2",
    ),
    "relation-net": MethodSpec(
        "relation networks: a learned comparison of maps (Sung et al. 2018)",
        _build_relation_net,
        _train_relation,
    ),
    "reptile": _on_classifier(
        "an initialisation near the parameters that tasks lead to (Nichol et al. 2018)",
        "reptile:Reptile",
        _train_reptile,
        lr=1e-3,
        steps=5,
        test_steps=50,
        minibatch=10,
        test_minibatch=5,
    ),
    "simpleshot": _pretrained(
        "a classifier of the training classes; on a task, the nearest centred mean of unit length (Wang et al. 2019)",
        "simple_shot:SimpleShot",
    ),
}
