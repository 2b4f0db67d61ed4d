"""Tokenizers: what makes whole numbers of texts. It imports neither torch nor what a tokenizer runs on.

`Vocabulary` numbers plain words; `HFTokenizer` is any of Hugging Face's. Any other class with the attributes of
`Tokenizer` will do as well.
"""

import copy
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from l2l_core.data.batches import at_least_one, whole
from l2l_core.errors import UsageError

IdArray: TypeAlias = npt.NDArray[np.int32]

PADDING: Final = 0
"""What a `Vocabulary` fills rows up with; the encoders of `l2l_core.nn.text` take it for no token."""
UNKNOWN: Final = 1
"""What a `Vocabulary` gives for a word that is not in it."""
_SPECIAL: Final = 2
WORD: Final = re.compile(r"\w+|[^\w\s]")
"""What `words` finds in a text in lower case."""


def words(text: str) -> list[str]:
    """The words of a text: runs of letters and digits, in lower case, and single other signs."""
    return WORD.findall(text.lower())


@runtime_checkable
class Tokenizer(Protocol):
    """What makes ids of texts, of each text by itself.

    Attributes:
        name: what to call it in messages and in the names of files.
        version: names the ids that it gives: where name and version are the same, so are these, and they are kept in
            the cache. None where that cannot be said.
        size: how many ids there are; they are 0 to size − 1.
        pad_id: the id that rows are filled up with.
    """

    @property
    def name(self) -> str:
        """See above."""

    @property
    def version(self) -> str | None:
        """See above."""

    @property
    def size(self) -> int:
        """See above."""

    @property
    def pad_id(self) -> int:
        """See above."""

    def encode(self, texts: Sequence[str], max_length: int | None = None) -> Sequence[IdArray]:
        """The ids of each text, int32 [tokens], without padding.

        Args:
            texts: any number of them.
            max_length: most tokens a text, those that the tokenizer itself adds included; None for no limit. It is for
                the tokenizer to cut a text, as only it knows what has to stand at the end.
        """


class Vocabulary:
    """A tokenizer of plain words, as `words` finds them: 0 is padding, 1 any other word, then come those listed.

    Args:
        listed: the words, in the order of their ids; in lower case, for others are never found.

    Attributes:
        words: the same; word i has the id i + 2.
        name, version, size, pad_id: as of a `Tokenizer`.

    Raises:
        UsageError: there is no word, one stands there twice, or something is no text.
    """

    name = "words"
    pad_id = PADDING

    def __init__(self, listed: Iterable[str]) -> None:
        self.words = tuple(listed)
        if isinstance(listed, str) or not all(isinstance(word, str) for word in self.words):
            raise UsageError(
                f"a vocabulary is made of a list of words, found {type(listed).__name__}; give a list of texts"
            )
        if not self.words:
            raise UsageError("a vocabulary of no words was asked for; give at least one, or lower min_count")
        self._id_of = {word: number for number, word in enumerate(self.words, _SPECIAL)}
        if len(self._id_of) < len(self.words):
            twice, _ = Counter(self.words).most_common(1)[0]
            raise UsageError(f"the word {twice!r} stands in the vocabulary more than once; give each word once")
        self.size = len(self.words) + _SPECIAL
        self.version = hashlib.sha256("\n".join([WORD.pattern, *self.words]).encode()).hexdigest()

    @classmethod
    def of(cls, training_texts: Iterable[str], size: int | None = None, min_count: int = 2) -> Self:
        """The vocabulary of some texts: the most frequent words first, of equally frequent ones the first by name.

        Args:
            training_texts: of training classes only, so that it knows nothing of the test.
            size: how many ids there are at most, those of padding and unknown words included; None for all.
            min_count: how often a word must occur. At 1 no training text has an unknown word, so that nothing is
                learned of what such a word means in a test.

        Raises:
            UsageError: a number is too small, or no word is left.
        """
        limit = None if size is None else at_least_one("size", size) - _SPECIAL
        if limit is not None and limit < 1:
            raise UsageError(f"size is {size}, and {_SPECIAL} of the ids are padding and unknown words; give 3 or more")
        least = at_least_one("min_count", min_count)
        counts = Counter(word for text in training_texts for word in words(text))
        frequent = sorted((word for word in counts if counts[word] >= least), key=lambda word: (-counts[word], word))
        return cls(frequent[:limit])

    def encode(self, texts: Sequence[str], max_length: int | None = None) -> list[IdArray]:
        """The ids of each text, int32 [tokens]: of its first words where it has more than `max_length`."""
        id_of = self._id_of
        return [np.array([id_of.get(word, UNKNOWN) for word in words(text)[:max_length]], np.int32) for text in texts]

    def __repr__(self) -> str:
        return f"Vocabulary({len(self.words)} words)"


