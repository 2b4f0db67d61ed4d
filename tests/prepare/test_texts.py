"""Texts from JSON and CSV: which are meant, in which order, and what a broken record is told apart by."""

import csv
import gzip
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_core.catalog import open_catalog
from l2l_core.errors import CatalogError, ContentError
from l2l_core.fetch.archives import open_tree
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files
from l2l_core.prepare.readers import Wanted, csv_text, json_lines
from l2l_core.prepare.readers._texts import tokens
from l2l_core.records import Subset
from l2l_core.store import Store, open_store
from tests.prepare.raw import MemoryTree, of_class, prepared, split_of, stored, want

ADVICE = "give a complete copy in the layout of the official files"
FEW_SHOT = {"file": "huffpost.json", "text_fields": ["raw", "text"], "label_field": "label", "labels": "position"}
FULL = {
    "file": ["News_Category_Dataset_v2.json", "data.json"],
    "text_fields": "headline",
    "label_field": "category",
    "labels": "name",
}
TABLE = {"files": ["train_sample.csv", "test_sample.csv"], "text_column": "headline", "label_column": "category"}


def news_want(options: Mapping[str, Any], per_class: int | None = 900) -> Wanted:
    subset_of = split_of("news-journals/bao")
    counts = {} if per_class is None else dict.fromkeys(subset_of, per_class)
    return want(subset_of, options, counts=counts, modality="texts")


def news(test_data: Path) -> list[dict[str, Any]]:
    with (test_data / "huffpost/huffpost.json").open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def texts_of(store: Store, name: str) -> list[str]:
    return [array.tobytes().decode() for array in of_class(store, name)]


