"""mini-ImageNet and tiered-ImageNet from the training pictures of ILSVRC-2012: a folder, a tar of tars, or both."""

import io
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from l2l_core.errors import CatalogError, ContentError
from l2l_core.fetch.archives import open_tree
from l2l_core.prepare.readers import Wanted, get_reader
from l2l_core.records import Subset
from tests.prepare.pictures import assert_prepared, by_hand, contents, drawn, elsewhere, real, source_of
from tests.prepare.raw import PICTURES, MemoryTree, of_class, split_of, stored, want

ILSVRC = {**PICTURES, "class_depth": 1, "other_classes": "ignore"}
OTHERS = ["n00000001", "n99999999"]
SUBSETS: Sequence[Subset] = ("train", "validation", "test")
ADVICE = "give a complete copy in the layout of the official files"


def ravi_numbers(count: int) -> dict[str, list[int]]:
    """The ILSVRC numbers of the first pictures of every class of mini-ImageNet."""
    path = Path(__file__).parents[2] / "metadata/numbers/mini-imagenet/ravi-ilsvrc.csv"
    with path.open(encoding="utf-8") as stream:
        rows = [line.rstrip("\n").split(",") for line in stream][1:]
    return {name: [int(number) for number in numbers.split()[:count]] for name, numbers in rows}


def ilsvrc(numbers: Mapping[str, Sequence[int]], photographs: Mapping[str, bytes] | None) -> dict[str, bytes]:
    """A train folder with those pictures, of the class itself where the sample has it; others are drawn."""
    of_class: dict[str, list[bytes]] = {}
    for path, content in (photographs or {}).items():
        of_class.setdefault(path.split("/")[2], []).append(content)
    pool = iter(contents(photographs, sum(map(len, numbers.values()))))
    files = {}
    for name, its_numbers in numbers.items():
        own = iter(of_class.get(name, ()))
        for number in its_numbers:
            files[f"{name}/{name}_{number}.JPEG"] = next(own, None) or next(pool)
    return files | {f"{name}/{name}_{k}.JPEG": b"of no interest" for name in OTHERS for k in range(3)}


def photographs_of(source: str, request: pytest.FixtureRequest) -> Mapping[str, bytes] | None:
    return real(request.getfixturevalue("test_data") / "imagenet-sample.zip") if source == "real" else None


