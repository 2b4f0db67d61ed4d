"""Texts as token ids: tokenised once, gathered as a slow loop would, and drawn from as the texts are."""

import pickle
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader

from l2l_core.catalog import open_catalog
from l2l_core.data.datasets import MetaDataset, PreparedDataset, load_dataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.loaders import TaskSampler, TasksetSampler, TaskStream, collate_tasks
from l2l_core.data.meta import FilteredMetaDataset, OnDeviceDataset, UnionMetaDataset
from l2l_core.data.own import from_csv
from l2l_core.data.prefetch import Prefetcher
from l2l_core.data.pretraining import ExampleBatches
from l2l_core.data.semi_supervised import SemiSupervisedTasks
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.tokens import TokenDataset, packed, padded
from l2l_core.data.transforms import KShots, LoadData, NWays, RemapLabels
from l2l_core.data.variable import VariableTasks
from l2l_core.errors import ContentError, TaskError, UsageError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files
from l2l_core.prepare.held import hold_arrays, hold_texts
from l2l_core.text.tokens import HFTokenizer, Vocabulary
from tests.text.test_tokens import bert

NAMES = ("apple", "bear", "cloud", "door")
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


class Letters:
    """An id a letter, of which the padding's is one too; counts the texts that it was given."""

    pad_id = 2

    def __init__(self, version: str | None = "1", name: str = "letters", size: int = 128) -> None:
        self.version, self.name, self.size, self.count = version, name, size, 0

    def encode(self, texts: Sequence[str], max_length: int | None = None) -> list[npt.NDArray[np.int32]]:
        self.count += len(texts)
        return [np.array([ord(letter) % 128 for letter in text[:max_length]], np.int32) for text in texts]


def texts(count: int = 8, name: str = "news") -> PreparedDataset:
    """Texts of 0 to 9 letters, one of which is the padding's."""
    labels = [each for each in NAMES for _ in range(count)]
    contents = [("\x02" + label * 2)[: i % 10] for i, label in enumerate(labels)]
    return PreparedDataset(hold_texts(name, contents, labels), subset="test")


def slow_row(text: str, length: int) -> tuple[list[int], list[int]]:
    ids = [ord(letter) % 128 for letter in text][:length] or [2]
    return ids + [2] * (length - len(ids)), [1] * len(ids) + [0] * (length - len(ids))


@pytest.mark.parametrize(("max_length", "length"), [(128, 9), (9, 9), (4, 4), (1, 1)])
def test_rows_are_the_tokens_of_each_text_and_padding(max_length: int, length: int) -> None:
    source = texts()
    dataset, masked = (TokenDataset(source, Letters(), max_length, masks) for masks in (False, True))
    assert (dataset.example_shape, dataset.dtype, dataset.modality) == ((length,), torch.int64, "arrays")
    assert (dataset.name, dataset.classes, dataset.subset, len(dataset)) == ("news", source.classes, "test", 32)
    assert (dataset.tokenizer, dataset.vocabulary, dataset.pad_id) == ("letters", 128, 2)
    order = np.random.default_rng(0).permutation(32).reshape(2, 4, 4)
    rows, both = dataset.gather(order), masked.gather(order)
    assert list(both) == ["input_ids", "attention_mask"]
    assert all(part.dtype == torch.int64 and part.shape == (2, 4, 4, length) for part in (rows, *both.values()))
    assert torch.equal(rows, both["input_ids"])
    for place, i in np.ndenumerate(order):
        expected = slow_row(source.text(i), length)
        assert (rows[place].tolist(), both["attention_mask"][place].tolist()) == expected
        assert dataset.text(int(i)) == source.text(int(i))
        ids, label = dataset[int(i)]
        assert (ids.tolist(), label) == (expected[0], source[int(i)][1])
        both_of_one, _ = masked[int(i)]
        assert [part.tolist() for part in both_of_one.values()] == list(expected)
    assert dataset.gather(np.empty((0, 3), np.int64)).shape == (0, 3, length)
    assert dataset.gather(np.array(5)).shape == (length,)
    for ids, shape in ((np.empty((0, 3), np.int64), (0, 3, length)), (np.array(5), (length,))):
        assert [part.shape for part in masked.gather(ids).values()] == [shape, shape]


