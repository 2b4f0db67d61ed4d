"""Data sets made of others, against the same made by copying; and one held on a device."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, TensorDataset

from l2l_core.data.datasets import MetaDataset, PreparedDataset, load_dataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.meta import FilteredMetaDataset, OnDeviceDataset, UnionMetaDataset
from l2l_core.data.own import from_arrays, from_iterable
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.transforms import KShots, LoadData, NWays, RemapLabels
from l2l_core.errors import TaskError, UsageError
from tests.data.test_transforms import Unloadable
from tests.test_store import TEXTS, write_texts


def numbered(labels: list[int], first: float = 0) -> TensorDataset:
    """Examples that are their number, from the first on."""
    return TensorDataset(torch.arange(len(labels)).reshape(-1, 1, 1, 1) + first, torch.tensor(labels))


@pytest.fixture(scope="module")
def glyphs(glyphs_home: Path) -> PreparedDataset:
    return load_dataset("glyphs", "test", root=glyphs_home)


@pytest.fixture(scope="module")
def validation(glyphs_home: Path) -> PreparedDataset:
    return load_dataset("glyphs", "validation", root=glyphs_home)


class ByTheBatch:
    """Counts how often examples are loaded one by one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.single = 0
        load = PreparedDataset.example

        def counted(dataset: PreparedDataset, index: int) -> Any:
            self.single += 1
            return load(dataset, index)

        monkeypatch.setattr(PreparedDataset, "example", counted)


def steps(dataset: Any, ways: int = 3, shots: int = 2) -> list[Any]:
    return [NWays(dataset, ways), KShots(dataset, shots), LoadData(dataset), RemapLabels(dataset)]


def test_a_union_numbers_classes_and_examples_through() -> None:
    parts = [numbered([7, 3, 7]), numbered([3, 3, 9, 7], 100)]
    union = UnionMetaDataset(parts)
    assert union.labels == [0, 1, 2, 3, 4]
    assert union.labels_to_indices == {0: [0, 2], 1: [1], 2: [3, 4], 3: [5], 4: [6]}
    assert len(union) == 7
    assert [(int(x), label) for x, label in (union[i] for i in range(7))] == [
        (0, 0), (1, 1), (2, 0), (100, 2), (101, 2), (102, 3), (103, 4)
    ]  # fmt: skip
    assert isinstance(union[0], list)
    assert int(union[-1][0]) == 103
    assert union.gather(np.array([[6, 0], [3, 2]])).flatten().tolist() == [103, 0, 100, 2]
    for index in (7, -8):
        with pytest.raises(IndexError, match=f"the data set has 7 examples, there is no example {index}"):
            union[index]
    with pytest.raises(TaskError, match="3 examples a class were asked for, but class '3' has 2"):
        TaskDataset(UnionMetaDataset([numbered([3, 3, 8, 8, 8])]), [KShots(None, 3)], seed=0)[0]


