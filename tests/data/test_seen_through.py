"""Benchmarks of texts and sounds as learners see them: which encoder a backbone's name means, and what it gives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from l2l_core.catalog import open_catalog
from l2l_core.data.benchmarks import LOG_MEL, Benchmark, load_benchmark
from l2l_core.data.encoded import EncodedDataset
from l2l_core.data.log_mel import LogMelDataset, log_mel
from l2l_core.data.tokens import TokenDataset
from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.fetch.cache import Cache
from l2l_core.nn import TextCNN, TextTransformer
from l2l_core.prepare.build import import_files
from l2l_core.records import SUBSETS, Subset
from l2l_core.text import encoders
from l2l_core.text.tokens import UNKNOWN, words
from l2l_core.training import build_learner
from tests.headlines import headlines, open_headlines
from tests.keywords import EXAMPLES, LONGEST, RATE_HZ, write_keywords


@pytest.fixture
def news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    return open_headlines(tmp_path / "mine", monkeypatch)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """Speech Commands' benchmark on the small copy of the archive."""
    root = tmp_path_factory.mktemp("spoken")
    catalog, archive = open_catalog([]), write_keywords(root / "copy.tar.gz")
    import_files(catalog.dataset("speech-commands"), catalog, Cache.at(root / "home"), [archive])
    return load_benchmark("speech-commands-5w1s", root=root / "home")


def test_the_name_before_the_plus_is_the_encoder(news: Benchmark) -> None:
    names = {
        **{"minilm": "minilm", "minilm+mlp": "minilm", "glove+mlp": "glove", "tfidf": "tfidf"},
        **{"words+cnn": "words", "words+transformer": "words", "words": "words"},
    }
    assert {name: news.on(name).encoder for name in names} == names
    on = news.on("tfidf+mlp")
    assert on.on(None) == on.on("tfidf") == on
    assert on.on("words+cnn").encoder == "words"
    assert (on.record, on.root, on.download) == (news.record, news.root, news.download)


def test_texts_need_an_encoder_and_one_that_there_is(news: Benchmark) -> None:
    with pytest.raises(UsageError) as missing:
        news.on(None)
    assert str(missing.value) == (
        "headlines-3w2s is of texts; say what makes vectors of them with --backbone (in Python: backbone=…), one of "
        "glove, minilm, tfidf, a net on top of one, as in minilm+mlp, or one on token ids, as in words+cnn"
    )
    for wrong, message in {
        "minilmm+mlp": "unknown encoder of texts 'minilmm'; did you mean 'minilm'?",
        "conv4": "unknown encoder of texts 'conv4'; known: glove, minilm, tfidf, words",
        "+mlp": "unknown encoder of texts ''; known: glove, minilm, tfidf, words",
    }.items():
        with pytest.raises(UnknownNameError) as unknown:
            news.on(wrong)
        assert str(unknown.value) == message


def test_words_are_token_ids_by_a_vocabulary_of_the_training_texts(news: Benchmark) -> None:
    on = news.on("words+cnn")
    datasets = {subset: on.dataset(subset) for subset in SUBSETS}
    counts: dict[str, int] = {}
    for subset, _, text in headlines():
        for word in words(text) if subset == "train" else ():
            counts[word] = counts.get(word, 0) + 1
    known = {word for word, count in counts.items() if count >= 2}
    for subset, dataset in datasets.items():
        assert isinstance(dataset, TokenDataset)
        assert dataset.vocabulary == len(known) + 2
        assert dataset.subset == subset
        for i in range(len(dataset)):
            ids = dataset.example(i).tolist()[: len(words(dataset.text(i)))]
            assert [number == UNKNOWN for number in ids] == [word not in known for word in words(dataset.text(i))]
    assert on.episodes().digest(5) == news.episodes().digest(5)
    assert on.episodes()[0].support_x.dtype == torch.int64
    # A word of the test classes alone, which stands in most of their texts, is none that a learner could know.
    assert "test0" not in known
    assert (datasets["test"].gather(np.arange(8)) == UNKNOWN).any(dim=1).all()


