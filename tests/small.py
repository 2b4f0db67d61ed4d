"""A small data set in Omniglot's layout, with its catalogue entry: what a user writes to add one of their own."""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from l2l_core.records import DatasetRecord, FormRecord

CLASSES = tuple(f"set/{alphabet}/character{number:02}" for alphabet in ("Abc", "Xyz") for number in range(1, 7))
EXAMPLES = 8
RAW_SIZE = (14, 14)


@dataclass(frozen=True)
class SmallData:
    """Where the parts of the small data set lie.

    Attributes:
        folder: the pictures, ``set/ALPHABET/characterNN/PPPP_DD.png``.
        archive: the same in a zip file.
        catalog: the catalogue root with the entry ``small`` and the benchmark ``small-3w2s``.
    """

    folder: Path
    archive: Path
    catalog: Path


def only_form(record: DatasetRecord) -> FormRecord:
    """The form of a data set that has one."""
    (form,) = record.forms.values()
    return form


def with_form(record: DatasetRecord, **fields: Any) -> DatasetRecord:
    """The data set with other fields in its only form."""
    form = only_form(record)
    return replace(record, forms={form.name: replace(form, **fields)})


def picture(class_number: int, example: int) -> np.ndarray:
    """A picture as uint8 [14, 14]: black bars on white paper, other bars for every class and example."""
    pixels = np.full(RAW_SIZE, 255, np.uint8)
    pixels[1 + class_number, 1 + example :] = 0
    pixels[0, class_number] = 0
    return pixels


def write_small_data(root: Path) -> SmallData:
    """Write pictures, archive and entry below `root`."""
    data = SmallData(root / "pictures", root / "small.zip", root / "mine")
    for class_number, name in enumerate(CLASSES):
        folder = data.folder / name
        folder.mkdir(parents=True)
        for example in range(EXAMPLES):
            Image.fromarray(picture(class_number, example)).convert("1").save(
                folder / f"{class_number:04}_{example:02}.png"
            )
    write_zip(data.folder, data.archive)
    write_entry(data.catalog)
    return data


def write_zip(folder: Path, archive: Path) -> None:
    """Pack a folder."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.rglob("*.png")):
            packed.write(path, path.relative_to(folder).as_posix())


def write_entry(root: Path) -> None:
    """Write the data set's one TOML and one CSV, and a benchmark."""
    for folder in ("catalog/datasets", "catalog/benchmarks", "metadata/splits/small"):
        (root / folder).mkdir(parents=True)
    (root / "catalog/datasets/small.toml").write_text(
        f"""
title = "Small"
description = "Bars."
licence = "mit"
default_split = "own"
rotations = true

[raw]
classes = {len(CLASSES)}
superclasses = 2
examples = {len(CLASSES) * EXAMPLES}
examples_per_class = {EXAMPLES}
image_size = {list(RAW_SIZE)}

[forms.pictures]
title = "a folder or zip file of SET/ALPHABET/CHARACTER/PICTURE.png"
reader = "image_folders"
options = {{ class_depth = 3 }}

[prepared]
mode = "L"
invert = true
image_size = [7, 7]
resample = "lanczos"

[splits.own]
title = "6/3/3"
source = "made up"
"""
    )
    (root / "catalog/benchmarks/small-3w2s.toml").write_text(
        """
title = "Small, 3-way 2-shot"
dataset = "small"
split = "own"
subset = "test"
ways = 3
shots = 2
queries = 3
episodes = 20
seed = 7
"""
    )
    subsets = ["train"] * 6 + ["validation"] * 3 + ["test"] * 3
    rows = [f"{name},{subset},{name.split('/')[1]}" for name, subset in zip(CLASSES, subsets, strict=True)]
    (root / "metadata/splits/small/own.csv").write_text("\n".join(["class,subset,superclass", *rows]) + "\n")
