"""``l2l fetch``, ``import`` and ``verify``: what they print, and what they leave when they refuse."""

import json
from pathlib import Path

import pytest

from l2l_core.fetch.cache import home
from tests.cli.command import Command
from tests.small import SmallData


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
        text: "is not a zip file",
        cut: "table of contents is missing or damaged",
    }
    for path, reason in expected.items():
        mistake = l2l("import", "small", path).mistake
        assert str(path) in mistake
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
    assert catalogue == "catalogue: 3 data sets and 9 benchmarks are well-formed"
    assert lines[:2] == ["glyphs: not here", "omniglot: not here"]
    assert lines[2].startswith("small: 96 examples of 12 classes, sha256 ")
    assert l2l("verify", "small").lines == [catalogue, lines[2]]
    found = l2l("verify", "--json").json
    assert found == {
        "catalogue": {"datasets": 3, "benchmarks": 9},
        "small": lines[2].removeprefix("small: "),
    }


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
    assert everything.out.splitlines()[1:] == ["glyphs: not here", "omniglot: not here", "small: damaged"]
    assert everything.err == f"l2l: {mistake}\n"


def test_import_says_which_edition_it_is(l2l: Command, mine: SmallData) -> None:
    done = l2l("import", "small", mine.folder)
    assert done.err == "", "a record without a reference says nothing"
    entry = mine.catalog / "catalog/datasets/small.toml"
    entry.write_text(entry.read_text().replace("[raw]", f'[raw]\ncontent_sha256 = "{"0" * 64}"'))
    assert l2l("import", "small", mine.folder).err == "small: content of another edition\n"


def test_verify_names_readers_and_options_that_cannot_be(l2l: Command, mine: SmallData) -> None:
    entry = mine.catalog / "catalog/datasets/small.toml"
    text = entry.read_text()
    entry.write_text(text.replace('"image_folders"', '"image_folder"'))
    assert "small: unknown reader 'image_folder'; did you mean 'image_folders'" in l2l("verify").err
    entry.write_text(text.replace("class_depth = 3", "class_depth = 0"))
    assert "small: prepared.class_depth: expected at least 1, found 0" in l2l("verify").err


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
    assert l2l("verify").lines[1:] == ["glyphs: not here", "omniglot: not here", "small: not here"]


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
