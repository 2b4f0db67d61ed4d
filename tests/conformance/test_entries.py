"""What every entry owes, by name: a data set, a benchmark or a method that is added is held to it at once."""

import inspect
from pathlib import Path

import pytest
import torch

from l2l_core.algorithms.methods import METHODS
from l2l_core.catalog import open_catalog
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import is_prepared, store_path
from l2l_core.prepare.readers import get_reader
from l2l_core.records import SUBSETS

CATALOG = open_catalog([])


@pytest.mark.parametrize("name", CATALOG.datasets)
def test_a_data_set_has_a_reader_and_a_place(name: str, tmp_path: Path) -> None:
    record, cache = CATALOG.dataset(name), Cache.at(tmp_path)
    assert list(inspect.signature(get_reader(record.raw.reader)).parameters) == ["tree", "record", "classes"]
    path = store_path(record, cache)
    assert path == store_path(record, cache)
    assert path.is_relative_to(tmp_path)
    assert name in path.parts
    assert not is_prepared(record, cache)
    assert list(tmp_path.iterdir()) == []  # asking touches no disk


@pytest.mark.parametrize("name", CATALOG.datasets)
def test_a_data_set_says_where_it_comes_from(name: str) -> None:
    record = CATALOG.dataset(name)
    assert CATALOG.licences()[record.licence].name
    papers = [*record.papers, *(split.paper for split in record.splits.values() if split.paper)]
    assert all(CATALOG.papers()[key].title for key in papers)
    assert all(split.source for split in record.splits.values())
    assert record.files or record.raw.package, "neither a download nor an installed package"


@pytest.mark.parametrize("name", CATALOG.datasets)
def test_the_subsets_of_every_split_are_disjoint_and_complete(name: str) -> None:
    record = CATALOG.dataset(name)
    every_class = set(CATALOG.split(name).classes())
    assert len(every_class) == record.raw.classes
    for split_name in record.splits:
        split = CATALOG.split(name, split_name)
        subsets = [split.classes(subset) for subset in SUBSETS]
        assert sum(map(len, subsets)) == len(set().union(*subsets)) == record.raw.classes
        assert set().union(*subsets) == every_class
        assert len(set(split.superclass_of.values())) == (record.raw.superclasses or 0)


@pytest.mark.parametrize("name", CATALOG.benchmarks)
def test_a_benchmark_can_be_honoured(name: str) -> None:
    benchmark = CATALOG.benchmark(name)
    record = CATALOG.dataset(benchmark.dataset)
    assert not benchmark.rotations or record.rotations
    classes = CATALOG.split(benchmark.dataset, benchmark.split).classes(benchmark.subset)
    assert benchmark.ways <= len(classes) * (4 if benchmark.rotations else 1)
    if record.raw.examples_per_class:
        assert benchmark.shots + benchmark.queries <= record.raw.examples_per_class
    assert all(key in CATALOG.papers() for key in benchmark.papers)
    assert name == f"{benchmark.dataset}-{benchmark.ways}w{benchmark.shots}s"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_builds_a_learner_that_adapts(name: str) -> None:
    tasks, ways, shots, queries = 2, 5, 2, 3
    draws = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    learner = METHODS[name].build(ways, shots, 1).eval()
    support_x = torch.rand(tasks, ways * shots, 1, 28, 28, generator=draws)
    support_y = torch.arange(ways).repeat_interleave(shots).expand(tasks, -1)
    query_x = torch.rand(tasks, ways * queries, 1, 28, 28, generator=draws)
    logits_BQN = learner.adapt(support_x, support_y)(query_x)
    assert logits_BQN.shape == (tasks, ways * queries, ways)
    assert logits_BQN.isfinite().all()
    # A task alone gives what it gives in company; and what was learned is not forgotten but used.
    alone_BQN = learner.adapt(support_x[:1], support_y[:1])(query_x[:1])
    torch.testing.assert_close(alone_BQN, logits_BQN[:1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(learner.adapt(support_x.flip(0), support_y)(query_x), logits_BQN)