def made_news() -> list[dict[str, Any]]:
    """As many headlines of as many classes as there are, in no order, with letters of several bytes."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(41), 900)).tolist()
    return [{"raw": f"héadline number {i} , of “class” {label}", "label": label} for i, label in enumerate(labels)]


@pytest.mark.parametrize("source", ["synthetic", "real"])
def test_every_form_of_the_news_is_the_same_store(source: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    records = made_news() if source == "synthetic" else news(request.getfixturevalue("test_data"))
    names = list(split_of("news-journals/bao"))  # a label is a place in this list
    assert len(records) == 36_900
    expected: dict[str, list[str]] = {name: [] for name in names}
    for record in records:
        expected[names[record["label"]]].append(record["raw"])
    lines = "".join(json.dumps(record) + "\n" for record in records)
    tokenised = [{"text": record["raw"].split(" "), "label": record["label"]} for record in records]
    selected = {"first": 900, "minimum_tokens": 5, "lower_case": True}
    forms: dict[str, tuple[Any, dict[str, bytes], Mapping[str, Any]]] = {
        "lines": (json_lines, {"data/huffpost.json": lines.encode()}, FEW_SHOT),
        "tokens": (json_lines, {"huffpost.json": json.dumps(tokenised, indent=1).encode("utf-8-sig")}, FEW_SHOT),
        "full": (
            json_lines,
            {"data.json": full_edition(records, names)},
            {**FULL, **selected, "ignore_classes": ["U.S. NEWS"]},
        ),
        "table": (csv_text, table_edition(records, names), TABLE),
    }
    stores = {
        form: prepared(reader, files, news_want(options), tmp_path / form)
        for form, (reader, files, options) in forms.items()
    }
    assert np.diff(stores["lines"].offsets).tolist() == [900] * 41
    for name in names:
        assert texts_of(stores["lines"], name) == expected[name]
    for store in stores.values():
        assert store.path.read_bytes() == stores["lines"].path.read_bytes()


def full_edition(records: list[dict[str, Any]], names: list[str]) -> bytes:
    """The same headlines as in the full set: in capitals, among short ones, later ones and those of another class."""
    lines = []
    for i, record in enumerate(records):
        category = names[record["label"]]
        headline = capitals(record["raw"])
        if i % 100 == 0:
            lines.append({"category": category, "headline": "Four tokens , only"})
            lines.append({"category": "U.S. NEWS", "headline": "a class that came later than the others"})
        lines.append({"link": "https://any", "category": category, "headline": headline, "authors": "", "date": "any"})
    lines += [{"category": name, "headline": "the nine hundred and first is too late"} for name in names]
    # Windows' line ends, and an empty line at the end
    return "".join(json.dumps(line, ensure_ascii=False) + "\r\n" for line in lines).encode() + b"\r\n"


def capitals(text: str) -> str:
    """The text with those capitals that are of no other letters when they are put in lower case again."""
    return "".join(letter.upper() if letter.upper().lower() == letter else letter for letter in text)


def table_edition(records: list[dict[str, Any]], names: list[str]) -> dict[str, bytes]:
    """The same in two CSV files, as learn2learn has them."""
    files = {}
    for file, part in (("train_sample.csv", records[:20_000]), ("test_sample.csv", records[20_000:])):
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, lineterminator="\n" if file.startswith("train") else "\r\n")
        writer.writerow(["", "headline", "category"])
        writer.writerows([i, record["raw"], names[record["label"]]] for i, record in enumerate(part))
        files[f"any/{file}"] = stream.getvalue().encode("utf-8-sig")
    return files


def test_the_real_file_is_read_where_it_lies(test_data: Path, tmp_path: Path) -> None:
    packed = tmp_path / "huffpost.json.gz"
    packed.write_bytes(gzip.compress((test_data / "huffpost/huffpost.json").read_bytes()))
    stores = []
    for path in (test_data / "huffpost", test_data / "huffpost/huffpost.json", packed):
        tree = open_tree(path, max_entries=10, max_bytes=2**24)
        wanted = news_want(FEW_SHOT)
        assert json_lines.recognises(tree, json_lines.options_of(FEW_SHOT, ""))
        stores.append(
            stored(json_lines.read(tree, wanted), wanted, tmp_path / f"store-of-{path.name}").path.read_bytes()
        )
        tree.close()
    assert len(set(stores)) == 1


def test_the_authors_archive_is_read_as_it_is_packed(test_data: Path, tmp_path: Path) -> None:
    # As the README of YujiaBao/Distributional-Signatures has it: one object a line, the text a list of tokens.
    records = news(test_data)
    lines = [json.dumps({"text": record["raw"].split(" "), "label": record["label"]}) for record in records]
    with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/huffpost.json", "\n".join([*lines, ""]))
        for other in ("20news", "amazon", "fewrel", "rcv1", "reuters"):
            archive.writestr(f"data/{other}.json", '{"text": ["another", "data", "set"], "label": 0}\n')
    catalog = open_catalog([])
    record = catalog.dataset("news-journals")
    cache = Cache.at(tmp_path / "home")
    packed = open_store(import_files(record, catalog, cache, [tmp_path / "data.zip"], form="authors"))
    plain = open_store(import_files(record, catalog, cache, [test_data / "huffpost"], form="metaprompter"))
    assert len(packed) == 36_900
    assert (packed.source, packed.data_sha256) == (plain.source, plain.data_sha256)


def test_tokens_are_about_those_of_the_few_shot_edition(test_data: Path) -> None:
    texts = [record["raw"] for record in news(test_data)]
    assert sum(tokens(text) == text.split(" ") for text in texts) > 0.98 * len(texts)
    # About as the headlines stood before they were split.
    whole = [re.sub(r" (n't|'(?:s|m|d|re|ve|ll)\b|[,.:;!?%)])|([($#]) ", r"\1\2", text) for text in texts]
    assert sum(tokens(one) == text.split(" ") for one, text in zip(whole, texts, strict=True)) > 0.98 * len(texts)
    assert all(len(tokens(one)) >= 5 for one in whole)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("one space", ["one", "space"]),
        ("on\xa0 two  spaces", ["on", "\xa0 ", "two", " ", "spaces"]),
        ("Don't panic!", ["Do", "n't", "panic", "!"]),
        ("It’s the U.S. economy.", ["It", "’s", "the", "U.S.", "economy", "."]),
        (
            "O'Brien's 5-year-old AT&T ... 24/7 f**k -- no",
            ["O'Brien", "'s", "5-year", "-", "old", "AT&T", "...", "24/7", "f**k", "--", "no"],
        ),
        ("$1,000.50 (really?)", ["$", "1,000.50", "(", "really", "?", ")"]),
        ("they'll've", ["they", "'ll", "'ve"]),
        ("rock 'n' roll", ["rock", "'", "n", "'", "roll"]),
        ("mother-in-law", ["mother", "-", "in", "-", "law"]),
        ("naïve Ωmega 東京", ["naïve", "Ωmega", "東京"]),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


SMALL: dict[str, Subset] = {"POLITICS": "train", "ARTS & CULTURE": "test"}
GOOD = ['{"raw": "one", "label": 1}', '{"raw": "two", "label": 0}']


def small_want(**options: Any) -> Wanted:
    return want(SMALL, {**FEW_SHOT, **options}, modality="texts")


def small_read(*lines: str | bytes, **options: Any) -> dict[str, list[str]]:
    content = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)
    wanted = small_want(**options)
    raw = json_lines.read(MemoryTree({"x/huffpost.json": content}), wanted)
    raw.digest()
    return {name: [raw.load(example).tobytes().decode() for example in raw.examples[name]] for name in wanted.classes}


def test_labels_are_places_in_the_list_of_the_split() -> None:
    assert small_read(*GOOD) == {"POLITICS": ["two"], "ARTS & CULTURE": ["one"]}


def test_what_may_look_odd_is_kept() -> None:
    long = "x" * 10_000_000
    odd = ['{"raw": "", "label": 1}', '{"raw": "a\\u0000b", "label": 1}', f'{{"raw": "{long}", "label": 1}}']
    odd += ['{"label": 1, "raw": "\\ud83d\\ude00 \\n\\"", "more": {"x": [1.5e3, null, {}]}}', "", "  \t\r"]
    kept = ["", "a\0b", long, '\U0001f600 \n"', "one"]
    for lines in (
        [*odd, *GOOD],
        [b"\xef\xbb\xbf" + odd[0].encode(), *odd[1:], *GOOD],
        ["[" + ",\n".join([line for line in odd if line.strip()] + GOOD) + "]", ""],
        ["\ufeff [", ", ".join(line for line in odd if line.strip()), "\t,", GOOD[0], ",", GOOD[1] + " ] "],
    ):
        assert small_read(*lines) == {"POLITICS": ["two"], "ARTS & CULTURE": kept}


def test_fields_and_selections() -> None:
    lines = [
        '{"text": ["only", "TOKENS"], "label": 0}',
        '{"text": ["the", "tokens"], "raw": "the raw WORDS", "label": 0}',
        '{"text": "a text", "label": 0}',
        '{"raw": "İstanbul", "label": 1}',
    ]
    everything = {"POLITICS": ["only TOKENS", "the raw WORDS", "a text"], "ARTS & CULTURE": ["İstanbul"]}
    assert small_read(*lines) == everything
    assert small_read(*lines, text_fields=["text", "raw"]) == {
        **everything,
        "POLITICS": ["only TOKENS", "the tokens", "a text"],
    }
    assert small_read(*lines, first=2, lower_case=True) == {
        "POLITICS": ["only tokens", "the raw words"],
        "ARTS & CULTURE": ["İstanbul".lower()],
    }
    tokenised = {"POLITICS": ["only TOKENS", "the raw words", "a text"], "ARTS & CULTURE": ["don't", "do n't \xa0 !"]}
    contractions = ['{"text": ["don\'t"], "label": 1}', '{"raw": "Don\'t\\u00a0!", "label": 1}']
    assert small_read(*lines[:3], *contractions, tokenise=True, lower_case=True) == {
        **tokenised,
        "POLITICS": [text.lower() for text in tokenised["POLITICS"]],
    }
    enough = ['{"raw": "long enough , this", "label": 1}', '{"text": ["it", "is\u00a0so"], "label": 1}']
    assert small_read(*lines, *enough, minimum_tokens=2, first=3) == {
        "POLITICS": everything["POLITICS"],
        "ARTS & CULTURE": ["long enough , this", "it is\u00a0so"],
    }


PLACE = "made: line 2 of x/huffpost.json in copy.zip"
FILE = "made: x/huffpost.json in copy.zip"
REFUSED: list[tuple[list[str | bytes], str]] = [
    (["", "{"], f"{PLACE} is not JSON (Expecting property name enclosed in double quotes at character 1 of it); get"),
    (["", GOOD[0][:-4]], f"{PLACE} is not JSON (Expecting ':' delimiter at character 22 of it); get the file anew"),
    ([GOOD[0], b'{"raw": "\xff", "label": 1}'], f"{PLACE} is not UTF-8 (invalid start byte at byte 9 of it); {ADVICE}"),
    ([GOOD[0], b'{"raw": "a\0b", "label": 1}'], f"{PLACE} is not JSON (Invalid control character at at character 10"),
    (
        [GOOD[0], '{"raw": "\\ud800", "label": 0}'],
        f"{PLACE} has half a character (a lone surrogate) in its text; {ADVICE}",
    ),
    ([GOOD[0], '["raw", 1]'], f"{PLACE} is JSON, but no object; {ADVICE}"),
    ([GOOD[0], "null"], f"{PLACE} is JSON, but no object; {ADVICE}"),
    ([GOOD[0], GOOD[0] + GOOD[1]], f"{PLACE} is not JSON (Extra data at character 26 of it); get the file anew"),
    ([GOOD[0], "[" * 100_000], f"{PLACE} is not JSON of a text (a number too long, or nested too deep); {ADVICE}"),
    ([GOOD[0], "9" * 5000], f"{PLACE} is not JSON of a text (a number too long, or nested too deep); {ADVICE}"),
    ([GOOD[0], '{"label": 1}'], f"{PLACE} has no field raw or text; {ADVICE}"),
    ([GOOD[0], '{"raw": "x"}'], f"{PLACE} has no field label; {ADVICE}"),
    ([GOOD[0], '{"raw": 3, "label": 1}'], f"{PLACE} has a raw that is neither a text nor a list of tokens; {ADVICE}"),
    (
        [GOOD[0], '{"raw": ["a", 3], "label": 1}'],
        f"{PLACE} has a raw that is neither a text nor a list of tokens; {ADVICE}",
    ),
    ([GOOD[0], '{"raw": "x", "label": 2}'], f"{PLACE} has the label 2, but the 2 classes count from 0; {ADVICE}"),
    ([GOOD[0], '{"raw": "x", "label": -1}'], f"{PLACE} has the label -1, but the 2 classes count from 0; {ADVICE}"),
    ([GOOD[0], '{"raw": "x", "label": "1"}'], f"{PLACE} has a label that is no number of a class; {ADVICE}"),
    ([GOOD[0], '{"raw": "x", "label": true}'], f"{PLACE} has a label that is no number of a class; {ADVICE}"),
    ([GOOD[0], '{"raw": "x", "label": null}'], f"{PLACE} has a label that is no number of a class; {ADVICE}"),
    ([GOOD[0], '{"raw": "x", "label": 1.0}'], f"{PLACE} has a label that is no number of a class; {ADVICE}"),
    (
        [GOOD[0].encode("utf-16")],
        f"made: line 1 of x/huffpost.json in copy.zip is not UTF-8 (invalid start byte at byte 0 of it); {ADVICE}",
    ),
    (
        [GOOD[0], '{"raw": "café", "label": 1}'.encode("latin-1")],
        f"{PLACE} is not UTF-8 (invalid continuation byte at byte 12 of it); {ADVICE}",
    ),
    ([GOOD[0]], f"made: 1 of 2 classes are missing from copy.zip (the first is POLITICS); {ADVICE}"),
    ([], f"made: 2 of 2 classes are missing from copy.zip (the first is ARTS & CULTURE); {ADVICE}"),
    (["[]"], f"made: 2 of 2 classes are missing from copy.zip (the first is ARTS & CULTURE); {ADVICE}"),
    (
        ["[", f"{GOOD[0]},", "]"],
        "made: line 3 of x/huffpost.json in copy.zip is not JSON (Expecting value at character 0",
    ),
    (["[", f"{GOOD[0]} {GOOD[1]}]"], f"{PLACE} is not JSON (Extra data at character 27 of it); get the file anew"),
    (["[", "3]"], f"{PLACE} is JSON, but no object; {ADVICE}"),
    (["[", ", ".join(GOOD)], f"{FILE} is not one whole array, though it begins as one; {ADVICE}"),
    (["[", ", ".join(GOOD)[:-3]], f"{FILE} is not one whole array, though it begins as one; {ADVICE}"),
    (["[", ", ".join(GOOD) + "]", "{}"], f"{FILE} is not one whole array, though it begins as one; {ADVICE}"),
    (["[", ", ".join(GOOD) + "}"], f"{FILE} is not one whole array, though it begins as one; {ADVICE}"),
    (['["' + '\\"' * 500_000], f"{FILE} is not one whole array, though it begins as one; {ADVICE}"),
    (
        ["<!doctype html>"],
        "made: line 1 of x/huffpost.json in copy.zip is not JSON (Expecting value at character 0 of it)",
    ),
]


@pytest.mark.parametrize(("lines", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_the_data_set_is_refused(lines: list[str | bytes], message: str) -> None:
    with pytest.raises(ContentError) as caught:
        small_read(*lines)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


KEYED = {"file": "wiki.json", "text_fields": "tokens", "labels": "key"}


def keyed_read(content: str | bytes, **more: str) -> dict[str, list[str]]:
    files = {"wiki.json": content if isinstance(content, bytes) else content.encode()}
    files |= {name: text.encode() for name, text in more.items()}
    options = {**KEYED, "files": list(files)} if more else KEYED
    if more:
        del options["file"]
    wanted = want(SMALL, options, modality="texts")
    assert json_lines.recognises(MemoryTree(files), json_lines.options_of(options, ""))
    raw = json_lines.read(MemoryTree(files), wanted)
    return {name: [raw.load(example).tobytes().decode() for example in raw.examples[name]] for name in wanted.classes}


def test_the_class_may_be_the_key_of_an_array() -> None:
    arrays = {
        "ARTS & CULTURE": [{"tokens": ["one", "]", "\\", '"{,'], "h": ["one", "Q1", [[0]]]}, {"tokens": []}],
        "POLITICS": [{"tokens": "two\nlines"}],
    }
    expected = {"ARTS & CULTURE": ['one ] \\ "{,', ""], "POLITICS": ["two\nlines"]}
    for indent in (None, 2):
        for mark in ("", "\ufeff"):
            assert keyed_read(f"{mark} {json.dumps(arrays, indent=indent)}\n ") == expected
    escaped = json.dumps(arrays).replace("ARTS & CULTURE", "\\u0041RTS & CULTURE")
    assert keyed_read(escaped) == expected
    # A class may lie in several files, and one file hold no text of another.
    parts = '{"POLITICS": [{"tokens": ["three"]}], "ARTS & CULTURE": []}'
    assert keyed_read(json.dumps(arrays), **{"val.json": parts}) == {**expected, "POLITICS": ["two\nlines", "three"]}


NO_OBJECT = "made: wiki.json in copy.zip is not one whole object with an array for each class; "


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", NO_OBJECT),
        ("{}", NO_OBJECT),
        ('[{"tokens": ["a"]}]', NO_OBJECT),
        ('{"POLITICS": {"tokens": ["a"]}}', NO_OBJECT),
        ('{"POLITICS": [] "ARTS & CULTURE": []}', NO_OBJECT),
        ('{"POLITICS": [], "ARTS & CULTURE": []', NO_OBJECT),
        ('{"POLITICS": []} {}', NO_OBJECT),
        ('{"POLITICS": [],}', NO_OBJECT),
        ('{"POLITICS": [{"tokens": ["a"]}', "made: wiki.json in copy.zip is not one whole array, though it begins"),
        (
            '{\n"\\x": []}',
            "made: wiki.json in copy.zip has a key in line 2 that is no text of JSON (Invalid \\escape); ",
        ),
        (b'{"\xff": []}', "made: wiki.json in copy.zip is not UTF-8 (invalid start byte at byte 1 of it); "),
        ('{"SPORTS":\n[{"tokens": ["a"]}]}', "made: line 2 of wiki.json in copy.zip is of 'SPORTS', which is none of"),
        (
            '{"POLITICS": [\n{"tokens": ["a"]},\n{"text": "a"}]}',
            "made: line 3 of wiki.json in copy.zip has no field tok",
        ),
        ('{"POLITICS": [\n3]}', "made: line 2 of wiki.json in copy.zip is JSON, but no object; "),
        (
            '{"POLITICS": [,]}',
            "made: line 1 of wiki.json in copy.zip is not JSON (Expecting value at character 0 of it",
        ),
        ("{".encode("utf-16"), NO_OBJECT),
    ],
)
def test_arrays_by_class_that_are_none_are_refused(content: str | bytes, message: str) -> None:
    with pytest.raises(ContentError) as caught:
        keyed_read(content)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_several_files_count_in_their_order_and_each_must_be_there() -> None:
    options = {**FEW_SHOT, "files": ["b.json", "a.json"]}
    del options["file"]
    tree = MemoryTree({"x/a.json": GOOD[0].encode(), "y/b.json": "\n".join([GOOD[1], GOOD[0]]).encode()})
    wanted = want(SMALL, options, modality="texts")
    raw = json_lines.read(tree, wanted)
    assert [(record.file, record.place.line) for record in raw.examples["ARTS & CULTURE"]] == [
        ("y/b.json", 2),
        ("x/a.json", 1),
    ]
    half = MemoryTree({"a.json": GOOD[0].encode()})
    assert not json_lines.recognises(half, json_lines.options_of(options, ""))
    with pytest.raises(ContentError) as caught:
        json_lines.read(half, wanted)
    assert str(caught.value) == f"made: copy.zip has no file b.json; {ADVICE}"
    with pytest.raises(CatalogError) as refused:
        json_lines.options_of({**options, "file": "c.json"}, "made: ")
    assert refused.value.problems == ("made: file: unknown field, did you mean 'files'?",)


def test_names_that_are_none_and_counts_that_are_wrong() -> None:
    lines = [b'{"category": "POLITICS", "headline": "a"}', b'{"category": "ARTS & CULTURE", "headline": "b"}']
    other = b'{"category": "U.S. NEWS", "headline": "c"}'

    def read(*lines: bytes, counts: Mapping[str, int] | None = None, **options: Any) -> None:
        tree = MemoryTree({"News_Category_Dataset_v2.json": b"\n".join(lines)})
        json_lines.read(tree, want(SMALL, {**FULL, **options}, counts=counts or {}, modality="texts"))

    read(*lines)
    read(*lines, other, ignore_classes=["U.S. NEWS"])
    file = "News_Category_Dataset_v2.json in copy.zip"
    for arguments, message in (
        (
            {"lines": [*lines, other]},
            f"made: line 3 of {file} is of 'U.S. NEWS', which is none of the 2 classes; {ADVICE}",
        ),
        (
            {"lines": [*lines, lines[0]], "counts": {"POLITICS": 1}},
            f"made: POLITICS in copy.zip has 2 examples instead of 1; {ADVICE}",
        ),
        (
            {"lines": lines, "minimum_tokens": 2},
            f"made: 2 of 2 classes are missing from copy.zip (the first is ARTS & CULTURE); {ADVICE}",
        ),
        (
            {"lines": [b'{"category": 3, "headline": "a"}']},
            f"made: line 1 of {file} has a category that is no name of a",
        ),
        ({"lines": lines, "file": "v3.json"}, f"made: copy.zip has no file v3.json; {ADVICE}"),
    ):
        with pytest.raises(ContentError) as caught:
            read(*arguments.pop("lines"), **arguments)
        assert str(caught.value).startswith(message)
    read(*lines, lines[0], counts={"POLITICS": 1}, first=1)


def table_read(content: str | bytes, files: object = "news.csv", **more: bytes) -> dict[str, list[str]]:
    wanted = want(SMALL, {**TABLE, "files": files}, modality="texts")
    contents = {"news.csv": content.encode() if isinstance(content, str) else content, **more}
    raw = csv_text.read(MemoryTree(contents), wanted)
    return {name: [raw.load(example).tobytes().decode() for example in raw.examples[name]] for name in wanted.classes}


HEADER = "category,headline\n"


def test_fields_in_quotes() -> None:
    rows = [
        'POLITICS,"a, b"',
        'ARTS & CULTURE,"two\r\nlines, and ""quotes"""',
        "",
        '"POLITICS",',
        'POLITICS,"\n\n"',
        "POLITICS, spaces ",
        'POLITICS,"naïve\0"',
    ]
    expected = {
        "POLITICS": ["a, b", "", "\n\n", " spaces ", "naïve\0"],
        "ARTS & CULTURE": ['two\r\nlines, and "quotes"'],
    }
    for end in ("\n", "\r\n"):
        for last in ("", end, end + end):
            assert table_read(end.join([HEADER.strip(), *rows]) + last) == expected
    assert table_read("\ufeff" + HEADER + "\n".join(rows)) == expected


