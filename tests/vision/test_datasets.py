"""learn2learn's data sets of pictures: names, arguments, what an example is, which classes a mode has."""

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from l2l_core import utils
from l2l_core.catalog import Catalog, open_catalog
from l2l_core.data import arrays
from l2l_core.data.datasets import MetaDataset
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.transforms import KShots, LoadData, NWays, RemapLabels
from l2l_core.errors import StoreError, UnknownNameError, UsageError
from l2l_core.prepare.held import Held
from l2l_core.records import DatasetRecord
from l2l_core.vision import datasets
from l2l_core.vision.datasets import (
    CIFARFS,
    FC100,
    CUBirds200,
    DescribableTextures,
    FGVCAircraft,
    FGVCFungi,
    FullOmniglot,
    MiniImagenet,
    Pictures,
    Quickdraw,
    TieredImagenet,
    VGGFlower102,
)

# Class, side, train, validation and test classes; those of the split that learn2learn has.
SIZES: list[tuple[type[Pictures], int, int, int, int]] = [
    (MiniImagenet, 84, 64, 16, 20),
    (TieredImagenet, 84, 351, 97, 160),
    (CIFARFS, 32, 64, 16, 20),
    (FC100, 32, 60, 20, 20),
    (VGGFlower102, 84, 71, 15, 16),
    (FGVCAircraft, 84, 70, 15, 15),
    (CUBirds200, 84, 140, 30, 30),
    (DescribableTextures, 84, 33, 7, 7),
    (Quickdraw, 28, 241, 52, 52),
    (FGVCFungi, 84, 994, 200, 200),
]
PER_CLASS = 2


class Glyphs(Pictures):
    """The embedded data set, by learn2learn's arguments."""

    NAME = "glyphs"


def small_store(record: DatasetRecord, catalog: Catalog, *_: object, **__: object) -> Held:
    """A prepared data set with all its classes and two tiny pictures of each: the value of pixel c is 0 to 255."""
    classes = tuple(sorted(catalog.split(record.name, None).classes(None)))
    channels = 1 if record.prepared["mode"] == "L" else 3
    pixels = np.arange(len(classes) * PER_CLASS * channels * 4) % 256
    pictures = pixels.astype(np.uint8).reshape(-1, channels, 2, 2)
    return Held(record.name, classes, "images", pictures, np.arange(0, len(pictures) + 1, PER_CLASS))


@pytest.fixture
def small_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "load_store", small_store)


@pytest.mark.usefixtures("small_stores")
@pytest.mark.parametrize(("kind", "side", "train", "validation", "test"), SIZES)
def test_a_mode_has_the_classes_of_its_subset(
    kind: type[Pictures], side: int, train: int, validation: int, test: int
) -> None:
    of_mode = {
        mode: kind("somewhere", mode, **({"include_imagenet_duplicates": True} if kind is CUBirds200 else {}))
        for mode in ("train", "validation", "test", "all")
    }
    sizes = [train, validation, test, train + validation + test]
    for (mode, dataset), classes in zip(of_mode.items(), sizes, strict=True):
        assert len(dataset.dataset.classes) == classes
        assert len(dataset) == PER_CLASS * classes
        assert [dataset[i][1] for i in (0, 1, 2, -1)] == [0, 0, 1, classes - 1]
        assert dataset.mode == mode
    names = [set(of_mode[mode].dataset.classes) for mode in ("train", "validation", "test")]
    assert set.union(*names) == set(of_mode["all"].dataset.classes)
    default = inspect.signature(kind).parameters["mode"].default
    assert default == ("train" if SIZES.index((kind, side, train, validation, test)) < 4 else "all")
    assert open_catalog().dataset(kind.NAME).prepared["image_size"] == [side, side]
    with pytest.raises(UnknownNameError, match="unknown mode 'valid'; did you mean 'validation'"):
        kind("somewhere", "valid")


@pytest.mark.usefixtures("small_stores")
def test_an_example_is_what_it_was() -> None:
    for kind in (TieredImagenet, CIFARFS, FC100, VGGFlower102, FGVCAircraft, DescribableTextures, FGVCFungi):
        picture, label = kind("somewhere", "train")[3]
        assert isinstance(picture, Image.Image)
        assert (picture.mode, picture.size, label) == ("RGB", (2, 2), 1)
    dataset = CIFARFS("somewhere", "all")
    stored = dataset.dataset[5][0]
    assert np.array_equal(np.asarray(dataset[5][0]), stored.permute(1, 2, 0).numpy())

    tensor, label = MiniImagenet("somewhere", target_transform=lambda _: 1 / 0)[20]
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, 2, 2)
    assert tensor.max() == 115
    assert torch.equal(tensor, MiniImagenet("somewhere").dataset[20][0].float())
    assert label == 10

    drawing, _ = Quickdraw("somewhere")[2]
    assert isinstance(drawing, np.ndarray)
    assert drawing.dtype == np.uint8
    assert drawing.tolist() == [[8, 9], [10, 11]]

    stroke, label = FullOmniglot("somewhere")[2]
    assert isinstance(stroke, Image.Image)
    assert (stroke.mode, label) == ("L", 1)
    assert np.asarray(stroke).tolist() == [[247, 246], [245, 244]]
    labels = FullOmniglot("somewhere").class_index.labels
    of_set = [name.split("/")[0] for name in FullOmniglot("somewhere").dataset.classes]
    assert list(labels) == list(range(1623))
    assert (of_set[963], of_set[964]) == ("images_background", "images_evaluation")


