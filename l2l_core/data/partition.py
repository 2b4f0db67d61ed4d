"""A task's examples, split into support and query."""

import torch
from torch import Tensor

from l2l_core.data.batches import at_least_one
from l2l_core.errors import TaskError, UsageError


def partition_task(data: Tensor, labels: Tensor, shots: int = 1) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The support and the query set of a task, ((inputs, labels), (inputs, labels)), classes in the order of labels.

    The first `shots` examples of each class are its support: inputs [N·shots, …] and labels [N·shots]; the others are
    its query set, [N·(K − shots), …] and [N·(K − shots)].

    Args:
        data: inputs [N·K, …], in any order.
        labels: [N·K], each of N labels K times.
        shots: support examples a class, 1 <= shots <= K.

    Raises:
        UsageError: `shots` is below 1, inputs or labels are no tensor, or there are not as many labels as inputs.
        TaskError: the labels come different numbers of times, or less than `shots` times.
    """
    shots = at_least_one("shots", shots)
    for what, part in (("inputs", data), ("labels", labels)):
        if not isinstance(part, Tensor):
            raise UsageError(f"the {what} are {type(part).__name__}; give a tensor, as torch.as_tensor makes one")
    if labels.ndim != 1 or len(data) != len(labels) or not len(labels):
        raise UsageError(
            f"{len(data)} inputs have labels of shape {list(labels.shape)}; give one label for each, and at least one"
        )
    values_N, counts_N = torch.unique(labels, return_counts=True)
    rarest, commonest = int(counts_N.argmin()), int(counts_N.argmax())
    least, most = int(counts_N[rarest]), int(counts_N[commonest])
    if least != most:
        raise TaskError(
            f"label {values_N[rarest].item()} comes {least} times, but label {values_N[commonest].item()} {most}; "
            "give the same number of each"
        )
    if most < shots:
        raise TaskError(f"{shots} shots were asked for, but each class has {most} examples; lower the shots")
    order_NK = torch.argsort(labels, stable=True).reshape(len(values_N), most)
    support_M, query_M = order_NK[:, :shots].flatten(), order_NK[:, shots:].flatten()
    return (data[support_M], labels[support_M]), (data[query_M], labels[query_M])
