"""How many examples there are, class by class and subset by subset, and the published mean and deviation of pixels."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.metadata.tables import ENTRIES, ROOT, SUBSETS, digest, entry, table

# Of all classes, of the smallest and of the largest, and a digest of the counts as they were taken from
# google-research/meta-dataset meta_dataset/dataset_conversion/dataset_specs, not from the files here.
COUNTS = {
    "cub": (11_788, 41, 60, "d3bd71f47029ae0e"),
    "flowers": (8_189, 40, 258, "0a14bd9578611781"),
    "quickdraw": (50_426_266, 113_613, 340_029, "fc45168e6ee711b3"),
    "fungi": (89_760, 6, 442, "2b7c6418e31db4f0"),
    "traffic-signs": (39_209, 210, 2_250, "b533fc5b200476c2"),
    "mscoco": (860_001, 198, 262_465, "164aac431c12fa8f"),
}
# As the sources of the splits, or of the data sets, count them.
SUBSET_COUNTS = {
    ("mini-imagenet", "ravi"): (38_400, 9_600, 12_000),
    ("mini-imagenet-vinyals", "vinyals"): (36_000, 12_000, 12_000),
    ("tiered-imagenet", "ren"): (448_695, 124_261, 206_209),
    ("tiered-imagenet-sample", "ren"): (6_100, 1_700, 4_500),
    ("cifar-fs", "bertinetto"): (38_400, 9_600, 12_000),
    ("fc100", "oreshkin"): (36_000, 12_000, 12_000),
    ("news-journals", "bao"): (18_000, 4_500, 14_400),
    ("news-journals", "metaprompter"): (18_000, 4_500, 14_400),
    ("amazon-reviews", "bao"): (10_000, 5_000, 9_000),
    ("few-rel", "bao"): (45_500, 3_500, 7_000),
    ("cub", "chen"): (5_885, 2_950, 2_953),
    ("cub", "meta-dataset"): (8_239, 1_779, 1_770),
    ("aircraft", "meta-dataset"): (7_000, 1_500, 1_500),
    ("flowers", "meta-dataset"): (5_655, 1_109, 1_425),
    ("dtd", "meta-dataset"): (3_960, 840, 840),
    ("quickdraw", "meta-dataset"): (34_776_331, 7_939_640, 7_710_295),
    ("fungi", "meta-dataset"): (64_449, 12_195, 13_116),
    ("traffic-signs", "meta-dataset"): (0, 0, 39_209),
    ("mscoco", "meta-dataset"): (0, 513_021, 346_980),
}
EXAMPLES = {
    "mini-imagenet": 60_000,
    "mini-imagenet-vinyals": 60_000,
    "tiered-imagenet": 779_165,
    "tiered-imagenet-sample": 12_300,
    "cifar-fs": 60_000,
    "fc100": 60_000,
    "news-journals": 36_900,
    "amazon-reviews": 24_000,
    "few-rel": 56_000,
    "aircraft": 10_000,
    "dtd": 5_640,
    "omniglot": 32_460,
    "glyphs": 33_420,
    **{name: total for name, (total, *_) in COUNTS.items()},
}
CHANNELS = {
    # kjunelee/MetaOptNet, data/mini_imagenet.py, data/tiered_imagenet.py, data/CIFAR_FS.py and data/FC100.py
    "mini-imagenet": ((120.39586422, 115.59361427, 104.54012653), (70.68188272, 68.27635443, 72.54505529)),
    "tiered-imagenet": ((120.39586422, 115.59361427, 104.54012653), (70.68188272, 68.27635443, 72.54505529)),
    "cifar-fs": ((129.37731888, 124.10583864, 112.47758569), (68.20947949, 65.43124043, 70.45866994)),
    "fc100": ((129.37731888, 124.10583864, 112.47758569), (68.20947949, 65.43124043, 70.45866994)),
}


def test_every_data_set_has_as_many_examples_as_its_source_says() -> None:
    found = {name: record["raw"]["examples"] for name, record in ENTRIES.items() if "examples" in record["raw"]}
    assert found == EXAMPLES
    for record in ENTRIES.values():
        raw = record["raw"]
        assert raw["classes"] * raw.get("examples_per_class", 0) in (0, raw.get("examples"))


@pytest.mark.parametrize("dataset", COUNTS)
def test_every_class_has_as_many_examples_as_the_source_says(dataset: str) -> None:
    total, smallest, largest, counted = COUNTS[dataset]
    count_of = {row["class"]: int(row["examples"]) for row in table(f"stats/{dataset}.csv")}
    assert (sum(count_of.values()), min(count_of.values()), max(count_of.values())) == (total, smallest, largest)
    assert digest(f"{name} {count}" for name, count in count_of.items()) == counted
    for split in ENTRIES[dataset]["splits"]:
        names = [row["class"] for row in table(f"splits/{dataset}/{split}.csv")]
        assert list(count_of) == names


def test_every_table_of_counts_is_of_unequal_classes() -> None:
    tables = {path.stem for path in (ROOT / "metadata/stats").glob("*.csv")}
    assert tables == set(COUNTS)
    assert not any("examples_per_class" in ENTRIES[name]["raw"] for name in tables)


def test_every_subset_has_as_many_examples_as_its_source_says() -> None:
    found = {
        (name, split): tuple(info["examples"][subset] for subset in SUBSETS)
        for name, record in ENTRIES.items()
        for split, info in record["splits"].items()
        if "examples" in info
    }
    assert found == SUBSET_COUNTS
    for (dataset, split), counts in SUBSET_COUNTS.items():
        raw = ENTRIES[dataset]["raw"]
        assert sum(counts) == raw["examples"]
        path = f"stats/{dataset}.csv"
        given = table(path) if (ROOT / "metadata" / path).exists() else []
        count_of = {row["class"]: int(row["examples"]) for row in given}
        each = raw.get("examples_per_class")
        if not count_of and not each:
            continue
        sums: dict[str, int] = defaultdict(int)
        for row in table(f"splits/{dataset}/{split}.csv"):
            sums[row["subset"]] += count_of.get(row["class"], 0) or each
        assert tuple(sums[subset] for subset in SUBSETS) == counts


@pytest.mark.parametrize("dataset", CHANNELS)
def test_mean_and_deviation_are_the_published_ones(dataset: str) -> None:
    statistics = entry(ROOT / f"metadata/stats/{dataset}.toml")
    mean, std = CHANNELS[dataset]
    assert [255 * value for value in statistics["mean"]] == pytest.approx(mean, abs=1e-7)
    assert [255 * value for value in statistics["std"]] == pytest.approx(std, abs=1e-7)
    assert "MetaOptNet" in statistics["source"]


def test_no_other_mean_is_given() -> None:
    # These were computed here, which tests/prepare/test_omniglot.py and test_imagenet_sample.py do again.
    computed = {"omniglot", "tiered-imagenet-sample"}
    assert {path.stem for path in (ROOT / "metadata/stats").glob("*.toml")} == {*CHANNELS, *computed}


def test_the_drawings_are_as_many_as_the_sizes_of_their_files_say() -> None:
    sizes = {row["name"]: int(row["size_bytes"]) for row in table("files/quickdraw.csv")}
    count_of = {f"{row['class']}.npy": int(row["examples"]) for row in table("stats/quickdraw.csv")}
    # A header of 80 bytes, then 28 x 28 bytes a drawing.
    assert {name: (size - 80) / 784 for name, size in sizes.items()} == count_of
    assert sum(sizes.values()) == 39_534_220_144


def test_the_real_headlines_are_as_the_entry_describes_them(test_data: Path) -> None:
    lines = (test_data / "huffpost/huffpost.json").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    record = ENTRIES["news-journals"]
    form = record["forms"]["metaprompter"]
    (text, _), label = form["options"]["text_fields"], form["options"]["label_field"]
    per_label = Counter(row[label] for row in rows)
    assert per_label == dict.fromkeys(range(record["raw"]["classes"]), record["raw"]["examples_per_class"])
    assert (test_data / "huffpost/huffpost.json").stat().st_size == form["files"][0]["size_bytes"]
    headlines = Counter(row[text] for row in rows)
    repeated = [count for count in headlines.values() if count > 1]
    assert (len(repeated), max(repeated)) == (47, 45)
    assert "47 headlines are repeated within their category, one of them 45 times" in record["description"]
    assert len(Counter((row[text], row[label]) for row in rows)) == len(headlines)
    assert all(row[text] == row[text].lower() for row in rows)
