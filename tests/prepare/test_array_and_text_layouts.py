"""Layouts of arrays and texts: each is recognised by its own reader alone, and reads alike from every packing."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2l_core.fetch.archives import open_tree
from l2l_core.prepare.readers import Wanted, get_reader
from l2l_core.records import Subset
from tests.prepare.raw import PICTURES, MemoryTree, npy, npz, pixels, png, prepared, python2_pickle, stored, want

SUBSET_OF: dict[str, Subset] = {"a": "train", "b": "validation", "c": "test"}
TEXTS = {"text_column": "text", "label_column": "class"}


@dataclass(frozen=True)
class Layout:
    """A small data set in a layout: the reader of it, its options and its files."""

    reader: str
    options: Mapping[str, Any]
    files: Mapping[str, bytes]

    def wanted(self) -> Wanted:
        texts = self.reader in ("json_lines", "csv_text")
        return want(
            SUBSET_OF,
            self.options if texts else {**PICTURES, **self.options},
            class_names={name: name.upper() for name in SUBSET_OF},
            modality="texts" if texts else "images",
        )


def images(seed: int) -> np.ndarray:
    return pixels(seed, 2, 8, 8, 3)


def png_files() -> dict[str, bytes]:
    files = {}
    for seed, (name, subset) in enumerate(SUBSET_OF.items()):
        contents = [np.frombuffer(png(image), np.uint8) for image in images(seed)]
        files[f"{subset}_images_png.pkl"] = python2_pickle(contents)
        labels = {"label_specific": np.zeros(2, np.int32), "label_specific_str": [name.upper()]}
        files[f"{subset}_labels.pkl"] = python2_pickle(labels)
    return files


CIFAR = {
    part: python2_pickle({"data": pixels(seed, 3, 3072), "fine_labels": [0, 1, 2]})
    for seed, part in enumerate(("train", "test"))
}
LAYOUTS = {
    "array pickles": Layout(
        "array_files",
        {
            "images": "data",
            "class_rows": "rows",
            "files": {subset: [f"{subset}.pickle"] for subset in SUBSET_OF.values()},
        },
        {
            f"{subset}.pickle": python2_pickle({"data": images(seed), "rows": {name: [1, 0]}})
            for seed, (name, subset) in enumerate(SUBSET_OF.items())
        },
    ),
    "npz": Layout(
        "array_files",
        {
            "images": "data",
            "labels": "labels",
            "labels_of": "alphabetical",
            "files": {subset: [f"{subset}.npz"] for subset in SUBSET_OF.values()},
        },
        {
            f"{subset}.npz": npz(True, data=images(seed), labels=np.array([seed, seed]))
            for seed, subset in enumerate(SUBSET_OF.values())
        },
    ),
    "png pickles": Layout(
        "png_pickles", {"images": "{subset}_images_png.pkl", "labels": "{subset}_labels.pkl"}, png_files()
    ),
    "cifar, python": Layout("cifar", {}, {**CIFAR, "meta": python2_pickle({"fine_label_names": list(SUBSET_OF)})}),
    "cifar, binary": Layout(
        "cifar",
        {},
        {
            "train.bin": b"".join(bytes([0, label]) + bytes([label]) * 3072 for label in range(3)),
            "test.bin": b"",
            "fine_label_names.txt": b"a\nb\nc\n",
        },
    ),
    "bitmaps": Layout(
        "bitmaps", {"side": 8}, {f"{name}.npy": npy(images(ord(name))[..., 0].reshape(2, 64)) for name in SUBSET_OF}
    ),
    "json lines": Layout(
        "json_lines",
        {"file": "news.json", "text_fields": "text", "label_field": "class", "labels": "name"},
        {
            "news.json": b"".join(
                b'{"class": "%s", "text": "t%s"}\n' % (name.encode(), name.encode()) for name in SUBSET_OF
            )
        },
    ),
    "csv": Layout("csv_text", {**TEXTS, "files": "news.csv"}, {"news.csv": b"class,text\na,1\nb,2\nc,3\nc,4\n"}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_recognised_by_its_own_reader_alone(name: str) -> None:
    tree = MemoryTree({f"some/folder/{file}": content for file, content in LAYOUTS[name].files.items()})
    recognised = []
    for other, layout in LAYOUTS.items():
        reader, wanted = get_reader(layout.reader), layout.wanted()
        if reader.recognises(tree, reader.options_of(wanted.options, "")):
            recognised.append(other)
    expected = [
        other for other in LAYOUTS if other == name or (LAYOUTS[other].reader == LAYOUTS[name].reader == "cifar")
    ]
    assert recognised == expected


def as_folder(files: Mapping[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / "deeper").mkdir(parents=True, exist_ok=True)
        (folder / "deeper" / name).write_bytes(content)
    return folder


def as_zip(files: Mapping[str, bytes], folder: Path) -> Path:
    path = folder / "copy.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in reversed(files.items()):
            archive.writestr(f"a/b/{name}", content)
    return path


def as_tar(files: Mapping[str, bytes], folder: Path, mode: str = "w") -> Path:
    path = folder / "copy.tar"
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def as_tar_gz(files: Mapping[str, bytes], folder: Path) -> Path:
    return as_tar(files, folder, "w:gz").rename(folder / "copy.tar.gz")


@pytest.mark.parametrize("pack", [as_folder, as_zip, as_tar, as_tar_gz])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_packing_gives_the_same_store(
    name: str, pack: Callable[[Mapping[str, bytes], Path], Path], tmp_path: Path
) -> None:
    layout, wanted = LAYOUTS[name], LAYOUTS[name].wanted()
    reader = get_reader(layout.reader)
    in_memory = prepared(reader, layout.files, wanted, tmp_path / "expected")
    (tmp_path / "packed").mkdir()
    tree = open_tree(pack(layout.files, tmp_path / "packed"), max_entries=100, max_bytes=2**24)
    store = stored(reader.read(tree, wanted), wanted, tmp_path / "store")
    tree.close()
    assert store.path.read_bytes() == in_memory.path.read_bytes()


@pytest.mark.parametrize("name", LAYOUTS)
def test_examples_can_be_counted_sliced_and_told_apart(name: str) -> None:
    layout = LAYOUTS[name]
    raw = get_reader(layout.reader).read(MemoryTree(layout.files), layout.wanted())
    for class_name in SUBSET_OF:
        examples = raw.examples[class_name]
        assert len(examples) == len(list(examples)) == len(set(examples))
        assert list(examples[1:]) == list(examples)[1:]
        assert examples[-1] == list(examples)[-1]
