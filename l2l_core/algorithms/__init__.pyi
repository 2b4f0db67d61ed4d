from . import (
    gbml,
    gradient,
    inner_loop,
    learner,
    maml,
    meta_sgd,
    methods,
    metric,
    normalisation,
    over_tasks,
    protonet,
)
from .gbml import GBML
from .gradient import GradientLearner
from .learner import Learner, Predictor
from .maml import MAML, MAMLLearner, maml_update
from .meta_sgd import MetaSGD, meta_sgd_update
from .methods import METHODS, MethodSpec, TrainingDefaults, get_method
from .metric import MetricLearner
from .protonet import ProtoNet
