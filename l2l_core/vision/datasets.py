"""learn2learn's data sets of pictures, by the names and arguments that it gives them, over prepared data sets.

Of all of them:

1. `root` is the folder of the cache, as everywhere in this package: no pickles, and nothing is unpacked beside it. None
   is ``L2L_HOME``, or else the user's cache folder.
2. Pictures have the size in which they were prepared: 84×84, CIFAR's 32×32, drawings 28×28; a Resize to that size in
   a program's transform changes nothing.
3. Labels count from 0 in the order of the mode's class names, and examples lie sorted by label. `MetaDataset` knows
   them without reading an example.

Mended from learn2learn: what is downloaded is checked, never unpickled, and goes on where it broke off; that a folder
exists does not count as data.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from l2l_core.data.datasets import load_dataset
from l2l_core.data.index import ClassIndex, plain_labels
from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.records import SUBSETS
from l2l_core.utils import warn_once

Mode: TypeAlias = Literal["train", "validation", "test", "all"]
Root: TypeAlias = str | os.PathLike[str] | None
Transform: TypeAlias = Callable[[Any], Any] | None


class Pictures(Dataset[tuple[Any, Any]]):
    """Base of the data sets here: ``dataset[i]`` is (picture, label), the picture one of PIL's, before its transform.

    Args:
        root: folder of the cache.
        mode: "train", "validation" or "test" for the classes of that subset, "all" for those of all three.
        transform: what is done with a picture.
        target_transform: what is done with a label; a function, as it is asked once for each class.
        download: whether the data set may be fetched where it is not in the cache.

    Attributes:
        dataset: the `PreparedDataset` beneath, whose `classes` are the names of the labels.
        class_index: which examples belong to which label.

    Raises:
        UnknownNameError: no such mode.
        StoreError: the data set is not in the cache (says how to get it), or damaged.
        FetchError, ConsentError, ArchiveError, ContentError, CacheError: getting it failed.
    """

    NAME: ClassVar[str]
    """Of the prepared data set."""
    SPLIT: ClassVar[str | None] = None
    """The partition that learn2learn has; None for the data set's default."""

    def __init__(
        self,
        root: Root,
        mode: Mode = "train",
        transform: Transform = None,
        target_transform: Transform = None,
        download: bool = False,
    ) -> None:
        if mode not in get_args(Mode):
            raise UnknownNameError("mode", mode, get_args(Mode))
        subset = next((subset for subset in SUBSETS if subset == mode), None)
        self.dataset = load_dataset(self.NAME, subset, self.SPLIT, root=root, download=download, dtype=torch.uint8)
        self.root, self.mode = root, mode
        self.transform, self.target_transform = transform, target_transform
        self.class_index = self.dataset.class_index
        if target_transform is not None:
            self.class_index = _relabelled(self.class_index, target_transform)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        pixels_CHW, label = self.dataset[index]
        picture = self._as_given(pixels_CHW)
        return (
            picture if self.transform is None else self.transform(picture),
            label if self.target_transform is None else self.target_transform(label),
        )

    def _as_given(self, pixels_CHW: Tensor) -> Any:
        """A picture as the transform takes it, of one as it is stored, uint8."""
        return Image.fromarray(pixels_CHW.permute(1, 2, 0).squeeze(2).numpy())  # of one channel [H, W], mode "L"


class FullOmniglot(Pictures):
    """Omniglot, all 1,623 characters: (picture, label), black strokes on white, mode "L", 28×28.

    Labels 0 to 963 are the background set's, 964 to 1622 the evaluation set's.

    Args:
        root, transform, target_transform, download: as of `Pictures`.

    Source: Lake et al. 2015.
    """

    NAME = "omniglot"

    def __init__(
        self,
        root: Root,
        transform: Transform = None,
        target_transform: Transform = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, "all", transform, target_transform, download)

    def _as_given(self, pixels_CHW: Tensor) -> Any:
        return super()._as_given(255 - pixels_CHW)  # prepared data has white strokes on black


class MiniImagenet(Pictures):
    """mini-ImageNet: (float32 tensor [3, 84, 84] with values from 0 to 255, label); so scale before you normalise.

    Args:
        root, mode, transform, download: as of `Pictures`.
        target_transform: not used, as in learn2learn.

    Source: Vinyals et al. 2016; the split of Ravi and Larochelle 2017.
    """

    NAME = "mini-imagenet"

    def __init__(
        self,
        root: Root,
        mode: Mode = "train",
        transform: Transform = None,
        target_transform: Transform = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, mode, transform, None, download)

    def _as_given(self, pixels_CHW: Tensor) -> Any:
        return pixels_CHW.float()


