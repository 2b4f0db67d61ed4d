"""Every published class list: what its source counts, what its rule says, and what it shares with another."""

import re
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from tests.metadata.tables import ENTRIES, ROOT, SUBSETS, classes, digest, table

# Classes of each subset as the sources count them, and a digest of each, computed from the lists as they were taken
# from the sources that the records name, not from the files here.
SPLITS = {
    ("mini-imagenet", "ravi"): ((64, 16, 20), ("0f107a65ea80bf1e", "489f8af43b256009", "0db5287e659efd33")),
    ("mini-imagenet-vinyals", "vinyals"): ((60, 20, 20), ("bb38b89ce82a4811", "57e580c3e9f69d5a", "5982533c352b52b4")),
    ("tiered-imagenet", "ren"): ((351, 97, 160), ("815386e653f6b4c8", "4ee5b13fa317a860", "d168485c0b36dae9")),
    # Of the folders' names in imagenet-sample.zip.
    ("tiered-imagenet-sample", "ren"): ((61, 17, 45), ("6481f2d2c7ac395c", "d1d1e14bc9639877", "286daf99145cd9a9")),
    ("cifar-fs", "bertinetto"): ((64, 16, 20), ("e40c037757741c61", "e02b317c48c94270", "2a35675fcdddfebb")),
    ("fc100", "oreshkin"): ((60, 20, 20), ("af96f5ba1e118915", "746350fa6cdcb340", "9df56bf75fee16f6")),
    ("news-journals", "bao"): ((20, 5, 16), ("00519ef5968d2a03", "7fef8b8232eb774e", "495f6c6b5315330d")),
    ("news-journals", "metaprompter"): ((20, 5, 16), ("37f05f7fed6264b8", "0082a485cb509c97", "495f6c6b5315330d")),
    ("20-newsgroups", "bao"): ((8, 5, 7), ("7d34f58fd5e4a555", "048e591282502773", "aebbe1aa6e5ae38d")),
    ("amazon-reviews", "bao"): ((10, 5, 9), ("3c96c0678c9b0d56", "394083108f0c6263", "2c272c9aed15718f")),
    ("reuters-21578", "bao"): ((15, 5, 11), ("fd1efa9616a71942", "922d51ca281ed9c4", "79b565efe42e0031")),
    ("few-rel", "bao"): ((65, 5, 10), ("d6316b2d63770525", "6f7882b75b3f1c1e", "610d43e347f7826b")),
    ("cub", "chen"): ((100, 50, 50), ("2d722db6b72d1c60", "a3c78978123bb85b", "4d217f7926cdc28b")),
    ("cub", "meta-dataset"): ((140, 30, 30), ("193746d53900f1d5", "c0e9ec3092299df6", "1caa939107cf24ab")),
    ("cub", "feat"): ((100, 50, 50), ("aad9d60f7f4f574b", "711bd473accf6aca", "8dfa5e7a65eaeb46")),
    ("aircraft", "meta-dataset"): ((70, 15, 15), ("095c4f0d11e7fc62", "aa98e73cca96c3c0", "1031458d410d52be")),
    ("flowers", "meta-dataset"): ((71, 15, 16), ("efc2d222da19e8b9", "c4bbf33d2e59c513", "bf2026c776907af5")),
    ("dtd", "meta-dataset"): ((33, 7, 7), ("73850962986388e5", "7b87bb22f92fba06", "03923581f228825d")),
    ("quickdraw", "meta-dataset"): ((241, 52, 52), ("779fc3b575a6c993", "a6ec9dcad46d18b5", "663b6c51cf46ebeb")),
    ("fungi", "meta-dataset"): ((994, 200, 200), ("a766bfa0c696488a", "4c85d39a95b194a7", "d3137c927624f40e")),
    ("traffic-signs", "meta-dataset"): ((0, 0, 43), ("e3b0c44298fc1c14", "e3b0c44298fc1c14", "0ca116975df9ed0c")),
    ("mscoco", "meta-dataset"): ((0, 40, 40), ("e3b0c44298fc1c14", "00f0f9043eee80f2", "38dff1f9aa706551")),
}
OWN = {("glyphs", "scripts"), ("speech-commands", "l2l")}
ELSEWHERE = {("omniglot", split) for split in ("vinyals", "lake", "meta-dataset")}
ILSVRC = [("mini-imagenet", "ravi"), ("mini-imagenet-vinyals", "vinyals"), ("tiered-imagenet", "ren")]


