"""How much memory preparing takes, at full size: CIFAR's 60,000 pictures as pickles, and as a zip file of PNGs."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from l2l_core.catalog import open_catalog
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.stores import store_path
from l2l_core.store import open_store
from tests.memory import peak_anonymous_mebibytes
from tests.prepare.raw import png, python2_pickle

IMPORT = """
import sys
from pathlib import Path
from l2l_core.catalog import open_catalog
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files
catalog = open_catalog()
import_files(catalog.dataset("cifar-fs"), catalog, Cache.at(sys.argv[1]), [Path(sys.argv[2])])
"""
CLASSES = sorted(open_catalog([]).split("cifar-fs").classes())
PATTERNS = np.random.default_rng(0).integers(0, 256, (7, 3072), np.uint8)


def pictures(first: int, count: int) -> np.ndarray:
    """Pictures as uint8 [count, 3072], each another one, in a few patterns so that they pack fast."""
    rows = PATTERNS[np.arange(first, first + count) % len(PATTERNS)]
    rows[:, :4] = np.arange(first, first + count, dtype="<u4").view(np.uint8).reshape(-1, 4)
    return rows


def write_pickles(path: Path) -> None:
    """The python edition, 500 pictures a class in one pickle and 100 in another, in a tar.gz."""
    files = {"meta": python2_pickle({"fine_label_names": CLASSES})}
    for name, first, each in (("train", 0, 500), ("test", 50_000, 100)):
        labels = np.arange(100 * each) % 100
        files[name] = python2_pickle({"data": pictures(first, 100 * each), "fine_labels": labels.tolist()})
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_pngs(path: Path) -> None:
    """600 pictures a class in a zip file of PNGs, of which a few go round."""
    contents = [png(row.reshape(32, 32, 3)) for row in pictures(0, 600)]
    with zipfile.ZipFile(path, "w") as archive:
        for name in CLASSES:
            for number, content in enumerate(contents):
                archive.writestr(f"cifar100/data/{name}/{number:04}.png", content)


@pytest.mark.parametrize(
    ("write", "name", "form"), [(write_pickles, "c.tar.gz", "python"), (write_pngs, "c.zip", "images")]
)
def test_cifar_takes_less_than_500_mebibytes(write, name: str, form: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    peak = peak_anonymous_mebibytes(IMPORT, tmp_path / "cache", tmp_path / name)
    record = open_catalog().dataset("cifar-fs")
    store = open_store(store_path(record, record.forms[form], Cache.at(tmp_path / "cache")))
    assert store.examples.shape == (60_000, 3, 32, 32)
    # The promise is 500; copies of all pickles or all pictures would take 200, and what is needed takes 30 and 80.
    assert peak < 150