def test_vectors_are_made_by_the_encoder_and_kept(news: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lengths:
        name, version, seen = "lengths", "1", 0

        def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            Lengths.seen += len(texts)
            return np.array([[len(text), 1, 2] for text in texts], np.float32)

    builders: dict[str, Any] = {**encoders.ENCODERS, "lengths": lambda _: Lengths()}
    monkeypatch.setattr(encoders, "ENCODERS", builders)
    monkeypatch.setattr("l2l_core.data.benchmarks.ENCODERS", builders)
    for _ in range(2):
        dataset = news.on("lengths+mlp").dataset()
        assert isinstance(dataset, EncodedDataset)
        assert [vector[0] for vector in dataset.gather(np.arange(24))] == [
            len(dataset.texts.text(i)) for i in range(24)
        ]
    assert Lengths.seen == 24


@pytest.mark.parametrize(
    ("backbone", "kind"),
    [("words+cnn", TextCNN), ("words+transformer", TextTransformer), ("tfidf+mlp", torch.nn.Sequential)],
)
def test_the_name_behind_the_plus_is_the_net(news: Benchmark, backbone: str, kind: type) -> None:
    learner: Any = build_learner(news, "protonet", backbone=backbone)
    assert type(learner.backbone) is kind
    train = news.on(backbone).dataset("train")
    if isinstance(train, TokenDataset):
        assert learner.backbone.embedding.num_embeddings == train.vocabulary
    else:
        assert learner.backbone[0].in_features == train.example_shape[0]
    assert learner.embed(train.gather(np.arange(3))).ndim == 2


def test_nets_that_are_none_or_of_another_kind(news: Benchmark) -> None:
    for name, message in {
        "tfidf+cnn": "unknown net 'cnn' on top of tfidf; known: mlp",
        "words+mlp": "unknown net 'mlp' on top of words; known: cnn, transformer",
        "words+cn": "unknown net 'cn' on top of words; did you mean 'cnn'?",
        "tfidf+": "unknown net '' on top of tfidf; known: mlp",
    }.items():
        with pytest.raises(UnknownNameError) as unknown:
            build_learner(news, "protonet", backbone=name)
        assert str(unknown.value) == message
    for method in ("protonet", "maml", "simpleshot"):
        with pytest.raises(UsageError) as missing:
            build_learner(news, method, backbone="words")
        assert str(missing.value) == "words gives token ids; say what takes them, as in words+cnn"


def test_relation_networks_take_pictures_alone(news: Benchmark) -> None:
    for backbone, shape in (("tfidf+mlp", news.on("tfidf").dataset("train").example_shape), ("words+cnn", (6,))):
        with pytest.raises(UsageError) as caught:
            build_learner(news, "relation-net", backbone=backbone)
        assert str(caught.value) == (
            f"relation-net compares maps of pictures, but was asked to take {list(shape)}; take a method with a head "
            "on embeddings, such as simpleshot, protonet or r2d2"
        )


def test_sounds_are_log_mel_pictures_of_one_size_in_every_subset(spoken: Benchmark) -> None:
    on = spoken.on(None)
    assert on.encoder == LOG_MEL
    assert on == spoken.on("conv4") == on.on("conv4-32")
    frames = 1 + (LONGEST - 400) // 160
    lengths: dict[Subset, int] = {}
    for subset in SUBSETS:
        dataset, sounds = on.dataset(subset), spoken.dataset(subset)
        assert isinstance(dataset, LogMelDataset)
        assert (dataset.example_shape, dataset.dtype) == ((1, 40, frames), torch.float32)
        assert (dataset.classes, len(dataset)) == (sounds.classes, EXAMPLES * len(sounds.classes))
        lengths[subset] = sounds.example_shape[0]
        waveform = np.zeros(LONGEST, np.int16)
        sound = sounds.arrays(np.array([5]))[0]
        waveform[: len(sound)] = sound
        picture = log_mel(torch.from_numpy(waveform), RATE_HZ)
        wanted = (picture - picture.mean()) / picture.std(correction=0)
        torch.testing.assert_close(dataset.example(5), wanted, rtol=1e-4, atol=1e-4)
    assert lengths["train"] == LONGEST > max(lengths["validation"], lengths["test"])
    assert on.episodes().digest(5) == spoken.episodes().digest(5)
    assert on.episodes()[0].query_x.shape == (75, 1, 40, frames)


def test_learners_of_sounds_are_those_of_pictures_of_one_channel(spoken: Benchmark) -> None:
    learner: Any = build_learner(spoken, "protonet", backbone="conv4-32")
    assert learner.backbone.channels == 1
    with pytest.raises(UnknownNameError, match="unknown backbone 'words'; known: "):
        build_learner(spoken, "protonet", backbone="words")


def test_a_benchmark_of_pictures_is_as_it_was() -> None:
    pictures = load_benchmark("glyphs-5w1s")
    assert pictures.on("conv4") is pictures.on(None) is pictures
