"""Several forms of one data set: which is taken, what is tried next, and that all of them give the same data."""

import csv
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2l_core.catalog import Catalog, open_catalog
from l2l_core.errors import (
    ArchiveError,
    CacheError,
    ConsentError,
    ContentError,
    FetchError,
    StoreError,
    UnknownNameError,
)
from l2l_core.fetch.cache import Cache, entries, remove
from l2l_core.prepare import build, readers, stores
from l2l_core.prepare.build import fetch, import_files, load_store
from l2l_core.prepare.stores import prepared_form, store_path, verify
from l2l_core.records import DatasetRecord, FileRecord
from l2l_core.store import open_store
from tests.fetch.server import Answer, Server, serving

SUBSETS = {"a": "train", "b": "train", "c": "train", "d": "validation", "e": "test", "f": "test"}
EXAMPLES = 5
SIDE = 6
PIXELS = np.random.default_rng(0).integers(0, 256, (len(SUBSETS), EXAMPLES, SIDE, SIDE), np.uint8)

PICTURES = """
title = "Made"
description = "Noise."
licence = "own"
default_split = "own"
order = "content"

[raw]
classes = 6
examples = 30
examples_per_class = 5

[prepared]
mode = "L"
image_size = [6, 6]
resample = "nearest"

[forms.pictures]
title = "a zip file of CLASS/PICTURE.png"
reader = "image_folders"
options = { class_depth = 1 }

[forms.other-arrays]
title = "arrays, the pictures under another key"
reader = "array_files"
options.images = "data"
options.labels = "labels"
options.labels_of = "alphabetical"
options.files = { train = ["train.npz"], validation = ["val.npz"], test = ["test.npz"] }

[forms.arrays]
title = "a tar.gz of arrays"
reader = "array_files"
options.images = "images"
options.labels = "labels"
options.labels_of = "alphabetical"
options.files = { train = ["train.npz"], validation = ["val.npz"], test = ["test.npz"] }

[splits.own]
title = "3/1/2"
source = "made up"
examples = { train = 15, validation = 5, test = 10 }
"""

TEXTS = """
title = "Words"
description = "Made up."
modality = "texts"
licence = "own"
default_split = "own"
order = "content"

[raw]
classes = 6

[forms.rows]
title = "a CSV file"
reader = "csv_text"
options = { files = "words.csv", text_column = "text", label_column = "class" }

[forms.objects]
title = "JSON lines"
reader = "json_lines"
options = { file = "words.json", text_fields = "text", label_field = "class", labels = "name" }

[splits.own]
title = "3/1/2"
source = "made up"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue with ``made``, pictures in three forms, and ``words``, texts in two."""
    root = tmp_path / "mine"
    for name, entry in (("made", PICTURES), ("words", TEXTS)):
        for folder in ("catalog/datasets", f"metadata/splits/{name}"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / f"catalog/datasets/{name}.toml").write_text(entry)
        rows = [f"{class_name},{subset}," for class_name, subset in SUBSETS.items()]
        (root / f"metadata/splits/{name}/own.csv").write_text("\n".join(["class,subset,superclass", *rows]) + "\n")
    (root / "metadata/licences.toml").write_text('[own]\nname = "Own"\nterms = "Be kind."\nconsent = false\n')
    monkeypatch.setenv("L2L_CATALOG", str(root))
    return root


@pytest.fixture
def catalog(root: Path) -> Catalog:
    return open_catalog()