def test_every_list_is_held_against_its_source() -> None:
    lists = {(path.parent.name, path.stem) for path in (ROOT / "metadata/splits").glob("*/*.csv")}
    assert lists == set(SPLITS) | OWN | ELSEWHERE


@pytest.mark.parametrize(("dataset", "split"), SPLITS)
def test_every_subset_is_the_published_one(dataset: str, split: str) -> None:
    counts, digests = SPLITS[dataset, split]
    subsets = [classes(dataset, split, subset) for subset in SUBSETS]
    assert tuple(map(len, subsets)) == counts
    assert tuple(map(digest, subsets)) == digests
    names = classes(dataset, split)
    assert len(set(names)) == len(names) == sum(counts) == ENTRIES[dataset]["raw"]["classes"]


@pytest.mark.parametrize(("dataset", "split"), [*SPLITS, *sorted(OWN)])
def test_a_list_is_sorted_and_plain(dataset: str, split: str) -> None:
    content = (ROOT / f"metadata/splits/{dataset}/{split}.csv").read_bytes()
    assert content.startswith(b"class,subset,superclass\n")
    assert content.endswith(b"\n")
    assert b"\r" not in content
    names = classes(dataset, split)
    assert all(name == name.strip() for name in names)
    # The labels of Bao et al.'s files are places in these lists.
    assert dataset in ("20-newsgroups", "few-rel", "news-journals", "glyphs") or names == sorted(names)


def test_the_headings_of_a_split_say_how_many_classes_its_subsets_have() -> None:
    for (dataset, split), (counts, _) in SPLITS.items():
        assert ENTRIES[dataset]["splits"][split]["title"].startswith("/".join(map(str, counts)))


def test_only_lists_by_group_name_groups() -> None:
    by_group = {
        (path.parent.name, path.stem)
        for path in (ROOT / "metadata/splits").glob("*/*.csv")
        if any(row["superclass"] for row in table(f"splits/{path.parent.name}/{path.name}"))
    }
    tiered = {("tiered-imagenet", "ren"), ("tiered-imagenet-sample", "ren")}
    assert by_group == {*tiered, ("fc100", "oreshkin"), ("glyphs", "scripts"), *ELSEWHERE}


@pytest.mark.parametrize(
    ("dataset", "split", "groups"),
    [
        ("tiered-imagenet", "ren", (20, 6, 8)),
        ("tiered-imagenet-sample", "ren", (17, 6, 8)),
        ("fc100", "oreshkin", (12, 4, 4)),
    ],
)
def test_no_group_stands_in_two_subsets(dataset: str, split: str, groups: tuple[int, int, int]) -> None:
    subset_of = {(row["superclass"], row["subset"]) for row in table(f"splits/{dataset}/{split}.csv")}
    assert len({group for group, _ in subset_of}) == len(subset_of) == sum(groups)
    assert len(subset_of) == ENTRIES[dataset]["raw"]["superclasses"]
    counts = Counter(subset for _, subset in subset_of)
    assert tuple(counts[subset] for subset in SUBSETS) == groups


def test_tiered_imagenet_has_the_published_groups_and_names() -> None:
    rows = table("splits/tiered-imagenet/ren.csv")
    assert digest(f"{row['class']} {row['superclass']}" for row in rows) == "94e840651213fc17"
    names = table("names/tiered-imagenet.csv")
    assert digest(f"{row['class']} {row['name']}" for row in names) == "40a018caa0e6e92a"
    assert [row["class"] for row in names] == classes("tiered-imagenet", "ren")
    assert len({row["name"] for row in names}) == 608  # so that a name is enough to find its class