def test_rows_go_where_they_are_wanted() -> None:
    dataset = TokenDataset(texts(), Letters())
    out = torch.full((4, 9), -1)
    assert dataset.gather(np.arange(4), out).data_ptr() == out.data_ptr()
    assert torch.equal(out, dataset.gather(np.arange(4)))
    with pytest.raises(UsageError, match=r"news: out is torch.int64 \[3, 9\]; give a contiguous torch.int64 \[4, 9\]"):
        dataset.gather(np.arange(4), out[:3])
    with pytest.raises(IndexError, match="news has 32 examples; ids 0 to 32 were asked for"):
        dataset.gather(np.array([0, 32]))
    with pytest.raises(IndexError, match="news has 32 examples; ids -1 to 0 were asked for"):
        dataset.gather(np.array([0, -1]))
    with pytest.raises(UsageError) as caught:
        TokenDataset(texts(), Letters(), masks=True).gather(np.arange(4), out)
    assert str(caught.value) == "news: out was given, but ids with masks cannot be gathered into it; leave it out"
    generator = TaskGenerator(dataset, 3, 1, 2, seed=0)
    reused = generator.batch(range(2))
    address = reused.query_x.data_ptr()
    assert generator.batch(range(2, 4), reused).query_x.data_ptr() == address
    assert torch.equal(reused.query_x, generator.batch(range(2, 4)).query_x)


