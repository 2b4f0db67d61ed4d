from . import (
    anil,
    baseline,
    gbml,
    gradient,
    inner_loop,
    learner,
    maml,
    maml_plus_plus,
    matching,
    meta_curvature,
    meta_opt_net,
    meta_sgd,
    methods,
    metric,
    normalisation,
    over_tasks,
    pretrained,
    proto_maml,
    protonet,
    r2d2,
    relation,
    reptile,
    simple_shot,
)
from .anil import ANIL, BOIL
from .baseline import Baseline, BaselinePlusPlus
from .gbml import GBML
from .gradient import GradientLearner
from .learner import Learner, Predictor
from .lightning import (
    LightningANIL,
    LightningEpisodicModule,
    LightningMAML,
    LightningMetaOptNet,
    LightningPrototypicalNetworks,
)
from .maml import MAML, MAMLLearner, maml_update
from .maml_plus_plus import MAMLPlusPlus
from .matching import MatchingNet
from .meta_curvature import KFOLearner, MetaCurvatureLearner, TransformLearner
from .meta_opt_net import MetaOptNet, MetaOptNetRidge
from .meta_sgd import MetaSGD, MetaSGDLearner, meta_sgd_update
from .methods import METHODS, MethodSpec, Setting, TrainingDefaults, get_method
from .metric import MetricLearner
from .pretrained import PretrainedLearner
from .proto_maml import ProtoMAML
from .protonet import ProtoNet
from .r2d2 import LRD2, R2D2
from .relation import RelationNet
from .reptile import Reptile
from .simple_shot import NearestNeighbour, SimpleShot
