"""``l2l list`` and ``l2l show`` against the catalogue's files."""

import csv
from pathlib import Path

import pytest

from l2l_core.algorithms.methods import METHODS, Setting
from l2l_core.catalog import open_catalog, own_root
from tests.cli.command import Command
from tests.small import CLASSES, SmallData, only_form


def _names(kind: str) -> list[str]:
    return [path.stem for path in (own_root() / "catalog" / kind).glob("*.toml")]


def test_list_names_every_file_of_the_catalogue(l2l: Command) -> None:
    found = l2l("list", "--json").json
    assert list(found) == ["datasets", "benchmarks", "methods", "recipes", "weights"]
    assert sorted(row["name"] for row in found["datasets"]) == sorted([*_names("datasets"), "small"])
    assert sorted(row["name"] for row in found["benchmarks"]) == sorted([*_names("benchmarks"), "small-3w2s"])
    assert [row["name"] for row in found["methods"]] == list(METHODS)
    for kind in found:
        assert l2l("list", kind, "--json").json == found[kind]


def test_list_as_text_is_the_same_table(l2l: Command) -> None:
    rows = l2l("list", "datasets", "--json").json
    header, rule, *lines = l2l("list", "datasets").lines
    assert header.split() == [column for column in rows[0] if column != "download_bytes"]
    assert set(rule) == {"-", " "}
    assert [line.split()[0] for line in lines] == [row["name"] for row in rows]
    omniglot = next(line for line in lines if line.startswith("omniglot"))
    assert "1,623" in omniglot
    assert "32,460" in omniglot
    everything = l2l("list").lines
    assert [line for line in everything if line.isupper()] == [kind.upper() for kind in l2l("list", "--json").json]
    assert [line for line in lines if line in everything] == lines


def test_list_says_what_is_here(l2l: Command, mine: SmallData, tmp_path: Path) -> None:
    def here(*words: object) -> dict[str, bool]:
        return {row["name"]: row["here"] for row in l2l("list", "datasets", "--json", *words).json}

    assert here() == dict.fromkeys(sorted([*_names("datasets"), "small"]), False)
    other = tmp_path / "other"
    l2l("import", "small", mine.folder, "--root", other)
    assert not here()["small"]
    assert here("--root", other)["small"]
    shown = {line.split()[0]: line.split()[-1] for line in l2l("list", "datasets", "--root", other).lines}
    assert (shown["small"], shown["omniglot"]) == ("yes", "no")


def test_show_a_data_set(l2l: Command, mine: SmallData) -> None:
    found = l2l("show", "omniglot", "--json").json
    record = open_catalog().dataset("omniglot")
    files = only_form(record).files
    assert [file["sha256"] for file in found["forms"]["images"]["files"]] == [file.sha256 for file in files]
    assert found["splits"]["vinyals"]["classes"] == {"train": 1028, "validation": 172, "test": 423}
    assert found["here"] is None
    assert found["licence"]["name"] == "MIT License"
    text = l2l("show", "omniglot").out
    for file in files:
        assert file.sha256 in text
        assert all(url in text for url in file.urls)
    assert l2l("show", "small", "--json").json["splits"]["own"]["classes"] == {"train": 6, "validation": 3, "test": 3}


def test_show_cuts_a_long_list_short_and_json_does_not(l2l: Command) -> None:
    text = l2l("show", "quickdraw").lines
    assert sum(".npy; urls" in line for line in text) == 40
    assert any(line.endswith("- and 305 more, which --json shows") for line in text)
    assert len(l2l("show", "quickdraw", "--json").json["forms"]["bitmaps"]["files"]) == 345


def test_show_gives_the_terms_the_statistics_and_the_forms(l2l: Command) -> None:
    found = l2l("show", "mini-imagenet", "--json").json
    assert found["licence"]["consent"] is True
    assert found["statistics"]["mean"] == pytest.approx([0.472, 0.453, 0.410], abs=1e-3)
    assert list(found["forms"]) == list(open_catalog().dataset("mini-imagenet").forms)
    text = l2l("show", "mini-imagenet").out
    assert found["licence"]["terms"] in text
    assert all(form["title"] in text for form in found["forms"].values())


def test_show_says_where_the_store_is(l2l: Command, mine: SmallData, tmp_path: Path) -> None:
    (path,) = l2l("import", "small", mine.folder, "--root", tmp_path / "there").lines
    found = l2l("show", "small", "--root", tmp_path / "there", "--json").json
    assert (found["store"], found["here"]) == (path, "pictures")
    assert Path(path).is_file()


def test_show_a_benchmark_with_its_published_figures(l2l: Command) -> None:
    found = l2l("show", "omniglot-5w1s", "--json").json
    assert (found["ways"], found["shots"], found["dataset"]) == (5, 1, "omniglot")
    with (own_root() / "metadata/results/published/omniglot-5w1s.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    published = sorted((row["method"], row["accuracy"]) for row in found["published"])
    assert published == sorted((row["method"], float(row["accuracy"])) for row in rows)
    text = l2l("show", "omniglot-5w1s").out
    assert all(row["method"] in text for row in rows)


@pytest.mark.parametrize("method", METHODS)
def test_show_a_method_with_its_recipe(l2l: Command, method: str) -> None:
    found = l2l("show", method, "--json").json
    assert found["description"] == METHODS[method].description
    assert found["20w5s"]["training"]["train_shots"] == METHODS[method].training(Setting(20, 5)).train_shots
    assert found["5w1s"]["learner"] == METHODS[method].settings(Setting(5, 1))
    assert METHODS[method].description in l2l("show", method).out


def test_names_in_the_catalogue_all_have_something_to_show(l2l: Command) -> None:
    for name in (*open_catalog().datasets, *open_catalog().benchmarks):
        assert l2l("show", name).lines[0].split() == ["name", name]


def test_show_a_name_that_is_none(l2l: Command) -> None:
    assert l2l("show", "omniglott").mistake.startswith(
        "unknown data set, benchmark, method or recipe 'omniglott'; did you mean 'omniglot'"
    )
    assert l2l("show", CLASSES[0]).mistake.startswith("unknown data set, benchmark, method or recipe")
