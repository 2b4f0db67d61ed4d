"""``l2l fetch``, ``import`` and ``verify``: what they print, and what they leave when they refuse."""

import json
from pathlib import Path

import pytest

from l2l_core.catalog import open_catalog
from l2l_core.cli.options import size_text
from l2l_core.data.own import from_folder
from l2l_core.fetch.cache import home
from tests.cli.command import Command
from tests.small import SmallData


def _not_here(*here: str) -> dict[str, str]:
    """What ``l2l verify`` says of the data sets that are not in the cache."""
    return {name: "not here" for name in open_catalog().datasets if name not in here}


def _verified(lines: list[str]) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in lines)


def _mirror(served: SmallData, tmp_path: Path) -> Path:
    """A folder that holds the archive as a mirror does."""
    mirror = tmp_path / "mirror"
    (mirror / "small").mkdir(parents=True)
    (mirror / "small/small.zip").write_bytes(served.archive.read_bytes())
    return mirror


def _stores() -> list[Path]:
    return sorted(home().rglob("*.safetensors*"))


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_import_prints_the_store(l2l: Command, mine: SmallData, form: str) -> None:
    done = l2l("import", "small", getattr(mine, form))
    assert [Path(line) for line in done.lines] == _stores()


def test_folder_and_zip_give_the_same_bytes(l2l: Command, mine: SmallData, tmp_path: Path) -> None:
    paths = [
        l2l("import", "small", source, "--root", tmp_path / root).out.strip()
        for source, root in ((mine.folder, "one"), (mine.archive, "two"))
    ]
    assert [Path(path).relative_to(tmp_path).parts[0] for path in paths] == ["one", "two"]
    first, second = (Path(path).read_bytes() for path in paths)
    assert first == second


def test_fetch_leaves_what_is_prepared(l2l: Command, imported: SmallData) -> None:
    done = l2l("fetch", "small")
    assert [Path(line) for line in done.lines] == _stores()
    assert done.err == "small is prepared already; `l2l verify small` checks it\n"


def test_fetch_of_what_has_no_address(l2l: Command) -> None:
    assert l2l("fetch", "small").mistake == (
        "small has no address to download from; give a copy of it with `l2l import small PATH`"
    )
    assert not _stores()


