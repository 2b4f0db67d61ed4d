"""From a loss to the updates of parameters: a gradient each, and a learned transform of it."""

from collections.abc import Iterable

from torch import Tensor, nn

from l2l_core.errors import UsageError
from l2l_core.optim.gradients import named_gradients
from l2l_core.optim.transforms import TransformOf, transform_of


class ParameterUpdate(nn.Module):
    """Learned updates; called much as ``torch.autograd.grad`` is, it gives transformed gradients.

    Args:
        parameters: those to update.
        transform: from each parameter to the module that transforms its gradient; None there leaves gradients as they
            are. `l2l_core.optim.transforms` has several.

    Attributes:
        transforms_modules: the transforms that are there.
        transforms_indices: which of them is each parameter's; None for no transform.

    Mended from learn2learn: the graph of the loss is kept where ``create_graph`` needs it; a loss that cannot be
    differentiated is an error that names the parameters at fault, as is another number of parameters.

    Raises:
        UsageError: the transform of a parameter is neither a module nor None.
    """

    def __init__(self, parameters: Iterable[Tensor], transform: TransformOf) -> None:
        super().__init__()
        # Transforms by index, and not None among them: only what is in the module list has a copy in a clone.
        self.transforms_modules = nn.ModuleList()
        self.transforms_indices: list[int | None] = []
        for parameter in parameters:
            made = transform_of(transform, parameter)
            self.transforms_indices.append(None if made is None else len(self.transforms_modules))
            if made is not None:
                self.transforms_modules.append(made)

    def forward(
        self,
        loss: Tensor,
        parameters: Iterable[Tensor | tuple[str, Tensor]],
        create_graph: bool = False,
        retain_graph: bool = False,
        allow_unused: bool = False,
        allow_nograd: bool = False,
    ) -> list[Tensor | None]:
        """An update for each parameter, in order and of its shape; None for one that is unused or frozen.

        The updates point uphill, as gradients do: descend by subtracting them.

        Args:
            loss: a scalar.
            parameters: those of the construction, or of a clone of their module, in the same order; with names if
                messages should have them, as ``named_parameters()`` gives.
            create_graph: keep the graph of the gradients, for second derivatives. Without it gradients are constants,
                and the updates depend on the transforms only.
            retain_graph: keep the graph of the loss.
            allow_unused: let parameters that the loss does not depend on be.
            allow_nograd: let parameters that require no gradient be.

        Raises:
            UsageError: another number of parameters, or a loss that cannot be differentiated as asked.
        """
        named: list[tuple[str, Tensor]] = [
            (f"parameter {index}", item) if isinstance(item, Tensor) else item for index, item in enumerate(parameters)
        ]
        if len(named) != len(self.transforms_indices):
            raise UsageError(
                f"ParameterUpdate was made for {len(self.transforms_indices)} parameters, but was given {len(named)}; "
                "give those it was made for, or a clone's, in the same order"
            )
        gradients = named_gradients(
            "ParameterUpdate",
            loss,
            named,
            create_graph=create_graph,
            retain_graph=retain_graph,
            allow_unused=allow_unused,
            allow_nograd=allow_nograd,
        )
        return [
            gradient if gradient is None or index is None else self.transforms_modules[index](gradient)
            for gradient, index in zip(gradients, self.transforms_indices, strict=True)
        ]
