"""Texts as vectors: encoded once, kept under everything that decides them, and drawn from as the texts are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from l2l_core.algorithms.methods import Setting, get_method
from l2l_core.catalog import Catalog, open_catalog
from l2l_core.data import arrays
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.encoded import EncodedDataset, encoded
from l2l_core.data.generator import TaskGenerator
from l2l_core.errors import UsageError
from l2l_core.evaluation.run import evaluate
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files
from l2l_core.prepare.held import Held, hold_arrays, hold_texts
from l2l_core.records import DatasetRecord
from l2l_core.text import encoders

WORDS = ("apple", "bear", "cloud", "door")


def texts(count: int = 4) -> PreparedDataset:
    labels = [word for word in WORDS for _ in range(count)]
    contents = [f"{label} {'x' * i} é" for i, label in enumerate(labels)]
    return PreparedDataset(hold_texts("news", contents, labels), subset="test")


class Lengths:
    """Vectors of two numbers a text, and a count of the texts that were encoded."""

    def __init__(self, version: str | None = "1", name: str = "lengths") -> None:
        self.name, self.version, self.count = name, version, 0

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.count += len(texts)
        return np.array([[len(text), ord(text[0])] for text in texts], np.float32)


def test_the_vectors_are_a_data_set_in_the_order_of_the_texts(tmp_path: Path) -> None:
    source = texts()
    dataset = encoded(source, Lengths(), Cache.at(tmp_path))
    assert isinstance(dataset, EncodedDataset)
    assert (dataset.modality, dataset.example_shape, dataset.dtype) == ("arrays", (2,), torch.float32)
    assert (dataset.name, dataset.classes, dataset.subset) == ("news", source.classes, "test")
    for i in range(len(source)):
        vector, label = dataset[i]
        assert vector.tolist() == [len(source.text(i)), ord(source.text(i)[0])]
        assert label == source[i][1]


def test_episodes_are_those_of_the_texts_whatever_encodes_them(tmp_path: Path) -> None:
    source = texts()
    dataset = encoded(source, Lengths(), Cache.at(tmp_path))
    ours, theirs = (TaskGenerator(each, 3, 1, 2, seed=5) for each in (dataset, source))
    assert ours.digest(20) == theirs.digest(20)
    episode, headlines = ours.batch(range(4)), theirs.batch(range(4))
    found = [[int(vector[0]) for vector in task] for task in episode.query_x]
    assert found == [[len(text) for text in task] for task in headlines.query_x]
    assert torch.equal(episode.query_y, headlines.query_y)


def test_texts_are_encoded_once_and_kept_by_data_encoder_and_version(tmp_path: Path) -> None:
    cache, encoder = Cache.at(tmp_path), Lengths()
    first = encoded(texts(), encoder, cache)
    assert torch.equal(encoded(texts(), encoder, cache).gather(np.arange(16)), first.gather(np.arange(16)))
    assert encoder.count == 16
    (path,) = cache.stores("news").rglob("*.safetensors")
    for other, count in ((Lengths("2"), 16), (Lengths(name="other"), 16)):
        encoded(texts(), other, cache)
        assert other.count == count
    encoded(texts(5), encoder, cache)
    assert encoder.count == 16 + 20
    assert len(list(cache.stores("news").rglob("*.safetensors"))) == 4
    for content in (b"", path.read_bytes()[:-4], b"\x02\0\0\0\0\0\0\0{}"):
        path.write_bytes(content)
        again = Lengths()
        assert torch.equal(encoded(texts(), again, cache).gather(np.arange(16)), first.gather(np.arange(16)))
        assert again.count == 16, "a damaged file is made anew"
    unkept = Lengths(None, "unkept")
    encoded(texts(), unkept, cache)
    encoded(texts(), unkept, cache)
    assert unkept.count == 32


def test_what_was_made_by_a_model_of_the_hub_has_a_file_name_of_its_own(tmp_path: Path) -> None:
    cache = Cache.at(tmp_path)
    encoded(texts(), Lengths(name="hub:../some/model"), cache)
    (path,) = cache.stores("news").rglob("*.safetensors")
    assert path.parent == cache.stores("news") / "vectors"
    assert path.name.startswith("hub-..-some-model-")


def test_only_texts_are_encoded(tmp_path: Path) -> None:
    numbers = PreparedDataset(hold_arrays("numbers", np.zeros((2, 3), np.float32), [0, 1], "arrays"))
    with pytest.raises(UsageError) as caught:
        encoded(numbers, Lengths(), Cache.at(tmp_path))
    assert str(caught.value) == "numbers holds arrays, which lengths cannot encode; give texts"


@pytest.fixture
def news(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Benchmark:
    """A benchmark of headlines that name their category, among words that all have."""

    def load(record: DatasetRecord, catalog: Catalog, *_: object, **__: object) -> Held:
        categories = sorted(catalog.split(record.name, None).classes(None))
        labels = [category for category in categories for _ in range(27)]
        generator = np.random.default_rng(0)
        contents = [
            f"{hash_of(label)} {' '.join(generator.choice(list(WORDS), 3))} {'tail ' * (i % 3)}"
            for i, label in enumerate(labels)
        ]
        return hold_texts(record.name, contents, labels)

    monkeypatch.setattr(arrays, "load_store", load)
    folder = tmp_path / "mine/catalog/benchmarks"
    folder.mkdir(parents=True)
    (folder / "headlines-3w1s.toml").write_text(
        'title = "t"\ndataset = "news-journals"\nsplit = "bao"\nsubset = "test"\nways = 3\nshots = 1\nqueries = 5\n'
        "episodes = 30\nseed = 1\n"
    )
    monkeypatch.setenv("L2L_CATALOG", str(tmp_path / "mine"))
    return load_benchmark("headlines-3w1s")


def hash_of(label: str) -> str:
    """A word that half of the categories share, and so do training categories: it is known to TF-IDF."""
    return f"word{sum(map(ord, label)) % 7}"


def test_a_benchmark_of_texts_is_one_of_vectors_on_an_encoder(news: Benchmark) -> None:
    on = news.on("tfidf")
    assert (on.encoder, news.encoder) == ("tfidf", None)
    assert on.on("tfidf") == on.on(None) == on
    train, test = on.dataset("train"), on.dataset()
    assert isinstance(train, EncodedDataset)
    assert isinstance(test, EncodedDataset)
    assert train.example_shape == test.example_shape
    assert on.episodes().digest(5) == news.episodes().digest(5)
    pictures = load_benchmark("glyphs-5w1s")
    assert pictures.on("conv4") is pictures


METHODS = ["simpleshot", "nearest-neighbour", "protonet", "protonet-cosine", "r2d2", "metaoptnet-ridge"]


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_embeddings_work_on_vectors(news: Benchmark, method: str) -> None:
    train = news.on("tfidf").dataset("train")
    setting = Setting(3, 1, train.example_shape, len(train.classes), "tfidf")
    report = evaluate(news, get_method(method).build(setting), method=method, backbone="tfidf")
    assert report.accuracy > 0.5
    assert report.backbone == "tfidf"
    assert report.episodes_digest == news.episodes().digest(30)


def test_simpleshot_is_centred_by_the_training_classes_and_by_nothing_else(news: Benchmark) -> None:
    on = news.on("tfidf")
    train = on.dataset("train")
    setting = Setting(3, 1, train.example_shape, len(train.classes), "tfidf")
    learner = get_method("simpleshot").build(setting)
    report = evaluate(news, learner, backbone="tfidf")
    mean = np.mean([train[i][0].numpy() for i in range(len(train))], axis=0)
    np.testing.assert_allclose(learner.base_mean.numpy(), mean, rtol=1e-4, atol=1e-7)
    right = []
    for support_x, support_y, query_x, query_y in (on.episodes()[i] for i in range(30)):
        centres = {}
        for vector, label in zip(support_x.numpy(), support_y.tolist(), strict=True):
            centres[label] = (vector - mean) / np.linalg.norm(vector - mean)
        for vector, label in zip(query_x.numpy(), query_y.tolist(), strict=True):
            unit = (vector - mean) / np.linalg.norm(vector - mean)
            right.append(min(centres, key=lambda c: float(((unit - centres[c]) ** 2).sum())) == label)
    assert report.accuracy == pytest.approx(np.mean(right), abs=0.01)


def test_real_headlines_by_tfidf(test_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_WORDS", 1024)  # a quarter of the work, and a point of the accuracy
    catalog = open_catalog()
    import_files(catalog.dataset("news-journals"), catalog, Cache.at(), [test_data / "huffpost/huffpost.json"])
    news = load_benchmark("news-journals-5w1s")
    setting = Setting(5, 1, news.on("tfidf").dataset("train").example_shape, 20, "tfidf")
    report = evaluate(news, get_method("simpleshot").build(setting), 100, backbone="tfidf")
    assert 0.225 < report.accuracy < 0.28