@pytest.mark.usefixtures("small_stores")
def test_birds_say_what_cannot_be_had(monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    monkeypatch.setattr(utils, "_warned", set())
    CUBirds200("somewhere", include_imagenet_duplicates=True)
    CUBirds200("somewhere", "test")
    assert not recwarn
    with pytest.warns(UserWarning, match="holds 43 pictures that are in ILSVRC-2012's training set too"):
        CUBirds200("somewhere")
    with pytest.raises(UsageError, match="asked for pictures cropped to the bird, but has whole ones"):
        CUBirds200("somewhere", bounding_box_crop=True)
    assert len(FGVCAircraft("somewhere", bounding_box_crop=True)) == len(FGVCAircraft("somewhere"))


def test_transforms_of_picture_and_target(glyphs_home: Path) -> None:
    plain = Glyphs(glyphs_home, "validation")
    dataset = Glyphs(glyphs_home, "validation", lambda picture: picture.size, lambda label: f"class {label + 1}")
    assert dataset[0] == ((28, 28), "class 1")
    index = MetaDataset(dataset).class_index
    assert index.labels[:2] == ["class 1", "class 2"]
    assert np.array_equal(index.counts_C, plain.class_index.counts_C)
    assert index.order is None

    merged = MetaDataset(Glyphs(glyphs_home, "validation", target_transform=lambda label: torch.tensor(label % 2)))
    assert merged.labels == [0, 1]
    assert sum(map(len, merged.labels_to_indices.values())) == len(plain)
    for label, ids in merged.labels_to_indices.items():
        assert {int(merged[i][1]) for i in (ids[0], ids[len(ids) // 2], ids[-1])} == {label}


def test_a_meta_dataset_of_it_reads_no_example(glyphs_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def to_tensor(picture: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(picture))[None] / 255

    dataset = Glyphs(glyphs_home, transform=to_tensor)
    plain = Glyphs(glyphs_home).dataset
    with monkeypatch.context() as patch:
        patch.setattr(Pictures, "__getitem__", lambda *_: pytest.fail("an example was read"))
        meta = MetaDataset(dataset)
        assert meta.labels == list(range(len(plain.classes)))
    transforms = [NWays(meta, 3), KShots(meta, 2), LoadData(meta), RemapLabels(meta)]
    x, y = TaskDataset(meta, transforms, seed=0)[4]
    same = TaskDataset(plain, [NWays(plain, 3), KShots(plain, 2), LoadData(plain), RemapLabels(plain)], seed=0)[4]
    assert x.shape == (6, 1, 28, 28)
    assert torch.equal((255 * x).round().byte(), same[0])
    assert torch.equal(y, same[1])


def test_the_cache_and_whether_to_download_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=f"mini-imagenet is not in {tmp_path}; get it with"):
        MiniImagenet(tmp_path)
    asked: list[Any] = []

    def loads(name: str, subset: object, split: object, **others: Any) -> SimpleNamespace:
        asked.append((name, subset, split, others.pop("root"), others.pop("download")))
        return SimpleNamespace(class_index=None)

    monkeypatch.setattr(datasets, "load_dataset", loads)
    FullOmniglot("~/data", download=True)
    CUBirds200(root=None, mode="test")
    FC100("data", "validation", download=True)
    assert asked == [
        ("omniglot", None, None, "~/data", True),
        ("cub", "test", "meta-dataset", None, False),
        ("fc100", "validation", None, "data", True),
    ]


def test_real_omniglot(omniglot_home: Path) -> None:
    from torchvision.transforms import Compose, Resize, ToTensor

    dataset = FullOmniglot(omniglot_home, Compose([Resize(28), ToTensor(), lambda x: 1.0 - x]))
    assert len(dataset) == 32460
    assert dataset[964 * 20][1] == 964
    ink = torch.stack([dataset[i][0] for i in range(0, 32460, 500)])
    assert ink.shape == (65, 1, 28, 28)
    assert 0.05 < ink.mean() < 0.3
