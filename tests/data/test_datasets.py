"""Prepared data sets against their pictures, and other data sets seen through their classes."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from l2l_core.catalog import open_catalog
from l2l_core.data.arrays import ArrayDataset, gathers
from l2l_core.data.datasets import MetaDataset, PreparedDataset, load_dataset, stacked
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.transforms import KShots, LoadData, NWays
from l2l_core.errors import StoreError, TaskError, UnknownNameError, UsageError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files
from l2l_core.prepare.held import hold_arrays
from l2l_core.store import open_store, write_store
from tests.small import CLASSES, SmallData, picture
from tests.small import EXAMPLES as EXAMPLES_A_CLASS
from tests.test_store import COUNTS, EXAMPLES, MANIFEST, SOUNDS, TEXTS, write_sounds, write_texts


@pytest.fixture
def home(small: SmallData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the small data set in it, and the catalogue that knows it."""
    monkeypatch.setenv("L2L_CATALOG", str(small.catalog))
    catalog = open_catalog()
    import_files(catalog.dataset("small"), catalog, Cache.at(tmp_path / "cache"), [small.folder])
    return tmp_path / "cache"


def expected(class_number: int, example: int) -> np.ndarray:
    """The picture as Pillow prepares it, one by one."""
    from PIL import Image

    resized = Image.fromarray(picture(class_number, example)).resize((7, 7), Image.Resampling.LANCZOS)
    return 255 - np.asarray(resized)


def test_every_picture_of_every_subset_is_the_raw_one(home: Path) -> None:
    spans = {"train": range(6), "validation": range(6, 9), "test": range(9, 12), None: range(12)}
    for subset, numbers in spans.items():
        dataset = load_dataset("small", subset, root=home, dtype=torch.uint8)
        assert dataset.classes == tuple(CLASSES[number] for number in numbers)
        assert dataset.superclasses == tuple(CLASSES[number].split("/")[1] for number in numbers)
        assert len(dataset) == EXAMPLES_A_CLASS * len(numbers)
        for index in range(len(dataset)):
            image, label = dataset[index]
            assert label == index // EXAMPLES_A_CLASS
            assert np.array_equal(image[0].numpy(), expected(numbers[label], index % EXAMPLES_A_CLASS))
        assert dataset.targets.tolist() == [dataset[index][1] for index in range(len(dataset))]


def test_rotations_are_further_classes_turned_counter_clockwise(home: Path) -> None:
    plain = load_dataset("small", "test", root=home)
    rotated = load_dataset("small", "test", root=home, rotations=True)
    assert len(rotated.classes) == 12
    assert rotated.classes[3:6] == tuple(f"{name}/rot090" for name in plain.classes)
    assert rotated.superclasses == plain.superclasses * 4
    for index in range(len(rotated)):
        turn, original = divmod(index, len(plain))
        image, label = rotated[index]
        assert label == turn * 3 + original // EXAMPLES_A_CLASS
        assert torch.equal(image, torch.rot90(plain[original][0], turn, (1, 2)))
    ids = np.array([[0, 30, 55], [95, 70, 1]])
    assert torch.equal(rotated.gather(ids)[1, 0], rotated[95][0])
    assert rotated.gather(ids).shape == (2, 3, 1, 7, 7)


def test_floats_are_the_bytes_over_255(home: Path) -> None:
    floats = load_dataset("small", root=home)
    stored = load_dataset("small", root=home, dtype=torch.uint8)
    ids = np.arange(len(floats))
    assert floats.gather(ids).dtype == torch.float32
    assert torch.equal(floats.gather(ids), stored.gather(ids).float() / 255)


def test_a_gathered_picture_can_be_changed_without_harm(home: Path) -> None:
    dataset = load_dataset("small", root=home, dtype=torch.uint8)
    before = dataset[0][0].clone()
    dataset[0][0].fill_(9)
    assert torch.equal(dataset[0][0], before)