def test_files_count_in_the_order_of_their_patterns() -> None:
    files = {
        "b.csv": b"headline,category,more\n1,POLITICS,x\n2,ARTS & CULTURE,y\n",
        "a.csv": b"category,headline\nPOLITICS,3\n",
    }
    assert table_read(b"", ["b.csv", "a*.csv"], **files) == {"POLITICS": ["1", "3"], "ARTS & CULTURE": ["2"]}
    assert table_read(b"", ["a*.csv", "b.csv"], **files) == {"POLITICS": ["3", "1"], "ARTS & CULTURE": ["2"]}


TABLE_PLACE = "made: line 3 of news.csv in copy.zip"
TABLE_REFUSED: list[tuple[str | bytes, str]] = [
    ("", f"made: news.csv in copy.zip has the columns (none) instead of one category; {ADVICE}"),
    ("category,text\n", f"made: news.csv in copy.zip has the columns category, text instead of one headline; {ADVICE}"),
    (
        "category,headline,headline\n",
        f"made: news.csv in copy.zip has the columns category, headline, headline instead of one headline; {ADVICE}",
    ),
    ('category,"headline', f"made: news.csv in copy.zip is not a row of CSV (unexpected end of data); {ADVICE}"),
    (HEADER + "POLITICS,a\nPOLITICS\n", f"{TABLE_PLACE} has 1 fields instead of 2; {ADVICE}"),
    (HEADER + "POLITICS,a\nPOLITICS,a,b\n", f"{TABLE_PLACE} has 3 fields instead of 2; {ADVICE}"),
    (
        HEADER + 'POLITICS,a\nPOLITICS,"a\nPOLITICS,b\n',
        f"{TABLE_PLACE} is not a row of CSV (unexpected end of data); {ADVICE}",
    ),
    (HEADER + 'POLITICS,a\nPOLITICS,"a"b\n', f"{TABLE_PLACE} is not a row of CSV (',' expected after '\"'); {ADVICE}"),
    (
        HEADER + 'POLITICS,a\nPOLITICS,5" b\nPOLITICS,6"\n',
        f"{TABLE_PLACE} is not a row of CSV (new-line character seen",
    ),
    (HEADER + "POLITICS,a\nSPORTS,b\n", f"{TABLE_PLACE} is of 'SPORTS', which is none of the 2 classes; {ADVICE}"),
    (HEADER + "POLITICS,a\nPOLITICS,b\rPOLITICS,c\n", f"{TABLE_PLACE} is not a row of CSV (new-line character seen"),
    (
        HEADER.encode() + b"POLITICS,a\nPOLITICS,\xe9\n",
        f"{TABLE_PLACE} is not UTF-8 (invalid continuation byte at byte 9 of it); {ADVICE}",
    ),
    (
        HEADER + "POLITICS,a\n",
        f"made: 1 of 2 classes are missing from copy.zip (the first is ARTS & CULTURE); {ADVICE}",
    ),
]


