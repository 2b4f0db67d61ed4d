"""Few-shot algorithms: learners by name, and the classes they are built from.

The names are listed without importing torch; a class is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from l2l_core.algorithms.methods import METHODS, MethodSpec, TrainingDefaults, get_method

if TYPE_CHECKING:
    from l2l_core.algorithms.learner import Learner, Predictor
    from l2l_core.algorithms.maml import MAML, MAMLLearner, maml_update
    from l2l_core.algorithms.protonet import ProtoNet

__all__ = [
    "MAML",
    "METHODS",
    "Learner",
    "MAMLLearner",
    "MethodSpec",
    "Predictor",
    "ProtoNet",
    "TrainingDefaults",
    "get_method",
    "maml_update",
]

_HOMES = {
    "Learner": "learner",
    "MAML": "maml",
    "MAMLLearner": "maml",
    "Predictor": "learner",
    "ProtoNet": "protonet",
    "maml_update": "maml",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
