"""Augmentations: changes of the loaded pictures of all tasks at once, as random as the task's own words.

They stand behind `LoadData` among the transforms of a `TaskDataset`, or in the `augmentations` of a `TaskGenerator`
and other kinds of tasks.
Each random choice is a pure function of (seed, task, place in the list, example), so neither the batch, nor the worker,
nor the split into support and query changes a pixel. They take tensors on any device, and NumPy arrays.

Letters in shapes: B tasks, N ways, K examples a class, M = B·N·K pictures in a flat list, C H W a picture.
"""

import math
import random
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from l2l_core.catalog import ROTATIONS, open_catalog
from l2l_core.data.batches import Augmentation, Draws, at_least_one, whole
from l2l_core.data.choices import FloatArray, uniform
from l2l_core.data.global_random import seeding
from l2l_core.data.index import ClassIndex
from l2l_core.data.sampling import IntArray, WordArray, bounded, distinct
from l2l_core.errors import TaskError, UsageError

_PIECE: Final = 2**18
"""Values that are changed at a time: a megabyte of float32, which stays in the cache of one core."""
_GREY: Final = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in a grey value, as torchvision rounds those of ITU-R BT.601."""


class _OnTensors(Augmentation):
    """An augmentation that is written for tensors; NumPy arrays share their memory with one."""

    def apply(self, inputs: Any, draws: Draws) -> Any:
        """The inputs [B, N, K, …], changed."""
        if isinstance(inputs, np.ndarray):
            return self._changed(torch.from_numpy(inputs), draws).numpy()
        return self._changed(inputs, draws)

    @abstractmethod
    def _changed(self, inputs: Tensor, draws: Draws) -> Tensor:
        """The inputs [B, N, K, …], changed; possibly in place."""


class _OnPictures(_OnTensors):
    """An augmentation of pictures."""

    def _changed(self, inputs: Tensor, draws: Draws) -> Tensor:
        if inputs.ndim != 6:
            raise TaskError(
                f"{type(self).__name__} changes pictures [C, H, W], but an example of this data set is "
                f"{list(inputs.shape[3:])}; leave it out"
            )
        changed = self._changed_pictures(inputs.reshape(-1, *inputs.shape[3:]).contiguous(), draws)
        return changed.reshape(*inputs.shape[:3], *changed.shape[1:])

    @abstractmethod
    def _changed_pictures(self, pictures: Tensor, draws: Draws) -> Tensor:
        """The pictures [M, C, H, W], contiguous, changed; possibly in place."""


class RandomCrop(_OnPictures):
    """A part of each picture, anywhere in it with the same chance: [C, H, W] becomes [C, size, size].

    Args:
        size: height and width in pixels, or the side of a square.
        padding: how many pixels of 0 are put on all four sides before.

    Raises:
        UsageError: the size is below 1, the padding below 0, or one is not whole.
        TaskError: the padded pictures are smaller than that; no pictures.
    """

    def __init__(self, size: int | tuple[int, int], padding: int = 0) -> None:
        height, width = size if isinstance(size, tuple | list) else (size, size)
        self.size = at_least_one("height of the crop", height), at_least_one("width of the crop", width)
        self.padding = whole("padding", padding)
        if self.padding < 0:
            raise UsageError(f"padding is {padding}; give at least 0")

    def _changed_pictures(self, pictures: Tensor, draws: Draws) -> Tensor:
        M, C, H, W = pictures.shape
        h, w = self.size
        margin = self.padding
        tall, wide = H + 2 * margin, W + 2 * margin
        if tall < h or wide < w:
            raise TaskError(
                f"RandomCrop was asked for {h} x {w} pixels, but pictures of {H} x {W} with a padding of {margin} have "
                f"{tall} x {wide}; lower the size or raise the padding"
            )
        words = draws.of_examples(2).reshape(M, 2)
        tops, lefts = bounded(words[:, 0], tall - h + 1), bounded(words[:, 1], wide - w + 1)
        out = _new((M, C, h, w), pictures)
        padded = None
        for piece in _pieces(pictures):
            part = pictures[piece]
            if margin:
                # The padding of the first piece serves all others.
                padded = part.new_zeros((len(part), C, tall, wide)) if padded is None else padded[: len(part)]
                padded[:, :, margin:-margin, margin:-margin] = part
                part = padded
            out[piece] = _windows(part, self.size, tops[piece], lefts[piece])
        return out


class RandomFlip(_OnPictures):
    """Each picture, or with a chance of 1/2 its mirror image, left and right exchanged.

    Raises:
        TaskError: no pictures.
    """

    def _changed_pictures(self, pictures: Tensor, draws: Draws) -> Tensor:
        chosen = bounded(draws.of_examples(1).reshape(-1), 2) == 1
        return _change_some(pictures, np.flatnonzero(chosen), partial(torch.flip, dims=(-1,)))


class RandomClassRotation(_OnPictures):
    """Pictures turned counter-clockwise, all of a class in a task by the same angle, support and query alike.

    (learn2learn means to do so, but turns all classes of a task by the angle that it drew last.)

    Args:
        dataset: what the tasks are drawn from, as learn2learn has it; only lists of `DataDescription` need it.
        degrees: the angles to choose from with the same chance, multiples of 90.

    Raises:
        UsageError: there is no angle, or one that is no multiple of 90.
        TaskError: pictures that are not square are to be turned by 90 or 270 degrees; no pictures.

    Source: Finn et al. (2017), Model-Agnostic Meta-Learning, §5.2, after Santoro et al. (2016).
    """

    def __init__(self, dataset: object = None, degrees: Sequence[float] = ROTATIONS) -> None:
        # Its first argument may be the angles, since a list of numbers is no data set.
        angles = dataset if isinstance(dataset, list | tuple) else degrees
        angles = list(angles) if isinstance(angles, Iterable) else [angles]
        if not angles or not all(isinstance(angle, Real) and float(angle) % 90 == 0 for angle in angles):
            raise UsageError(f"degrees is {angles!r}; give a list of multiples of 90, such as [0, 90, 180, 270]")
        self.turns = np.array([int(angle) // 90 % 4 for angle in angles])
        self.dataset = None if angles is dataset else dataset

    def __call__(self, batch: Any) -> Any:
        """Note it for when the inputs are loaded; of a list of `DataDescription` a list, each with one function more.

        The angles of a list come from Python's `random`, as in `l2l_core.data.transforms`.

        Raises:
            TaskError: the inputs are not going to be loaded.
            UsageError: it is given neither, or a list while it was made without a `MetaDataset`.
        """
        if not isinstance(batch, list):
            return super().__call__(batch)
        index = getattr(self.dataset, "class_index", None)
        if not isinstance(index, ClassIndex):
            raise UsageError(
                "RandomClassRotation was given a list, but no data set that knows its classes; give it both"
            )
        rows = index.rows_of(np.array([each.index for each in batch], np.int64)).tolist()
        turn_of = {row: random.choice(self.turns.tolist()) for row in dict.fromkeys(rows)}
        return [
            replace(each, transforms=[*each.transforms, _Turned(turn_of[row])])
            for each, row in zip(batch, rows, strict=True)
        ]

    def _changed_pictures(self, pictures: Tensor, draws: Draws) -> Tensor:
        M, _, H, W = pictures.shape
        if H != W and (self.turns % 2).any():
            raise TaskError(
                f"RandomClassRotation cannot turn pictures of {H} x {W} pixels by 90 or 270 degrees, as they are not "
                "square; crop them before, or give degrees=[0, 180]"
            )
        turns_BN = self.turns[bounded(draws.of_classes(1)[:, :, 0], len(self.turns))]
        turns_M = np.repeat(turns_BN, M // turns_BN.size)
        for turn in (1, 2, 3):
            _change_some(pictures, np.flatnonzero(turns_M == turn), partial(torch.rot90, k=turn, dims=(-2, -1)))
        return pictures


@dataclass(frozen=True, slots=True)
class _Turned:
    """Function of a description: sample to sample with its picture turned."""

    turn: int

    def __call__(self, sample: Any) -> Any:
        if not isinstance(sample, tuple | list) or not isinstance(sample[0], Tensor):
            raise TaskError("RandomClassRotation turns pictures that are tensors; put it behind LoadData")
        return torch.rot90(sample[0], self.turn, (-2, -1)), *sample[1:]


class ColorJitter(_OnPictures):
    """Pictures with brightness, contrast and saturation changed by random factors, each picture by its own.

    With x the values in [0, 1] and f the factor, torchvision's formulas, after each of which values are clipped to
    [0, 1] and which come in a random order, as there:

    - brightness: f·x;
    - contrast: f·x + (1 − f)·(the mean of the picture's grey values);
    - saturation: f·x + (1 − f)·(the pixel's grey value); of no effect on grey pictures.

    Args:
        brightness, contrast, saturation: the factor is uniform in [max(0, 1 − value), 1 + value]; none for 0.

    Pictures of uint8 become float32 in [0, 1]; other types stay.

    Raises:
        UsageError: a value is below 0 or not finite.
        TaskError: values are not in [0, 1], there are not 1 or 3 channels; no pictures.
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0) -> None:
        amounts = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        for name, amount in amounts.items():
            if not isinstance(amount, Real) or not 0 <= amount < math.inf:
                raise UsageError(f"{name} is {amount!r}; give a finite number of at least 0")
        self.amounts = tuple(amounts.values())

    def _changed_pictures(self, pictures: Tensor, draws: Draws) -> Tensor:
        name, channels = type(self).__name__, pictures.shape[1]
        if channels not in (1, 3):
            raise TaskError(f"{name} changes pictures of 1 or 3 channels, but these have {channels}; leave it out")
        out = _floats_for(pictures, name)
        if out is pictures:
            low, high = (float(bound) for bound in pictures.aminmax())
            # Not a number is in no range, either.
            if not 0 <= low <= high <= 1:
                raise TaskError(
                    f"{name} changes values in [0, 1], but these are from {low:g} to {high:g}; load uint8 or divide "
                    "by 255, and put it before Normalise"
                )
        order, factors = self._steps(draws.of_examples(6).reshape(-1, 6))
        for piece, part in _float_parts(pictures, out):
            if out is not pictures:
                part.div_(255)
            for step in order[piece].T:
                factor = np.take_along_axis(factors[piece], step[:, None], axis=1)[:, 0]
                _blend(part, factor, contrast=step == 1, saturation=step == 2)
        return out

    def _steps(self, words: WordArray) -> tuple[IntArray, FloatArray]:
        """Which of the three changes comes first, second and third, and the factor of each, both [M, 3].

        Args:
            words: uint64 [M, 6].
        """
        amounts = np.array(self.amounts)
        low, high = np.maximum(0, 1 - amounts), 1 + amounts
        return distinct(words[:, :3], 3), low + (high - low) * uniform(words[:, 3:])


class Normalise(_OnPictures):
    """Pictures as floats with a channel's mean subtracted, divided by its standard deviation.

    Args:
        mean, std: of values in [0, 1]; a number for each channel, or one for all.

    Pictures of uint8 are divided by 255 in the same go, and become float32; other types stay.

    Raises:
        UsageError: a number is not finite, a standard deviation not above 0, or there are more of one than the other.
        TaskError: the pictures have another number of channels; no pictures.
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean, self.std = (np.atleast_1d(np.asarray(each, np.float64)) for each in (mean, std))
        if self.mean.ndim != 1 or self.mean.shape != self.std.shape or not len(self.mean):
            raise UsageError(f"mean is {mean!r} and std {std!r}; give as many numbers of each, one a channel")
        if not np.isfinite(self.mean).all() or not ((self.std > 0) & (self.std < math.inf)).all():
            raise UsageError(f"mean is {mean!r} and std {std!r}; give finite numbers, and a std above 0")

    @classmethod
    def of(cls, name: str) -> "Normalise":
        """The one with the mean and standard deviation that are published for a data set.

        Args:
            name: of the data set, as in ``l2l list``.

        Raises:
            UnknownNameError: no such data set.
            UsageError: none are known for it.
        """
        catalog = open_catalog()
        statistics = catalog.statistics(catalog.dataset(name).name)
        if statistics is None:
            raise UsageError(f"no mean and std are known for {name}; compute them, and give Normalise(mean, std)")
        return cls(statistics.mean, statistics.std)

    def _changed_pictures(self, pictures: Tensor, draws: Draws) -> Tensor:
        out = _floats_for(pictures, type(self).__name__)
        channels = pictures.shape[1]
        if len(self.mean) not in (1, channels):
            raise TaskError(
                f"Normalise has a mean for each of {len(self.mean)} channels, but the pictures have {channels}; give "
                "one mean and std a channel, or one for all"
            )
        # One multiplication and one addition, whatever the pictures are stored as.
        scale = _of_channels(1 / (self.std if out is pictures else 255 * self.std), out)
        shift = _of_channels(-self.mean / self.std, out)
        for _, part in _float_parts(pictures, out):
            part.mul_(scale).add_(shift)
        return out


class TorchvisionTransform(_OnTensors):
    """What a transform of torchvision, or any callable from tensor to tensor, makes of each example.

    Its random choices are the task's, too: before each call the global generators of torch, NumPy and `random` are
    seeded with words of that example, and after all calls they are as they were. They belong to the whole process:
    where a thread draws from them meanwhile, such as a training step with dropout beside a `Prefetcher`, load the tasks
    in worker processes instead.

    Args:
        transform: of torchvision, v1 or v2, or a function; it must remember nothing from one call to the next.
        each: True calls it with each example, […]. False calls it once for a task, [N·K, …], or of equal episodes for
            each of their parts, such as support set and query set, with the same seed: a transform that draws once a
            call then does the same to all.

    Raises:
        UsageError: it cannot be called.
        TaskError: it gives no tensors, or those of different shape or type, or another number of examples.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor], each: bool = True) -> None:
        if not callable(transform):
            raise UsageError(f"TorchvisionTransform takes a function of a tensor, found {transform!r}; give one")
        self.transform, self.each = transform, each

    def _changed(self, inputs: Tensor, draws: Draws) -> Tensor:
        B, N, K = inputs.shape[:3]
        parts = inputs.reshape(-1, *inputs.shape[3:]) if self.each else inputs.reshape(B, N * K, *inputs.shape[3:])
        words = draws.of_examples(1) if self.each else draws.of_classes(1)[:, 0]
        out = None
        with seeding(inputs.device) as seed:
            for place, (part, word) in enumerate(zip(parts, words.reshape(-1).tolist(), strict=True)):
                seed(word)
                changed = self.transform(part)
                self._check(changed, N * K, out)
                if out is None:
                    out = _new((len(parts), *changed.shape), changed)
                out[place] = changed
        assert out is not None
        return out.reshape(B, N, K, *out.shape[1 if self.each else 2 :])

    def _check(self, changed: Any, examples: int, before: Tensor | None) -> None:
        """Refuse what cannot be stacked to a batch of tasks; `before` holds the first that was given, [·, …]."""
        name = getattr(self.transform, "__name__", type(self.transform).__name__)
        if not isinstance(changed, Tensor):
            raise TaskError(f"{name} gave {type(changed).__name__}, but a task is made of tensors; let it end with one")
        if not self.each and changed.shape[:1] != (examples,):
            raise TaskError(
                f"{name} made {list(changed.shape)} of {examples} examples; keep their number, or give each=True"
            )
        if before is not None and (changed.shape, changed.dtype) != (before.shape[1:], before.dtype):
            raise TaskError(
                f"{name} gave {before.dtype} {list(before.shape[1:])}, then {changed.dtype} {list(changed.shape)}; let "
                "it give one shape and type"
            )