@pytest.mark.parametrize(("content", "message"), TABLE_REFUSED, ids=range(len(TABLE_REFUSED)))
def test_tables_that_are_not_the_data_set_are_refused(content: str | bytes, message: str) -> None:
    with pytest.raises(ContentError) as caught:
        table_read(content)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_long_fields_are_read_and_endless_ones_refused(csv_limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    content = f'{HEADER}ARTS & CULTURE,b\nPOLITICS,"{"x" * 200_000}"\n'
    assert table_read(content)["POLITICS"] == ["x" * 200_000]
    monkeypatch.setattr(csv_text, "MAX_FIELD", 199_999)
    with pytest.raises(ContentError) as caught:
        table_read(content)
    assert str(caught.value) == (
        f"{TABLE_PLACE} is not a row of CSV (field larger than field limit (199999)); {ADVICE}"
    )
    assert csv.field_size_limit() == csv_limit


def test_the_limit_of_fields_holds_in_every_thread_and_is_put_back(csv_limit: int) -> None:
    row = f'a,"{"x" * 200_000}"'.encode()
    with ThreadPoolExecutor(4) as pool:
        assert {len(fields[1]) for fields in pool.map(csv_text._fields, [row] * 200)} == {200_000}
    assert csv.field_size_limit() == csv_limit
    with csv_text.long_fields(), csv_text.long_fields():
        assert csv.field_size_limit() == csv_text.MAX_FIELD
    assert csv.field_size_limit() == csv_limit


def test_a_limit_that_someone_raised_further_stays() -> None:
    limit = csv.field_size_limit(2 * csv_text.MAX_FIELD)
    try:
        with csv_text.long_fields():
            assert csv.field_size_limit() == 2 * csv_text.MAX_FIELD
        assert csv.field_size_limit() == 2 * csv_text.MAX_FIELD
    finally:
        csv.field_size_limit(limit)


def test_the_digest_names_the_texts_and_not_their_packing(tmp_path: Path) -> None:
    def source(reader: Any, file: str, content: str, **options: Any) -> str:
        given = {json_lines: FEW_SHOT, csv_text: TABLE}[reader]
        wanted = want(SMALL, {**given, **options}, modality="texts")
        return prepared(reader, {file: content.encode()}, wanted, tmp_path).source

    first = source(json_lines, "huffpost.json", "\n".join(GOOD))
    assert source(json_lines, "huffpost.json", "[" + ",".join(reversed(GOOD)) + "]") == first
    assert source(csv_text, "a.csv", HEADER + "POLITICS,two\nARTS & CULTURE,one\n", files="a.csv") == first
    assert source(csv_text, "a.csv", HEADER + "POLITICS,one\nARTS & CULTURE,two\n", files="a.csv") != first
    two = [
        source(csv_text, "a.csv", HEADER + f"POLITICS,{a}\nPOLITICS,{b}\nARTS & CULTURE,x\n", files="a.csv")
        for a, b in (("ab", "c"), ("a", "bc"))
    ]
    assert two[0] != two[1]
    split = [
        source(csv_text, "a.csv", HEADER + f"ARTS & CULTURE,x\n{name},y\nPOLITICS,z\n", files="a.csv") for name in SMALL
    ]
    assert split[0] != split[1]


def test_options_that_cannot_be_are_named() -> None:
    with pytest.raises(CatalogError) as caught:
        json_lines.options_of({**FEW_SHOT, "file": [], "labels": "nmae", "first": 0, "tokens": 5}, "made: ")
    assert caught.value.problems == (
        "made: first: expected at least 1, found 0",
        "made: file: expected text, found an empty list",
        "made: labels: expected position, name or key, found 'nmae'",
        "made: tokens: unknown field, did you mean 'tokenise'?",
    )
    with pytest.raises(CatalogError) as caught:
        csv_text.options_of({**TABLE, "files": " ", "text_colum": "x", "lower_case": "yes"}, "made: ")
    assert caught.value.problems == (
        "made: lower_case: expected true or false, found 'yes'",
        "made: files: expected text, found ' '",
        "made: text_colum: unknown field, did you mean 'text_column'?",
    )


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(list(SMALL)), st.text()), min_size=1), st.booleans(), st.integers(0, 4))
def test_any_text_comes_back(rows: list[tuple[str, str]], ascii_only: bool, packing: int) -> None:
    counts = Counter(name for name, _ in rows)
    wanted_classes = {name: SMALL[name] for name in SMALL if name in counts}
    rows = [(name, text.encode(errors="replace").decode()) for name, text in rows]
    if packing < 3:
        objects = [{"category": name, "headline": text} for name, text in rows]
        written = [json.dumps(each, ensure_ascii=ascii_only, indent=[None, None, 1][packing]) for each in objects]
        content = "\n".join(written) if packing == 0 else "[" + ",\n".join(written) + "]"
        reader: Any = json_lines
        options: Mapping[str, Any] = FULL
    elif packing == 3:
        arrays = {name: [{"tokens": text} for its_class, text in rows if its_class == name] for name in wanted_classes}
        content, reader = json.dumps(arrays, ensure_ascii=ascii_only, indent=1), json_lines
        options = {**KEYED, "file": "data.json"}
    else:
        stream = io.StringIO(newline="")
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([("category", "headline"), *rows])
        content, reader, options = stream.getvalue(), csv_text, {**TABLE, "files": "data.json"}
    raw = reader.read(MemoryTree({"data.json": content.encode()}), want(wanted_classes, options, modality="texts"))
    for name in wanted_classes:
        found = [raw.load(example).tobytes().decode() for example in raw.examples[name]]
        assert found == [text for its_class, text in rows if its_class == name]


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4), st.sampled_from(["lines", "array", "keyed", "table"]))
def test_damaged_files_are_refused_or_read(at: int, patch: bytes, packing: str) -> None:
    whole, options = {
        "lines": ("\n".join(GOOD), FEW_SHOT),
        "array": ("[" + ",\n".join(GOOD) + "]", FEW_SHOT),
        "keyed": ('{"POLITICS":\n[{"tokens": ["a"]},\n{"tokens": "b"}], "ARTS & CULTURE": [{"tokens": []}]}', KEYED),
        "table": (HEADER + 'POLITICS,"a\nb"\nARTS & CULTURE,c\n', TABLE),
    }[packing]
    good = bytearray(whole.encode())
    good[at % len(good) : at % len(good) + len(patch)] = patch
    reader: Any = csv_text if packing == "table" else json_lines
    options = {**options, "files" if packing == "table" else "file": "huffpost.json"}
    try:
        raw = reader.read(MemoryTree({"huffpost.json": bytes(good)}), want(SMALL, options, modality="texts"))
        raw.digest()
    except ContentError as error:
        assert str(error).startswith("made: ")
