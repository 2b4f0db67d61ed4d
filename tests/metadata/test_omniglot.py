"""The facts about Omniglot that the catalogue states, read from the files alone and held against their sources."""

import csv
import hashlib
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORD = tomllib.loads((ROOT / "catalog/datasets/omniglot.toml").read_text(encoding="utf-8"))
FILES = RECORD["forms"]["images"]["files"]
SPLITS = {"vinyals": (1028, 172, 423), "lake": (964, 0, 659), "meta-dataset": (883, 81, 659)}
# The first half of the sha256 over a subset's names, sorted and joined by line feeds, computed from the lists as they
# were taken from the sources that the record names, not from the files here.
DIGESTS = {
    ("vinyals", "train"): "55fb4a4f5b4f8a45",
    ("vinyals", "validation"): "978680cddffa0987",
    ("vinyals", "test"): "cd7a4fc76e0d3b99",
    ("lake", "train"): "9c1ce245348a7647",
    ("lake", "test"): "21a4d8c92a6dd95c",
    ("meta-dataset", "train"): "1be4988a7c581fec",
    ("meta-dataset", "validation"): "3ba23e889be9899e",
    ("meta-dataset", "test"): "21a4d8c92a6dd95c",
}
RESULTS = {"omniglot-5w1s": (31, 4), "omniglot-5w5s": (30, 4), "omniglot-20w1s": (23, 5), "omniglot-20w5s": (23, 5)}


def table(path: str) -> list[dict[str, str]]:
    with (ROOT / "metadata" / path).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def classes(split: str, subset: str | None = None) -> list[str]:
    return [row["class"] for row in table(f"splits/omniglot/{split}.csv") if subset in (None, row["subset"])]


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_the_published_number_of_characters(split: str) -> None:
    names = classes(split)
    assert len(names) == len(set(names)) == 1623
    assert tuple(len(classes(split, subset)) for subset in ("train", "validation", "test")) == SPLITS[split]


def test_every_subset_is_the_published_one() -> None:
    for (split, subset), digest in DIGESTS.items():
        names = "\n".join(sorted(classes(split, subset)))
        assert hashlib.sha256(names.encode()).hexdigest().startswith(digest), (split, subset)


@pytest.mark.parametrize("split", SPLITS)
def test_there_are_thirty_background_and_twenty_evaluation_alphabets(split: str) -> None:
    rows = table(f"splits/omniglot/{split}.csv")
    alphabets = {tuple(row["class"].split("/")[:2]) for row in rows}
    assert Counter(folder for folder, _ in alphabets) == {"images_background": 30, "images_evaluation": 20}
    assert len({alphabet for _, alphabet in alphabets}) == 50
    assert all(row["superclass"] == row["class"].split("/")[1] for row in rows)


def test_the_characters_of_an_alphabet_are_numbered_from_one_without_a_gap() -> None:
    found: dict[str, list[str]] = {}
    for name in classes("lake"):
        _, alphabet, character = name.split("/")
        found.setdefault(alphabet, []).append(character)
    for characters in found.values():
        assert sorted(characters) == [f"character{number:02}" for number in range(1, len(characters) + 1)]
    assert (min(map(len, found.values())), max(map(len, found.values()))) == (14, 55)


def test_lake_et_al_learn_from_background_and_test_on_evaluation() -> None:
    for row in table("splits/omniglot/lake.csv"):
        assert row["subset"] == {"images_background": "train", "images_evaluation": "test"}[row["class"].split("/")[0]]


def test_meta_dataset_validates_on_the_five_smallest_background_alphabets() -> None:
    background = Counter(name.split("/")[1] for name in classes("lake", "train"))
    by_size = sorted(background, key=lambda alphabet: background[alphabet])
    assert background[by_size[4]] < background[by_size[5]]  # so "the five smallest" is a set and not a choice
    subset_of = {(row["superclass"], row["subset"]) for row in table("splits/omniglot/meta-dataset.csv")}
    assert {alphabet for alphabet, subset in subset_of if subset == "validation"} == set(by_size[:5])
    assert {alphabet for alphabet, subset in subset_of if subset == "train"} == set(by_size[5:])
    assert len(subset_of) == 50  # no alphabet stands in two subsets