def test_ids_equal_the_padded_batch_call_of_the_tokenizer_itself() -> None:
    theirs = bert()
    contents = ["a cat sat on the mat", "", "größer 猫", "word " * 700, "two words"]
    source = PreparedDataset(hold_texts("news", contents, [0, 0, 1, 1, 1]))
    for max_length in (128, 7, 1000):
        dataset = TokenDataset(source, HFTokenizer(theirs), max_length, masks=True)
        expected = theirs(contents, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        found = dataset.gather(np.arange(5))
        for name in ("input_ids", "attention_mask"):
            assert found[name].dtype == expected[name].dtype
            assert torch.equal(found[name], expected[name])


def test_a_text_without_tokens_is_one_of_padding() -> None:
    source = PreparedDataset(hold_texts("news", ["", "a", "", "bb", ""], [0, 0, 0, 1, 1]))
    rows = TokenDataset(source, Letters(), masks=True).gather(np.arange(5))
    assert rows["input_ids"].tolist() == [[2, 2], [97, 2], [2, 2], [98, 98], [2, 2]]
    assert rows["attention_mask"].tolist() == [[1, 0], [1, 0], [1, 0], [1, 1], [1, 0]]
    alone = PreparedDataset(hold_texts("news", ["", ""], [0, 1]))
    assert TokenDataset(alone, Letters()).gather(np.arange(2)).tolist() == [[2], [2]]


def test_episodes_are_those_of_the_texts_whatever_tokenises_them() -> None:
    source = texts()
    dataset, masked = (TokenDataset(source, Letters(), masks=masks) for masks in (False, True))
    ours, both, theirs = (TaskGenerator(each, 3, 1, 2, seed=5) for each in (dataset, masked, source))
    assert ours.digest(20) == both.digest(20) == theirs.digest(20)
    episodes, with_masks, headlines = (each.batch(range(4)) for each in (ours, both, theirs))
    assert episodes.query_x.shape == (4, 6, 9)
    for task, task_texts in zip(episodes.query_x, headlines.query_x, strict=True):
        assert [row.tolist() for row in task] == [slow_row(text, 9)[0] for text in task_texts]
    assert torch.equal(episodes.query_x, with_masks.query_x["input_ids"])
    assert torch.equal(episodes.query_y, headlines.query_y)


def alike(found: Any, expected: Any) -> bool:
    """Whether two nests of tensors are the same."""
    if isinstance(expected, Tensor):
        return torch.equal(found, expected)
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(alike(found[key], expected[key]) for key in expected)
    return len(found) == len(expected) and all(map(alike, found, expected))


def learn2learn_tasks(dataset: Any) -> TaskDataset:
    meta = MetaDataset(dataset)
    return TaskDataset(meta, [NWays(meta, 3), KShots(meta, 2), LoadData(meta), RemapLabels(meta)], 6, seed=1)


@pytest.mark.parametrize("masks", [False, True])
def test_every_loader_gives_the_same_tasks(masks: bool) -> None:
    dataset = TokenDataset(texts(), Letters(), masks=masks)
    for tasks in (learn2learn_tasks(dataset), TaskGenerator(dataset, 3, 1, 2, seed=1, num_tasks=6)):
        expected = [tasks[i] for i in range(6)]
        first = expected[0][0]
        assert (isinstance(first, dict) and set(first) == {"input_ids", "attention_mask"}) is masks
        stacked = [tasks.batch(range(start, start + 2)) for start in (0, 2, 4)]
        for number, batch in enumerate(stacked):
            assert alike(collate_tasks(tasks.__getitems__([2 * number, 2 * number + 1])), batch)
        sampler = TaskSampler(tasks, 2)
        loaders: list[Any] = [
            DataLoader(tasks, batch_size=2, collate_fn=collate_tasks),
            DataLoader(tasks, batch_sampler=sampler, collate_fn=collate_tasks, num_workers=2),
            DataLoader(TaskStream(tasks, 2), batch_size=None, num_workers=1),
            Prefetcher(TaskStream(tasks, 2)),
        ]
        for loader in loaders:
            assert alike(list(loader), stacked)
        assert alike(list(islice(tasks, 6)), expected)
    plain = DataLoader(learn2learn_tasks(dataset), batch_size=2)
    assert alike([tuple(batch) for batch in plain], [learn2learn_tasks(dataset).batch([i, i + 1]) for i in (0, 2, 4)])
    by_examples = DataLoader(dataset, batch_sampler=TasksetSampler(learn2learn_tasks(dataset), shuffle=False))
    inputs = [batch[0] for batch in by_examples]
    assert alike(inputs, [learn2learn_tasks(dataset)[i][0] for i in range(6)])


@pytest.mark.parametrize("masks", [False, True])
def test_other_kinds_of_tasks_and_plain_batches(masks: bool) -> None:
    dataset, source = TokenDataset(texts(), Letters(), masks=masks), texts()

    def ids(inputs: Any) -> Any:
        return (inputs["input_ids"] if masks else inputs).tolist()

    for ours, theirs in (
        (ExampleBatches(dataset, 5, seed=0), ExampleBatches(source, 5, seed=0)),
        (SemiSupervisedTasks(dataset, 2, 1, 1, 1, 1, seed=0), SemiSupervisedTasks(source, 2, 1, 1, 1, 1, seed=0)),
    ):
        found, headlines = ours.batch([0, 3]), theirs.batch([0, 3])
        for part, of_texts in zip(found[::2], headlines[::2], strict=True):
            assert ids(part) == [[slow_row(text, 9)[0] for text in task] for task in of_texts]
        assert alike(
            ours[3],
            tuple(part[1] if isinstance(part, Tensor) else {k: v[1] for k, v in part.items()} for part in found),
        )
    filtered = FilteredMetaDataset(dataset, [1, 3])
    assert ids(filtered.gather(np.arange(16))) == [
        slow_row(text, 9)[0] for text in FilteredMetaDataset(source, [1, 3]).gather(np.arange(16))
    ]


def test_rows_without_masks_work_in_what_joins_pictures() -> None:
    dataset = TokenDataset(texts(), Letters())
    both = UnionMetaDataset([dataset, dataset])
    assert both.gather(np.array([40, 3])).tolist() == dataset.gather(np.array([8, 3])).tolist()
    held = OnDeviceDataset(dataset, "cpu")
    assert torch.equal(held.inputs, dataset.gather(np.arange(32)))
    uneven = VariableTasks(dataset, seed=0, min_ways=2, max_ways=3).batch(range(2))
    assert uneven.query_x.shape[2:] == (9,)
    with pytest.raises(TaskError, match="only inputs that are tensors can be held on a device"):
        OnDeviceDataset(TokenDataset(texts(), Letters(), masks=True), "cpu")


def test_a_dataset_pickles_as_small_as_its_ids() -> None:
    contents = ["some words of a text " * 5] * 3000
    source = PreparedDataset(hold_texts("news", contents, [i % 2 for i in range(3000)]))
    dataset = TokenDataset(source, Letters(), 90)
    dataset.gather(np.arange(10))
    content = pickle.dumps(dataset)
    # 4 bytes a token, 12 a text, and the texts themselves, which here are held in memory.
    assert len(content) < 3000 * (90 * 4 + 12) + len(pickle.dumps(source)) + 10_000
    assert torch.equal(pickle.loads(content).gather(np.arange(3000)), dataset.gather(np.arange(3000)))


def test_texts_are_tokenised_once_and_kept_by_data_tokenizer_version_and_length(tmp_path: Path) -> None:
    cache, tokenizer = Cache.at(tmp_path), Letters()
    first = TokenDataset(texts(), tokenizer, cache=cache)
    masked = TokenDataset(texts(), tokenizer, masks=True, cache=cache)
    assert torch.equal(masked.gather(np.arange(32))["input_ids"], first.gather(np.arange(32)))
    assert tokenizer.count == 32
    (path,) = cache.stores("news").rglob("*.safetensors")
    assert path.parent == cache.stores("news") / "tokens"
    for other, max_length in ((Letters("2"), 128), (Letters(name="other"), 128), (Letters(), 5)):
        TokenDataset(texts(), other, max_length, cache=cache)
        assert other.count == 32
    TokenDataset(texts(9), tokenizer, cache=cache)
    assert tokenizer.count == 32 + 36
    assert len(list(cache.stores("news").rglob("*.safetensors"))) == 5
    good = path.read_bytes()
    for content in (b"", good[:-4], b"\x02\0\0\0\0\0\0\0{}", good.replace(b"I32", b"F32")):
        path.write_bytes(content)
        again = Letters()
        assert torch.equal(TokenDataset(texts(), again, cache=cache).gather(np.arange(32)), first.gather(np.arange(32)))
        assert again.count == 32, "a damaged file is made anew"
    unkept = Letters(None, "unkept")
    for where in (cache, cache, None):
        TokenDataset(texts(), unkept, cache=where)
    TokenDataset(texts(), tokenizer)
    assert (unkept.count, tokenizer.count) == (96, 100)


def test_kept_ids_that_do_not_fit_are_made_anew(tmp_path: Path) -> None:
    import safetensors.numpy

    cache = Cache.at(tmp_path)
    expected = TokenDataset(texts(), Letters(), cache=cache).gather(np.arange(32))
    (path,) = cache.stores("news").rglob("*.safetensors")
    good = safetensors.numpy.load_file(path)
    ids, bounds = good["ids_T"], good["bounds"]
    changes: list[dict[str, Any]] = [
        {"ids_T": ids + 128},
        {"ids_T": -ids - 1},
        {"ids_T": ids[:-1]},
        {"ids_T": ids[None]},
        {"bounds": bounds[:-1]},
        {"bounds": bounds.astype(np.int32)},
        {"bounds": bounds[::-1].copy()},
        {"bounds": np.where(np.arange(33) == 3, 10**6, bounds)},
    ]
    for change in changes:
        safetensors.numpy.save_file({**good, **change}, path)
        again = Letters()
        assert torch.equal(TokenDataset(texts(), again, cache=cache).gather(np.arange(32)), expected)
        assert again.count == 32, change


def test_it_shows_progress_and_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    TokenDataset(texts(), Letters())
    assert capsys.readouterr() == ("", "")


class Wrong(Letters):
    def __init__(self, encode: Callable[[Sequence[str]], Any], **options: Any) -> None:
        super().__init__(**options)
        self.gives = encode

    def encode(self, texts: Sequence[str], max_length: int | None = None) -> Any:
        return self.gives(texts)


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (
            lambda texts: [[1]] * 5 + [[3, 128]] + [[1]] * 26,
            "letters, for text 5 of news, gave the id 128, but its size is 128; let its encode give 0 to 127, or "
            "correct the size",
        ),
        (
            lambda texts: [[]] * 31 + [[-1]],
            "letters, for text 31 of news, gave the id -1, but its size is 128; let its encode give 0 to 127, or "
            "correct the size",
        ),
        (
            lambda texts: [[2**32]] * 32,
            "letters, for text 0 of news, gave the id 4294967296, but its size is 128; let its encode give 0 to 127, "
            "or correct the size",
        ),
        (
            lambda texts: [[0.5]] * 32,
            "letters, for text 0 of news, gave float64 [1]; let its encode give whole numbers [tokens]",
        ),
        (
            lambda texts: np.ones((32, 1, 1), np.int64),
            "letters, for text 0 of news, gave int64 [1, 1]; let its encode give whole numbers [tokens]",
        ),
        (
            lambda texts: [[1]] * 31,
            "letters was given 32 texts and gave the ids of 31; let its encode give one array a text",
        ),
        (
            lambda texts: [[1] * 129] * 32,
            "letters, for text 0 of news, gave 129 ids, but max_length is 128; let its encode cut them",
        ),
    ],
)
def test_what_no_tokenizer_gives(encode: Callable[[Sequence[str]], Any], message: str, tmp_path: Path) -> None:
    for cache in (None, Cache.at(tmp_path)):
        with pytest.raises(UsageError) as caught:
            TokenDataset(texts(), Wrong(encode), cache=cache)
        assert str(caught.value) == message
    assert not list(tmp_path.rglob("*.safetensors"))