def test_the_sample_has_its_classes_where_tiered_imagenet_has_them() -> None:
    whole = {row["class"]: (row["subset"], row["superclass"]) for row in table("splits/tiered-imagenet/ren.csv")}
    for row in table("splits/tiered-imagenet-sample/ren.csv"):
        tiered, subset, wnid = row["class"].split("/")
        assert (tiered, subset) == ("tiered", row["subset"])
        assert (row["subset"], row["superclass"]) == whole[wnid]


def test_fc100_takes_the_groups_that_its_authors_number() -> None:
    # ElementAI/TADAM, datasets/create_dataset_cifar100.py; a group's number is its place in the alphabet.
    numbers = {
        "train": {1, 2, 3, 4, 5, 6, 9, 10, 15, 17, 18, 19},
        "validation": {8, 11, 13, 16},
        "test": {0, 7, 12, 14},
    }
    rows = table("splits/fc100/oreshkin.csv")
    groups = sorted({row["superclass"] for row in rows})
    assert Counter(row["superclass"] for row in rows) == dict.fromkeys(groups, 5)
    assert digest(f"{row['class']} {row['superclass']}" for row in rows) == "e46ad5266c7490ab"
    for subset in SUBSETS:
        assert {groups.index(row["superclass"]) for row in rows if row["subset"] == subset} == numbers[subset]


def test_cifar_fs_and_fc100_are_of_the_same_hundred_classes() -> None:
    assert classes("cifar-fs", "bertinetto") == classes("fc100", "oreshkin")
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in classes("fc100", "oreshkin"))


def test_chen_et_al_split_birds_by_their_place_in_the_list() -> None:
    subset_of_place = {0: "train", 1: "validation", 2: "train", 3: "test"}
    for place, row in enumerate(table("splits/cub/chen.csv")):
        assert row["subset"] == subset_of_place[place % 4]


def test_every_split_of_the_birds_is_another_over_the_same_classes() -> None:
    lists = [table(f"splits/cub/{split}.csv") for split in ("chen", "meta-dataset", "feat")]
    assert len({tuple(row["class"] for row in rows) for rows in lists}) == 1
    assert len({tuple(row["subset"] for row in rows) for rows in lists}) == 3


@pytest.mark.parametrize(
    ("dataset", "split", "first", "last", "digits"),
    [
        ("cub", "chen", 1, 200, 3),
        ("flowers", "meta-dataset", 1, 102, 3),
        ("fungi", "meta-dataset", 0, 1393, 4),
        ("traffic-signs", "meta-dataset", 0, 42, 2),
    ],
)
def test_classes_known_by_number_are_numbered_without_a_gap(
    dataset: str, split: str, first: int, last: int, digits: int
) -> None:
    numbers = [name.partition(".")[0] for name in classes(dataset, split)]
    assert numbers == [f"{number:0{digits}}" for number in range(first, last + 1)]


def test_two_names_of_fungi_stand_for_two_classes_each() -> None:
    names = Counter(name.partition(".")[2] for name in classes("fungi", "meta-dataset"))
    assert {name for name, count in names.items() if count > 1} == {"Cortinarius anomalus", "Inocybe rimosa"}


def test_two_aircraft_cannot_be_the_names_of_files() -> None:
    assert {name for name in classes("aircraft", "meta-dataset") if "/" in name} == {"F-16A/B", "F/A-18"}