def test_the_official_files_are_pinned() -> None:
    # TensorFlow Datasets, url_checksums/omniglot.txt (bytes, sha256); torchvision, datasets/omniglot.py (md5).
    files = {file["name"]: (file["size_bytes"], file["md5"], file["sha256"]) for file in FILES}
    assert files == {
        "images_background.zip": (
            9_464_212,
            "68d2efa1b9178cc56df9314c21c6e718",
            "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
        ),
        "images_evaluation.zip": (
            6_462_886,
            "6b91aef0f799c5bb55b94e3f2daec811",
            "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
        ),
    }
    for file in FILES:
        first = file["urls"][0]
        assert "/brendenlake/omniglot/057f034baf2ecb8530bc5710e5a23584d2a519cc/" in first, "a commit cannot change"
        assert all(url.endswith(f"/python/{file['name']}") for url in file["urls"])


def test_the_raw_pictures_are_described() -> None:
    raw = RECORD["raw"]
    assert raw["image_size"] == [105, 105]
    counts = raw["classes"], raw["superclasses"], raw["examples_per_class"], raw["examples"]
    assert counts == (1623, 50, 20, 1623 * 20)
    assert RECORD["default_split"] == "vinyals"
    prepared = RECORD["prepared"]
    assert (prepared["mode"], prepared["invert"], prepared["image_size"]) == ("L", True, [28, 28])


@pytest.mark.parametrize("benchmark", RESULTS)
def test_every_published_figure_is_a_fraction_with_its_source(benchmark: str) -> None:
    rows, (count, from_memory) = table(f"results/published/{benchmark}.csv"), RESULTS[benchmark]
    assert len(rows) == len({tuple(row.values()) for row in rows}) == count
    for row in rows:
        assert 0.5 < float(row["accuracy"]) <= 1, row
        assert not row["ci95"] or 0 < float(row["ci95"]) < 0.05, row
        assert row["source"], row
        assert row["verified"] == ("no" if "from memory" in row["source"] else "yes"), row
    assert sum(row["verified"] == "no" for row in rows) == from_memory


@pytest.mark.parametrize(
    ("benchmark", "method", "backbone", "accuracy", "ci95"),
    [
        # Finn et al. 2017, Table 1
        ("omniglot-5w1s", "MAML (2nd order)", "Conv4-64 strided", 0.987, 0.004),
        ("omniglot-5w5s", "MAML (2nd order)", "Conv4-64 strided", 0.999, 0.001),
        ("omniglot-20w1s", "MAML (2nd order)", "Conv4-64 strided", 0.958, 0.003),
        ("omniglot-20w5s", "MAML (2nd order)", "Conv4-64 strided", 0.989, 0.002),
        # Snell et al. 2017, Table 1
        ("omniglot-5w1s", "ProtoNets", "Conv4-64", 0.988, None),
        ("omniglot-5w5s", "ProtoNets", "Conv4-64", 0.997, None),
        ("omniglot-20w1s", "ProtoNets", "Conv4-64", 0.960, None),
        ("omniglot-20w5s", "ProtoNets", "Conv4-64", 0.989, None),
    ],
)
def test_well_known_figures_are_those_of_their_papers(
    benchmark: str, method: str, backbone: str, accuracy: float, ci95: float | None
) -> None:
    published = table(f"results/published/{benchmark}.csv")
    rows = [row for row in published if (row["method"], row["backbone"]) == (method, backbone)]
    found = [(float(row["accuracy"]), float(row["ci95"]) if row["ci95"] else None, row["verified"]) for row in rows]
    assert found == [(accuracy, ci95, "yes")]
