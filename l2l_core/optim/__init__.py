"""Updates that can be learned: gradient transforms, and the optimisers and inner loops that apply them.

The names and meanings are learn2learn's. A learned update is a module from gradients to updates, whose own parameters
are trained like any others:

    learned_update = ParameterUpdate(model.parameters(), KroneckerTransform(KroneckerLinear))
    clone = clone_module(model)
    updates = learned_update(loss(clone), clone.parameters(), create_graph=True)
    DifferentiableSGD(lr=0.1)(clone, updates)
    loss(clone).backward()      # gradients arrive in model and in learned_update
"""

from l2l_core.optim import transforms
from l2l_core.optim.differentiable_sgd import DifferentiableSGD
from l2l_core.optim.gradients import named_gradients
from l2l_core.optim.learnable_optimizer import LearnableOptimizer
from l2l_core.optim.parameter_update import ParameterUpdate
from l2l_core.optim.transforms import (
    KroneckerTransform,
    MetaCurvatureTransform,
    ModuleTransform,
    ReshapedTransform,
    TransformDictionary,
)

__all__ = [
    "DifferentiableSGD",
    "KroneckerTransform",
    "LearnableOptimizer",
    "MetaCurvatureTransform",
    "ModuleTransform",
    "ParameterUpdate",
    "ReshapedTransform",
    "TransformDictionary",
    "named_gradients",
    "transforms",
]
