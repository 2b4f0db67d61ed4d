"""Where every file comes from, what is known of it, and that nothing is stated which nobody verified."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.metadata.tables import ENTRIES, LICENCES, PAPERS, ROOT, digest, entry, table

# Size, md5 and sha256 of every file of which one is known. The sources stand beside the files in the entries.
KNOWN: dict[str, tuple[int | None, str | None, str | None]] = {
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
    "ILSVRC2012_img_train.tar": (None, "1d675b47d978889d74fa0da5fadfb00e", None),
    "mini-imagenet.tar.gz": (
        None,
        "b38f1eb4251fb9459ecc8e7febf9b2eb",
        "30052347dd33f3ea3ee4a4ad65d72152bf657aac41891299dfa614a3235947ed",
    ),
    "images.zip": (None, "987d2dfede486f633ec052ff463b62c6", None),
    "tiered-imagenet.tar": (None, "e07e811b9f29362d159a9edd0d838c62", None),
    "cifar-100-python.tar.gz": (
        169_001_437,
        "eb9058c3a382ffc7106e4002c42a8d85",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    ),
    "cifar-100-binary.tar.gz": (
        168_513_733,
        None,
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    ),
    "images-paddlefsl/cifar100.zip": (None, "fdb4405027b809aa4c059047f21ca3d1", None),
    "pickles-paddlefsl/FC100.zip": (None, "db78f3657ff1a06cfe3dd74421a98d5d", None),
    "huffpost.json": (
        3_238_096,
        "e04dab1034df38f9bb4a62a4439ec2af",
        "2485569669dd7ec5bf1e2f7468568a1d019faeb9941205bc9fb7edae93c488d6",
    ),
    "News_Category_Dataset_v3.json": (
        87_295_572,
        None,
        "2cfc51fa4a82a96ecbe251fa383737aa1dea2e0a517f61dece633fcc25a4a065",
    ),
    "CUB_200_2011.tgz": (
        1_150_585_339,
        "97eceeb196236b17998738112f37df78",
        "0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
    ),
    "fgvc-aircraft-2013b.tar.gz": (None, "d4acdd33327262359767eeaa97a4f732", None),
    "102flowers.tgz": (
        344_862_509,
        "52808999861908f626f3c1f4e79d11fa",
        "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
    ),
    "imagelabels.mat": (
        502,
        "e0620be6f572b9609742df49c70aed4d",
        "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
    ),
    "dtd-r1.0.1.tar.gz": (
        625_239_812,
        "fff73e5086ae6bdbea199a49dfb8a4c1",
        "e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
    ),
    "fungi_train_val.tgz": (None, "df2b2980835668ed1d9a0e286e4bdadd", None),
    "train_val_annotations.tgz": (None, "c3c0f1b8a8d0b60619c43d9c89bdbc7e", None),
    "GTSRB_Final_Training_Images.zip": (None, "f33fd80ac59bff73c82d25ab499e03a3", None),
    "train2017.zip": (
        19_336_861_798,
        None,
        "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    "annotations_trainval2017.zip": (
        252_907_541,
        None,
        "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
    ),
    "20news-bydate.tar.gz": (None, None, "8f1b2514ca22a5ade8fbb9cfa5727df95fa587f4c87b786e15c759fa66d95610"),
    "train_wiki.json": (None, "5e663e9c3f1bfbdb2de72696e9504fd7", None),
    "val_wiki.json": (None, "3f25573428c0332cb64b367a275ab0c7", None),
    "speech_commands_v0.02.tar.gz": (
        2_428_923_189,
        None,
        "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    ),
}
# What people remember of these data sets but no source that was read confirms; and a checksum that its source gives for
# two different files.
UNVERIFIED = ["2753340328", "200853", "105829", "2618", "36781", "608ee004b81796ece2da6e5bb949ccaa"]


def forms() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, record in ENTRIES.items():
        for form_name, form in record["forms"].items():
            yield name, form_name, form


def files() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, form_name, form in forms():
        for file in form.get("files", []):
            yield name, form_name, file


def test_the_entries_are_those_of_the_mission() -> None:
    names = """20-newsgroups aircraft amazon-reviews cifar-fs cub dtd fc100 few-rel flowers fungi glyphs mini-imagenet
    mini-imagenet-vinyals mscoco news-category-v2 news-category-v3 news-classification news-journals omniglot quickdraw
    reuters-21578 speech-commands tiered-imagenet tiered-imagenet-sample traffic-signs"""
    assert sorted(ENTRIES) == names.split()


def test_every_known_size_and_checksum_is_the_verified_one() -> None:
    seen = set()
    for _, form, file in files():
        key = file["name"] if file["name"] in KNOWN else f"{form}/{file['name']}"
        facts = file.get("size_bytes"), file.get("md5"), file.get("sha256")
        assert facts == KNOWN.get(key, (None, None, None)), key
        seen.add(key)
    assert seen >= set(KNOWN)


def test_a_file_without_a_known_size_has_a_rough_one() -> None:
    for name, _, file in files():
        assert len({"size_bytes", "about_bytes", "at_most_bytes"} & set(file)) == 1, (name, file["name"])
        about = file.get("about_bytes")
        # Nobody should take a rough size for an exact one.
        assert about is None or len(str(about).rstrip("0")) <= 3, (name, file["name"])


def test_every_address_is_https_and_leads_to_the_file() -> None:
    for name, form, file in files():
        for url in file["urls"]:
            assert re.fullmatch(r"https://[a-z0-9.-]+/\S+", url), url
            if "drive.google.com" in url:
                assert re.fullmatch(r"https://drive\.google\.com/uc\?id=[\w-]{28,33}&export=download", url), url
            else:
                wanted = file["name"].removeprefix("tiered-imagenet-").lower()
                last = url.partition("?")[0].rsplit("/", 1)[1].removeprefix("tiered-imagenet-").lower()
                others = [("news-category-v3", "data.json"), ("20-newsgroups", "5975967")]
                assert last == wanted or (name, last) in others, (form, url)
        hosts = [url.split("/")[2] for url in file["urls"]]
        trust = ["data.caltech.edu", "zenodo.org", "drive.google.com", "www.dropbox.com"]
        ranks = [trust.index(host) for host in hosts if host in trust]
        assert ranks == sorted(ranks), file["name"]


def test_addresses_of_things_that_change_are_pinned_to_a_commit() -> None:
    for _, _, file in files():
        for place, url in enumerate(file["urls"]):
            if "huggingface.co" in url:
                assert re.search(r"/resolve/[0-9a-f]{40}/", url), url
            if "github" in url and place == 0:
                assert re.search(r"/[0-9a-f]{40}/", url), url


def test_only_imagenet_itself_must_be_placed_by_hand() -> None:
    by_hand = {(name, form, file["name"]) for name, form, file in files() if not file["urls"]}
    tar = "ILSVRC2012_img_train.tar"
    assert by_hand == {(name, "ilsvrc", tar) for name in ("mini-imagenet", "mini-imagenet-vinyals", "tiered-imagenet")}


def test_the_same_file_is_told_alike_in_every_entry() -> None:
    told: dict[str, dict[str, Any]] = {}
    for _, _, file in files():
        if file.get("sha256"):
            assert told.setdefault(file["sha256"], file) == file


def test_the_bitmaps_are_listed_with_size_and_checksum() -> None:
    form = ENTRIES["quickdraw"]["forms"]["bitmaps"]
    rows = table(f"files/{form['file_table']}.csv")
    # Computed from the list as it was taken from TensorFlow Datasets.
    assert digest(f"{row['name'].removesuffix('.npy')} {row['sha256']}" for row in rows) == "d51a002f6f558d9e"
    assert all(re.fullmatch(r"[0-9a-f]{64}", row["sha256"]) for row in rows)
    names = {f"{row['class']}.npy" for row in table("splits/quickdraw/meta-dataset.csv")}
    assert {row["name"] for row in rows} == names
    assert len(rows) == len(names)
    assert form["url"] == "https://storage.googleapis.com/quickdraw_dataset/full/numpy_bitmap/{name}"


def test_forms_come_in_the_order_of_trust() -> None:
    order = {name: list(record["forms"]) for name, record in ENTRIES.items() if len(record["forms"]) > 1}
    assert order == {
        "cifar-fs": ["python", "binary", "images", "images-paddlefsl"],
        "fc100": ["python", "binary", "pickles", "pickles-paddlefsl", "npz"],
        "mini-imagenet": ["cache-pickles", "cache-archive", "images", "ilsvrc"],
        "20-newsgroups": ["authors", "bydate", "hub"],
        "few-rel": ["wiki", "authors"],
        "news-journals": ["metaprompter", "authors", "version-2"],
        "reuters-21578": ["metaprompter", "authors"],
        "tiered-imagenet": ["pickles", "archive", "ilsvrc"],
    }
    assert ENTRIES["cifar-fs"]["order"] == ENTRIES["fc100"]["order"] == "content"


def test_nothing_is_stated_that_nobody_verified() -> None:
    texts = [path for folder in ("catalog", "metadata") for path in (ROOT / folder).rglob("*.toml")]
    for path in texts:
        content = re.sub(r"(?<=\d)[_,](?=\d)", "", path.read_text(encoding="utf-8"))
        for value in UNVERIFIED:
            assert not re.search(rf"(?<!\w){value}(?!\w)", content), (path, value)
    uncounted = "20-newsgroups news-category-v2 news-category-v3 news-classification reuters-21578 speech-commands"
    for name in uncounted.split():
        assert "examples" not in ENTRIES[name]["raw"], name


def test_licences_that_were_not_read_say_so() -> None:
    for key, licence in LICENCES.items():
        assert key.startswith("unverified") == ("not verified" in licence["name"]), key
    used = {name: record["licence"] for name, record in ENTRIES.items()}
    assert set(used.values()) == set(LICENCES)
    unread = {name for name, key in used.items() if key.startswith("unverified")}
    assert sorted(unread) == (
        ["aircraft", "cub", "dtd", "mscoco", "quickdraw", "reuters-21578", "speech-commands", "traffic-signs"]
    )
    unstated = [name for name, key in used.items() if key == "unstated"]
    assert sorted(unstated) == ["20-newsgroups", "amazon-reviews", "cifar-fs", "fc100", "flowers"]


def test_terms_that_must_be_accepted_are_asked_for() -> None:
    asking = {key for key, licence in LICENCES.items() if licence.get("consent")}
    assert {name for name, record in ENTRIES.items() if record["licence"] in asking} == {
        "fungi",
        "mini-imagenet",
        "mini-imagenet-vinyals",
        "tiered-imagenet",
        "tiered-imagenet-sample",
    }
    for key in asking:
        assert LICENCES[key]["url"].startswith("https://")
        assert "non-commercial research and education only" in LICENCES[key]["terms"]


def test_every_paper_is_named_by_an_entry_and_has_its_address_at_https() -> None:
    named = {"finn2017"}  # by code
    for path in (ROOT / "catalog").rglob("*.toml"):
        named |= set(entry(path).get("papers", []))
    for record in ENTRIES.values():
        named |= {*record["papers"], *(info["paper"] for info in record["splits"].values() if "paper" in info)}
    assert set(PAPERS) == named
    for key, paper in PAPERS.items():
        surname = re.split(r"[ ,]", paper["authors"].partition(",")[0])[-1].lower()
        assert key in (f"{surname}{paper['year']}", "fgvcx-fungi2018"), key
        assert paper.get("url", "https://").startswith("https://")


@pytest.mark.parametrize("dataset", ENTRIES)
def test_what_is_stored_is_what_the_field_works_with(dataset: str) -> None:
    record = ENTRIES[dataset]
    prepared = record.get("prepared", {})
    if record["modality"] != "images":
        assert "image_size" not in prepared
        rate = 16_000 if record["modality"] == "sounds" else None
        assert record.get("sample_rate_hz") == rate
        return
    sizes = {"omniglot": 28, "glyphs": 28, "quickdraw": 28, "cifar-fs": 32, "fc100": 32}
    sizes["tiered-imagenet-sample"] = 64
    side = sizes.get(dataset, 84)
    assert prepared["image_size"] == [side, side]
    if side > 28:
        assert prepared["mode"] == "RGB"
