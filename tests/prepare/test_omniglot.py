"""The real Omniglot, from the two archives to tensors."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from l2l_core.catalog import open_catalog
from l2l_core.data.datasets import load_dataset
from l2l_core.errors import ContentError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files
from l2l_core.prepare.stores import store_path, verify
from l2l_core.store import open_store
from tests.small import only_form


def test_every_picture_is_the_raw_one_as_pillow_prepares_it(omniglot_home: Path, test_data: Path) -> None:
    record = open_catalog().dataset("omniglot")
    store = open_store(store_path(record, only_form(record), Cache.at(omniglot_home)))
    assert store.examples.shape == (32460, 1, 28, 28)
    assert (np.diff(store.offsets) == 20).all()
    classes = store.manifest.classes
    assert len(classes) == 1623
    assert len({name.split("/")[1] for name in classes}) == 50
    compared = 0
    for part in ("background", "evaluation"):
        with zipfile.ZipFile(test_data / f"omniglot/images_{part}.zip") as archive:
            files = sorted(name for name in archive.namelist() if name.endswith(".png"))
            for name in files[:: 97 if part == "background" else 89]:
                with archive.open(name) as file, Image.open(file) as image:
                    assert image.size == (105, 105)
                    small = image.convert("L").resize((28, 28), Image.Resampling.LANCZOS)
                class_name, file_name = name.rsplit("/", 1)
                drawer = int(file_name[5:7])
                row = store.offsets[classes.index(class_name)] + drawer - 1
                assert np.array_equal(store.examples[row, 0], 255 - np.asarray(small))
                compared += 1
    assert compared > 300


def test_the_content_is_the_reference_copy_s_and_the_bytes_hold(omniglot_home: Path) -> None:
    catalog = open_catalog()
    assert verify(catalog.dataset("omniglot"), catalog, Cache.at(omniglot_home)).endswith(", reference content")


def test_ink_is_bright_on_black(omniglot_home: Path) -> None:
    images = load_dataset("omniglot", "test", root=omniglot_home).gather(np.arange(0, 8460, 10))
    assert 0 <= images.min() < 0.01
    assert 0.9 < images.max() <= 1
    assert 0.03 < images.mean() < 0.2
    assert images[:, :, [0, -1]].mean() < images.mean() / 4, "the border is paper"


def test_turning_the_prepared_picture_is_preparing_the_turned_one(omniglot_home: Path, test_data: Path) -> None:
    """Snell et al. turn at 105x105 and resize then; the filter is symmetric, so nearly nothing differs.

    Pillow resizes rows, clips to 0 to 255, then resizes columns, so that the filter's overshoot at ink edges depends on
    which comes first: at most 31 of 255 in any pixel of every 50th evaluation picture, and 0.33 on the mean.
    """
    dataset = load_dataset("omniglot", "test", root=omniglot_home, rotations=True, dtype=torch.uint8)
    with zipfile.ZipFile(test_data / "omniglot/images_evaluation.zip") as archive:
        for name in ("images_evaluation/Tengwar/character18", "images_evaluation/ULOG/character01"):
            first = min(member for member in archive.namelist() if member.startswith(f"{name}/"))
            with archive.open(first) as file:
                raw = Image.open(file).convert("L")
            for degrees in (90, 180, 270):
                small = raw.rotate(degrees).resize((28, 28), Image.Resampling.LANCZOS)
                label = dataset.classes.index(f"{name}/rot{degrees:03}")
                ours = dataset[int(dataset.class_index.starts_C[label])][0][0].numpy().astype(int)
                difference = np.abs(ours - (255 - np.asarray(small).astype(int)))
                assert difference.max() <= 31
                assert difference.mean() < 1.5


@pytest.mark.parametrize("split", ["vinyals", "lake", "meta-dataset"])
def test_splits_part_the_classes(omniglot_home: Path, split: str) -> None:
    counts = {"vinyals": (1028, 172, 423), "lake": (964, None, 659), "meta-dataset": (883, 81, 659)}[split]
    found: list[str] = []
    for subset, count in zip(("train", "validation", "test"), counts, strict=True):
        if count is not None:
            dataset = load_dataset("omniglot", subset, split, root=omniglot_home)
            assert len(dataset.classes) == count
            assert len(dataset) == 20 * count
            found += dataset.classes
    assert len(set(found)) == len(found) == 1623


def test_the_statistics_are_those_of_the_training_pictures(omniglot_home: Path) -> None:
    train = load_dataset("omniglot", "train", root=omniglot_home, dtype=torch.uint8)
    pixels = train.gather(np.arange(len(train))).numpy() / 255
    statistics = open_catalog().statistics("omniglot")
    assert statistics is not None
    assert statistics.mean == pytest.approx([pixels.mean()], abs=1e-9)
    assert statistics.std == pytest.approx([pixels.std()], abs=1e-9)


def test_one_archive_alone_is_not_omniglot(test_data: Path, tmp_path: Path) -> None:
    catalog = open_catalog()
    with pytest.raises(ContentError) as caught:
        archive = test_data / "omniglot/images_background.zip"
        import_files(catalog.dataset("omniglot"), catalog, Cache.at(tmp_path), [archive])
    assert str(caught.value) == (
        "omniglot: 659 of 1,623 classes are missing from images_background.zip (the first is "
        "images_evaluation/Angelic/character01); give a complete copy in the layout of the official files"
    )
