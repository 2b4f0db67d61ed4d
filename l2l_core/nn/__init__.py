"""Parts that learners are built from: backbones, which embed pictures, heads, which classify embeddings, and layers."""

from l2l_core.nn.backbones import BackboneClassifier, Conv4, ConvClassifier, maml_init_
from l2l_core.nn.closed_form import LinearHead, fit_logistic, fit_ridge, linear_logits
from l2l_core.nn.conv_nets import CNN4Backbone, R2D2Backbone, fc_init_
from l2l_core.nn.dropblock import DropBlock
from l2l_core.nn.heads import PrototypicalClassifier, prototypes, squared_distances
from l2l_core.nn.kronecker import KroneckerLinear, KroneckerLSTM, KroneckerRNN, kronecker_addmm
from l2l_core.nn.layers import Flatten, Lambda, Scale, freeze, unfreeze
from l2l_core.nn.meta_module import Adapter, LoRA, MetaModule, ParameterTransform
from l2l_core.nn.metric_heads import cl2n, cosine_logits, matching_log_probabilities, nearest_neighbour_logits
from l2l_core.nn.resnet12 import ResNet12Backbone
from l2l_core.nn.svm import SVClassifier, fit_svm
from l2l_core.nn.text import TextCNN, TextTransformer
from l2l_core.nn.wide_resnet import WRN28Backbone

__all__ = [
    "Adapter",
    "BackboneClassifier",
    "CNN4Backbone",
    "Conv4",
    "ConvClassifier",
    "DropBlock",
    "Flatten",
    "KroneckerLSTM",
    "KroneckerLinear",
    "KroneckerRNN",
    "Lambda",
    "LinearHead",
    "LoRA",
    "MetaModule",
    "ParameterTransform",
    "PrototypicalClassifier",
    "R2D2Backbone",
    "ResNet12Backbone",
    "SVClassifier",
    "Scale",
    "TextCNN",
    "TextTransformer",
    "WRN28Backbone",
    "cl2n",
    "cosine_logits",
    "fc_init_",
    "fit_logistic",
    "fit_ridge",
    "fit_svm",
    "freeze",
    "kronecker_addmm",
    "linear_logits",
    "maml_init_",
    "matching_log_probabilities",
    "nearest_neighbour_logits",
    "prototypes",
    "squared_distances",
    "unfreeze",
]
