"""Parts that learners are built from: backbones, which embed pictures, and heads, which classify embeddings."""

from l2l_core.nn.backbones import Conv4, ConvClassifier, maml_init_
from l2l_core.nn.heads import PrototypicalClassifier, prototypes, squared_distances

__all__ = [
    "Conv4",
    "ConvClassifier",
    "PrototypicalClassifier",
    "maml_init_",
    "prototypes",
    "squared_distances",
]
