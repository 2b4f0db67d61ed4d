"""Small files in the formats that data sets come in, and records of them."""

import csv
import hashlib
import io
import json
import pickle
import random
import tarfile
import zipfile
from pathlib import Path

import numpy as np

from l2l_core.records import FileRecord

BYTES = random.Random(0).randbytes(600_000)  # several chunks
SHA256 = hashlib.sha256(BYTES).hexdigest()
HTML = b"<!DOCTYPE html><html>Something else</html>"


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("set/a.png"), BYTES[:5000])
    return buffer.getvalue()


def _tar(mode: str, form: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=form) as archive:
        member = tarfile.TarInfo("set/a.png")
        member.size = 5000
        archive.addfile(member, io.BytesIO(BYTES[:5000]))
    return buffer.getvalue()


def _v7_tar() -> bytes:
    """A tar archive as before 1988: no signature, only the header's checksum."""
    header = bytearray(_tar("w:"))
    header[257:512] = bytes(255)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header)


def _csv() -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([("headline", "category"), *((f"“Ein Titel” {i}", "POLITICS") for i in range(90))])
    return text.getvalue().encode()


def _array(name: str) -> bytes:
    buffer = io.BytesIO()
    values = np.arange(300)
    if name == "npy":
        np.save(buffer, values)
    else:
        np.savez(buffer, values=values)
    return buffer.getvalue()


def _mat() -> bytes:
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, {"labels": np.arange(9)})
    return buffer.getvalue()


_DATA = {"labels": [1, 2], "names": ["a" * 900]}

FILES = {
    "a.zip": _zip(),
    "a.npz": _array("npz"),
    "a.tar": _tar("w:"),
    "old.tar": _v7_tar(),
    "a.tar.gz": _tar("w:gz"),
    "a.tgz": _tar("w:gz"),
    "a.tar.xz": _tar("w:xz"),
    "a.tar.bz2": _tar("w:bz2"),
    **{f"protocol-{number}.pkl": pickle.dumps(_DATA, number) for number in range(6)},
    "list.pickle": pickle.dumps([1, 2], 1),
    "a.npy": _array("npy"),
    "a.mat": _mat(),
    "a.json": json.dumps(_DATA).encode(),
    "a.csv": _csv(),
    "a.txt": "Überschrift\n".encode() * 90,
}
"""File name to content."""


def wanted(*urls: str, name: str = "x.zip", data: bytes = BYTES) -> FileRecord:
    """A record that knows size and sha256."""
    return FileRecord(name, urls, len(data), sha256=hashlib.sha256(data).hexdigest())


def unchecked(*urls: str, name: str = "a.zip", about: int | None = None) -> FileRecord:
    """A record of one of the files that knows its rough size only."""
    return FileRecord(name, urls, about_bytes=about or len(FILES[name]))


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