@pytest.fixture
def record(catalog: Catalog) -> DatasetRecord:
    return catalog.dataset("made")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache.at(tmp_path / "cache")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def zipped(order: int = 0, without: str = "") -> bytes:
    """The pictures in a zip file; another `order` gives them other names, so that they sort otherwise."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, name in enumerate(SUBSETS):
            for example in range(EXAMPLES):
                if name != without:
                    member = zipfile.ZipInfo(f"{name}/{(example + order) % EXAMPLES:04}.png")  # of a fixed date
                    archive.writestr(member, png(PIXELS[number, example]))
    return out.getvalue()


def arrays(order: int = 0, key: str = "images") -> dict[str, bytes]:
    """The pictures in an array for each subset, their rows shuffled."""
    files = {}
    for subset in ("train", "validation", "test"):
        rows = [(n, i) for n, name in enumerate(SUBSETS) if SUBSETS[name] == subset for i in range(EXAMPLES)]
        rows = [rows[i] for i in np.random.default_rng(order).permutation(len(rows))]
        out = io.BytesIO()
        np.savez(out, **{key: np.stack([PIXELS[row] for row in rows]), "labels": np.array([n for n, _ in rows])})
        files[f"{'val' if subset == 'validation' else subset}.npz"] = out.getvalue()
    return files


def tarred(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"made/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def write(path: Path, content: bytes | Mapping[str, bytes]) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.mkdir()
        for name, data in content.items():
            (path / name).write_bytes(data)
    return path


def known(name: str, content: bytes, *urls: str) -> FileRecord:
    return FileRecord(name, urls, len(content), sha256=hashlib.sha256(content).hexdigest())


def served(record: DatasetRecord, server: Server, **files: bytes) -> DatasetRecord:
    """The record whose forms have one file each, which the server has unless it is empty."""
    forms = dict(record.forms)
    for name, content in files.items():
        file = f"{name}.tar.gz" if "arrays" in name else f"{name}.zip"
        if content:
            server.pages[f"/{file}"] = [Answer(content)]
        forms[name.replace("_", "-")] = replace(
            forms[name.replace("_", "-")], files=(known(file, content, server.url(f"/{file}")),)
        )
    return replace(record, forms=forms)


def form_of(path: Path) -> str:
    return path.name.rpartition("-")[0]


# Fetching


def test_the_first_form_that_can_be_had_is_taken(
    record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server
) -> None:
    record = served(record, server, pictures=zipped(), arrays=tarred(arrays()))
    assert form_of(fetch(record, catalog, cache)) == "pictures"
    assert server.paths() == ["/pictures.zip"]


def test_where_a_form_cannot_be_had_the_next_one_is_taken(
    record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server
) -> None:
    record = served(record, server, pictures=zipped(), arrays=tarred(arrays()))
    del server.pages["/pictures.zip"]
    path = fetch(record, catalog, cache)
    assert form_of(path) == "arrays"
    assert server.paths() == ["/pictures.zip", "/arrays.tar.gz"]
    assert fetch(record, catalog, cache) == path
    assert len(server.paths()) == 2, "what is here is not asked for again"
    assert form_of(load_store(record, catalog, cache).path) == "arrays"


@pytest.mark.parametrize(
    "content", [zipped(without="e"), zipped()[:-30]], ids=["of another content", "without its table of contents"]
)
def test_where_a_form_is_not_what_it_should_be_the_next_one_is_taken(
    content: bytes, record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server
) -> None:
    record = served(record, server, pictures=content, arrays=tarred(arrays()))
    assert form_of(fetch(record, catalog, cache)) == "arrays"


def test_where_no_form_can_be_had_each_says_why(
    record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server
) -> None:
    record = served(record, server, pictures=zipped(without="e"), other_arrays=tarred(arrays()), arrays=b"")
    with pytest.raises(FetchError) as caught:
        fetch(record, catalog, cache)
    first, *lines = str(caught.value).splitlines()
    assert first == "made: none of its 3 forms could be had:"
    assert lines[0] == (
        "  pictures: made: 1 of 6 classes are missing from pictures.zip (the first is e); give a complete copy in the "
        "layout of the official files"
    )
    assert lines[1] == (
        "  other-arrays: made: other_arrays.tar/made/train.npz in other_arrays.tar.gz has no entry 'data' but 'labels'"
        "; give a complete copy in the layout of the official files"
    )
    assert lines[2].startswith(
        "  arrays: cannot download arrays.tar.gz (127.0.0.1: HTTP status 404); get it another way"
    )
    assert len(lines) == 3
    assert not cache.stores("made").exists()


def test_a_form_that_is_asked_for_is_the_only_one_that_is_tried(
    record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server
) -> None:
    record = served(record, server, pictures=zipped(), arrays=b"")
    with pytest.raises(FetchError, match=r"^cannot download arrays\.tar\.gz "):
        fetch(record, catalog, cache, form="arrays")
    assert server.paths() == ["/arrays.tar.gz"]
    with pytest.raises(UnknownNameError, match=r"^unknown form 'array' of made; did you mean 'arrays'"):
        fetch(record, catalog, cache, form="array")
    with pytest.raises(FetchError, match=r"^made has no address to download from; give a copy of it with `l2l import"):
        fetch(record, catalog, cache, form="other-arrays")


def test_a_cache_that_cannot_be_written_is_no_reason_to_try_the_next_form(
    record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server
) -> None:
    record = served(record, server, pictures=zipped(), arrays=tarred(arrays()))
    cache.downloads("made").parent.mkdir(parents=True)
    cache.downloads("made").write_text("in the way")
    with pytest.raises(CacheError, match="cannot write pictures.zip to .*: a file stands where a folder should be"):
        fetch(record, catalog, cache)
    assert server.paths() == []


def test_the_form_prepared_last_is_the_one_that_is_used(
    record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server
) -> None:
    record = served(record, server, pictures=zipped(), arrays=tarred(arrays()))
    fetch(record, catalog, cache, form="arrays")
    assert form_of(load_store(record, catalog, cache).path) == "arrays"
    assert form_of(fetch(record, catalog, cache)) == "arrays", "one that is here is better than one that is not"
    for name in ("pictures", "arrays", "pictures"):
        fetch(record, catalog, cache, form=name)
        assert form_of(load_store(record, catalog, cache).path) == name
        assert prepared_form(record, cache) is record.forms[name]
        assert len(list(cache.stores("made").iterdir())) == 1


def test_a_damaged_store_that_cannot_be_had_again_gives_way_to_another_form(
    record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server, tmp_path: Path
) -> None:
    path = import_files(record, catalog, cache, [write(tmp_path / "mine.zip", zipped())])
    path.write_bytes(path.read_bytes()[:-1])
    record = served(record, server, arrays=tarred(arrays()))
    assert form_of(fetch(record, catalog, cache)) == "arrays"
    assert form_of(load_store(record, catalog, cache).path) == "arrays"


def test_a_damaged_store_is_mended(record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server) -> None:
    record = served(record, server, pictures=zipped(), arrays=tarred(arrays()))
    path = fetch(record, catalog, cache, form="pictures")
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    with pytest.raises(StoreError, match="is not a usable store"):
        load_store(record, catalog, cache)
    assert fetch(record, catalog, cache) == path
    assert path.read_bytes() == good


def test_consent_is_asked_for_before_anything_is_downloaded(
    root: Path, cache: Cache, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    licences = root / "metadata/licences.toml"
    licences.write_text(licences.read_text().replace("false", "true"))
    catalog = open_catalog()
    record = served(catalog.dataset("made"), server, pictures=zipped(), arrays=tarred(arrays()))
    with pytest.raises(ConsentError) as caught:
        fetch(record, catalog, cache)
    assert str(caught.value).startswith("the data comes under Own: Be kind, and nobody has accepted that here yet; ")
    assert server.paths() == []
    assert not cache.root.exists()
    monkeypatch.setenv("L2L_ACCEPT_LICENCES", "other,own")
    fetch(record, catalog, cache)
    monkeypatch.delenv("L2L_ACCEPT_LICENCES")
    remove(cache, "made", downloads=True, stores=True)
    fetch(record, catalog, cache)
    assert server.paths() == ["/pictures.zip"] * 2


# Importing


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("copy.zip", zipped(), "pictures"),
        ("copy.tar.gz", tarred(arrays()), "arrays"),
        ("copy.tgz", tarred(arrays(key="data")), "other-arrays"),
        ("arrays", arrays(), "arrays"),
        ("arrays", arrays(key="data"), "other-arrays"),
    ],
)
def test_what_is_brought_is_recognised(
    name: str,
    content: bytes | Mapping[str, bytes],
    form: str,
    record: DatasetRecord,
    catalog: Catalog,
    cache: Cache,
    tmp_path: Path,
) -> None:
    path = import_files(record, catalog, cache, [write(tmp_path / name, content)])
    assert path == store_path(record, record.forms[form], cache)
    assert prepared_form(record, cache) is record.forms[form]


def test_single_files_are_recognised_together(
    record: DatasetRecord, catalog: Catalog, cache: Cache, tmp_path: Path
) -> None:
    folder = write(tmp_path / "arrays", arrays())
    assert form_of(import_files(record, catalog, cache, sorted(folder.iterdir()))) == "arrays"
    with pytest.raises(ContentError, match="val.npz"):
        import_files(record, catalog, cache, [folder / "train.npz", folder / "test.npz"])


def test_a_compressed_archive_is_opened_once_for_all_forms(
    record: DatasetRecord, catalog: Catalog, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    open_tree = build.open_tree
    monkeypatch.setattr(build, "open_tree", lambda path, **limits: opened.append(path) or open_tree(path, **limits))
    copy = write(tmp_path / "copy.tar.gz", tarred(arrays()))
    import_files(record, catalog, cache, [copy])
    assert opened == [copy]


def test_a_folder_of_the_files_of_a_form_stands_for_these(
    record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server, tmp_path: Path
) -> None:
    record = served(record, server, pictures=zipped(), arrays=tarred(arrays()))
    folder = write(tmp_path / "downloads", {"arrays.tar.gz": tarred(arrays()), "readme.txt": b"read me"})
    assert form_of(import_files(record, catalog, cache, [folder])) == "arrays"


def test_what_is_none_of_the_forms_is_answered_with_what_they_are(
    record: DatasetRecord, catalog: Catalog, cache: Cache, tmp_path: Path
) -> None:
    notes = write(tmp_path / "notes.txt", b"nothing of use")
    with pytest.raises(ContentError) as caught:
        import_files(record, catalog, cache, [notes])
    assert str(caught.value) == (
        f"made: {notes} holds none of the forms in which it is known; give one of:\n"
        "  pictures: a zip file of CLASS/PICTURE.png\n"
        "  other-arrays: arrays, the pictures under another key\n"
        "  arrays: a tar.gz of arrays"
    )
    assert not cache.root.exists()


def test_what_resembles_several_forms_and_is_none_hears_of_each(
    record: DatasetRecord, catalog: Catalog, cache: Cache, tmp_path: Path
) -> None:
    folder = write(tmp_path / "arrays", arrays(key="pixels"))
    with pytest.raises(ContentError) as caught:
        import_files(record, catalog, cache, [folder])
    first, *lines = str(caught.value).splitlines()
    assert first == f"made: {folder} holds none of the 2 forms it resembles:"
    assert [line.split(":")[0] for line in lines] == ["  other-arrays", "  arrays"]
    assert "data" in lines[0]
    assert "images" in lines[1]


def test_a_form_that_is_named_needs_no_recognising(
    record: DatasetRecord, catalog: Catalog, cache: Cache, tmp_path: Path
) -> None:
    copy = write(tmp_path / "copy.zip", zipped())
    with pytest.raises(ContentError, match="train.npz"):
        import_files(record, catalog, cache, [copy], form="arrays")
    assert form_of(import_files(record, catalog, cache, [copy], form="pictures")) == "pictures"


# The same data from every form


def data_sha256(record: DatasetRecord, catalog: Catalog, cache: Cache, path: Path) -> str:
    return open_store(import_files(record, catalog, cache, [path])).data_sha256


def test_pictures_in_the_order_of_their_content_are_the_same_from_every_form(
    record: DatasetRecord, catalog: Catalog, cache: Cache, tmp_path: Path
) -> None:
    copies = {
        "one.zip": zipped(),
        "two.zip": zipped(order=3),
        "three.tar.gz": tarred(arrays(order=1)),
        "four.tar.gz": tarred(arrays(order=2, key="data")),
    }
    paths = [write(tmp_path / name, content) for name, content in copies.items()]
    assert len({data_sha256(record, catalog, cache, path) for path in reversed(paths)}) == 1
    store = open_store(store_path(record, record.forms["pictures"], cache))
    for number in range(len(SUBSETS)):
        pictures = store.examples[store.offsets[number] : store.offsets[number + 1], 0]
        by_digest = sorted(PIXELS[number], key=lambda pixels: hashlib.sha256(pixels.tobytes()).digest())
        assert np.array_equal(pictures, np.stack(by_digest))
    in_order_of_files = replace(record, order="files")
    assert len({data_sha256(in_order_of_files, catalog, cache, path) for path in paths}) == 4


def test_another_picture_is_other_data(record: DatasetRecord, catalog: Catalog, cache: Cache, tmp_path: Path) -> None:
    changed = arrays()
    changed["train.npz"] = arrays(order=1)["train.npz"]
    same = data_sha256(record, catalog, cache, write(tmp_path / "same", changed))
    images = np.load(io.BytesIO(changed["train.npz"]))
    out = io.BytesIO()
    np.savez(out, images=images["images"] ^ np.eye(SIDE, dtype=np.uint8), labels=images["labels"])
    changed["train.npz"] = out.getvalue()
    assert data_sha256(record, catalog, cache, write(tmp_path / "other", changed)) != same


def test_texts_in_the_order_of_their_content_are_the_same_from_every_form(
    catalog: Catalog, cache: Cache, tmp_path: Path
) -> None:
    record = catalog.dataset("words")
    pairs = [(f'{name} says, "{n}" — naïvely', name) for name in SUBSETS for n in range(1 + ord(name) % 4)]
    out = io.StringIO()
    csv.writer(out).writerows([("text", "class"), *pairs])
    rows = write(tmp_path / "words.csv", out.getvalue().encode())
    lines = [json.dumps({"class": name, "text": text}) for text, name in reversed(pairs)]
    objects = write(tmp_path / "words.json", "\n".join(lines).encode())
    stores = [open_store(import_files(record, catalog, cache, [path])) for path in (rows, objects)]
    assert stores[0].path != stores[1].path
    assert stores[0].data_sha256 == stores[1].data_sha256
    assert stores[0].source != "" != stores[1].source
    for store in stores:
        found = [store.example(i).tobytes().decode() for i in range(len(store))]
        assert sorted(found) == sorted(text for text, _ in pairs)
        assert np.diff(store.offsets).tolist() == [1 + ord(name) % 4 for name in SUBSETS]


# What a copy must hold


def test_a_class_of_another_size_is_refused(
    record: DatasetRecord, catalog: Catalog, cache: Cache, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    with zipfile.ZipFile(io.BytesIO(zipped())) as archive:
        archive.extractall(folder)
    (folder / "c/0003.png").unlink()
    with pytest.raises(ContentError) as caught:
        import_files(record, catalog, cache, [folder])
    assert str(caught.value) == (
        "made: c in pictures has 4 examples instead of 5; give a complete copy in the layout of the official files"
    )


@pytest.mark.parametrize(
    ("totals", "message"),
    [
        ({"examples": 31}, "made: copy.zip holds 30 examples instead of 31; give a complete copy"),
        ({"train": 16}, "made: copy.zip holds 15 train examples instead of 16; give a complete copy"),
        ({"test": 9}, "made: copy.zip holds 10 test examples instead of 9; give a complete copy"),
    ],
)
def test_totals_are_checked_in_all_and_in_each_subset(
    totals: dict[str, int], message: str, record: DatasetRecord, catalog: Catalog, cache: Cache, tmp_path: Path
) -> None:
    raw = replace(record.raw, examples=totals.pop("examples", 30))
    split = record.splits["own"]
    splits = {"own": replace(split, examples={**split.examples, **totals})}
    wrong = replace(record, raw=raw, splits=splits)
    with pytest.raises(ContentError) as caught:
        import_files(wrong, catalog, cache, [write(tmp_path / "copy.zip", zipped())])
    assert str(caught.value) == message
    assert not list(cache.root.rglob("*.safetensors*"))


# What changes is prepared anew


def test_a_changed_class_list_is_never_misread_and_fetch_prepares_anew(
    root: Path, cache: Cache, server: Server
) -> None:
    entry, split = root / "catalog/datasets/made.toml", root / "metadata/splits/made/own.csv"
    entry.write_text(entry.read_text().replace("class_depth = 1", 'class_depth = 1, other_classes = "ignore"'))
    out = io.BytesIO(zipped())
    with zipfile.ZipFile(out, "a") as archive:
        for name in archive.namelist():
            if name.startswith("f/"):
                archive.writestr(zipfile.ZipInfo(name.replace("f/", "g/")), archive.read(name))

    def read() -> tuple[DatasetRecord, Catalog]:
        catalog = open_catalog()
        return served(catalog.dataset("made"), server, pictures=out.getvalue()), catalog

    path = fetch(*read(), cache)
    # Class f becomes another edition's g; nothing else in the entry says so.
    split.write_text(split.read_text().replace("f,test", "g,test"))
    record, catalog = read()
    assert store_path(record, record.forms["pictures"], cache) == path, "nothing but the list tells them apart"
    for read_it in (load_store, verify):
        with pytest.raises(StoreError) as caught:
            read_it(record, catalog, cache)
        assert str(caught.value).endswith(
            f"{path} holds other classes than the split own of made lists today; remove it and prepare made again"
        )
    assert fetch(record, catalog, cache) == path
    assert load_store(record, catalog, cache).manifest.classes == ("a", "b", "c", "d", "e", "g")
    assert server.paths() == ["/pictures.zip"], "what was downloaded still serves"


@pytest.mark.parametrize("change", ["reader", "format", "options"])
def test_a_changed_recipe_is_another_store_which_takes_the_place_of_the_old_one(
    change: str, record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = served(record, server, pictures=zipped())
    old = fetch(record, catalog, cache)
    if change == "reader":
        monkeypatch.setitem(readers.VERSIONS, "image_folders", readers.VERSIONS["image_folders"] + 1)
    elif change == "format":
        monkeypatch.setattr(stores, "FORMAT_VERSION", 3)
    else:
        record = replace(record, prepared={**record.prepared, "invert": True})
    mapped, content = open_store(old), open_store(old).examples.tobytes()
    with pytest.raises(StoreError) as caught:
        load_store(record, catalog, cache)
    assert str(caught.value).startswith(
        f"the store of made in {cache.root} was made by another version or recipe; get it with `l2l fetch made`"
    )
    new = fetch(record, catalog, cache)
    assert server.paths() == ["/pictures.zip"], "what was downloaded still serves"
    assert [path.name for path in cache.stores("made").iterdir()] == [new.name]
    assert open_store(new).manifest.key == new.stem
    assert mapped.examples.tobytes() == content, "whoever has the old one open keeps it"
    listed = {entry.kind: entry.size_bytes for entry in entries(cache)}
    assert listed["stores"] == new.stat().st_size
    assert remove(cache, "made", downloads=False, stores=True) == listed["stores"]
    assert [entry.kind for entry in entries(cache)] == ["downloads"]


def test_another_list_of_numbers_is_another_recipe(root: Path, record: DatasetRecord) -> None:
    entry = root / "catalog/datasets/made.toml"
    text = entry.read_text()
    assert 'reader = "image_folders"' in text
    entry.write_text(text + '\n[forms.listed]\ntitle = "x"\nreader = "image_folders"\noptions = { numbers = "mine" }\n')
    table = root / "metadata/numbers/made/mine.csv"
    table.parent.mkdir(parents=True)
    recipes = []
    for numbers in ("1 2", "1 3"):
        table.write_text(f"class,numbers\na,{numbers}\n")
        made = open_catalog().dataset("made")
        recipes.append([stores.recipe(made, form) for form in made.forms.values()])
    assert [before == after for before, after in zip(*recipes, strict=True)] == [True] * len(record.forms) + [False]


def test_trouble_beside_a_form_s_own_files_does_not_matter(
    record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server, tmp_path: Path
) -> None:
    record = served(record, server, pictures=zipped(), arrays=tarred(arrays()))
    folder = tmp_path / "downloads"
    folder.mkdir()
    write(folder / "arrays.tar.gz", tarred(arrays()))
    (folder / "link").symlink_to(tmp_path)
    write(folder / "pictures.zip", zipped()[:-30])
    assert form_of(import_files(record, catalog, cache, [folder])) == "arrays"
    (folder / "arrays.tar.gz").unlink()
    with pytest.raises(ContentError) as caught:
        import_files(record, catalog, cache, [folder])
    assert "its table of contents is missing or damaged" in str(caught.value)
    assert "'link' in" in str(caught.value)


# Verifying


def damaged(path: Path, at: int = 100) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_verify_says_what_is_here(record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server) -> None:
    record = served(record, server, pictures=zipped(), arrays=tarred(arrays()))
    with pytest.raises(StoreError, match="made is not in .*; get it with `l2l fetch made`"):
        verify(record, catalog, cache)
    paths = [fetch(record, catalog, cache, form=form) for form in ("pictures", "arrays")]
    assert [path.exists() for path in paths] == [False, True]
    digest = open_store(paths[1]).sha256[:16]
    assert verify(record, catalog, cache) == (
        f"2 downloaded files as recorded; 30 examples of 6 classes from arrays, sha256 {digest}"
    )
    remove(cache, "made", downloads=False, stores=True)
    assert verify(record, catalog, cache) == "2 downloaded files as recorded"


@pytest.mark.parametrize("known_by", ["record", "receipt"])
def test_verify_names_every_damaged_file(
    known_by: str, record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server
) -> None:
    record = served(record, server, pictures=zipped(), arrays=tarred(arrays()))
    if known_by == "receipt":
        (file,) = record.forms["pictures"].files
        unknown = replace(file, sha256=None, size_bytes=None, about_bytes=file.size_bytes)
        record = replace(
            record, forms={**record.forms, "pictures": replace(record.forms["pictures"], files=(unknown,))}
        )
    stores = [fetch(record, catalog, cache, form=form) for form in ("pictures", "arrays")]
    verify(record, catalog, cache)
    download = cache.downloads("made") / "pictures.zip"
    damaged(download)
    with pytest.raises(StoreError) as caught:
        verify(record, catalog, cache)
    assert str(caught.value).startswith(f"{download} is damaged (wrong content (sha256 ")
    assert str(caught.value).endswith("; remove it, and `l2l fetch` gets it anew when it is needed")
    damaged(stores[1], at=-1)
    with pytest.raises(StoreError) as caught:
        verify(record, catalog, cache)
    assert f"{download} is damaged" in str(caught.value)
    assert f"{stores[1]} is not a usable store: its data has sha256" in str(caught.value)
    assert str(stores[0]) not in str(caught.value)


def test_a_download_may_be_that_of_any_form_of_its_name(
    record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server
) -> None:
    record = served(record, server, pictures=zipped())
    (file,) = record.forms["pictures"].files
    other = replace(record.forms["arrays"], files=(replace(file, sha256="0" * 64),))
    record = replace(record, forms={"arrays": other, "pictures": record.forms["pictures"]})
    fetch(record, catalog, cache, form="pictures")
    assert verify(record, catalog, cache).startswith("1 downloaded file as recorded; ")


def test_a_damaged_download_is_got_anew(record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server) -> None:
    record = served(record, server, pictures=zipped())
    path = fetch(record, catalog, cache)
    good = path.read_bytes()
    download = cache.downloads("made") / "pictures.zip"
    damaged(download)
    path.unlink()
    assert fetch(record, catalog, cache).read_bytes() == good
    assert download.read_bytes() == zipped()
    assert server.paths() == ["/pictures.zip"] * 2


def test_a_bomb_is_refused_before_it_is_inflated(
    record: DatasetRecord, catalog: Catalog, cache: Cache, server: Server, tmp_path: Path
) -> None:
    bomb = tarred({**arrays(), "zeros.bin": bytes(40_000_000)})
    assert len(bomb) < 100_000
    record = served(record, server, arrays=bomb)
    with pytest.raises(ArchiveError, match=r"arrays\.tar\.gz holds more than the [\d,]+ bytes that are allowed here"):
        fetch(record, catalog, cache)
    assert not list(cache.root.rglob("*.safetensors*"))