def test_the_headlines_labels_are_places_in_the_list() -> None:
    # YujiaBao/Distributional-Signatures, src/dataset/loader.py: 0-19, 20-24, 25-39 and 40.
    bao = [row["subset"] for row in table("splits/news-journals/bao.csv")]
    assert bao == ["train"] * 20 + ["validation"] * 5 + ["test"] * 16
    # ws-jiang/MetaPrompter_public, code/data/huffpost.py: validation is 0-4, training 5-24.
    metaprompter = [row["subset"] for row in table("splits/news-journals/metaprompter.csv")]
    assert metaprompter == ["validation"] * 5 + ["train"] * 20 + ["test"] * 16
    names = classes("news-journals", "bao")
    assert names == classes("news-journals", "metaprompter")
    # In the order of their sizes in version 2 of the full data set; the digest is of the labels as they were found.
    assert names[:4] == ["POLITICS", "WELLNESS", "ENTERTAINMENT", "TRAVEL"]
    assert digest(f"{label} {name}" for label, name in enumerate(names)) == "2de3e660fec2043a"
    assert [names.index(name) for name in ("THE WORLDPOST", "WORLDPOST", "WORLD NEWS")] == [15, 24, 28]
    assert names[-1] == "EDUCATION"


def test_the_labels_of_the_other_texts_are_places_in_their_lists() -> None:
    # YujiaBao/Distributional-Signatures, src/dataset/loader.py: names to labels; sci and rec, comp, and the others.
    rows = table("splits/20-newsgroups/bao.csv")
    subset_of = {"sci": "train", "rec": "train", "comp": "validation"}
    assert [row["subset"] for row in rows] == [subset_of.get(row["class"].partition(".")[0], "test") for row in rows]
    names = classes("20-newsgroups", "bao")
    labels = {"talk.politics.mideast": 0, "comp.windows.x": 6, "rec.autos": 10, "soc.religion.christian": 19}
    assert {name: names.index(name) for name in labels} == labels
    assert digest(f"{label} {name}" for label, name in enumerate(names)) == "9f80d3d75aa693e9"
    # The same: train 2, 3, 4, 7, 11, 12, 13, 18, 19, 20; validation 1, 22, 23, 6, 9.
    found = {
        subset: [i for i, row in enumerate(table("splits/amazon-reviews/bao.csv")) if row["subset"] == subset]
        for subset in SUBSETS
    }
    assert found["train"] == [2, 3, 4, 7, 11, 12, 13, 18, 19, 20]
    assert found["validation"] == [1, 6, 9, 22, 23]
    # The same: range(15), range(15, 20), range(20, 31); names of some as allenai/flex found them.
    assert [row["subset"] for row in table("splits/reuters-21578/bao.csv")] == (
        ["train"] * 15 + ["validation"] * 5 + ["test"] * 11
    )
    topics = classes("reuters-21578", "bao")
    labels = {"trade": 28, "grain": 12, "acq": 0, "iron-steel": 15, "money-supply": 19, "nat-gas": 20, "wpi": 30}
    assert {name: topics.index(name) for name in labels} == labels


def test_the_relations_stand_in_the_order_of_the_official_files() -> None:
    # thunlp/FewRel, _processed_data/train_rel2scope.json and val_rel2scope.json, whose keys are in the files' order:
    # some of the first 64, all of the last 16.
    names = classes("few-rel", "bao")
    order = {"P931": 0, "P4552": 1, "P449": 7, "P1411": 23, "P1877": 29, "P17": 35, "P674": 42, "P86": 51, "P131": 63}
    assert {name: names.index(name) for name in order} == order
    validation = "P177 P364 P2094 P361 P641 P59 P413 P206 P412 P155 P26 P410 P25 P463 P40 P921"
    assert names[64:] == validation.split()
    assert digest(f"{label} {name}" for label, name in enumerate(names)) == "c384f068eccb282f"
    # YujiaBao/Distributional-Signatures, src/dataset/loader.py
    assert [names.index(name) for name in classes("few-rel", "bao", "validation")] == [7, 9, 17, 18, 20]
    assert [names.index(name) for name in classes("few-rel", "bao", "test")] == [
        *(23, 29, 42, 47, 51),
        *(54, 55, 60, 65, 79),
    ]
    # thunlp/FewRel, data/pid2name.json
    called = {row["class"]: row["name"] for row in table("names/few-rel.csv")}
    assert list(called) == names
    assert [called[name] for name in classes("few-rel", "bao", "validation")] == [
        *("original network", "performer", "publisher", "director", "developer"),
    ]
    assert len(set(called.values())) == 80