def test_what_is_no_tokenizer_or_no_texts() -> None:
    for wrong in ("bert", None, Letters, bert()):
        with pytest.raises(UsageError) as caught:
            TokenDataset(texts(), wrong)  # type: ignore[arg-type]
        assert str(caught.value) == (
            f"TokenDataset takes a tokenizer, found {type(wrong).__name__}; give a Vocabulary, or an HFTokenizer of "
            "one of Hugging Face's"
        )
    advice = "load one with load_dataset, or make one with from_csv or from_iterable"
    numbers = PreparedDataset(hold_arrays("numbers", np.zeros((2, 3), np.float32), [0, 1], "arrays"))
    tokens = TokenDataset(texts(), Letters())
    for other, found in (
        (numbers, "numbers, which holds arrays"),
        (tokens, "news, which holds arrays"),
        (["a text"], "list"),
    ):
        with pytest.raises(UsageError) as caught:
            TokenDataset(other, Letters())  # type: ignore[arg-type]
        assert str(caught.value) == f"TokenDataset takes a prepared data set of texts, found {found}; {advice}"
    with pytest.raises(UsageError) as caught:
        TokenDataset(texts(), Letters(size=2))
    assert str(caught.value) == "the pad_id of letters is 2, but its size is 2; let it be one of 0 to 1"
    with pytest.raises(UsageError, match="max_length is 0; give at least 1"):
        TokenDataset(texts(), Letters(), 0)


