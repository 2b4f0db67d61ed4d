"""Hugging Face's data sets as ours, and ours and our tasks as theirs."""

import importlib
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import l2l_core as l2l
from l2l_core.data import hf
from l2l_core.data.arrays import ArrayDataset
from l2l_core.data.datasets import MetaDataset, PreparedDataset
from l2l_core.data.hf import from_hf, tasks_to_hf, to_hf
from l2l_core.data.own import from_arrays, from_iterable
from l2l_core.data.resampling import resampled
from l2l_core.data.transforms import KShots, LoadData, NWays
from l2l_core.errors import ContentError, FetchError, L2LError, TaskError, UnknownNameError, UsageError
from l2l_core.prepare.sounds import encode_sound
from tests.test_store import write_sounds

PIXELS = np.random.default_rng(5).integers(0, 256, (9, 3, 4, 5), np.uint8)
LABELS = [0, 2, 1, 0, 2, 1, 0, 2, 0]


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, with a cache of its own, without a network, and silent."""
    # It asks for these when it is imported.
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    package = importlib.import_module("datasets")
    monkeypatch.setattr(package.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")
    monkeypatch.setattr(package.config, "HF_HUB_OFFLINE", True)
    package.disable_progress_bars()
    return package


def png(array: np.ndarray, mode: str = "RGB") -> dict[str, Any]:
    stream = BytesIO()
    Image.fromarray(array.transpose(1, 2, 0)).convert(mode).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


@pytest.fixture
def pictures(datasets: Any) -> Any:
    """Nine pictures of three classes, with a column of other class labels."""
    features = datasets.Features(
        {
            "note": datasets.Value("string"),
            "img": datasets.Image(),
            "kind": datasets.ClassLabel(names=["zebra", "ape", "bee"]),
            "number": datasets.Value("int32"),
        }
    )
    columns = {"note": list("abcdefghi"), "img": list(map(png, PIXELS)), "kind": LABELS, "number": [5, 3, 5] * 3}
    return datasets.Dataset.from_dict(columns, features=features)


def everything(dataset: Any) -> list[tuple[Any, str]]:
    """Every example with the name of its class."""
    found = [dataset[i] for i in range(len(dataset))]
    return [(x if isinstance(x, str) else x.tolist(), dataset.classes[label]) for x, label in found]


def test_columns_are_found_by_their_types(pictures: Any) -> None:
    dataset = from_hf(pictures, dtype=torch.uint8)
    assert dataset.classes == ("zebra", "ape", "bee")
    assert dataset.targets.tolist() == LABELS
    assert dataset.modality == "images"
    for i in range(9):
        image, label = dataset[i]
        assert np.array_equal(image, PIXELS[i])
        assert label == LABELS[i]
    assert torch.equal(from_hf(pictures)[4][0], torch.from_numpy(PIXELS[4]).float() / 255)
    assert torch.equal(dataset[-1][0], dataset[8][0])
    with pytest.raises(IndexError, match="has 9 examples, there is no example 9"):
        dataset[9]


def test_pictures_are_converted_and_resized(pictures: Any) -> None:
    dataset = from_hf(pictures, image_size=(6, 7), mode="L", resample="nearest", dtype=torch.uint8)
    picture = Image.fromarray(PIXELS[2].transpose(1, 2, 0)).convert("L").resize((7, 6), Image.Resampling.NEAREST)
    assert np.array_equal(dataset[2][0][0], np.asarray(picture))


def test_labels_follow_a_selection_and_any_format(pictures: Any) -> None:
    chosen = pictures.select([8, 1, 2, 0]).with_format("torch")
    dataset = from_hf(chosen, dtype=torch.uint8)
    assert dataset.targets.tolist() == [0, 2, 1, 0]
    assert np.array_equal(dataset[1][0], PIXELS[1])
    assert dataset.class_index.names == ["zebra", "ape", "bee"]
    transformed = pictures.with_transform(lambda rows: {"img": ["changed"], "kind": [7]})
    assert np.array_equal(from_hf(transformed, dtype=torch.uint8)[1][0], PIXELS[1])
    only = from_hf(pictures.filter(lambda row: row["kind"] == 2))
    assert only.class_index.labels == [2]
    assert only.class_index.name(0) == "bee"
    assert only.classes == ("zebra", "ape", "bee")


def test_labels_come_from_the_column_and_nothing_is_decoded(datasets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = datasets.Dataset.from_dict(
        {"image": [{"bytes": b"no picture", "path": None}] * 4, "label": [0, 1, 1, 0]}, features=features
    )
    monkeypatch.setattr(datasets.Image, "decode_example", None)
    dataset = from_hf(rows)
    meta = MetaDataset(dataset)
    assert meta.labels_to_indices == {0: [0, 3], 1: [1, 2]}
    with pytest.raises(ContentError) as caught:
        dataset[3]
    assert str(caught.value) == (
        "data set: example 3 is not a readable picture (data of an unknown kind (it begins with "
        "6e 6f 20 70 69 63 74 75)); get the file anew"
    )


def test_other_labels_are_named(pictures: Any) -> None:
    numbers = from_hf(pictures, label="number", input="note")
    assert numbers.classes == ("3", "5")
    assert numbers.targets.tolist() == [1, 0, 1] * 3
    assert numbers[1] == ("b", 0)
    rows = pictures.remove_columns(["img", "kind"]).add_column("text", [f"text {i}" for i in range(9)])
    assert from_hf(rows, label="note")[2] == ("text 2", 2)  # the other column of texts is the input
    texts = from_hf(pictures, label="note")
    assert texts.classes == tuple("abcdefghi")
    arrays = from_hf(pictures, input="number")
    assert (arrays.modality, int(arrays[4][0])) == ("arrays", 3)


def test_tasks_come_in_two_lines(pictures: Any) -> None:
    dataset = from_hf(pictures, dtype=torch.uint8)
    generator = l2l.TaskGenerator(dataset, ways=2, shots=1, queries=1, seed=0)
    episode = generator[0]
    ids = generator.describe([0]).all_ids_BNK[0]
    assert np.array_equal(episode.support_x, PIXELS[ids[:, 0]])
    tasks = l2l.TaskDataset(dataset, [NWays(dataset, 3), KShots(dataset, 2), LoadData(dataset)], seed=0)
    assert sorted(tasks[0][1].tolist()) == [0, 0, 1, 1, 2, 2]
    again = pickle.loads(pickle.dumps(tasks))
    assert torch.equal(again[3][0], tasks[3][0])
    with pytest.raises(TaskError, match="class 'ape' has 2 examples"):
        l2l.TaskGenerator(dataset, ways=2, shots=1, queries=2)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("train", "val", "test"), ["train", "validation", "test"]),
        (("training", "valid"), ["train", "validation"]),
        (("validation", "val", "extra"), ["validation", "val", "extra"]),
    ],
)
def test_a_dict_of_splits_becomes_a_dict(datasets: Any, pictures: Any, splits: Any, expected: list[str]) -> None:
    parts = datasets.DatasetDict({split: pictures.select([i]) for i, split in enumerate(splits)})
    found = from_hf(parts, dtype=torch.uint8)
    assert list(found) == expected
    for i, dataset in enumerate(found.values()):
        assert np.array_equal(dataset[0][0], PIXELS[i])


def test_a_name_is_loaded_from_the_hub(datasets: Any, pictures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(datasets, "load_dataset", lambda name: asked.append(name) or {"x": pictures}["x"])
    assert from_hf("somebody/animals").name == "somebody/animals"
    assert asked == ["somebody/animals"]

    def fail(name: str) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(FetchError) as caught:
        from_hf("somebody/animals")
    assert str(caught.value) == (
        "datasets.load_dataset('somebody/animals') failed (no route); check the name and the network"
    )


def test_pictures_in_files_are_read_from_there(datasets: Any, tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a"])})
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    Path(paths[0]).write_bytes(png(PIXELS[0])["bytes"])
    dataset = from_hf(
        datasets.Dataset.from_dict({"image": paths, "label": [0, 0]}, features=features), dtype=torch.uint8
    )
    assert np.array_equal(dataset[0][0], PIXELS[0])
    with pytest.raises(ContentError) as caught:
        dataset[1]
    assert str(caught.value) == (
        f"data set: example 1 is {paths[1]}, which cannot be read (No such file or directory); load the data set anew"
    )


def with_columns(datasets: Any, columns: dict[str, Any], **features: Any) -> Any:
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def test_what_is_not_clear_is_asked(datasets: Any, pictures: Any) -> None:
    text, label = datasets.Value("string"), datasets.ClassLabel(names=["x", "y"])

    def message(kind: type[L2LError], rows: Any, **options: Any) -> str:
        with pytest.raises(kind) as caught:
            from_hf(rows, **options)
        return str(caught.value)

    two = with_columns(datasets, {"t": ["a"], "fine": [0], "coarse": [1]}, t=text, fine=label, coarse=label)
    assert message(UsageError, two) == ("data set has 2 columns of class labels; choose one with label=…: fine, coarse")
    none = with_columns(datasets, {"t": ["a"], "u": ["b"]}, t=text, u=text)
    assert message(UsageError, none, input="t") == (
        "data set has no column of class labels; choose one with label=…: t, u"
    )
    three = with_columns(datasets, {"t": ["a"], "u": ["b"], "y": [0]}, t=text, u=text, y=label)
    assert message(UsageError, three) == "data set has 2 columns of texts, t, u; choose one with input=…"
    bare = with_columns(datasets, {"y": [0]}, y=label)
    assert message(UsageError, bare) == (
        "data set has no column of images, sounds or texts, but y; choose one with input=…"
    )
    assert message(UnknownNameError, none, label="v").startswith("unknown column 'v' of data set; known: t, u")
    assert message(UnknownNameError, pictures, input="image") == (
        "unknown column 'image' of data set; did you mean 'img'?"
    )
    empty = with_columns(datasets, {"t": [], "y": []}, t=text, y=label)
    assert message(TaskError, empty) == "data set has no examples; there is nothing to draw tasks from"
    holes = with_columns(datasets, {"t": ["a", "b"], "y": [None, 0]}, t=text, y=label)
    assert message(TaskError, holes) == "data set: 1 examples have no y; leave them out with dataset.filter"
    unknown = with_columns(datasets, {"t": ["a", "b"], "y": [-1, 0]}, t=text, y=label)
    assert message(TaskError, unknown) == ("data set: an example has the y -1, which is no class; take another split")
    floats = with_columns(datasets, {"t": ["a"], "y": [0.5]}, t=text, y=datasets.Value("float32"))
    assert message(UsageError, floats, label="y") == (
        "data set: the column y holds Value('float32'); labels are whole numbers or texts"
    )
    assert message(UsageError, pictures, dtype=torch.int16) == (
        "data set: dtype torch.int16 is none of torch.float32, torch.uint8"
    )
    for size in (0, False, 8.0):
        assert message(UsageError, pictures, image_size=size) == (
            f"image_size is {size}; give (height, width) in pixels, 1 to 1024 each"
        )
    assert message(UsageError, [1]) == (
        "from_hf takes a datasets.Dataset or DatasetDict, found list; load a streamed data set without streaming"
    )
    assert message(UsageError, pictures.to_iterable_dataset()).startswith(
        "from_hf takes a datasets.Dataset or DatasetDict, found IterableDataset;"
    )
    beyond = with_columns(datasets, {"t": ["a", "b"], "y": [0, -1]}, t=text, y=label)
    assert message(TaskError, beyond).startswith("data set: an example has the y -1, which is no class")
    with pytest.raises(ValueError, match="greater than configured num_classes"):  # theirs, before it comes to us
        with_columns(datasets, {"t": ["a"], "y": [2]}, t=text, y=label)
    missing = with_columns(datasets, {"t": ["a", None], "y": [0, 0]}, t=text, y=label)
    with pytest.raises(ContentError) as caught:
        from_hf(missing)[1]
    assert str(caught.value) == "data set: example 1 has nothing in the column t; leave it out"


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(hf, "import_module", absent)
    pairs = from_iterable([(0, "a")])
    for use in (from_hf, to_hf, lambda dataset: tasks_to_hf(dataset, [0])):
        with pytest.raises(UsageError) as caught:
            use(pairs)
        assert str(caught.value) == (
            "the package datasets is not here (No module named 'datasets'); install it with `pip install l2l-core[hf]`"
        )


@pytest.mark.parametrize("channels", [1, 3])
def test_images_make_the_round(datasets: Any, channels: int) -> None:
    dataset = from_arrays(PIXELS[:, :channels], [f"class {label}" for label in LABELS], layout="CHW")
    theirs = to_hf(dataset)
    assert theirs.features == datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["class 0", "class 1", "class 2"])}
    )
    assert np.array_equal(np.asarray(theirs[3]["image"]), dataset[3][0].numpy().transpose(1, 2, 0).squeeze())
    mode = "RGB" if channels == 3 else "L"
    assert everything(from_hf(theirs, mode=mode, dtype=torch.uint8)) == everything(dataset)


def test_texts_make_the_round(datasets: Any) -> None:
    dataset = from_iterable(zip("abcab", ["", "Öl\r\n", "\ufeffmark", "two\nlines", "日本 "], strict=True))
    theirs = to_hf(dataset)
    assert theirs["text"][:2] == ["", "two\nlines"]
    assert everything(from_hf(theirs)) == everything(dataset)


def test_sounds_make_the_round(datasets: Any, tmp_path: Path) -> None:
    store = write_sounds(tmp_path / "sounds.safetensors")
    dataset = PreparedDataset(store, dtype=torch.int16)
    theirs = to_hf(dataset)
    assert theirs.features["audio"] == datasets.Audio(sampling_rate=16000)
    back = from_hf(theirs, dtype=torch.int16)
    assert everything(back) == everything(dataset)
    assert back.sample_rate_hz == 16000
    assert everything(from_hf(theirs)) == everything(PreparedDataset(store, dtype=torch.float32))
    raw = theirs.cast_column("audio", datasets.Audio(decode=False))
    assert raw[0]["audio"]["bytes"] == encode_sound(dataset[0][0].numpy(), 16000)


def test_sounds_of_any_kind_come_at_the_rate_of_their_column(datasets: Any) -> None:
    soundfile = pytest.importorskip("soundfile", reason="needs the extra audio")
    tone = (20000 * np.sin(np.arange(4000) * 0.3)).astype(np.int16)
    contents = []
    for samples, rate, kind in ((tone, 16000, "WAV"), (np.stack([tone, tone], 1), 16000, "FLAC"), (tone, 8000, "FLAC")):
        stream = BytesIO()
        soundfile.write(stream, samples, rate, format=kind)
        contents.append({"bytes": stream.getvalue(), "path": None})
    held = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"audio": held, "label": datasets.ClassLabel(names=["a", "b"])})
    rows = datasets.Dataset.from_dict({"audio": contents, "label": [0, 1, 1]}, features)
    ours = from_hf(rows.cast_column("audio", datasets.Audio(sampling_rate=16000)), dtype=torch.int16)
    assert ours.sample_rate_hz == 16000
    assert ours[0][0].tolist() == ours[1][0].tolist() == tone.tolist()
    assert ours[2][0].tolist() == resampled(tone, 8000, 16000).tolist()
    unsaid = from_hf(rows.cast_column("audio", datasets.Audio()), dtype=torch.int16)
    assert unsaid.sample_rate_hz is None
    assert unsaid[2][0].tolist() == tone.tolist()


def test_other_data_sets_keep_their_order_and_sorted_classes(datasets: Any) -> None:
    tensors = TensorDataset(torch.from_numpy(PIXELS), torch.tensor([7, 10, 7, 2, 2, 7, 10, 2, 7]))
    theirs = to_hf(tensors)
    assert theirs.features["label"].names == ["2", "7", "10"]
    assert theirs["label"][:] == [1, 2, 1, 0, 0, 1, 2, 0, 1]
    assert np.array_equal(np.asarray(theirs[5]["image"]), PIXELS[5].transpose(1, 2, 0))
    part = to_hf(MetaDataset(tensors, labels_to_indices={"x": [6, 1], "a": [4]}))
    assert part["label"][:] == [1, 0, 1]
    assert np.array_equal(np.asarray(part[1]["image"]), PIXELS[4].transpose(1, 2, 0))


def test_the_same_data_set_is_written_once_and_another_anew(datasets: Any, tmp_path: Path) -> None:
    def files() -> set[Path]:
        return set(tmp_path.rglob("*.arrow"))

    dataset = from_arrays(PIXELS, LABELS, layout="CHW")
    to_hf(dataset)
    first = files()
    assert len(first) == 1
    to_hf(from_arrays(PIXELS, LABELS, layout="CHW"))
    assert files() == first
    assert everything(from_hf(to_hf(from_arrays(255 - PIXELS, LABELS, layout="CHW")), dtype=torch.uint8)) != everything(
        dataset
    )
    renamed = to_hf(from_arrays(PIXELS, ["abc"[label] for label in LABELS], layout="CHW"))
    assert renamed.features["label"].names == ["a", "b", "c"]
    tensors = TensorDataset(torch.from_numpy(PIXELS), torch.tensor(LABELS))
    to_hf(tensors)
    tensors.tensors[1][:] = 4
    assert to_hf(tensors).features["label"].names == ["4"]


def test_what_has_no_column_type_is_refused(datasets: Any) -> None:
    with pytest.raises(UsageError, match=r"example 0 is float64 \[2\]; give images \[C, H, W\] of 1 or 3 channels"):
        to_hf(from_arrays(np.zeros((3, 2)), [0, 1, 2]))


def test_what_an_example_lacks_is_said_in_our_own_words(datasets: Any) -> None:
    examples = torch.from_numpy(PIXELS).float() / 255
    examples[7, 0] = 1.5
    with pytest.raises(UsageError) as rounded:
        to_hf(TensorDataset(examples, torch.tensor(LABELS)))
    assert str(rounded.value).startswith("example 7, an image, is float32 from 0.05882 to 1.5, which files of uint8")
    assert rounded.value.__suppress_context__

    class Mixed(TensorDataset):
        def __getitem__(self, i: int) -> Any:
            return super().__getitem__(i) if i < 5 else ("a text", LABELS[i])

    mixed = Mixed(torch.from_numpy(PIXELS), torch.tensor(LABELS))
    with pytest.raises(UsageError) as caught:
        to_hf(mixed)
    assert str(caught.value) == "example 5 is of texts, and those before it of images; give examples of one kind"


def test_errors_of_others_come_as_they_are(datasets: Any) -> None:
    class Fails(TensorDataset):
        def __getitem__(self, i: int) -> Any:
            if i == 3:
                raise KeyError("gone")
            return super().__getitem__(i)

    with pytest.raises(datasets.exceptions.DatasetGenerationError) as caught:
        to_hf(Fails(torch.from_numpy(PIXELS), torch.tensor(LABELS)))
    assert isinstance(caught.value.__cause__, KeyError)


def test_texts_of_a_million_letters_and_none_make_the_round(datasets: Any) -> None:
    texts = ["", "é" * 1_000_000, " ", "end"]
    dataset = from_iterable(zip("abab", texts, strict=True))
    back = from_hf(to_hf(dataset))
    assert everything(back) == everything(dataset)
    assert sorted(text for text, _ in everything(back)) == sorted(texts)


def headlines(per_class: int = 6) -> PreparedDataset:
    return from_iterable((name, f"{name} {i}") for i in range(per_class) for name in ("zebra", "ape", "bee", "10", "9"))


def rows_by_hand(tasks: l2l.TaskGenerator, indices: list[int], dataset: Any) -> list[dict[str, Any]]:
    """What the rows must be, from the tasks themselves."""
    found = [dataset[i] for i in range(len(dataset))]
    class_of = {str(x): dataset.classes[label] for x, label in found}
    rows = []
    for i in indices:
        episode = tasks[i]
        for role, inputs, labels in (
            ("support", episode.support_x, episode.support_y),
            ("query", episode.query_x, episode.query_y),
        ):
            rows += [
                {"task": i, "role": role, "label": int(label), "class": class_of[str(x)], "x": x}
                for x, label in zip(inputs, labels, strict=True)
            ]
    return rows


def named(written: Any, column: str) -> list[dict[str, Any]]:
    """The rows with names instead of numbers."""
    return [
        {
            **{key: row[key] for key in ("task", "label")},
            **{key: written.features[key].int2str(row[key]) for key in ("role", "class")},
            "x": row[column],
        }
        for row in written
    ]


def test_the_rows_of_tasks_are_what_the_tasks_give(datasets: Any) -> None:
    dataset = headlines()
    tasks = l2l.TaskGenerator(dataset, ways=3, shots=2, queries=4, seed=7)
    indices = [3, 0, 1_000_000, 3]
    written = tasks_to_hf(tasks, iter(indices))
    assert written.features == datasets.Features(
        {
            "text": datasets.Value("string"),
            "task": datasets.Value("int64"),
            "role": datasets.ClassLabel(names=["support", "query"]),
            "label": datasets.Value("int64"),
            "class": datasets.ClassLabel(names=["10", "9", "ape", "bee", "zebra"]),
        }
    )
    expected = rows_by_hand(tasks, indices, dataset)
    assert len(expected) == 4 * 3 * (2 + 4)
    assert named(written, "text") == expected
    one = written.filter(lambda row: row["task"] == 0)
    assert one["text"][:] == [*tasks[0].support_x, *tasks[0].query_x]
    assert one["label"][:] == [0, 0, 1, 1, 2, 2] + [0] * 4 + [1] * 4 + [2] * 4


def test_a_task_of_theirs_is_a_data_set_of_ours(datasets: Any) -> None:
    dataset = headlines()
    written = tasks_to_hf(l2l.TaskGenerator(dataset, ways=3, shots=2, queries=4, seed=7), [5])
    again = from_hf(written, label="class")
    assert again.classes == dataset.classes
    assert set(everything(again)) < set(everything(dataset))
    assert len(again) == 18
    with pytest.raises(UsageError) as caught:
        from_hf(written)
    assert str(caught.value).endswith(" has 2 columns of class labels; choose one with label=…: role, class")


def test_tasks_of_pictures_and_sounds(datasets: Any, tmp_path: Path) -> None:
    pictures = from_arrays(PIXELS, LABELS, layout="CHW")
    tasks = l2l.TaskGenerator(pictures, ways=2, shots=1, queries=1, seed=0)
    written = tasks_to_hf(tasks, range(3))
    found = np.stack([np.asarray(row["image"]).transpose(2, 0, 1) for row in written])
    expected = [torch.cat([tasks[i].support_x, tasks[i].query_x]) for i in range(3)]
    assert np.array_equal(found, torch.cat(expected))
    store = write_sounds(tmp_path / "sounds.safetensors")
    sounds = PreparedDataset(store, ["a", "c/d"], dtype=torch.int16)
    heard = l2l.TaskGenerator(sounds, ways=2, shots=1, queries=1, seed=0)
    spoken = tasks_to_hf(heard, [4])
    assert spoken.features["audio"] == datasets.Audio(sampling_rate=16000)
    raw = spoken.cast_column("audio", datasets.Audio(decode=False))
    ids_NK = heard.describe([4]).all_ids_BNK[0]
    assert [row["audio"]["bytes"] for row in raw] == [
        encode_sound(sounds[i][0].numpy(), 16000) for i in ids_NK.T.reshape(-1).tolist()
    ]


def test_tasks_of_any_data_set_and_of_a_part_of_its_classes(datasets: Any) -> None:
    tensors = TensorDataset(torch.from_numpy(PIXELS), torch.tensor([7, 10, 7, 2, 2, 7, 10, 2, 7]))
    part = MetaDataset(tensors, labels_to_indices={"x": [6, 1], "a": [4, 3]})
    tasks = l2l.TaskGenerator(part, ways=2, shots=1, queries=1, seed=1)
    written = tasks_to_hf(tasks, [0])
    assert written.features["class"].names == ["a", "x"]
    ids_NK = tasks.describe([0]).all_ids_BNK[0]
    expected = ["x" if i in (6, 1) else "a" for i in ids_NK.T.reshape(-1).tolist()]
    assert [written.features["class"].int2str(value) for value in written["class"]] == expected
    for row, i in zip(written, ids_NK.T.reshape(-1).tolist(), strict=True):
        assert np.array_equal(np.asarray(row["image"]), PIXELS[i].transpose(1, 2, 0))


def test_the_same_tasks_are_written_once_and_others_anew(datasets: Any, tmp_path: Path) -> None:
    def files() -> int:
        return len(set(tmp_path.rglob("*.arrow")))

    def write(indices: list[int], seed: int = 0, queries: int = 2) -> Any:
        return tasks_to_hf(l2l.TaskGenerator(headlines(), ways=2, shots=1, queries=queries, seed=seed), indices)

    first = write([0, 1])
    assert files() == 1
    assert write([0, 1])["text"][:] == first["text"][:]
    assert files() == 1
    for other in (write([1, 0]), write([0, 1], seed=1), write([0, 1], queries=3), write([0]), to_hf(headlines())):
        assert other["text"][:] != first["text"][:]
    assert files() == 6
    # Of one way, a shot and two queries are the same examples as two shots and a query, in the same order.
    one, two = (l2l.TaskGenerator(headlines(), ways=1, shots=k, queries=3 - k, seed=0) for k in (1, 2))
    assert np.array_equal(one.describe([0]).all_ids_BNK, two.describe([0]).all_ids_BNK)
    assert [tasks_to_hf(tasks, [0])["role"][:] for tasks in (one, two)] == [[0, 1, 1], [0, 0, 1]]


def test_tasks_that_cannot_be_rows_say_why(datasets: Any, tmp_path: Path) -> None:
    dataset = headlines()
    tasks = l2l.TaskGenerator(dataset, ways=2, shots=1, queries=1, seed=0, num_tasks=5)

    def message(kind: type[Exception], tasks: Any, indices: Any = (0,)) -> str:
        with pytest.raises(kind) as caught:
            tasks_to_hf(tasks, indices)
        return str(caught.value)

    assert message(UsageError, l2l.TaskDataset(dataset)) == (
        "tasks_to_hf takes a TaskGenerator, which knows support from query, found TaskDataset; make the tasks with one"
    )
    pictures = from_arrays(PIXELS, LABELS, layout="CHW")
    augmented = l2l.TaskGenerator(pictures, 2, 1, 1, seed=0, augmentations=[l2l.data.augment.RandomFlip()])
    assert message(UsageError, augmented) == (
        "augmented inputs cannot be written exactly; make the tasks without augmentations"
    )
    assert "5" in message(IndexError, tasks, [5])
    assert message(UsageError, tasks, [])
    arrays = l2l.TaskGenerator(
        ArrayDataset(write_sounds(tmp_path / "x"), ["a", "c/d"]), ways=2, shots=1, queries=1, seed=0
    )
    assert message(UsageError, arrays) == (
        "tasks_to_hf takes tasks of a torch data set, found ArrayDataset; load it with load_dataset"
    )