def test_borrowed_splits_are_those_of_the_few_shot_headlines() -> None:
    borrowed = {
        (name, split, info["classes_of"])
        for name, record in ENTRIES.items()
        for split, info in record["splits"].items()
        if "classes_of" in info
    }
    others = ("news-category-v2", "news-category-v3", "news-classification")
    assert borrowed == {(name, split, "news-journals") for name in others for split in ("bao", "metaprompter")}
    assert all(ENTRIES[name]["raw"]["classes"] == 41 for name in others)
    # Version 3 alone has a category more.
    assert ENTRIES["news-category-v3"]["forms"]["json"]["options"]["ignore_classes"] == ["U.S. NEWS"]
    assert "U.S. NEWS" not in classes("news-journals", "bao")


@pytest.mark.parametrize(("dataset", "split"), ILSVRC)
def test_classes_of_imagenet_are_wordnet_ids(dataset: str, split: str) -> None:
    assert all(re.fullmatch(r"n\d{8}", name) for name in classes(dataset, split))


def test_subsets_of_imagenet_overlap_as_the_descriptions_say() -> None:
    ravi, vinyals = (set(classes(*names)) for names in ILSVRC[:2])
    assert len(ravi & vinyals) == 6
    mini = {subset: set(classes("mini-imagenet", "ravi", subset)) for subset in SUBSETS}
    tiered = {subset: set(classes("tiered-imagenet", "ren", subset)) for subset in SUBSETS}
    assert len(mini["train"] & tiered["test"]) == 13
    assert len(mini["test"] & tiered["train"]) == 5
    words = {
        name: ENTRIES[name]["description"] for name in ("mini-imagenet", "tiered-imagenet", "mini-imagenet-vinyals")
    }
    assert "13 of its training classes are test classes of tiered-imagenet" in words["mini-imagenet"]
    assert "5 of its test classes training classes there" in words["mini-imagenet"]
    assert "13 of its test classes are training classes of mini-imagenet" in words["tiered-imagenet"]
    assert "of which 6 are also in mini-imagenet" in words["mini-imagenet-vinyals"]


def test_the_libraries_own_choices_are_called_so() -> None:
    split = ENTRIES["speech-commands"]["splits"]["l2l"]
    assert "this library's own choice" in split["title"]
    assert "paper" not in split
    assert "a choice of this library" in ENTRIES["speech-commands"]["description"]


def test_speech_commands_are_tested_on_the_ten_commands() -> None:
    words = {
        "train": "bed bird cat dog eight five four happy house marvin nine one seven sheila six three tree two wow "
        "zero",
        "validation": "backward follow forward learn visual",
        "test": "down go left no off on right stop up yes",
    }
    for subset in SUBSETS:
        assert classes("speech-commands", "l2l", subset) == words[subset].split()


def test_real_pictures_of_imagenet_stand_in_the_subsets_that_their_folders_name(test_data: Path) -> None:
    # A sample of photographs in folders DATASET/SUBSET/CLASS, made by others than these lists.
    split_of = {"tiered": ("tiered-imagenet", "ren"), "mini": ("mini-imagenet", "ravi")}
    with zipfile.ZipFile(test_data / "imagenet-sample.zip") as sample:
        folders = {tuple(name.split("/")[:3]) for name in sample.namelist()}
    assert len(folders) == 61 + 17 + 45 + 14 + 6 + 5
    for dataset, subset, name in folders:
        assert name in classes(*split_of[dataset], subset), (dataset, subset, name)
