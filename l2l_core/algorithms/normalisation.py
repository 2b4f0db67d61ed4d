"""What normalisation layers do within a learner: one policy, in words, instead of what happens to happen."""

from typing import Final, Literal, TypeAlias

from torch import nn

from l2l_core.errors import UsageError

#: Which statistics BatchNorm (and InstanceNorm with running statistics) normalises with.
#:   "running"  as PyTorch does: the batch's in train mode, which the running ones follow, and the running ones in eval
#:              mode; always the batch's where a layer keeps none;
#:   "batch"    the batch's in both modes: the support set's in the inner loop, the query set's in prediction; in
#:              train mode the running ones follow all the same;
#:   "frozen"   the running ones in both modes, which never change: for a backbone that was trained before, each
#:              BatchNorm of which must have them.
#: Layers whose examples do not see each other (LayerNorm, GroupNorm) know no such difference.
Norm: TypeAlias = Literal["running", "batch", "frozen"]

BATCH_NORMS: Final = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
_NORMALISATION: Final = (*BATCH_NORMS, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def follow(model: nn.Module, norm: Norm) -> None:
    """Nothing; the normalisation layers of a model whose mode has just been set follow the policy.

    Raises:
        UsageError: the policy is "frozen", and a layer has no running statistics.
    """
    if norm == "running":
        return
    for name, layer in model.named_modules():
        if not isinstance(layer, BATCH_NORMS):
            continue
        if norm == "frozen" and layer.running_mean is None and isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise UsageError(
                f"norm = 'frozen' normalises with running statistics, but {type(layer).__name__} {name!r} keeps none; "
                "build it with track_running_stats=True, or choose norm = 'batch'"
            )
        layer.training = norm == "batch"


def sees_company(model: nn.Module) -> bool:
    """Whether what the model makes of an example depends on the others in its batch, in the mode that it is in."""
    return any(
        isinstance(layer, nn.modules.batchnorm._BatchNorm) and (layer.training or layer.running_mean is None)
        for layer in model.modules()
    )


def gathers_statistics(model: nn.Module) -> bool:
    """Whether a forward pass changes running statistics, in the mode that the model is in."""
    return any(
        isinstance(layer, BATCH_NORMS) and layer.training and layer.running_mean is not None
        for layer in model.modules()
    )


def writes_buffers(model: nn.Module) -> bool:
    """Whether a forward pass may change buffers: running statistics, or what layers in train mode keep otherwise."""
    return any(layer.training and any(True for _ in layer.buffers(recurse=False)) for layer in model.modules())


def without_normalisation(model: nn.Module) -> tuple[str, ...]:
    """The names of the parameters that require a gradient and do not belong to a normalisation layer."""
    scale_and_shift = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _NORMALISATION)
        for parameter in module.parameters(recurse=False)
    }
    return tuple(
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and id(parameter) not in scale_and_shift
    )
