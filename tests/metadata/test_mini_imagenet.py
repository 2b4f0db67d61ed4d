"""Which 600 pictures of each class mini-ImageNet has: Ravi and Larochelle's ranks, and the ILSVRC numbers to them."""

import hashlib

from tests.metadata.tables import ENTRIES, ROOT, classes, digest, table

RANKS = {row["class"]: list(map(int, row["numbers"].split())) for row in table("numbers/mini-imagenet/ravi.csv")}
ILSVRC = {
    row["class"]: list(map(int, row["numbers"].split())) for row in table("numbers/mini-imagenet/ravi-ilsvrc.csv")
}
# Of the authors' files, which seven repositories hold alike.
CSV_MD5 = {
    "train": "9525e1538f67719f18f1936bf8d0782d",
    "validation": "ce315ce99b41fbf84fa6acd69315d918",
    "test": "5b89df877c6cbe5d291e43118a2a9591",
}


def authors_csv(subset: str) -> bytes:
    rows = [
        f"{name}{rank:08}.jpg,{name}\n" for name in classes("mini-imagenet", "ravi", subset) for rank in RANKS[name]
    ]
    return ("filename,label\n" + "".join(rows)).encode()


def test_the_ranks_give_the_authors_files_back_byte_by_byte() -> None:
    for subset, md5 in CSV_MD5.items():
        assert hashlib.md5(authors_csv(subset)).hexdigest() == md5


def test_pictures_are_looked_for_under_the_names_of_those_files() -> None:
    options = ENTRIES["mini-imagenet"]["forms"]["images"]["options"]
    header, first = authors_csv("train").decode().splitlines()[:2]
    assert header == f"{options['file_column']},{options['label_column']}"
    name = classes("mini-imagenet", "ravi", "train")[0]
    assert first == f"{options['file_pattern'].format(class_name=name, number=RANKS[name][0])},{name}"


def test_the_ilsvrc_numbers_are_those_of_their_source() -> None:
    # Computed from the lists as they were taken from sicara/easy-few-shot-learning, data/mini_imagenet.
    rows = table("numbers/mini-imagenet/ravi-ilsvrc.csv")
    assert digest(f"{row['class']} {row['numbers']}" for row in rows) == "ed95d64b7ca8c7ea"


def test_both_lists_have_600_pictures_of_every_class_in_ascending_order() -> None:
    assert list(RANKS) == list(ILSVRC) == classes("mini-imagenet", "ravi")
    for numbers in (*RANKS.values(), *ILSVRC.values()):
        assert len(set(numbers)) == 600
        assert numbers == sorted(numbers)
        assert numbers[0] > 0


def test_no_picture_ranks_above_its_number() -> None:
    # A rank counts the class's pictures in the order of their numbers, of which some are missing.
    for name, ranks in RANKS.items():
        assert all(rank <= number for rank, number in zip(ranks, ILSVRC[name], strict=True)), name


def test_lists_are_named_by_an_entry() -> None:
    named = {
        (name, form["options"]["numbers"])
        for name, record in ENTRIES.items()
        for form in record["forms"].values()
        if "numbers" in form.get("options", {})
    }
    assert named == {("mini-imagenet", "ravi"), ("mini-imagenet", "ravi-ilsvrc")}
    lists = {(path.parent.name, path.stem) for path in (ROOT / "metadata/numbers").glob("*/*.csv")}
    assert lists == named
