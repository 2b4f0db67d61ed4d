"""A small data set of headlines that a user has added: one CSV file of texts, one TOML, one CSV of classes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from l2l_core.catalog import open_catalog
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files

SUBSETS = {"train": 6, "validation": 3, "test": 3}
EXAMPLES = 8
TOPICS = (
    *("goal match team score", "vote law senate party", "film song stage star"),
    *("bread soup salt oven", "star planet orbit comet", "stock bank price market"),
)
"""Words of a training class, and of the first classes of the other subsets: a vocabulary of the training texts knows
them."""


def headlines() -> Iterator[tuple[str, str, str]]:
    """Subset, class and text of each example; a class has three of its topic's words in each, and one of its own."""
    generator = np.random.default_rng(0)
    for subset, classes in SUBSETS.items():
        for number, topic in enumerate(TOPICS[:classes]):
            for _ in range(EXAMPLES):
                words = [*generator.choice(topic.split(), 3), f"{subset}{number}", *generator.choice(["the", "of"], 2)]
                yield subset, f"{subset} {number}", " ".join(map(str, generator.permutation(words)))


def write_headlines(root: Path) -> None:
    """Write texts and entries below `root`: the data set ``headlines`` and the benchmark ``headlines-3w2s``."""
    for folder in ("catalog/datasets", "catalog/benchmarks", "metadata/splits/headlines"):
        (root / folder).mkdir(parents=True)
    examples = list(headlines())
    (root / "headlines.csv").write_text("\n".join(["text,class", *(f"{text},{name}" for _, name, text in examples)]))
    subset_of = {name: subset for subset, name, _ in examples}
    rows = [f"{name},{subset}," for name, subset in subset_of.items()]
    (root / "metadata/splits/headlines/own.csv").write_text("\n".join(["class,subset,superclass", *rows]) + "\n")
    (root / "catalog/datasets/headlines.toml").write_text(
        f"""
title = "Headlines"
description = "Words."
modality = "texts"
licence = "mit"
default_split = "own"

[raw]
classes = {len(rows)}
examples = {len(examples)}
examples_per_class = {EXAMPLES}

[prepared]

[forms.table]
title = "headlines.csv"
reader = "csv_text"
options = {{ files = "headlines.csv", text_column = "text", label_column = "class" }}

[splits.own]
title = "6/3/3"
source = "made up"
"""
    )
    (root / "catalog/benchmarks/headlines-3w2s.toml").write_text(
        """
title = "Headlines, 3-way 2-shot"
dataset = "headlines"
split = "own"
subset = "test"
ways = 3
shots = 2
queries = 3
episodes = 20
seed = 7
"""
    )


def open_headlines(root: Path, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    """The benchmark ``headlines-3w2s``, its data in the cache of ``L2L_HOME``."""
    write_headlines(root)
    monkeypatch.setenv("L2L_CATALOG", str(root))
    catalog = open_catalog()
    import_files(catalog.dataset("headlines"), catalog, Cache.at(), [root / "headlines.csv"])
    return load_benchmark("headlines-3w2s")