class TieredImagenet(Pictures):
    """tiered-ImageNet: (RGB picture 84×84, label).

    Source: Ren et al. 2018.
    """

    NAME = "tiered-imagenet"


class CIFARFS(Pictures):
    """CIFAR-FS: (RGB picture 32×32, label).

    Source: Bertinetto et al. 2019.
    """

    NAME = "cifar-fs"


class FC100(Pictures):
    """FC100: (RGB picture 32×32, label).

    Source: Oreshkin et al. 2018.
    """

    NAME = "fc100"


class _AllByDefault(Pictures):
    """Those whose mode is "all" where none is given."""

    def __init__(
        self,
        root: Root,
        mode: Mode = "all",
        transform: Transform = None,
        target_transform: Transform = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, mode, transform, target_transform, download)


class VGGFlower102(_AllByDefault):
    """VGG Flowers: (RGB picture 84×84, label).

    Source: Nilsback and Zisserman 2008; the split of Triantafillou et al. 2020.
    """

    NAME = "flowers"


class FGVCAircraft(_AllByDefault):
    """FGVC-Aircraft: (RGB picture 84×84, label), cropped to the aeroplane.

    Args:
        root, mode, transform, target_transform, download: as of `Pictures`.
        bounding_box_crop: changes nothing: prepared pictures are cropped, as in Meta-Dataset.

    Source: Maji et al. 2013; the split of Triantafillou et al. 2020.
    """

    NAME = "aircraft"

    def __init__(
        self,
        root: Root,
        mode: Mode = "all",
        transform: Transform = None,
        target_transform: Transform = None,
        download: bool = False,
        bounding_box_crop: bool = False,
    ) -> None:
        super().__init__(root, mode, transform, target_transform, download)


class CUBirds200(_AllByDefault):
    """CUB-200-2011: (RGB picture 84×84, label), whole, not cropped to the bird.

    Args:
        root, mode, transform, target_transform, download: as of `Pictures`.
        include_imagenet_duplicates: whether the 43 pictures that ILSVRC-2012 trains on, too, are wanted. They are here
            either way, as prepared pictures have no names to leave them out by; for False a warning says so.
        bounding_box_crop: has to be False.

    Raises:
        UsageError: pictures cropped to the bird were asked for.

    Source: Wah et al. 2011; the split of Triantafillou et al. 2020.
    """

    NAME = "cub"
    SPLIT = "meta-dataset"

    def __init__(
        self,
        root: Root,
        mode: Mode = "all",
        transform: Transform = None,
        target_transform: Transform = None,
        download: bool = False,
        include_imagenet_duplicates: bool = False,
        bounding_box_crop: bool = False,
    ) -> None:
        if bounding_box_crop:
            raise UsageError(
                "CUBirds200 was asked for pictures cropped to the bird, but has whole ones; leave that out"
            )
        super().__init__(root, mode, transform, target_transform, download)
        if not include_imagenet_duplicates and mode != "test":
            warn_once(
                "CUBirds200 holds 43 pictures that are in ILSVRC-2012's training set too, none of them in mode 'test'; "
                "pass include_imagenet_duplicates=True if they may be"
            )


class DescribableTextures(_AllByDefault):
    """Describable Textures: (RGB picture 84×84, label).

    Source: Cimpoi et al. 2014; the split of Triantafillou et al. 2020.
    """

    NAME = "dtd"


class Quickdraw(_AllByDefault):
    """Quick, Draw!: (NumPy array uint8 [28, 28], white strokes on black, label).

    Source: Ha and Eck 2017; the split of Triantafillou et al. 2020.
    """

    NAME = "quickdraw"

    def _as_given(self, pixels_CHW: Tensor) -> Any:
        return pixels_CHW[0].numpy()


class FGVCFungi(_AllByDefault):
    """FGVCx Fungi: (RGB picture 84×84, label).

    Source: Schroeder and Cui 2018; the split of Triantafillou et al. 2020.
    """

    NAME = "fungi"


def _relabelled(index: ClassIndex, target_transform: Callable[[Any], Any]) -> ClassIndex:
    """The index of the same examples by other labels; classes that get the same one are one."""
    labels = plain_labels(map(target_transform, index.labels))
    if len(set(labels)) == len(labels):
        return replace(index, labels=labels)
    rows_M = np.repeat(np.arange(len(labels)), index.counts_C)
    return ClassIndex.of_labels([labels[row] for row in rows_M.tolist()])