def test_indices_count_from_both_ends_and_no_further(home: Path) -> None:
    dataset = load_dataset("small", "test", root=home)
    assert torch.equal(dataset[-1][0], dataset[23][0])
    assert dataset[-1][1] == 2
    for index in (24, -25):
        with pytest.raises(IndexError, match=f"small has 24 examples, there is no example {index}"):
            dataset[index]


def test_fingerprints_tell_data_apart(home: Path) -> None:
    sets = [load_dataset("small", subset, root=home) for subset in ("train", "test", None)]
    sets.append(load_dataset("small", "test", root=home, rotations=True))
    assert len({dataset.fingerprint for dataset in sets}) == 4
    assert load_dataset("small", "test", root=home).fingerprint == sets[1].fingerprint


def test_what_cannot_be_loaded_says_why(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown data set 'smal'; did you mean 'small'"):
        load_dataset("smal")
    with pytest.raises(UnknownNameError, match="unknown split 'owm' of small; did you mean 'own'"):
        load_dataset("small", split="owm", root=home)
    with pytest.raises(UsageError, match="small: subset 'eval' is none of train, validation, test; None takes all"):
        load_dataset("small", "eval", root=home)
    with pytest.raises(UsageError, match=r"small: dtype torch.int64 is none of torch.float32, torch.uint8"):
        load_dataset("small", root=home, dtype=torch.int64)
    with pytest.raises(UsageError, match="glyphs: turning its pictures does not make new classes"):
        load_dataset("glyphs", rotations=True)
    with pytest.raises(TaskError, match="omniglot: the split lake has no validation classes; take another"):
        load_dataset("omniglot", "validation", "lake")
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(StoreError) as caught:
        load_dataset("small", root=elsewhere)
    assert str(caught.value) == (
        f"small is not in {elsewhere}; get it with `l2l fetch small` (in Python: download=True), or bring your own "
        "copy with `l2l import small PATH`"
    )
    assert not elsewhere.exists()


def test_texts_are_loaded_as_strings(tmp_path: Path) -> None:
    dataset = PreparedDataset(write_texts(tmp_path / "texts"))
    assert [dataset[i] for i in range(6)] == list(zip(TEXTS, (0, 0, 0, 1, 2, 2), strict=True))
    assert dataset[-1] == ("日本", 2)
    assert [dataset.text(i) for i in (5, 1)] == ["日本", ""]
    part = PreparedDataset(write_texts(tmp_path / "texts"), ["c/d", "a"], subset="test")
    assert [part[i] for i in range(5)] == list(zip((*TEXTS[:3], *TEXTS[4:]), (0, 0, 0, 1, 1), strict=True))
    assert repr(part) == "PreparedDataset('toy', test: 5 examples of 2 classes)"
    assert pickle.loads(pickle.dumps(part))[2] == ("zwölf", 0)
    assert dataset.gather(np.array([[2, 0], [1, 2]])) == [
        [dataset[2][0], dataset[0][0]],
        [dataset[1][0], dataset[2][0]],
    ]
    with pytest.raises(IndexError, match="toy has 6 examples; ids 0 to 8 were asked for"):
        dataset.gather(np.array([0, 8]))
    with pytest.raises(TypeError, match=r"toy holds texts, which no array holds; take them one by one, dataset\[i\]"):
        dataset.arrays(np.arange(2))


def test_a_task_of_texts_is_their_strings(tmp_path: Path) -> None:
    dataset = PreparedDataset(write_texts(tmp_path / "texts"), ["a", "c/d"])
    tasks = TaskDataset(dataset, [NWays(dataset, 2), KShots(dataset, 2), LoadData(dataset)], seed=0)
    for number in range(4):
        texts, labels = tasks[number]
        ids = tasks.describe([number]).all_ids_BNK.reshape(-1)
        assert list(texts) == [dataset.text(int(i)) for i in ids]
        assert labels.tolist() == dataset.targets[ids].tolist()


def test_sounds_are_gathered_with_silence_behind(tmp_path: Path) -> None:
    store = write_sounds(tmp_path / "sounds")
    stored = PreparedDataset(store, dtype=torch.int16)
    assert stored.sample_rate_hz == 16000
    assert [stored[i][0].tolist() for i in range(6)] == [list(sound) for sound in SOUNDS]
    assert [stored[i][1] for i in range(6)] == [0, 0, 0, 1, 2, 2]
    gathered = stored.gather(np.array([[0, 1], [3, 2]]))
    assert gathered.dtype == torch.int16
    assert gathered.tolist() == [[[1, -2, 32767], [0, 0, 0]], [[5, 6, 0], [-32768, 0, 0]]]
    floats = PreparedDataset(store, dtype=torch.float32)
    assert torch.equal(floats.gather(np.array([[0, 1], [3, 2]])), gathered.float() / 2**15)
    assert floats.gather(np.array([2]))[0, 0] == -1
    assert stored.gather(np.array([1, 5])).tolist() == [[0, 0, 0], [0, 0, 0]], "whatever the company"
    assert stored.gather(np.array([], np.int64)).shape == (0, 3)
    part = PreparedDataset(store, ["b", "c/d"])
    assert part.dtype == torch.int16
    assert [part[i][0].tolist() for i in range(3)] == [[5, 6], [7], []]
    episode = TaskGenerator(PreparedDataset(store, ["a"]), ways=1, shots=1, queries=2, seed=0).batch([0, 1])
    assert episode.support_x.shape == (2, 1, 3)
    assert episode.query_x.shape == (2, 2, 3)


def test_pictures_straight_from_a_store(tmp_path: Path) -> None:
    write_store(tmp_path / "toy", MANIFEST, COUNTS, (2, 3, 5), iter(EXAMPLES), lambda: "5" * 64)
    dataset = PreparedDataset(open_store(tmp_path / "toy"), ["c/d", "a"], {"a": "first"})
    assert dataset.dtype == torch.uint8
    assert np.array_equal(dataset.gather(np.arange(5)), EXAMPLES[[0, 1, 2, 4, 5]])
    assert dataset.superclasses == ("first", "")


class Plain(Dataset[tuple[int, object]]):
    def __init__(self, labels: list[object]) -> None:
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[int, object]:
        return index, self._labels[index]


class Listed(Plain):
    """One that knows its labels, and raises when an example is loaded."""

    def __init__(self, labels: list[object]) -> None:
        super().__init__(labels)
        self.targets = labels

    def __getitem__(self, index: int) -> tuple[int, object]:
        raise AssertionError("an example was loaded")


@pytest.mark.parametrize("kind", [Plain, Listed])
def test_meta_dataset_sorts_examples_by_label(kind: type[Plain]) -> None:
    meta = MetaDataset(kind([3, 1, 3, 2, 1, 3]))
    assert meta.labels == [3, 1, 2]
    assert meta.labels_to_indices == {3: [0, 2, 5], 1: [1, 4], 2: [3]}
    assert meta.indices_to_labels == {0: 3, 2: 3, 5: 3, 1: 1, 4: 1, 3: 2}
    assert len(meta) == 6


def test_a_list_of_targets_that_a_transform_changes_is_not_believed() -> None:
    dataset = Plain([0, 1, 0, 1])
    dataset.targets = [0, 10, 20, 30]
    dataset.target_transform = lambda target: target % 20 // 10
    assert MetaDataset(dataset).labels_to_indices == {0: [0, 2], 1: [1, 3]}


def test_meta_dataset_takes_tensors_and_tables_given() -> None:
    tensors = TensorDataset(torch.arange(4), torch.tensor([1, 0, 1, 0]))
    assert MetaDataset(tensors).labels_to_indices == {1: [0, 2], 0: [1, 3]}
    assert MetaDataset(tensors)[2][0] == 2
    given = MetaDataset(tensors, labels_to_indices={"odd": [3, 1], "even": [2]})
    assert given.labels_to_indices == {"odd": [1, 3], "even": [2]}
    assert MetaDataset(tensors, indices_to_labels={2: 5}).labels_to_indices == {5: [2]}


def test_meta_dataset_refuses_what_has_no_classes() -> None:
    with pytest.raises(TaskError, match="the data set has no examples; there is nothing to draw tasks from"):
        MetaDataset(Plain([]))
    with pytest.raises(TaskError, match=r"a label cannot tell classes apart \(unhashable type: 'list'\)"):
        MetaDataset(Plain([[1]]))
    mixed = MetaDataset(Plain(["a", 1]))
    with pytest.raises(TaskError, match="the labels cannot be put in order .* give labels of one type"):
        _ = mixed.class_index.rank_C


def test_tables_that_cannot_be_are_refused() -> None:
    dataset = Plain([0] * 4)
    assert MetaDataset(dataset, {"a": torch.tensor([2, 0]), "b": np.array([3])}).labels_to_indices == {
        "a": [0, 2],
        "b": [3],
    }
    for number in (-1, 4):
        message = f"label 'a' was given example {number}, but the data set has 4 examples; give numbers from 0 to 3"
        for tables in ({"labels_to_indices": {"a": [0, number]}}, {"indices_to_labels": {0: "a", number: "a"}}):
            with pytest.raises(TaskError) as caught:
                MetaDataset(dataset, **tables)
            assert str(caught.value) == message
    with pytest.raises(TaskError, match="example 2 was given the labels 'x' and 'y'; give it one of them"):
        MetaDataset(dataset, labels_to_indices={"x": [0, 1, 2], "y": [2, 3]})
    with pytest.raises(TaskError, match="label 'x' was given example 1.0; give whole numbers of examples"):
        MetaDataset(dataset, labels_to_indices={"x": [1.0]})
    with pytest.raises(TaskError, match="label 'x' was given example '1'; give whole numbers of examples"):
        MetaDataset(dataset, indices_to_labels={"1": "x"})


def test_a_type_that_nothing_is_scaled_to_is_refused(tmp_path: Path) -> None:
    pictures = hold_arrays("toy", np.zeros((2, 1, 3, 3), np.uint8), [0, 1], "images")
    counts = hold_arrays("toy", np.zeros((2, 3), np.int16), [0, 1], "arrays")
    sounds = write_sounds(tmp_path / "sounds")
    for store, dtype, allowed in (
        (pictures, torch.float64, "torch.float32, torch.uint8"),
        (pictures, torch.int16, "torch.float32, torch.uint8"),
        (sounds, torch.uint8, "torch.float32, torch.int16"),
        (counts, torch.float32, "torch.int16"),
    ):
        with pytest.raises(UsageError) as caught:
            PreparedDataset(store, dtype=dtype)
        assert str(caught.value) == f"toy: dtype {dtype} is none of {allowed}"
    assert PreparedDataset(pictures, dtype=torch.float32).gather(np.arange(2)).dtype == torch.float32


def test_another_way_to_load_an_example_is_taken_for_tasks() -> None:
    class Inverted(PreparedDataset):
        def example(self, index: int) -> torch.Tensor:
            return 255 - super().example(index)

    class Both(Inverted):
        def gather(self, ids: np.ndarray, out: torch.Tensor | None = None) -> torch.Tensor:
            return 255 - super().gather(ids, out)

    held = hold_arrays("toy", np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1), [0, 0, 0, 0, 1, 1, 1, 1], "images")
    assert gathers(PreparedDataset(held))
    assert gathers(ArrayDataset(held))
    assert gathers(Both(held))
    dataset = Inverted(held)
    assert not gathers(dataset)
    episode = TaskGenerator(dataset, 2, 1, 1, seed=0)[0]
    assert sorted([*episode.support_x.flatten().tolist(), *episode.query_x.flatten().tolist()])[0] >= 248
    x, _ = TaskDataset(dataset, [NWays(dataset, 2), LoadData(dataset)], seed=0)[0]
    assert sorted(x.flatten().tolist()) == list(range(248, 256))


def test_examples_that_are_dictionaries_are_stacked_key_by_key() -> None:
    parts = [{"ids": torch.tensor([i, i + 1]), "text": f"text {i}"} for i in range(3)]
    tasks = stacked([stacked(parts), stacked(parts)])
    assert tasks["ids"].tolist() == [[[0, 1], [1, 2], [2, 3]]] * 2
    assert tasks["text"] == [["text 0", "text 1", "text 2"]] * 2
