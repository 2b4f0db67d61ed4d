"""Episodes: support and query apart, disjoint, the same for every batch; a stored golden list holds them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from l2l_core.catalog import open_catalog
from l2l_core.data.augment import Normalise
from l2l_core.data.benchmarks import load_benchmark
from l2l_core.data.datasets import MetaDataset, load_dataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.own import from_arrays, from_iterable
from l2l_core.errors import TaskError, UsageError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files
from tests.data.test_tasks import Brighter, Noisy, toy
from tests.data.test_variable import numbered
from tests.small import SmallData

GOLDEN = json.loads((Path(__file__).parent / "golden_tasks.json").read_text())


def test_support_and_query_are_the_ids_described_and_disjoint() -> None:
    generator = TaskGenerator(toy(), ways=4, shots=2, queries=3, seed=0)
    batch = generator.describe(range(30))
    episode = generator.batch(range(30))
    assert episode.support_x.shape == (30, 8, 1)
    assert episode.query_x.shape == (30, 12, 1)
    for number in range(30):
        ids_NK = batch.all_ids_BNK[number]
        assert episode.support_x[number, :, 0].tolist() == ids_NK[:, :2].ravel().tolist()
        assert episode.query_x[number, :, 0].tolist() == ids_NK[:, 2:].ravel().tolist()
        assert len(set(ids_NK.ravel().tolist())) == 20
        assert episode.support_y[number].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        assert episode.query_y[number].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
        for tensor, alone in zip(episode, generator[number], strict=True):
            assert torch.equal(tensor[number], alone)


def test_a_data_set_without_a_list_of_labels_is_read_once() -> None:
    dataset = toy()
    generator = TaskGenerator(dataset, ways=4, shots=2, queries=3, seed=0)
    assert dataset.loaded == len(dataset)
    generator.describe(range(100))
    assert dataset.loaded == len(dataset)


def test_it_yields_the_episodes_in_order() -> None:
    generator = TaskGenerator(toy(), 2, 1, 1, seed=3)
    for number, episode in zip(range(4), generator, strict=False):
        assert torch.equal(episode.query_x, generator[number].query_x)


def test_impossible_episodes_are_refused_when_it_is_made() -> None:
    cases = [
        ((0, 1, 1), UsageError, "ways is 0; give at least 1"),
        ((2, 0, 1), UsageError, "shots is 0; give at least 1"),
        ((2, 1, -3), UsageError, "queries is -3; give at least 1"),
        ((7, 1, 1), TaskError, "7 ways were asked for, but there are 6 classes; lower the ways"),
        (
            (2, 3, 3),
            TaskError,
            "class '50' has 5 examples, but shots + queries = 6; lower one of them or drop the class",
        ),
    ]
    for form, kind, message in cases:
        with pytest.raises(kind) as caught:
            TaskGenerator(toy(), *form)
        assert str(caught.value) == message


def test_classes_and_examples_are_drawn_evenly() -> None:
    batch = TaskGenerator(toy(), 2, 1, 2, seed=0).describe(range(30_000))
    for values, cells in ((batch.all_classes_BN.ravel(), 6), (batch.all_ids_BNK[:, :, 0].ravel(), 30)):
        counts = np.bincount(values, minlength=cells)
        expected = len(values) / cells
        assert abs(counts - expected).max() < 5 * expected**0.5


@pytest.mark.parametrize("name", [name for name in sorted(GOLDEN) if name.startswith(("glyphs-", "omniglot-"))])
def test_golden_episodes(name: str, request: pytest.FixtureRequest) -> None:
    """Ids, and for real Omniglot bytes, of the first and of far episodes; every benchmark has its golden list.

    The ids must never change: papers cite them. The bytes of `glyphs` may differ with the versions of Pillow and of
    the fonts, so only Omniglot's are held, whose preparation is integer arithmetic.
    """
    golden = GOLDEN[name]
    home = request.getfixturevalue(f"{name.split('-')[0]}_home")
    generator = load_benchmark(name, root=home).episodes()
    assert _hash_ids(generator) == golden["ids_sha256"]
    assert generator.describe([0]).all_ids_BNK[0, :, 0].tolist() == golden["first_support"]
    if "bytes_sha256" in golden:
        x = torch.cat([part.flatten() for part in generator.batch([0, 1, 10**6])])
        assert hashlib.sha256(x.float().numpy().astype("<f4").tobytes()).hexdigest() == golden["bytes_sha256"]


def test_golden_bytes_of_a_data_set_that_anybody_can_make(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2L_CATALOG", str(small.catalog))
    catalog = open_catalog()
    import_files(catalog.dataset("small"), catalog, Cache.at(), [small.archive])
    generator = load_benchmark("small-3w2s").episodes()
    content = b"".join(part.numpy().tobytes() for part in generator.batch([0, 5, 10**9]))
    assert hashlib.sha256(content).hexdigest() == "e5550d4bebb3d50a111bb95cbc6e9164eca70b08c25a5d92dad310340d6d3843"


def _hash_ids(generator: TaskGenerator) -> str:
    ids = generator.describe([*range(100), 10**6, 10**12]).all_ids_BNK
    return hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest()


def test_digests_name_data_form_and_seed(glyphs_home: Path) -> None:
    test = load_dataset("glyphs", "test", root=glyphs_home)
    base = TaskGenerator(test, 5, 1, 15, seed=0)
    others = [
        TaskGenerator(test, 5, 1, 15, seed=1),
        TaskGenerator(test, 5, 2, 14, seed=0),
        TaskGenerator(load_dataset("glyphs", "train", root=glyphs_home), 5, 1, 15, seed=0),
    ]
    digests = [generator.digest(50) for generator in (base, *others)] + [base.digest(51)]
    assert len(set(digests)) == 5
    assert base.digest(50) == TaskGenerator(test, 5, 1, 15, seed=0).digest(50)
    with pytest.raises(UsageError, match="only tasks of a prepared data set have a digest"):
        TaskGenerator(toy(), 2, 1, 1).digest(3)


def test_episodes_of_texts_are_lists_in_the_order_of_the_ids() -> None:
    dataset = from_iterable([(f"topic {i % 6}", f"text {i}") for i in range(60)])
    generator = TaskGenerator(dataset, ways=3, shots=2, queries=4, seed=1)
    ids_BNK = generator.describe([5, 0, 9]).all_ids_BNK
    episodes = generator.batch([5, 0, 9])
    for task in range(3):
        assert episodes.support_x[task] == [dataset[int(i)][0] for i in ids_BNK[task, :, :2].ravel()]
        assert episodes.query_x[task] == [dataset[int(i)][0] for i in ids_BNK[task, :, 2:].ravel()]
    assert generator[9].support_x == episodes.support_x[2]
    assert generator[9].query_y.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_data_set_s_own_chances_are_the_episode_s() -> None:
    episodes = TaskGenerator(Noisy(toy().own_labels), 3, 2, 2, seed=1, num_tasks=6)
    stacked = episodes.batch([4, 1, 0])
    for place, number in enumerate([4, 1, 0]):
        for part, alone in zip(stacked, episodes[number], strict=True):
            assert torch.equal(part[place], alone)
    chances = torch.cat([stacked.support_x.flatten(), stacked.query_x.flatten()]) % 1
    assert len({round(chance, 5) for chance in chances.tolist()}) == 36, "support and query have chances of their own"


@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_the_memory_of_a_batch_serves_again(dtype: torch.dtype | None) -> None:
    values = np.random.default_rng(0).integers(0, 256, (40, 1, 3, 3), dtype=np.uint8)
    tensors = from_arrays(values, np.arange(40) % 4, layout="CHW", dtype=dtype)
    for dataset in (tensors, MetaDataset(tensors)):
        generator = TaskGenerator(dataset, 3, 1, 2, seed=0)
        first = generator.batch([0, 1])
        again = generator.batch([5, 3], first)
        for part, expected in zip(again, generator.batch([5, 3]), strict=True):
            assert torch.equal(part, expected)
        assert again.support_x.data_ptr() == first.support_x.data_ptr()
        assert again.query_x.data_ptr() == first.query_x.data_ptr()


def test_numpy_memory_serves_again() -> None:
    generator = TaskGenerator(numbered([9] * 4), 3, 1, 2, seed=0)
    out = generator.batch([0, 1])
    again = generator.batch([7, 8], out)
    assert again.support_x is out.support_x
    assert again.query_x is out.query_x
    for part, expected in zip(again, generator.batch([7, 8]), strict=True):
        assert part.tolist() == expected.tolist()


def test_memory_that_nothing_can_be_gathered_into_is_refused() -> None:
    generator = TaskGenerator(numbered([9] * 4), 3, 1, 2, seed=0)
    out = generator.batch([0, 1])
    texts = from_iterable([(f"topic {i % 6}", f"text {i}") for i in range(60)])
    pictures = from_arrays(np.zeros((12, 1, 3, 3), np.uint8), np.arange(12) % 4, layout="CHW")
    cannot = "^out was given, but {} cannot be gathered into it; leave it out$"
    cases = [
        (generator, out._replace(support_x=out.support_x[:1]), r"out is int64 \[1, 3, 1\]; give a contiguous int64"),
        (generator, out._replace(query_x=out.query_x.astype(float)), r"out is float64 \[2, 6, 1\]; give a contiguous"),
        (TaskGenerator(toy(), 3, 1, 2), out, cannot.format("inputs that are loaded one by one")),
        (TaskGenerator(texts, 3, 1, 2), out, cannot.format("texts")),
        (TaskGenerator(pictures, 3, 1, 2, augmentations=[Normalise(0, 1)]), out, cannot.format("augmented inputs")),
    ]
    for asked, memory, message in cases:
        with pytest.raises(UsageError, match=message):
            asked.batch([0, 1], memory)


def test_a_data_set_with_examples_of_its_own_making_has_no_digest(glyphs_home: Path) -> None:
    dataset = load_dataset("glyphs", "test", root=glyphs_home)
    assert TaskGenerator(MetaDataset(dataset), 2, 1, 1, seed=0).digest(3)
    with pytest.raises(UsageError, match="only tasks of a prepared data set have a digest"):
        TaskGenerator(Brighter(dataset), 2, 1, 1, seed=0).digest(3)
