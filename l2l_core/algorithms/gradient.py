"""The base of learners that adapt to a task by gradient steps on its support loss.

Letters in shapes: B tasks of a chunk, N ways, M support examples of a task, Q queries of a task, C H W image.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrizations
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

from l2l_core.algorithms.inner_loop import (
    Order,
    Params,
    Rule,
    carry_gradients,
    checkpointed_gradients,
    clipped,
    inner_loop,
    loss_scale,
    unscaled,
)
from l2l_core.algorithms.learner import Learner, Predictor, check_query, check_support, check_targets
from l2l_core.algorithms.normalisation import Norm, follow, gathers_statistics, writes_buffers
from l2l_core.algorithms.over_tasks import Strategy, over_tasks, plain
from l2l_core.errors import UsageError
from l2l_core.modules import call_with

#: How the predictor of `adapt` takes its queries. "together": all queries of a task in one batch, whose statistics
#: BatchNorm may take, so that they inform each other (transductive, as in Finn et al. 2017). "alone": each one in a
#: batch with the support set and no other query, as in the non-transductive results of Nichol et al. 2018.
Queries: TypeAlias = Literal["together", "alone"]


class Settings(TypedDict, total=False):
    """The settings that every `GradientLearner` has, and its methods hand through."""

    norm: Norm
    queries: Queries
    clip: float | None
    checkpoint: bool
    strategy: Strategy
    zero_classifier: bool


class Chunk(NamedTuple):
    """Some tasks that are adapted to in one go.

    Attributes:
        net: the model, or a twin of it with the same parameters.
        support_x, support_y: [B, M, C, H, W] and [B, M].
        ways: N.
        tasks: their numbers in the batch.
        order: what links the adapted parameters to the initial ones.
        buffers: what a forward pass may write to instead of the model's own, [B, …] each; none in training.
    """

    net: nn.Module
    support_x: Tensor
    support_y: Tensor
    ways: int
    tasks: range
    order: Order
    buffers: dict[str, Tensor]


class GradientLearner(Learner):
    """A learner that takes gradient steps on the support loss, from parameters that it has learned.

    A method derived from it says what is special: which parameters move (`moving`), where they start (`start`), by
    which rule they move (`rule`), and what stays the same for all steps (`prepare`).

    Args:
        model: from pictures [M, C, H, W] to logits [M, N].
        moving: names of the parameters that the inner loop moves; the others are learned across tasks only.
        steps: inner steps in train mode.
        test_steps: inner steps in eval mode; None for as many.
        first_order: take inner gradients as constants.
        norm: what BatchNorm does; see `Norm`.
        queries: how the predictor takes queries; see `Queries`. Training takes them together.
        clip: the length to which a task's inner gradients are shortened where they are longer; None leaves them.
        checkpoint: whether to keep the graph of √steps inner steps at a time only: memory against one more run.
        strategy: how the tasks share the device; see `Strategy`.
        zero_classifier: start every task with a ``model.classifier`` of zeros instead of a learned one (the zeroing
            trick of Kao et al. 2022, "MAML is a noisy contrastive learner in classification"). The model's own
            classifier stays what it was when the learner was built.

    Dropout is active in the inner loop and for queries in train mode, with new masks every step, and off in eval mode.
    Under ``torch.autocast`` the forward passes are in lower precision, while parameters, inner gradients and steps
    stay as they are; for float16 the inner loss is scaled, so that its gradients do not vanish.

    Raises:
        UsageError: settings that no run could honour, or a model without a parameter to move.
    """

    def __init__(
        self,
        model: nn.Module,
        moving: tuple[str, ...],
        steps: int,
        test_steps: int | None = None,
        *,
        first_order: bool = False,
        norm: Norm = "running",
        queries: Queries = "together",
        clip: float | None = None,
        checkpoint: bool = False,
        strategy: Strategy = "auto",
        zero_classifier: bool = False,
    ) -> None:
        super().__init__(norm)
        test_steps = steps if test_steps is None else test_steps
        who = type(self).__name__
        if steps < 0 or test_steps < 0:
            raise UsageError(
                f"{who} was asked for steps = {steps} and test_steps = {test_steps}; give steps of at least 0"
            )
        for what, asked, known in (("queries", queries, Queries), ("strategy", strategy, Strategy)):
            if asked not in get_args(known):
                raise UsageError(
                    f"{who} was asked for {what} = {asked!r}; choose {', '.join(map(repr, get_args(known)))}"
                )
        if clip is not None and not clip > 0:
            raise UsageError(f"{who} was asked to clip inner gradients to {clip}; give a length above 0, or None")
        if not moving:
            raise UsageError(
                f"{who} was given a {type(model).__name__} without a parameter to move; "
                "give a model with parameters that require a gradient"
            )
        unknown = [name for name in moving if name not in dict(model.named_parameters())]
        if unknown:
            raise UsageError(
                f"{who} was asked to move {unknown[0]!r}, but {type(model).__name__} has no such parameter; give names "
                "of its named_parameters()"
            )
        if zero_classifier and not any(map(_of_classifier, moving)):
            raise UsageError(
                f"{who} was asked for zero_classifier = True, but moves no parameter of a classifier; leave it out, or "
                "give a model whose last layer is called 'classifier', as that of BackboneClassifier is"
            )
        self.model = model
        self.moving = moving
        self.steps = steps
        self.test_steps = test_steps
        self.first_order = first_order
        self.queries = queries
        self.clip = clip
        self.checkpoint = checkpoint
        self.strategy = strategy
        self.zero_classifier = zero_classifier
        follow(self, norm)

    @abstractmethod
    def rule(self) -> tuple[Rule[Any], Any]:
        """One inner step, and its state before the first; for `checkpoint` the state must hold no graph.

        A step is a function of parameters, gradients (both by name, [B, …] each) and state that gives the parameters
        and the state after it, such as `gradient_step`; the state is None where there is none.
        """

    def start(self, chunk: Chunk) -> Params:
        """Where the parameters that move start, [B, …] each; those of the model for all tasks alike."""
        parameters = dict(chunk.net.named_parameters())
        frozen = [name for name in self.moving if chunk.order > 0 and not parameters[name].requires_grad]
        if frozen:
            raise UsageError(
                f"{type(self).__name__} was built to move {frozen[0]!r}, which requires no gradient any more; freeze "
                "before building it, or let it require one"
            )
        stacked = {name: parameters[name].expand(len(chunk.tasks), *parameters[name].shape) for name in self.moving}
        if not self.zero_classifier:
            return stacked
        return {
            name: torch.zeros_like(value).requires_grad_() if _of_classifier(name) else value
            for name, value in stacked.items()
        }

    def prepare(self, chunk: Chunk, x: Tensor) -> Tensor:
        """What the steps see of pictures [B, ·, C, H, W]: what no moving parameter changes is best computed here."""
        return x

    def logits(self, chunk: Chunk, params: Params, prepared: Tensor, step: int) -> Tensor:
        """Logits [B, ·, N] of prepared pictures, at the parameters after `step` steps."""
        return call_tasks(chunk.net, chunk.buffers, params, prepared)

    def query_losses(self, chunk: Chunk, query_x: Tensor, query_y: Tensor) -> tuple[Tensor, Tensor]:
        """The query loss of each task after adaptation, [B], and the logits [B, Q, N]."""
        logits_BQN = self.logits(chunk, self._adapted(chunk), self._prepared(chunk, query_x), self._steps)
        return cross_entropies(logits_BQN, query_y), logits_BQN

    def adapt(self, support_x: Tensor, support_y: Tensor) -> Predictor:
        """As `Learner.adapt`: the inner loop runs here, under ``torch.no_grad()`` too."""
        ways = check_support(support_x, support_y)
        differentiable = self.training and torch.is_grad_enabled()
        support_x = self._laid_out(support_x)

        def adapted(net: nn.Module, tasks: range) -> tuple[Chunk, Params]:
            with _with_gradients(net):
                chunk = self._chunk(net, support_x, support_y, ways, tasks, differentiable, spare=True)
                return chunk, self._adapted(chunk)

        with _twice_differentiable(differentiable and not self.first_order):
            chunks = over_tasks(adapted, self.model, len(support_x), support_x.device, self._strategy)

        def predict(query_x: Tensor) -> Tensor:
            check_query(query_x, support_x)
            query_x = self._laid_out(query_x)
            with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
                return torch.cat(
                    [
                        self._predicted(
                            chunk._replace(net=self.model), params, query_x[chunk.tasks.start : chunk.tasks.stop]
                        )
                        for chunk, params in chunks
                    ]
                )

        return predict

    def meta_loss(
        self, support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Learner.meta_loss`; ``backward`` through it works once, and to first derivatives only.

        The gradients are computed here, chunk by chunk, so that a batch of tasks takes the memory of a chunk.
        """
        ways = check_support(support_x, support_y)
        check_query(query_x, support_x)
        check_targets(query_y, query_x, ways)
        self._check_strategy(len(support_x))
        differentiable = torch.is_grad_enabled()
        learned = [parameter for parameter in self.parameters() if differentiable and parameter.requires_grad]
        support_x, query_x = self._laid_out(support_x), self._laid_out(query_x)

        def gradients_of(net: nn.Module, tasks: range) -> tuple[Tensor, Tensor, list[Tensor]]:
            part = slice(tasks.start, tasks.stop)
            with _with_gradients(net):
                chunk = self._chunk(net, support_x, support_y, ways, tasks, differentiable, spare=not self.training)
                return self._gradients(chunk, query_x[part], query_y[part], learned)

        with _twice_differentiable(differentiable and not self.first_order):
            results = over_tasks(gradients_of, self.model, len(support_x), support_x.device, self._strategy)
        losses_B = torch.cat([losses for losses, _, _ in results])
        accuracy_B = torch.cat([accuracies for _, accuracies, _ in results])
        mean = losses_B.mean()
        if differentiable:
            sums = [
                torch.stack(of_chunks).sum(dim=0) for of_chunks in zip(*(found for _, _, found in results), strict=True)
            ]
            mean = carry_gradients(mean, learned, [total / len(support_x) for total in sums])
        self.trained(differentiable)
        return mean, accuracy_B

    def trained(self, differentiable: bool) -> None:
        """Called after each `meta_loss`; for methods whose settings change as training goes on."""

    def _check_strategy(self, tasks: int) -> None:
        if tasks > 1 and self.training and self.strategy in ("threads", "together") and gathers_statistics(self.model):
            raise UsageError(
                f"{type(self).__name__} was asked for strategy = {self.strategy!r}, but its model gathers running "
                "statistics, which tasks do one after the other; choose 'auto' or 'loop', or BatchNorm without running "
                "statistics"
            )

    def _laid_out(self, pictures: Tensor) -> Tensor:
        """The same pictures, as a tensor that a graph may keep, and channels last where convolutions like them so.

        On a processor pooling, and with it a step of Conv4, is quicker by a third in this format. The strides are
        written out, because PyTorch takes pictures of one channel for channels first in either format.
        """
        with torch.inference_mode(False):
            if pictures.is_inference():
                pictures = pictures.clone()
            if pictures.ndim != 5 or pictures.device.type != "cpu" or not plain(self.model):
                return pictures
            flat = pictures.flatten(0, 1)
            laid_out = torch.empty_like(flat, memory_format=torch.channels_last).copy_(flat)
            # A view would write the strides of axes of length 1 anew.
            return laid_out.as_strided(pictures.shape, (pictures.shape[1] * laid_out.stride(0), *laid_out.stride()))

    def _prepared(self, chunk: Chunk, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(chunk.order > 0 and torch.is_grad_enabled()):
            return self.prepare(chunk, x)

    @property
    def _strategy(self) -> Strategy:
        # What a learner has besides its model, such as transforms of gradients, all tasks share.
        others = [child for child in self.children() if child is not self.model]
        alone = any(not plain(child) or writes_buffers(child) for child in others)
        return "loop" if self.strategy == "auto" and alone else self.strategy

    @property
    def _steps(self) -> int:
        return self.steps if self.training else self.test_steps

    def _chunk(
        self,
        net: nn.Module,
        support_x: Tensor,
        support_y: Tensor,
        ways: int,
        tasks: range,
        differentiable: bool,
        spare: bool,
    ) -> Chunk:
        part = slice(tasks.start, tasks.stop)
        order: Order = 0 if not differentiable else 1 if self.first_order else 2
        buffers = self._spare_buffers(len(tasks)) if spare else {}
        return Chunk(net, support_x[part], _ordinary(support_y[part]), ways, tasks, order, buffers)

    def _inner_loss(self, chunk: Chunk, prepared: Tensor) -> Callable[[Params, int], Tensor]:
        def loss_of(params: Params, step: int) -> Tensor:
            logits_BMN = self.logits(chunk, params, prepared, step)
            examples = chunk.support_y.shape[1]
            if logits_BMN.shape[2:] != (chunk.ways,):
                raise UsageError(
                    f"the support has {chunk.ways} classes, but the model gives logits {list(logits_BMN.shape[1:])}; "
                    f"build it for {chunk.ways} ways"
                )
            if logits_BMN.shape[1] != examples:
                raise UsageError(
                    f"the support has {examples} pictures, but the model gives logits {list(logits_BMN.shape[1:])}; "
                    "let it give one row for each picture"
                )
            return cross_entropies(logits_BMN, chunk.support_y)

        return loss_of

    def _rule(self) -> tuple[Rule[Any], Any]:
        rule, state = self.rule()
        return (rule if self.clip is None else clipped(rule, self.clip)), state

    def _adapted(self, chunk: Chunk) -> Params:
        rule, state = self._rule()
        loss_of = self._inner_loss(chunk, self._prepared(chunk, chunk.support_x))
        params, _ = inner_loop(loss_of, self.start(chunk), rule, state, range(self._steps), chunk.order, chunk.tasks)
        return params

    def _gradients(
        self, chunk: Chunk, query_x: Tensor, query_y: Tensor, learned: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The query loss and accuracy of each task, [B], detached, and the gradients of the losses' sum."""
        if learned and self.checkpoint:
            return self._checkpointed(chunk, query_x, query_y, learned)
        losses_B, logits_BQN = self.query_losses(chunk, query_x, query_y)
        found: list[Tensor] = []
        if learned:
            scale = loss_scale(losses_B.device.type)
            scaled = torch.autograd.grad(losses_B.sum() * scale, learned, allow_unused=True, materialize_grads=True)
            found += unscaled(scaled, scale)
        return losses_B.detach(), accuracies(logits_BQN, query_y), found

    def _checkpointed(
        self, chunk: Chunk, query_x: Tensor, query_y: Tensor, learned: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        rule, state = self._rule()
        # Prepared once, outside of the segments, whose graphs end at this leaf.
        prepared = self._prepared(chunk, chunk.support_x)
        leaf = prepared.detach().requires_grad_(prepared.requires_grad)
        before: dict[int, dict[str, Tensor]] = {}

        # Each step runs twice. Buffers follow the first run; the second starts from what they were before the first.
        def loss_of(params: Params, step: int) -> Tensor:
            if step in before:
                return self._inner_loss(chunk._replace(buffers=before.pop(step)), leaf)(params, step)
            own = chunk.buffers or _stacked(chunk.net, len(chunk.tasks))
            before[step] = {name: buffer.clone() for name, buffer in own.items()}
            return self._inner_loss(chunk, leaf)(params, step)

        scale = loss_scale(chunk.support_x.device.type)
        shown: list[tuple[Tensor, Tensor]] = []

        def query_loss_of(params: Params) -> Tensor:
            logits_BQN = self.logits(chunk, params, self.prepare(chunk, query_x), self._steps)
            losses_B = cross_entropies(logits_BQN, query_y)
            shown.append((losses_B.detach(), accuracies(logits_BQN, query_y)))
            return losses_B.sum() * scale

        links = [leaf] if leaf.requires_grad else []
        _, scaled = checkpointed_gradients(
            loss_of,
            query_loss_of,
            self.start(chunk),
            rule,
            state,
            self._steps,
            chunk.order,
            chunk.tasks,
            [*learned, *links],
        )
        if links:
            along = scaled.pop()
            through = torch.autograd.grad(prepared, learned, along, allow_unused=True, materialize_grads=True)
            scaled = [direct + gradient for direct, gradient in zip(scaled, through, strict=True)]
        return *shown[0], unscaled(scaled, scale)

    def _predicted(self, chunk: Chunk, params: Params, query_x: Tensor) -> Tensor:
        """Logits [B, Q, N] of queries [B, Q, C, H, W]."""

        def of(x: Tensor) -> Tensor:
            at = chunk._replace(buffers=self._spare_buffers(len(chunk.tasks)))
            return self.logits(at, params, self.prepare(at, x), self._steps)

        if self.queries == "together":
            return of(query_x)
        with_support = (
            torch.cat([chunk.support_x, query_x[:, place, None]], dim=1) for place in range(query_x.shape[1])
        )
        return torch.stack([of(company)[:, -1] for company in with_support], dim=1)

    def _spare_buffers(self, tasks: int) -> dict[str, Tensor]:
        # What a forward pass in train mode writes goes here, and not into the learner.
        return _stacked(self.model, tasks)


def checked_rate(learner: GradientLearner, lr: float) -> float:
    """The inner learning rate.

    Raises:
        UsageError: it is not above 0.
    """
    if not lr > 0:
        raise UsageError(f"{type(learner).__name__} was asked for lr = {lr}; give a rate above 0")
    return lr


def call_tasks(net: nn.Module, buffers: dict[str, Tensor], params: Params, x: Tensor) -> Tensor:
    """What a model gives for the examples of each task at the task's own parameters, [B, …].

    Args:
        net: from examples of one task [M, …].
        buffers: in place of the model's own, [B, …] each, or none.
        params: [B, …] each, or none.
        x: [B, M, …].
    """

    def of_task(of_one: Params, inputs: Tensor) -> Tensor:
        result: Tensor = call_with(net, of_one, inputs)
        return result

    placed = {**buffers, **params}
    if len(x) == 1:
        return of_task({name: value[0] for name, value in placed.items()}, x[0])[None]
    return torch.vmap(of_task, randomness="different")(placed, x)


def _of_classifier(name: str) -> bool:
    return name.startswith("classifier.")


def cross_entropies(logits_BMN: Tensor, labels_BM: Tensor) -> Tensor:
    """The mean cross-entropy of each task's examples, [B]."""
    each = functional.cross_entropy(_single(logits_BMN).flatten(0, 1), labels_BM.flatten(), reduction="none")
    return each.reshape(labels_BM.shape).mean(dim=1)


def accuracies(logits_BQN: Tensor, labels_BQ: Tensor) -> Tensor:
    """The fraction in [0, 1] of each task's queries that are right, [B], detached."""
    return _single((logits_BQN.detach().argmax(dim=-1) == labels_BQ).to(logits_BQN.dtype)).mean(dim=1)


def _single(tensor: Tensor) -> Tensor:
    """The tensor in single precision at least: half of it does not know 1/75 from 1/76."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _stacked(model: nn.Module, tasks: int) -> dict[str, Tensor]:
    """Copies of the model's buffers, [B, …] each."""
    return {name: buffer.detach().expand(tasks, *buffer.shape).clone() for name, buffer in model.named_buffers()}


def _twice_differentiable(wanted: bool) -> AbstractContextManager[Any]:
    """Within it, where wanted, attention goes without the fused kernels, which have no second derivative.

    The setting is the whole process's, not a thread's.
    """
    return sdpa_kernel(SDPBackend.MATH) if wanted else nullcontext()


class _WeightNormWrittenOut(TorchFunctionMode):
    """Within it, weight normalisation is g · v / ‖v‖ in so many words.

    The fused kernel's second derivative takes ‖v‖ for a constant (torch 2.13 on a processor; ``gradgradcheck`` shows
    it). The mode belongs to a thread.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._weight_norm:
            v, g, dim = args
            return v * (g / torch.norm_except_dim(v, 2, dim))
        return func(*args, **(kwargs or {}))


@contextmanager
def _with_gradients(model: nn.Module) -> Iterator[None]:
    """Within it there are gradients, whatever mode the caller is in: the inner loop needs them."""
    weight_norm = any(
        isinstance(layer, parametrizations._WeightNorm)
        or any(isinstance(hook, WeightNorm) for hook in layer._forward_pre_hooks.values())
        for layer in model.modules()
    )
    with torch.inference_mode(False), torch.enable_grad(), _WeightNormWrittenOut() if weight_norm else nullcontext():
        yield


def _ordinary(tensor: Tensor) -> Tensor:
    """The same values, as a tensor that a graph may keep even where it was made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor
