"""Labels of any map-style data set: taken without loading an example, or read once and remembered."""

import gc
import json
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from l2l_core.data import labels as labels_module
from l2l_core.data.datasets import MetaDataset
from l2l_core.data.labels import known_labels, labels_of
from l2l_core.data.own import from_arrays, from_torch
from l2l_core.errors import TaskError, UsageError


class Unreadable(Dataset[Any]):
    """A data set of that many examples, none of which may be loaded."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("an example was loaded")


class Counting(Dataset[Any]):
    """A data set that knows no labels, and counts how often an example is loaded."""

    def __init__(self, labels: list[Any]) -> None:
        self.own_labels = labels
        self.loads = 0

    def __len__(self) -> int:
        return len(self.own_labels)

    def __getitem__(self, index: int) -> Any:
        self.loads += 1
        return torch.zeros(2), self.own_labels[index]


class Spoken(Counting):
    """Its examples are like torchaudio's: waveform, sampling rate, label, speaker, number."""

    def __getitem__(self, index: int) -> Any:
        waveform, label = super().__getitem__(index)
        return waveform, 16_000, label, f"speaker {index}", index


LABELS = [3, 1, 3, 2, 1, 3]
WAYS_TO_LIST = {
    "targets": LABELS,
    "labels": np.array(LABELS),
    "y": torch.tensor(LABELS),
    "tensors": (torch.zeros(6, 2), torch.tensor(LABELS)),
    "get_labels": lambda: LABELS,
}


def listed(attribute: str, labels: Any = None) -> Unreadable:
    """A data set that lists labels under some name."""
    value = WAYS_TO_LIST[attribute] if labels is None else labels
    dataset = Unreadable(6)
    setattr(dataset, attribute, value)
    return dataset


@pytest.mark.parametrize("attribute", WAYS_TO_LIST)
def test_labels_are_taken_from_where_data_sets_list_them(attribute: str) -> None:
    assert labels_of(listed(attribute)) == LABELS
    meta = from_torch(listed(attribute))
    assert meta.labels_to_indices == {3: [0, 2, 5], 1: [1, 4], 2: [3]}
    assert all(type(label) is int for label in meta.labels)


def test_lists_that_are_not_one_label_an_example_are_passed_over() -> None:
    dataset = listed("targets", [1, 2, 3])  # of three examples among six
    dataset.labels = "catdog"  # six letters are not six labels
    dataset.y = torch.tensor(LABELS)
    assert known_labels(dataset) == LABELS
    assert known_labels(Unreadable(6)) is None
    assert known_labels(TensorDataset(torch.arange(4))) is None


@pytest.mark.parametrize("attribute", WAYS_TO_LIST)
def test_a_target_transform_is_applied_without_loading(attribute: str) -> None:
    dataset = listed(attribute)
    dataset.target_transform = lambda label: f"class {label % 2}"
    assert labels_of(dataset) == ["class 1", "class 1", "class 1", "class 0", "class 1", "class 1"]


def test_the_labels_of_parts_are_those_of_the_whole() -> None:
    first, second = listed("targets"), listed("get_labels", lambda: ["a", "b", "c", "d", "e", "f"])
    first.target_transform = lambda label: -label
    both = ConcatDataset([Subset(first, [5, 0]), second])
    assert labels_of(both) == [-3, -3, "a", "b", "c", "d", "e", "f"]
    assert labels_of(Subset(both, torch.tensor([7, 2, 0]))) == ["f", "a", -3]
    assert labels_of(Subset(first, np.array([3, 3]))) == [-2, -2]


def test_one_part_without_labels_makes_all_be_read() -> None:
    unknown = Counting([7, 8])
    assert labels_of(ConcatDataset([TensorDataset(torch.zeros(2), torch.tensor([5, 6])), unknown])) == [5, 6, 7, 8]
    assert unknown.loads == 2


def test_a_derived_subset_is_not_taken_for_a_plain_one() -> None:
    class Relabelled(Subset[Any]):
        def __getitem__(self, index: int) -> Any:
            return 0, 10 * super().__getitem__(index)[1]

        def __getitems__(self, indices: list[int]) -> list[Any]:
            return [self[index] for index in indices]

    inner = TensorDataset(torch.arange(3), torch.tensor([1, 2, 3]))
    assert labels_of(Relabelled(inner, [2, 0])) == [30, 10]


def test_labels_come_through_prepared_and_meta_data_sets() -> None:
    prepared = from_arrays(np.zeros((4, 1)), ["b", "a", "b", "c"])
    assert labels_of(Subset(prepared, [3, 0, 1])) == [2, 0, 1]
    meta = MetaDataset(listed("targets"))
    assert labels_of(Subset(meta, [4, 3])) == [1, 2]
    partial = MetaDataset(TensorDataset(torch.arange(3), torch.tensor([0, 1, 0])), indices_to_labels={0: 9, 2: 9})
    assert labels_of(Subset(partial, [1])) == [1]  # read: the tables given leave example 1 out


@given(st.data())
def test_every_way_agrees_with_reading_all_examples(data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.integers(-3, 3) | st.sampled_from("ab"), min_size=1, max_size=12))

    class Listing(Counting):
        target_transform = staticmethod(lambda label: (label, "shifted")) if data.draw(st.booleans()) else None

        def __init__(self) -> None:
            super().__init__(labels)
            self.targets = labels

        def __getitem__(self, index: int) -> Any:
            example, label = super().__getitem__(index)
            return example, label if self.target_transform is None else self.target_transform(label)

    base = Listing()
    picks = data.draw(st.lists(st.integers(0, len(labels) - 1), max_size=9))
    whole = ConcatDataset([Subset(base, picks), base, Subset(Subset(base, picks), range(len(picks)))])
    found = known_labels(whole)
    assert base.loads == 0
    assert found == [whole[i][1] for i in range(len(whole))]


def test_what_is_read_once_is_not_read_again_while_the_object_lives() -> None:
    dataset = Counting([i % 3 for i in range(200)])
    first = MetaDataset(dataset)
    assert dataset.loads == 200
    assert MetaDataset(dataset).labels_to_indices == first.labels_to_indices
    assert from_torch(dataset).labels_to_indices == first.labels_to_indices
    assert 200 < dataset.loads <= 200 + 2 * 16
    reference = weakref.ref(dataset)
    del dataset, first
    gc.collect()
    assert reference() is None


def test_an_object_that_changed_is_read_again() -> None:
    dataset = Counting([0, 1] * 50)
    MetaDataset(dataset)
    dataset.own_labels = [5, 6] * 50
    assert MetaDataset(dataset).labels == [5, 6]
    dataset.own_labels = [5, 6] * 51
    assert len(labels_of(dataset)) == 102


def test_an_object_that_cannot_be_remembered_is_read_each_time() -> None:
    class Unhashable(Counting):
        __hash__ = None

    dataset = Unhashable([0, 1])
    assert labels_of(dataset) == labels_of(dataset) == [0, 1]
    assert dataset.loads == 4


def test_the_label_may_stand_anywhere_in_an_example() -> None:
    dataset = Spoken(["yes", "no", "yes"])
    assert from_torch(dataset, label_of=2).labels_to_indices == {"yes": [0, 2], "no": [1]}
    # Another place is another list: what was read for the one is not taken for the other.
    assert from_torch(dataset, label_of=lambda example: example[4] // 2).labels_to_indices == {0: [0, 1], 1: [2]}
    assert from_torch(dataset, label_of=3).labels == ["speaker 0", "speaker 1", "speaker 2"]
    for odd in range(40):  # even where the two differ in one example only, which nobody may look at
        dataset = Spoken(["yes"] * 40)
        labels_of(dataset, 2)
        assert labels_of(dataset, lambda example, odd=odd: example[2] if example[4] != odd else "no").index("no") == odd
    # What the user says counts more than what the data set lists.
    tensors = TensorDataset(torch.arange(3), torch.tensor([0, 1, 0]), torch.tensor([4, 4, 5]))
    assert from_torch(tensors, label_of=2).labels_to_indices == {4: [0, 1], 5: [2]}


@pytest.fixture
def labels_file() -> Path:
    return Path(os.environ["L2L_HOME"]) / "labels" / "words.json"


def test_labels_are_remembered_on_disk_from_process_to_process(labels_file: Path) -> None:
    labels = [f"word {i % 7}" for i in range(300)]
    expected = from_torch(Counting(labels), remember="words").labels_to_indices
    assert json.loads(labels_file.read_text())["classes"] == [f"word {i}" for i in range(7)]
    another = Counting(labels)  # an object of its own, as in another process
    assert from_torch(another, remember="words").labels_to_indices == expected
    assert another.loads == 16
    assert [path.name for path in labels_file.parent.iterdir()] == ["words.json"]


@pytest.mark.parametrize(
    "labels",
    [
        [i % 3 for i in range(101)],  # more examples
        [(i + 1) % 3 for i in range(100)],  # other labels
        [str(i % 3) for i in range(100)],  # other types
    ],
    ids=["length", "labels", "texts"],
)
def test_labels_of_another_data_set_are_never_believed(labels: list[Any], labels_file: Path) -> None:
    from_torch(Counting([i % 3 for i in range(100)]), remember="words")
    assert labels_of(Counting(labels), None, labels_file) == labels
    again = Counting(labels)
    assert labels_of(again, None, labels_file) == labels  # they took the place of the old ones
    assert again.loads == 16


def test_labels_that_are_equal_and_of_another_type_are_not_believed(labels_file: Path) -> None:
    labels_of(Counting([0, 1] * 20), None, labels_file)
    with pytest.raises(UsageError, match=r"label 0\.0 is neither a whole number nor a text"):
        labels_of(Counting([0.0, 1.0] * 20), None, labels_file)


def test_labels_of_another_type_of_data_set_are_not_believed(labels_file: Path) -> None:
    labels_of(Counting([0, 1] * 20), None, labels_file)
    dataset = Spoken([0, 1] * 20)
    labels_of(dataset, 2, labels_file)
    assert dataset.loads == 40


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b'{"type": "t"}',
        b'{"type": "tests.data.test_labels.Counting", "classes": [4], "rows": [0, 1]}',
        b'{"type": "tests.data.test_labels.Counting", "classes": [4], "rows": "ab"}',
        b'{"type": "tests.data.test_labels.Counting", "classes": null, "rows": [0, 0]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_of_labels_is_written_anew(content: bytes, labels_file: Path) -> None:
    labels_file.parent.mkdir(parents=True)
    labels_file.write_bytes(content)
    assert labels_of(Counting([4, 5]), None, labels_file) == [4, 5]
    assert json.loads(labels_file.read_text())["rows"] == [0, 1]


def test_a_scan_shows_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    import tqdm

    shown = []

    def bar(numbers: range, **options: Any) -> range:
        shown.append((len(numbers), options["desc"], options["disable"]))
        return numbers

    monkeypatch.setattr(tqdm, "tqdm", bar)
    labels_of(Counting([1, 2, 3]))
    labels_of(listed("targets"))
    assert shown == [(3, "reading labels", None)]


def test_what_has_no_labels_says_what_to_do(labels_file: Path) -> None:
    class Bare(Counting):
        def __getitem__(self, index: int) -> Any:
            return {"image": 0, "label": 1}

    with pytest.raises(TaskError) as caught:
        MetaDataset(Bare([0]))
    assert str(caught.value) == (
        "example 0 of Bare has no label at place 1 (1); say with from_torch(dataset, label_of=…) where it is"
    )
    assert from_torch(Bare([0]), label_of=lambda example: example["label"]).labels == [1]
    with pytest.raises(
        TaskError, match=r"a label cannot tell classes apart \(unhashable type: 'list'\); give integers"
    ):
        from_torch(Counting([torch.tensor([0, 1])]))
    with pytest.raises(TaskError, match="the data set has no examples; there is nothing to draw tasks from"):
        from_torch(Counting([]), label_of=1)
    with pytest.raises(UsageError) as refused:
        from_torch(Counting([0.5]), remember="words")
    assert str(refused.value) == (
        "label 0.5 is neither a whole number nor a text, so it cannot be remembered; leave remember out"
    )
    assert not labels_file.exists()
    with pytest.raises(UsageError, match=r"remember is '\.\./words'; give a name of letters, digits, dots and hyphens"):
        from_torch(Counting([0]), remember="../words")
    with pytest.raises(TypeError, match=r"from_torch takes a torch\.utils\.data\.Dataset, found list"):
        from_torch([(0, 1)], remember="words")  # type: ignore[arg-type]


def test_errors_of_the_data_set_itself_pass() -> None:
    class Broken(Counting):
        def __getitem__(self, index: int) -> Any:
            raise IndexError("the file is gone")

    with pytest.raises(IndexError, match="the file is gone"):
        MetaDataset(Broken([0]))


def test_an_iterable_data_set_is_refused() -> None:
    class Endless(IterableDataset[Any]):
        def __iter__(self) -> Any:
            raise AssertionError("an example was loaded")

    with pytest.raises(TypeError, match="Endless is iterated over, so its examples have no numbers; give a map-style"):
        MetaDataset(Endless())


def test_labels_come_as_python_values() -> None:
    labels = [torch.tensor(3), np.int64(3), 3, torch.tensor([3]), np.array(3)]
    assert MetaDataset(Counting(labels)).labels_to_indices == {3: [0, 1, 2, 3, 4]}
    assert labels_module.plain_labels([np.str_("a")]) == ["a"]


def test_torchvision_data_sets_are_not_read(tmp_path: Path) -> None:
    from PIL import Image
    from torchvision.datasets import FakeData, ImageFolder

    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(path)
    folder = ImageFolder(str(tmp_path / "pictures"), target_transform=lambda label: label + 5)
    for path in (tmp_path / "pictures").rglob("*.png"):
        path.unlink()
    assert from_torch(folder).labels_to_indices == {5: [0, 1], 6: [2]}
    fake = FakeData(size=6, image_size=(1, 2, 2), num_classes=3)
    assert labels_of(fake) == [int(fake[i][1]) for i in range(6)]