class HFTokenizer:
    """A tokenizer of Hugging Face's, of ``transformers`` or ``tokenizers``, with the special tokens that it adds.

    Texts are cut as it does that itself, so that what it puts at their end stays there. It is copied, where that can
    be done: what happens to the original afterwards changes nothing.

    Args:
        tokenizer: a ``PreTrainedTokenizer``, a ``PreTrainedTokenizerFast`` or a ``tokenizers.Tokenizer``.
        pad_id: the id to fill rows up with; None for that of its padding token.

    Attributes:
        name, version, size, pad_id: as of a `Tokenizer`. The version is the sha256 of what it is saved as; None for
            one that is written in Python, since that could be of any behaviour.

    Raises:
        UsageError: it is no such tokenizer, or it has no token to pad with and none is given, or none of that id.
    """

    def __init__(self, tokenizer: Any, pad_id: int | None = None) -> None:
        alike = all(hasattr(tokenizer, name) for name in ("get_vocab", "num_special_tokens_to_add"))
        if not alike or isinstance(tokenizer, type):
            raise UsageError(
                f"HFTokenizer takes a tokenizer of transformers or tokenizers, found {type(tokenizer).__name__}; give "
                "one, such as AutoTokenizer.from_pretrained(…)"
            )
        self.name = type(tokenizer).__name__
        self.size = max(tokenizer.get_vocab().values(), default=-1) + 1
        self.pad_id = _pad_id(tokenizer, self.size) if pad_id is None else whole("pad_id", pad_id)
        if not 0 <= self.pad_id < self.size:
            raise UsageError(f"pad_id is {self.pad_id}, but {self.name} has the ids 0 to {self.size - 1}; give another")
        try:
            self._tokenizer, self.version = copy.deepcopy(tokenizer), _version(tokenizer)
        except Exception:  # as tokenizers raises where a part is written in Python
            self._tokenizer, self.version = tokenizer, None
        self._added = int(tokenizer.num_special_tokens_to_add(False))

    def encode(self, texts: Sequence[str], max_length: int | None = None) -> list[IdArray]:
        """The ids of each text, int32 [tokens].

        Raises:
            UsageError: `max_length` leaves no room beside the tokens that it adds to each text.
        """
        if max_length is not None and max_length <= self._added:
            raise UsageError(
                f"max_length is {max_length}, but {self.name} adds {self._added} tokens to each text; give at least "
                f"{self._added + 1}"
            )
        return [np.array(ids, np.int32) for ids in (self._ids(list(texts), max_length) if len(texts) else [])]

    def _ids(self, texts: list[str], max_length: int | None) -> list[list[int]]:
        if callable(self._tokenizer):  # those of transformers
            found: list[list[int]] = self._tokenizer(
                texts,
                padding=False,
                truncation=max_length is not None,
                max_length=max_length,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )["input_ids"]
            return found
        self._tokenizer.no_padding()
        if max_length is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(max_length)
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]

    def __repr__(self) -> str:
        return f"HFTokenizer({self.name}, {self.size} ids)"


def _pad_id(tokenizer: Any, size: int) -> int:
    """The id of the tokenizer's own padding."""
    if callable(tokenizer):
        pad_id = tokenizer.pad_token_id
    else:
        pad_id = None if tokenizer.padding is None else tokenizer.padding["pad_id"]
    if pad_id is None:
        raise UsageError(
            f"{type(tokenizer).__name__} has no token to pad with; give pad_id=…, one of its ids 0 to {size - 1}, such "
            "as that of the end of a text"
        )
    return int(pad_id)


def _version(tokenizer: Any) -> str | None:
    """Sha256 of what a tokenizer is saved as, without how it pads and cuts at the moment."""
    backend = getattr(tokenizer, "backend_tokenizer", None) if callable(tokenizer) else tokenizer
    if backend is None:
        return None
    plain = copy.deepcopy(backend)
    plain.no_padding()
    plain.no_truncation()
    return hashlib.sha256(plain.to_str().encode()).hexdigest()