def packed(files: Mapping[str, bytes]) -> bytes:
    """A tar archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def tar_of_tars(files: Mapping[str, bytes]) -> bytes:
    """The pictures as ILSVRC2012_img_train.tar packs them: one tar a class, without a folder in it."""
    of_folder: dict[str, dict[str, bytes]] = {}
    for path, content in files.items():
        folder, _, name = path.partition("/")
        of_folder.setdefault(folder, {})[name] = content
    return packed({f"{folder}.tar": packed(inside) for folder, inside in of_folder.items()})


@pytest.mark.parametrize("source", ["drawn", "real"])
def test_mini_imagenet_is_the_listed_pictures_in_their_order(
    source: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    subset_of, numbers = split_of("mini-imagenet/ravi"), ravi_numbers(9)
    more = {name: [*reversed(its), *range(50_000, 50_004)] for name, its in numbers.items()}
    files = ilsvrc(more, photographs_of(source, request))
    assert len(files) == 100 * 13 + 6
    expected = {
        name: [by_hand(files[f"{name}/{name}_{number}.JPEG"]) for number in numbers[name]] for name in sorted(subset_of)
    }
    wanted = want(subset_of, {**ILSVRC, "numbers": "ravi-ilsvrc"}, counts=dict.fromkeys(subset_of, 9), numbers=numbers)
    store = assert_prepared("image_folders", files, wanted, expected, tmp_path / "folder")
    sizes = [sum(len(expected[name]) for name, its in subset_of.items() if its == subset) for subset in SUBSETS]
    assert sizes == [64 * 9, 16 * 9, 20 * 9]

    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(tar_of_tars(files))
    tree = open_tree(tmp_path / "ILSVRC2012_img_train.tar", max_entries=3000, max_bytes=10**8, scratch=tmp_path)
    try:
        from_tar = stored(get_reader("image_folders").read(tree, wanted), wanted, tmp_path / "tar")
        assert from_tar.source == store.source
        for name in wanted.classes:
            assert np.array_equal(of_class(from_tar, name), of_class(store, name))
    finally:
        tree.close()


@pytest.mark.parametrize("source", ["drawn", "real"])
def test_tiered_imagenet_is_every_picture_of_its_608_classes(
    source: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    subset_of = split_of("tiered-imagenet/ren")
    rng = random.Random(2)
    numbers = {name: rng.sample(range(50_000), 2 + position % 3) for position, name in enumerate(subset_of)}
    files = ilsvrc(numbers, photographs_of(source, request))
    expected = {
        name: [by_hand(content) for path, content in sorted(files.items()) if path.startswith(f"{name}/")]
        for name in sorted(subset_of)
    }
    store = assert_prepared("image_folders", elsewhere(files), want(subset_of, ILSVRC), expected, tmp_path)
    found = [sum(subset_of[name] == subset for name in store.manifest.classes) for subset in SUBSETS]
    assert found == [351, 97, 160]


def small(**options: object) -> tuple[dict[str, bytes], Wanted]:
    files = {f"train/{name}/{name}_{k}.JPEG": drawn(k) for name in ("n01", "n02", "n03") for k in (3, 7, 20)}
    wanted = want({"n01": "train", "n02": "test"}, {**ILSVRC, **options}, numbers={"n01": [7, 3], "n02": [20]})
    return files, wanted


def _refusal(files: Mapping[str, bytes], wanted: Wanted) -> str:
    with pytest.raises(ContentError) as caught:
        source_of("image_folders", files, wanted)
    return str(caught.value)


def test_wrong_content_is_refused() -> None:
    files, wanted = small(numbers="some")
    assert source_of("image_folders", files, wanted)
    without = {name: content for name, content in files.items() if name != "train/n01/n01_3.JPEG"}
    assert _refusal(without, wanted) == (
        f"made: 1 of the 2 pictures of n01 that are meant are missing from copy.zip (the first is number 3); {ADVICE}"
    )
    assert _refusal(files | {"train/n02/n02_20.jpg": b""}, wanted) == (
        f"made: n02 in copy.zip has two pictures of number 20 (train/n02/n02_20.JPEG, train/n02/n02_20.jpg); {ADVICE}"
    )
    assert _refusal(files | {"val/n02/ILSVRC2012_val_00000003.JPEG": b""}, wanted) == (
        "made: n02 lies in more than one folder of copy.zip (train/n02, val/n02); give the one that is meant"
    )
    assert _refusal({name: content for name, content in files.items() if "n02" not in name}, wanted) == (
        f"made: 1 of 2 classes are missing from copy.zip (the first is n02); {ADVICE}"
    )
    assert _refusal(files, replace(wanted, counts={"n01": 600})) == (
        f"made: n01 in copy.zip has 2 examples instead of 600; {ADVICE}"
    )
    assert _refusal(files | {"train/n02/n02_20.JPEG": drawn(1)[:99]}, wanted).startswith(
        "made: train/n02/n02_20.JPEG in copy.zip is not a readable picture ("
    )
    assert _refusal({"train/n01.tar": b"", "train/n02.tar": b""}, wanted) == (
        "made: 2 of 2 classes are missing from copy.zip (the first is n01); "
        "give the archives in it themselves, such as train/n01.tar"
    )
    with pytest.raises(CatalogError, match="made: the list 'some' has no numbers of class 'n02'"):
        source_of("image_folders", files, replace(wanted, numbers={"n01": [7]}))


def test_other_classes_are_ignored_or_refused_as_the_entry_says() -> None:
    files, wanted = small(other_classes="refuse")
    assert _refusal(files, wanted) == f"made: copy.zip holds n03, which is none of the 2 classes; {ADVICE}"
    files, wanted = small()
    raw = get_reader("image_folders").read(MemoryTree(files), wanted)
    assert {name: len(members) for name, members in raw.examples.items()} == {"n01": 3, "n02": 3}
    assert _refusal(files, replace(wanted, counts={"n01": 2})) == (
        f"made: n01 in copy.zip has 3 examples instead of 2; {ADVICE}"
    )