def crop_flip_jitter(size: int) -> list[Augmentation]:
    """The augmentations that few-shot learners are mostly trained with: crop, flip, jitter.

    The padding is 4 pixels for each whole 32 of the size, at least 4: 4 for CIFAR's 32, 8 for mini-ImageNet's 84.

    Args:
        size: side of the pictures in pixels.

    Raises:
        UsageError: the size is below 1.

    Source: Lee et al. (2019), Meta-Learning with Differentiable Convex Optimization, §4.1, and its released code.
    """
    padding = max(4, at_least_one("size", size) // 32 * 4)
    return [RandomCrop(size, padding), RandomFlip(), ColorJitter(0.4, 0.4, 0.4)]


def standard_training(size: int, mean: float | Sequence[float], std: float | Sequence[float]) -> list[Augmentation]:
    """`crop_flip_jitter`, then normalise, as validation and test do, too.

    Args:
        size: side of the pictures in pixels.
        mean, std: as of `Normalise`.

    Raises:
        UsageError: the size is below 1, or as of `Normalise`.
    """
    return [*crop_flip_jitter(size), *standard_test(mean, std)]


def standard_test(mean: float | Sequence[float], std: float | Sequence[float]) -> list[Augmentation]:
    """What remains of `standard_training` in validation and test: normalise.

    Args:
        mean, std: as of `Normalise`.

    Raises:
        UsageError: as of `Normalise`.
    """
    return [Normalise(mean, std)]


def _pieces(pictures: Tensor, count: int | None = None) -> Iterator[slice]:
    """Runs of pictures [M, C, H, W] to be changed at a time, or of `count` of them.

    On a device other than the processor, which has no such cache, all are one run.
    """
    M = len(pictures) if count is None else count
    step = max(1, _PIECE // max(1, pictures.shape[1:].numel())) if pictures.device.type == "cpu" else max(1, M)
    return (slice(start, start + step) for start in range(0, M, step))


def _new(shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """An unfilled tensor, contiguous, on the device of another and of its type, or of `dtype`."""
    dtype = like.dtype if dtype is None else dtype
    if like.device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=like.device)
    # NumPy asks for large memory pages where torch does not, so that filling a large batch takes a third of the time.
    size_bytes = math.prod(shape) * dtype.itemsize
    return torch.from_numpy(np.empty(size_bytes, np.uint8)).view(dtype).view(shape)


def _floats_for(pictures: Tensor, name: str) -> Tensor:
    """Where the pictures as floats go: they themselves, or a new float32 tensor for uint8 ones."""
    if pictures.is_floating_point():
        return pictures
    if pictures.dtype == torch.uint8:
        return _new(pictures.shape, pictures, torch.float32)
    raise TaskError(f"{name} changes pictures of uint8 or floats, but these are {pictures.dtype}; convert them before")


def _float_parts(pictures: Tensor, floats: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Pieces of `floats`, filled with the pictures' values where it is another tensor."""
    for piece in _pieces(pictures):
        part = floats[piece]
        if floats is not pictures:
            part.copy_(pictures[piece])
        yield piece, part


def _change_some(pictures: Tensor, chosen: IntArray, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The pictures [M, C, H, W], some of them changed in place by a function that keeps their shape.

    Args:
        pictures: uint8, or any other type.
        chosen: int64, which of the M.
        change: of some pictures at once.
    """
    for piece in _pieces(pictures, len(chosen)):
        places = torch.from_numpy(chosen[piece]).to(pictures.device)
        pictures.index_copy_(0, places, change(pictures.index_select(0, places)))
    return pictures


def _windows(pictures: Tensor, size: tuple[int, int], tops: IntArray, lefts: IntArray) -> Tensor:
    """A window of each picture [M, C, H, W], [M, C, h, w].

    Args:
        pictures: of any type.
        size: h and w.
        tops, lefts: int64 [M], the window's first row and column.
    """
    h, w = size
    views = pictures.unfold(2, h, 1).unfold(3, w, 1).permute(0, 2, 3, 1, 4, 5)  # [M, tops, lefts, C, h, w]
    places = np.arange(len(pictures)), tops, lefts
    if pictures.device.type == "cpu" and pictures.dtype != torch.bfloat16:
        # NumPy copies a window by the row where torch looks up every pixel: three times as fast.
        return torch.from_numpy(views.numpy()[places])
    return views[tuple(torch.from_numpy(place).to(pictures.device) for place in places)]


def _of_channels(values: FloatArray, like: Tensor) -> Tensor:
    """Numbers of the channels as a tensor that spreads over pictures, [C, 1, 1], of the type and device of another."""
    return torch.from_numpy(values).to(like.device, like.dtype).reshape(-1, 1, 1)


def _blend(pictures: Tensor, factor: FloatArray, contrast: Any, saturation: Any) -> None:
    """One change of each picture, in place, as `ColorJitter` has it: clip(f·x + (1 − f)·base).

    The base is the mean grey value for contrast, the pixel's for saturation, and 0 for brightness. All pictures go
    through the same steps, so that each may have another change. Each step rounds by itself, so that a picture's values
    do not depend on its place in the batch.

    Args:
        pictures: floats [M, C, H, W] in [0, 1].
        factor: float64 [M].
        contrast, saturation: bool [M], the pictures of which it is the factor.
    """

    def spread(values: FloatArray) -> Tensor:
        return torch.from_numpy(values).to(pictures.device, pictures.dtype).reshape(-1, 1, 1, 1)

    grey = _grey(pictures)
    mean = grey.mean(-1, keepdim=True).mean(-2, keepdim=True)
    base = (grey * spread((1 - factor) * saturation)).add_(mean * spread((1 - factor) * contrast))
    pictures.mul_(spread(factor)).add_(base).clamp_(0, 1)


def _grey(pictures: Tensor) -> Tensor:
    """Grey values of pictures [M, C, H, W] of 1 or 3 channels, [M, 1, H, W]."""
    if pictures.shape[1] == 1:
        return pictures
    red, green, blue = (pictures[:, channel : channel + 1] * weight for channel, weight in enumerate(_GREY))
    return red.add_(green).add_(blue)