def test_texts_of_a_users_table_in_another_encoding_are_refused_before(tmp_path: Path) -> None:
    path = tmp_path / "news.csv"
    path.write_bytes("text,label\ngrößer,a\nhaus,b\n".encode("latin-1"))
    with pytest.raises(ContentError, match="UTF-8"):
        from_csv(path, text_column="text")
    path.write_bytes("text,label\ngrößer,a\n,b\n".encode())
    vocabulary = Vocabulary(["größer"])
    assert TokenDataset(from_csv(path, text_column="text"), vocabulary).gather(np.arange(2)).tolist() == [[2], [0]]


@st.composite
def rows_and_lengths(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    shape = draw(st.lists(st.integers(0, 3), max_size=2)) + [draw(st.integers(0, 6))]
    size = int(np.prod(shape))
    ids = torch.tensor(draw(st.lists(st.integers(0, 9), min_size=size, max_size=size)), dtype=torch.int64)
    rows = int(np.prod(shape[:-1]))
    lengths = draw(st.lists(st.integers(0, shape[-1]), min_size=rows, max_size=rows))
    return ids.reshape(shape), torch.tensor(lengths, dtype=torch.int64).reshape(shape[:-1])


@given(rows_and_lengths(), st.integers(-3, 3))
def test_packing_and_padding_are_inverse(rows: tuple[Tensor, Tensor], pad_id: int) -> None:
    ids, lengths = rows
    flat, offsets = packed(ids, lengths)
    plain = (
        [
            row[:length]
            for row, length in zip(ids.reshape(-1, ids.shape[-1]).tolist(), lengths.flatten().tolist(), strict=True)
        ]
        if ids.numel()
        else [[] for _ in range(lengths.numel())]
    )
    assert flat.tolist() == [token for row in plain for token in row]
    assert offsets.tolist() == [sum(map(len, plain[:i])) for i in range(len(plain) + 1)]
    assert (flat.dtype, offsets.dtype) == (torch.int64, torch.int64)
    longest = max(map(len, plain), default=0)
    back = padded(flat, offsets, pad_id)
    assert back.shape == (len(plain), longest)
    assert back.tolist() == [row + [pad_id] * (longest - len(row)) for row in plain]
    mask = torch.arange(ids.shape[-1]) < lengths[..., None]
    again = [packed(back, offsets.diff()), packed(ids, mask), packed(ids, mask.long())]
    assert all(torch.equal(flat, other) and torch.equal(offsets, ends) for other, ends in again)


def test_packed_tokens_are_what_torch_takes() -> None:
    masked = TokenDataset(texts(), Letters(), masks=True).gather(np.arange(32))
    flat, offsets = packed(masked["input_ids"], masked["attention_mask"])
    bag = nn.EmbeddingBag(128, 3, mode="mean", include_last_offset=True)
    weight = bag.weight.detach()
    expected = [weight[row[mask == 1]].mean(dim=0) for row, mask in zip(*masked.values(), strict=True)]
    torch.testing.assert_close(bag(flat, offsets).detach(), torch.stack(expected))


def test_a_mask_with_holes_packs_what_it_leaves() -> None:
    for mask in (torch.tensor([[True, False, True], [False, True, False]]), torch.tensor([[1, 0, -1], [0, 5, 0]])):
        flat, offsets = packed(torch.tensor([[1, 2, 3], [4, 5, 6]]), mask)
        assert (flat.tolist(), offsets.tolist()) == ([1, 3, 5], [0, 2, 3])


def test_what_cannot_be_packed_or_padded() -> None:
    ids = torch.zeros(2, 3, dtype=torch.int64)
    cases: list[tuple[Callable[[], object], str]] = [
        (
            lambda: packed(ids, torch.zeros(3, dtype=torch.int64)),
            "ids [2, 3] came with [3]; give a mask [2, 3], or lengths [2]",
        ),
        (
            lambda: packed(ids, torch.tensor([1, 4])),
            "lengths are 1 to 4, but rows have 3 places; give lengths from 0 to 3",
        ),
        (
            lambda: packed(ids, torch.tensor([-1, 2])),
            "lengths are -1 to 2, but rows have 3 places; give lengths from 0 to 3",
        ),
        *(
            (
                lambda offsets=offsets: padded(torch.zeros(4, dtype=torch.int64), torch.tensor(offsets)),
                f"tokens [4] came with offsets {offsets}; give offsets that ascend from 0 to 4",
            )
            for offsets in ([1, 4], [0, 3], [0, 3, 2, 4], [])
        ),
    ]
    for action, message in cases:
        with pytest.raises(UsageError) as caught:
            action()
        assert str(caught.value) == message


def test_real_headlines(test_data: Path, tmp_path: Path) -> None:
    catalog = open_catalog()
    import_files(catalog.dataset("news-journals"), catalog, Cache.at(), [test_data / "huffpost/huffpost.json"])
    train, test = (load_dataset("news-journals", subset) for subset in ("train", "test"))
    vocabulary = Vocabulary.of(train.text(i) for i in range(len(train)))
    dataset = TokenDataset(test, vocabulary, cache=Cache.at())
    assert (len(dataset), dataset.example_shape) == (14_400, (49,))
    content = pickle.dumps(dataset)
    # The store goes as its path: 12 tokens of 4 bytes a headline.
    assert len(content) < 1_000_000
    episode = TaskGenerator(dataset, 5, 1, 25, seed=0)[3]
    headlines = TaskGenerator(test, 5, 1, 25, seed=0)[3].query_x
    for row, ids in zip(episode.query_x.tolist(), vocabulary.encode(headlines), strict=True):
        assert row == ids.tolist() + [0] * (49 - len(ids))