def test_a_union_of_prepared_sets_is_gathered_by_the_batch(
    glyphs: PreparedDataset, validation: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    union = UnionMetaDataset([glyphs, validation, glyphs])
    count = ByTheBatch(monkeypatch)
    copy = ConcatDataset([glyphs, validation, glyphs])
    ids = np.random.default_rng(0).integers(0, len(union), (5, 3, 2))
    gathered = union.gather(ids)
    assert count.single == 0
    assert gathered.shape == (5, 3, 2, 1, 28, 28)
    for place in np.ndindex(ids.shape):
        assert torch.equal(gathered[place], copy[int(ids[place])][0])
    out = torch.empty_like(gathered)
    assert union.gather(ids, out) is out
    assert torch.equal(out, gathered)
    first = np.array([3, 1])
    assert torch.equal(union.gather(first), glyphs.gather(first))
    tasks = TaskDataset(union, steps(union), seed=0)
    assert union.class_index.order is None, "an index of classes only"
    count.single = 0
    x, _ = tasks.batch(range(8))
    assert count.single == 0
    ids_BM = tasks.describe(range(8)).all_ids_BNK.reshape(8, -1)
    assert torch.equal(x[3, 4], copy[int(ids_BM[3, 4])][0])
    assert [union[i][1] for i in (0, len(glyphs), len(glyphs) + 25)] == [
        0,
        len(glyphs.classes),
        len(glyphs.classes) + 1,
    ]
    for bad in (-1, len(union)):
        with pytest.raises(IndexError, match=rf"the data set has {len(union)} examples; ids .* were asked for"):
            union.gather(np.array([0, bad]))
    episode = TaskGenerator(union, 3, 1, 2, seed=0).batch([0, 1])
    assert episode.query_x.shape == (2, 6, 1, 28, 28)
    assert torch.equal(pickle.loads(pickle.dumps(tasks))[2][0], tasks[2][0])


def test_a_union_of_texts_and_of_sets_with_ways_of_their_own(tmp_path: Path, glyphs: PreparedDataset) -> None:
    texts = PreparedDataset(write_texts(tmp_path / "texts"))
    union = UnionMetaDataset([texts, texts])
    assert union.gather(np.array([[11, 0], [1, 8]])) == [[TEXTS[5], TEXTS[0]], [TEXTS[1], TEXTS[2]]]

    class Inverted(MetaDataset):
        def __getitem__(self, index: int) -> Any:
            image, label = super().__getitem__(index)
            return 1 - image, label

    for dataset in (UnionMetaDataset([glyphs, Inverted(glyphs)]), FilteredMetaDataset(Inverted(glyphs), [1, 0])):
        assert not dataset.gathers_at_once
        ids = np.array([len(dataset) - 1, 0, 30])
        assert torch.equal(dataset.gather(ids), torch.stack([dataset[i][0] for i in ids]))
        last = {40: 19, 2 * len(glyphs): len(glyphs) - 1}[len(dataset)]
        assert torch.equal(dataset[-1][0], 1 - glyphs[last][0])


def test_a_union_of_sets_that_are_not_alike_says_so(glyphs: PreparedDataset, glyphs_home: Path) -> None:
    stored = load_dataset("glyphs", "train", root=glyphs_home, dtype=torch.uint8)
    with pytest.raises(TaskError) as caught:
        UnionMetaDataset([glyphs, glyphs, stored])
    assert str(caught.value) == (
        "the examples of the data sets are torch.float32 [1, 28, 28] on cpu and torch.uint8 [1, 28, 28] on cpu, which "
        "no task can stack; load or prepare them alike"
    )
    small, large = (from_arrays(np.zeros((4, 1, size, size), np.uint8), [0, 0, 1, 1], layout="CHW") for size in (4, 6))
    with pytest.raises(
        TaskError, match=r"are torch.uint8 \[1, 4, 4\] on cpu and torch.uint8 \[1, 6, 6\] on cpu, which"
    ):
        UnionMetaDataset([OnDeviceDataset(small, "cpu"), FilteredMetaDataset(large, [1])])
    with pytest.raises(TaskError, match=r"are torch.uint8 \[1, 4, 4\] on cpu and texts, which no task can stack"):
        UnionMetaDataset([small, from_iterable([("a", "text")])])
    assert len(UnionMetaDataset([small, numbered([0])])) == 5, "what is loaded one by one is not known before"
    with pytest.raises(UsageError, match="UnionMetaDataset was given no data set; give at least one"):
        UnionMetaDataset([])
    with pytest.raises(TypeError, match=r"MetaDataset takes a torch.utils.data.Dataset, found list"):
        UnionMetaDataset([[1, 2]])


def test_some_classes_come_in_the_order_of_the_labels() -> None:
    source = numbered([7, 3, 7, 5, 3, 3])
    some = FilteredMetaDataset(source, torch.tensor([3, 7, 3]))
    assert some.labels == [3, 7]
    assert some.labels_to_indices == {3: [0, 1, 2], 7: [3, 4]}
    assert len(some) == 5
    assert [(int(x), int(label)) for x, label in (some[i] for i in range(5))] == [
        (1, 3),
        (4, 3),
        (5, 3),
        (0, 7),
        (2, 7),
    ]
    assert some.gather(np.array([[3, 0]])).flatten().tolist() == [0, 1]
    assert int(some[-1][0]) == 2
    with pytest.raises(IndexError, match="the data set has 5 examples, there is no example 5"):
        some[5]
    again = FilteredMetaDataset(some, [7])
    assert [int(again[i][0]) for i in range(2)] == [0, 2]
    for labels, message in (
        ([], "FilteredMetaDataset was given no label to keep; give at least one"),
        ([4], "no example has the label 4; the data set has 3 labels, see its .labels"),
        ([[3]], "FilteredMetaDataset: .3. cannot be a label .unhashable type: 'list'.; give integers or texts"),
    ):
        with pytest.raises(TaskError, match=message):
            FilteredMetaDataset(source, labels)


def test_some_classes_of_a_prepared_set_are_gathered_by_the_batch(
    glyphs: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = FilteredMetaDataset(glyphs, [9, 2, 5])
    copy = [glyphs[i] for label in (9, 2, 5) for i in range(20 * label, 20 * label + 20)]
    count = ByTheBatch(monkeypatch)
    ids = np.array([[0, 59, 20], [19, 40, 0]])
    gathered = some.gather(ids, torch.empty(2, 3, 1, 28, 28))
    x, y = TaskDataset(some, steps(some)[:3], seed=0).batch(range(5))
    assert count.single == 0
    for place in np.ndindex(ids.shape):
        assert torch.equal(gathered[place], copy[ids[place]][0])
    assert set(y.flatten().tolist()) == {2, 5, 9}
    assert [some[i][1] for i in (0, 20, 40)] == [9, 2, 5]
    with pytest.raises(IndexError, match="the data set has 60 examples; ids 0 to 60 were asked for"):
        some.gather(np.array([0, 60]))
    with pytest.raises(TaskError, match="30 examples a class were asked for, but class '"):
        TaskDataset(some, [KShots(some, 30)], seed=0)[0]
    with pytest.raises(UsageError, match="only tasks of a prepared data set have a digest"):
        TaskGenerator(some, 3, 1, 1, seed=0).digest(3)


def test_wrapping_and_sampling_load_no_example() -> None:
    datasets = [Unloadable([0, 0, 1, 1]), Unloadable(["a", "a", "b", "b"])]
    union = UnionMetaDataset([*datasets, FilteredMetaDataset(datasets[1], ["b"])])
    some = FilteredMetaDataset(union, [4, 1, 3])
    assert some.labels_to_indices == {4: [0, 1], 1: [2, 3], 3: [4, 5]}
    assert TaskDataset(some, [NWays(some, 2), KShots(some, 2)], seed=0).batch(range(4)).shape == (4, 4)
    with pytest.raises(AssertionError, match="example 3 was loaded"):
        some[5]


def test_a_partial_index_stays_partial() -> None:
    part = MetaDataset(numbered([0] * 6), indices_to_labels={5: "x", 0: "y"})
    union = UnionMetaDataset([numbered([1]), part])
    assert union.labels_to_indices == {0: [0], 1: [1], 2: [6]}
    assert (int(union[6][0]), union[6][1]) == (5, 2)
    with pytest.raises(IndexError, match="example 3 belongs to no class of this data set"):
        union[3]
    held = OnDeviceDataset(part, "cpu")
    assert held.gather(np.array([5, 0])).flatten().tolist() == [5, 0]
    assert held[5][1] == "x"


def test_a_data_set_on_a_device_gives_the_same_tasks(glyphs: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    count = ByTheBatch(monkeypatch)
    held = OnDeviceDataset(glyphs, "cpu")
    assert held.inputs.shape == (len(glyphs), 1, 28, 28)
    expected = TaskDataset(glyphs, steps(glyphs), seed=0).batch(range(9))
    tasks = TaskDataset(held, steps(held), seed=0)
    for part, its in zip(tasks.batch(range(9)), expected, strict=True):
        assert torch.equal(part, its)
    assert count.single == 0
    generators = [TaskGenerator(dataset, 5, 1, 3, seed=1) for dataset in (glyphs, held)]
    for part, its in zip(*(generator.batch([0, 3]) for generator in generators), strict=True):
        assert torch.equal(part, its)
    assert generators[0].digest(5) == generators[1].digest(5)
    listing = TaskDataset(held, [*steps(held), lambda descriptions: descriptions], seed=0)
    assert torch.equal(listing[4][0], expected[0][4])
    assert torch.equal(listing[4][1], expected[1][4])
    x, label = held[25]
    assert torch.equal(x, glyphs[25][0])
    assert (label.device.type, int(label)) == ("cpu", 1)
    for bad in (-1, len(glyphs)):
        with pytest.raises(IndexError, match=rf"the data set has {len(glyphs)} examples; ids .* were asked for"):
            held.gather(np.array([0, bad]))


def test_what_is_gathered_from_a_device_may_go_where_it_is_told() -> None:
    held = OnDeviceDataset(numbered([0, 1, 0, 1]), "cpu")
    out = torch.empty(2, 2, 1, 1, 1, dtype=torch.int64)
    assert held.gather(np.array([[3, 0], [1, 1]]), out) is out
    assert out.flatten().tolist() == [3, 0, 1, 1]


class Counting(Dataset[Any]):
    """One that does not know its labels; counts what is loaded."""

    def __init__(self, examples: list[Any]) -> None:
        self.examples, self.loaded = examples, 0

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Any:
        self.loaded += 1
        return self.examples[index]


def test_other_data_sets_are_read_once() -> None:
    dataset = Counting([(torch.full((2,), float(i)), "ab"[i % 2]) for i in range(6)])
    held = OnDeviceDataset(dataset, "cpu", transform=lambda x: x * 10)
    assert dataset.loaded == 6
    assert held.labels_to_indices == {"a": [0, 2, 4], "b": [1, 3, 5]}
    assert held[3][0].tolist() == [30, 30]
    assert held[3][1] == "b"
    x, _ = TaskDataset(held, steps(held, 2), seed=0)[0]
    assert torch.equal(x, TaskDataset(dataset, steps(None, 2), seed=0)[0][0] * 10)
    listing = TaskDataset(held, [*steps(held, 2), lambda descriptions: descriptions], seed=0)
    assert torch.equal(listing[0][0], x)


def test_what_cannot_be_held_says_why() -> None:
    with pytest.raises(TaskError, match="the data set has no examples"):
        OnDeviceDataset(Counting([]), "cpu")
    with pytest.raises(
        TaskError, match="only inputs that are tensors can be held on a device; give the data set a trans"
    ):
        OnDeviceDataset(Counting([("text", 0)]), "cpu")
    with pytest.raises(TaskError, match="the examples of a task cannot be stacked"):
        OnDeviceDataset(Counting([(torch.zeros(1), 0), (torch.zeros(2), 0)]), "cpu")
    for last, kind in ((torch.zeros(2), r"float32 \[2\]"), (torch.zeros(1, dtype=torch.float64), r"float64 \[1\]")):
        examples = [*[(torch.zeros(1), 0)] * 1024, (last, 0)]
        with pytest.raises(
            TaskError, match=rf"inputs of torch.float32 \[1\] and torch.{kind} cannot be held as one; gi"
        ):
            OnDeviceDataset(Counting(examples), "cpu")
    with pytest.raises(TypeError, match=r"MetaDataset takes a torch.utils.data.Dataset, found list"):
        OnDeviceDataset([1], "cpu")


def test_the_default_device_is_one_that_is_there() -> None:
    expected = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    held = OnDeviceDataset(numbered([0]))
    assert held.device.type == expected.type
    assert held.device == held.inputs.device


def test_the_device_is_called_as_its_tensors_call_it() -> None:
    # A tensor leaves the number of the CPU out as it puts that of an accelerator in.
    for dataset in (numbered([0]), MetaDataset(numbered([0]))):
        held = OnDeviceDataset(dataset, "cpu:0")
        assert held.device == held.inputs.device == torch.device("cpu")


class Growing(Dataset[Any]):
    """One that can be given another length."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return torch.tensor(index), index % 2


def test_another_length_is_noticed_through_what_stands_on_it() -> None:
    for grown in (5, 3):
        dataset, other = Growing(4), Growing(4)
        union, some = UnionMetaDataset([dataset, other]), FilteredMetaDataset(dataset, [1])
        both = FilteredMetaDataset(union, [2, 3])
        tasks = [TaskDataset(each, [KShots(None, 1), LoadData(None)], seed=0) for each in (union, some, both)]
        for each in tasks:
            each[0]
        # The union is as long as before, and yet example 4 is another one.
        dataset.length, other.length = grown, 8 - grown
        found = f"the data set had 4 examples when {{}} was made of it, and has {grown} now; make a new {{}} of it"
        for each, name in zip(tasks, ("UnionMetaDataset", "FilteredMetaDataset", "UnionMetaDataset"), strict=True):
            for ask in (lambda each=each: each[0], lambda each=each: len(each.dataset)):
                with pytest.raises(TaskError) as caught:
                    ask()
                assert str(caught.value) == found.format(name, name)


def test_a_set_of_labels_is_in_the_order_of_the_data_set() -> None:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    source = Counting([(torch.tensor(i), letter) for i, letter in enumerate(reversed(letters))])
    for kind in (set, frozenset):
        some = FilteredMetaDataset(source, kind(letters[3:]))
        assert some.labels == letters[:2:-1]
        assert [int(some[i][0]) for i in range(len(some))] == list(range(23))
    assert FilteredMetaDataset(source, dict.fromkeys("cab")).labels == ["c", "a", "b"]


def test_no_ids_give_no_examples_or_a_reason(glyphs: PreparedDataset, validation: PreparedDataset) -> None:
    none = np.empty((2, 0), np.int64)
    held = OnDeviceDataset(glyphs, "cpu")
    for dataset in (
        UnionMetaDataset([glyphs, validation]),
        FilteredMetaDataset(glyphs, [1]),
        MetaDataset(glyphs),
        held,
    ):
        assert dataset.gather(none).shape == (2, 0, 1, 28, 28)
        assert dataset.gather(none[0]).dtype == torch.float32
    single = numbered([0, 1])
    for dataset in (MetaDataset(single), UnionMetaDataset([single, glyphs]), FilteredMetaDataset(single, [1])):
        for ids in (none, none[0]):
            with pytest.raises(UsageError, match="no example was asked for; give at least one id"):
                dataset.gather(ids)


def test_what_cannot_be_gathered_into_says_why(glyphs: PreparedDataset, validation: PreparedDataset) -> None:
    ids = np.array([0, len(glyphs)])
    for dataset in (
        UnionMetaDataset([glyphs, validation]),
        OnDeviceDataset(UnionMetaDataset([glyphs, validation]), "cpu"),
    ):
        for out in (
            torch.empty(2, 1, 28, 27),
            torch.empty(2, 1, 28, 28, dtype=torch.uint8),
            torch.empty(2, 1, 28, 56)[..., ::2],
        ):
            with pytest.raises(UsageError) as caught:
                dataset.gather(ids, out)
            assert str(caught.value) == (
                f"the data set: out is {out.dtype} {list(out.shape)}; give a contiguous torch.float32 [2, 1, 28, 28]"
            )
