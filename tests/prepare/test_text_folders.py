"""Texts one a file, in a folder a class: which are meant, in which order and encoding."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from l2l_core.catalog import open_catalog
from l2l_core.errors import CatalogError, ContentError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files
from l2l_core.prepare.readers.text_folders import options_of, read, recognises
from l2l_core.records import Subset
from l2l_core.store import open_store
from tests.prepare.raw import MemoryTree, of_class, want

ADVICE = "give a complete copy in the layout of the official files"
SMALL: dict[str, Subset] = {"sci.space": "train", "comp.graphics": "test"}
OPTIONS = {"files": "[0-9]*", "encoding": "latin-1"}


def texts_of(members: dict[str, bytes], **more: Any) -> dict[str, list[str]]:
    counts = more.pop("counts", {})
    wanted = want(SMALL, {**OPTIONS, **more}, counts=counts, modality="texts")
    raw = read(MemoryTree(members), wanted)
    assert raw.shape is None
    found = {name: [raw.load(example).tobytes().decode() for example in raw.examples[name]] for name in wanted.classes}
    assert len(raw.digest()) == 64
    return found


def test_folders_of_one_name_are_one_class() -> None:
    files = {
        "x-train/sci.space/60000": "Sujet: la navette à 8 §\n".encode("latin-1"),
        "x-train/sci.space/7": b"",
        "x-test/sci.space/60001": b"\xff\xfe\r\n",
        "x-test/comp.graphics/9": b"\xef\xbb\xbf",
        "x-test/comp.graphics/notes.txt": b"no post",
        "x-test/other/notes.txt": b"no class, for it holds no post",
        "5": b"no folder",
    }
    assert texts_of(files) == {
        "sci.space": ["ÿþ\r\n", "Sujet: la navette à 8 §\n", ""],
        "comp.graphics": ["ï»¿"],
    }
    assert recognises(MemoryTree(files), options_of(OPTIONS, ""))
    assert not recognises(MemoryTree({"5": b"", "a/x": b""}), options_of(OPTIONS, ""))


def test_utf8_is_the_encoding_where_none_is_said() -> None:
    files = {"sci.space/1.txt": "\ufeffé\ufeff".encode(), "comp.graphics/1.txt": b"a\0b"}
    options = {"files": "*.txt", "encoding": "utf-8"}
    assert texts_of(files, **options) == {"sci.space": ["é\ufeff"], "comp.graphics": ["a\0b"]}
    assert options_of({"files": ["*.txt"]}, "").encoding == "utf-8"
    for content, reason in (
        ("é".encode("latin-1"), "unexpected end of data at byte 0"),
        ("é".encode("utf-16"), "invalid start byte at byte 0"),
    ):
        with pytest.raises(ContentError) as caught:
            texts_of({**files, "sci.space/1.txt": content}, **options)
        assert str(caught.value) == f"made: sci.space/1.txt in copy.zip is not UTF-8 ({reason}); {ADVICE}"


def test_what_is_not_the_data_set_is_refused() -> None:
    files = {"a/sci.space/1": b"x", "a/comp.graphics/2": b"y"}
    for changed, counts, message in (
        ({"a/sci.med/3": b"z"}, {}, f"made: copy.zip holds sci.med, which is none of the 2 classes; {ADVICE}"),
        ({}, {"sci.space": 2}, f"made: sci.space in copy.zip has 1 examples instead of 2; {ADVICE}"),
    ):
        with pytest.raises(ContentError) as caught:
            texts_of({**files, **changed}, counts=counts)
        assert str(caught.value) == message
    with pytest.raises(ContentError) as caught:
        texts_of({"a/sci.space/1": b"x"})
    assert str(caught.value) == (
        f"made: 1 of 2 classes are missing from copy.zip (the first is comp.graphics); {ADVICE}"
    )
    with pytest.raises(CatalogError) as refused:
        options_of({"encoding": "cp1252", "file": "x"}, "made: ")
    assert refused.value.problems == (
        "made: files: missing",
        "made: encoding: expected one of utf-8, latin-1, found 'cp1252'",
        "made: file: unknown field, did you mean 'files'?",
    )


def test_the_digest_names_the_files_and_not_their_packing() -> None:
    def digest(files: dict[str, bytes]) -> str:
        raw = read(MemoryTree(files), want(SMALL, OPTIONS, modality="texts"))
        for examples in raw.examples.values():
            for example in examples:
                raw.load(example)
        return raw.digest()

    first = digest({"sci.space/1": b"x", "comp.graphics/2": b"y"})
    assert digest({"a/b/sci.space/1": b"x", "a/b/comp.graphics/2": b"y"}) == first
    assert digest({"sci.space/1": b"y", "comp.graphics/2": b"x"}) != first


def test_the_official_archive_in_its_layout(tmp_path: Path) -> None:
    catalog = open_catalog([])
    record = catalog.dataset("20-newsgroups")
    groups = catalog.split("20-newsgroups").classes()
    with tarfile.open(tmp_path / "20news-bydate.tar.gz", "w:gz") as archive:
        for part, number in (("train", 100), ("test", 200)):
            for place, group in enumerate(groups):
                content = f"From: müller\nSubject: {group}\n\n{part} {place}\n".encode("latin-1")
                member = tarfile.TarInfo(f"20news-bydate-{part}/{group}/{number + place}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    path = import_files(record, catalog, Cache.at(tmp_path / "home"), [tmp_path / "20news-bydate.tar.gz"])
    assert path.name.startswith("bydate-")
    store = open_store(path)
    assert len(store) == 40
    assert [array.tobytes().decode() for array in of_class(store, "sci.space")] == [
        f"From: müller\nSubject: sci.space\n\n{part} {groups.index('sci.space')}\n" for part in ("test", "train")
    ]