def test_import_of_what_is_no_copy(l2l: Command, mine: SmallData, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no pictures here")
    cut = tmp_path / "cut.zip"
    cut.write_bytes(mine.archive.read_bytes()[:3000])
    lacking = mine.folder / "set/Abc/character03/0002_05.png"
    expected = {
        tmp_path / "nowhere": "it does not exist",
        text: "small: 12 of 12 classes are missing from notes.txt (the first is set/Abc/character01)",
        cut: "table of contents is missing or damaged",
    }
    for path, reason in expected.items():
        mistake = l2l("import", "small", path).mistake
        assert path.name in mistake
        assert reason in mistake
        assert ";" in mistake
    lacking.unlink()
    mistake = l2l("import", "small", mine.folder).mistake
    assert "set/Abc/character03" in mistake
    assert "7" in mistake
    assert "8" in mistake
    assert not _stores()


def test_verify_says_what_is_here(l2l: Command, imported: SmallData) -> None:
    catalogue, *lines = l2l("verify").lines
    datasets, benchmarks = len(open_catalog().datasets), len(open_catalog().benchmarks)
    assert catalogue == f"catalogue: {datasets} data sets and {benchmarks} benchmarks are well-formed"
    said = _verified(lines)
    assert said["small"].startswith("96 examples of 12 classes from pictures, sha256 ")
    assert said == {**_not_here("small"), "small": said["small"]}
    assert l2l("verify", "small").lines == [catalogue, f"small: {said['small']}"]
    found = l2l("verify", "--json").json
    assert found["catalogue"] == {"datasets": datasets, "benchmarks": benchmarks}
    assert found["datasets"] == {"small": {"whole": True, "found": said["small"]}}


def test_verify_looks_at_data_of_one_s_own(l2l: Command, mine: SmallData) -> None:
    from_folder(mine.folder, image_size=7, class_depth=3)
    (name,) = [row["dataset"] for row in l2l("cache", "--json").json]
    assert f"{name}: 96 examples of 12 classes" in l2l("verify").lines
    assert l2l("verify", name).lines[1:] == [f"{name}: 96 examples of 12 classes"]
    (store,) = _stores()
    content = bytearray(store.read_bytes())
    content[-5] ^= 1
    store.write_bytes(content)
    damaged = l2l("verify", name, "--json")
    assert damaged.status == 1
    assert json.loads(damaged.out)["datasets"][name]["whole"] is False
    assert "its data has sha256" in damaged.err


def test_verify_finds_a_changed_byte(l2l: Command, imported: SmallData) -> None:
    (store,) = _stores()
    content = bytearray(store.read_bytes())
    content[-5] ^= 1
    store.write_bytes(content)
    mistake = l2l("verify", "small").mistake
    assert str(store) in mistake
    assert "its data has sha256" in mistake
    assert mistake.endswith("; remove it and prepare the data set again")
    everything = l2l("verify")
    assert everything.status == 1
    assert _verified(everything.out.splitlines()[1:]) == {**_not_here("small"), "small": "damaged"}
    assert everything.err == f"l2l: {mistake}\n"


def test_import_says_which_edition_it_is(l2l: Command, mine: SmallData) -> None:
    done = l2l("import", "small", mine.folder)
    assert done.err == "", "a record without a reference says nothing"
    entry = mine.catalog / "catalog/datasets/small.toml"
    reader = 'reader = "image_folders"'
    entry.write_text(entry.read_text().replace(reader, f'{reader}\ncontent_sha256 = "{"0" * 64}"'))
    assert l2l("import", "small", mine.folder).err == "small: content of another edition\n"


def test_verify_names_readers_and_options_that_cannot_be(l2l: Command, mine: SmallData) -> None:
    entry = mine.catalog / "catalog/datasets/small.toml"
    text = entry.read_text()
    entry.write_text(text.replace('"image_folders"', '"image_folder"'))
    assert "small: pictures: unknown reader 'image_folder'; did you mean 'image_folders'" in l2l("verify").err
    entry.write_text(text.replace("class_depth = 3", "class_depth = 0"))
    assert "small: pictures: class_depth: expected at least 1, found 0" in l2l("verify").err


def test_a_cut_off_store_is_noticed_when_it_is_opened(l2l: Command, imported: SmallData) -> None:
    (store,) = _stores()
    store.write_bytes(store.read_bytes()[:-5])
    for words in (
        ("verify", "small"),
        ("sample", "small", "--queries", 1),
        ("evaluate", "small-3w2s", "--method", "maml"),
    ):
        assert str(store) in l2l(*words).mistake


def test_verify_of_what_is_not_here(l2l: Command) -> None:
    assert "small" in l2l("verify", "small").mistake
    assert _verified(l2l("verify").lines[1:]) == _not_here()


def test_verify_reports_every_problem_of_the_catalogue(l2l: Command, mine: SmallData) -> None:
    (mine.catalog / "catalog/benchmarks/broken-5w1s.toml").write_text('title = ""\nways = "five"\n')
    done = l2l("verify")
    assert done.status == 1
    first, *problems = done.err.splitlines()
    assert first.startswith("l2l: the catalogue has ")
    assert len(problems) >= 5
    assert all("broken-5w1s.toml" in problem for problem in problems)
    assert json.dumps(done.out) == '""'


def test_glyphs_are_verified(l2l: Command, glyphs_home: Path) -> None:
    line = l2l("verify", "glyphs", "--root", glyphs_home).lines[1]
    assert line.startswith("glyphs: ")
    assert "20" in line


def test_fetch_from_a_mirror_folder_offline(l2l: Command, served: SmallData, tmp_path: Path) -> None:
    assert "no connection is made offline" in l2l("fetch", "small", "--offline").mistake
    assert not _stores()
    done = l2l("fetch", "small", "--mirror", _mirror(served, tmp_path), "--offline")
    assert [Path(line) for line in done.lines] == _stores()
    said = l2l("verify", "small").lines[1]
    assert said.startswith("small: 1 downloaded file as recorded; 96 examples of 12 classes from pictures, sha256 ")
    assert l2l("remove", "small", "--stores").status == 0
    assert _verified(l2l("verify").lines[1:]) == {**_not_here("small"), "small": "1 downloaded file as recorded"}


def test_fetch_of_a_form_that_is_none(l2l: Command, mine: SmallData) -> None:
    for words in (("fetch", "small"), ("import", "small", mine.folder)):
        assert l2l(*words, "--form", "picture").mistake == "unknown form 'picture' of small; did you mean 'pictures'?"
    assert l2l("import", "small", mine.folder, "--form", "pictures").status == 0


def test_a_licence_is_accepted_once(l2l: Command, served: SmallData, tmp_path: Path) -> None:
    entry = served.catalog / "catalog/datasets/small.toml"
    entry.write_text(entry.read_text().replace('"mit"', '"imagenet"'))
    mistake = l2l("fetch", "small").mistake
    assert "ImageNet" in mistake
    assert mistake.endswith("accept them with --yes or L2L_ACCEPT_LICENCES=imagenet")
    assert not (home() / "downloads").exists(), "nothing is downloaded before"
    mirror = _mirror(served, tmp_path)
    assert l2l("fetch", "small", "--yes", "--offline", "--mirror", mirror).status == 0
    assert l2l("remove", "small").status == 0
    assert l2l("fetch", "small", "--offline", "--mirror", mirror).status == 0


def test_verify_names_a_damaged_download(l2l: Command, served: SmallData, tmp_path: Path) -> None:
    mirror = _mirror(served, tmp_path)
    assert l2l("fetch", "small", "--offline", "--mirror", mirror).status == 0
    path = home() / "downloads/small/small.zip"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    mistake = l2l("verify", "small").mistake
    assert mistake.startswith(f"{path} is damaged (wrong content (sha256 ")
    assert mistake.endswith("; remove it, and `l2l fetch` gets it anew when it is needed")
    (store,) = _stores()
    store.write_bytes(store.read_bytes()[:-1])
    mistake = l2l("verify").err
    assert str(path) in mistake
    assert f"{store} is not a usable store" in mistake


def test_cache_says_what_lies_where(l2l: Command, served: SmallData, tmp_path: Path) -> None:
    assert l2l("cache", "--json").json == []
    mirror = _mirror(served, tmp_path)
    l2l("fetch", "small", "--offline", "--mirror", mirror)
    found = l2l("cache", "--json").json
    assert [(row["dataset"], row["kind"]) for row in found] == [("small", "downloads"), ("small", "stores")]
    for row in found:
        folder = Path(row["path"])
        assert folder.is_relative_to(home())
        assert row["size_bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    done = l2l("cache")
    assert [line.split()[:2] for line in done.lines[2:]] == [["small", "downloads"], ["small", "stores"]]
    total = sum(row["size_bytes"] for row in found)
    assert done.err == f"{size_text(total)} in {home()}; `l2l remove DATASET` frees what a data set takes\n"


@pytest.mark.parametrize(("option", "left"), [("--downloads", {"stores"}), ("--stores", {"downloads"}), (None, set())])
def test_remove_frees_what_it_says(
    l2l: Command, served: SmallData, tmp_path: Path, option: str | None, left: set[str]
) -> None:
    mirror = _mirror(served, tmp_path)
    l2l("fetch", "small", "--offline", "--mirror", mirror)
    sizes = {row["kind"]: row["size_bytes"] for row in l2l("cache", "--json").json}
    done = l2l("remove", "small", *([option] if option else []))
    freed = sum(size for kind, size in sizes.items() if kind not in left)
    assert done.lines == [f"small: {size_text(freed)} freed"]
    assert {row["kind"] for row in l2l("cache", "--json").json} == left


def test_what_is_removed_need_not_be_in_the_catalogue_but_is_a_name(l2l: Command, mine: SmallData) -> None:
    old = home() / "stores/forgotten/pictures-0123456789abcdef.safetensors"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"x" * 2000)
    assert [row["dataset"] for row in l2l("cache", "--json").json] == ["forgotten"]
    assert l2l("remove", "forgotten").lines == ["forgotten: 2.0 kB freed"]
    for name in ("../stores", "..", "a/b"):
        assert l2l("remove", name).mistake == (
            f"cannot remove {name!r}: that is not the name of a data set; `l2l cache` lists them"
        )
    assert home().is_dir()


def test_what_is_not_there_is_not_removed(l2l: Command) -> None:
    assert l2l("remove", "omniglot").mistake == "unknown data set 'omniglot' in the cache; none is known"
