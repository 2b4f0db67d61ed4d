from . import inner_loop, learner, maml, methods, protonet
from .learner import Learner, Predictor
from .maml import MAML, MAMLLearner, maml_update
from .methods import METHODS, MethodSpec, TrainingDefaults, get_method
from .protonet import ProtoNet
