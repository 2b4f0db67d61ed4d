"""Texts as vectors: each text of a data set is encoded once, and the vectors are a data set like any other.

Letters in shapes: M texts, D embedding.
"""

import hashlib
import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.derived import made_or_kept
from l2l_core.errors import UsageError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.held import Held

if TYPE_CHECKING:
    from l2l_core.text.encoders import Encoder

_NOT_IN_FILES: Final = r"[^\w.-]"
_BATCH: Final = 1024
"""Texts that an encoder is given at a time: enough for it to put those of one length together."""


class EncodedDataset(PreparedDataset):
    """A data set of texts whose examples are vectors, float32 [D]; classes, order and ids are those of the texts.

    So is the fingerprint: an episode is the same whatever its texts are encoded with, and two encoders can be compared
    episode by episode.

    Args:
        texts: the data set.
        vectors_MD: one a text, in its order.
        encoder: name of what made them.

    Attributes:
        texts, encoder: as given.
    """

    def __init__(self, texts: PreparedDataset, vectors_MD: npt.NDArray[np.float32], encoder: str) -> None:
        offsets = np.append(texts.class_index.starts_C, len(texts))
        held = Held(texts.name, texts.classes, "arrays", vectors_MD, offsets)
        groups = dict(zip(texts.classes, texts.superclasses, strict=True))
        super().__init__(held, None, groups, subset=texts.subset)
        self.texts = texts
        self.encoder = encoder

    @cached_property
    def fingerprint(self) -> str:
        """That of the texts."""
        return self.texts.fingerprint


def encoded(texts: PreparedDataset, encoder: "Encoder", cache: Cache) -> EncodedDataset:
    """The texts as vectors, from the cache where they are there; else they are encoded, and kept if they may be.

    They lie beside the data set's store and go with it, one safetensors file for each set of classes and encoder. A
    file that cannot be read is made anew.

    Raises:
        UsageError: the data set holds no texts, or what the encoder runs on is not installed.
        FetchError: the encoder's weights are not here, and could not be fetched.
        CacheError: the cache cannot be written.
    """
    if texts.modality != "texts":
        raise UsageError(f"{texts.name} holds {texts.modality}, which {encoder.name} cannot encode; give texts")
    if encoder.version is None:
        return EncodedDataset(texts, _vectors(texts, encoder), encoder.name)
    key = hashlib.sha256(f"{texts.fingerprint} {encoder.version}".encode()).hexdigest()[:16]
    arrays = made_or_kept(
        cache,
        texts.name,
        f"vectors/{re.sub(_NOT_IN_FILES, '-', encoder.name)}-{key}.safetensors",
        lambda: {"vectors": _vectors(texts, encoder)},
        lambda found: found["vectors"].dtype == np.float32 and found["vectors"].shape[:-1] == (len(texts),),
    )
    return EncodedDataset(texts, arrays["vectors"], encoder.name)


def _vectors(texts: PreparedDataset, encoder: "Encoder") -> npt.NDArray[np.float32]:
    parts = []
    with tqdm(desc=f"encoding {texts.name}", total=len(texts), unit=" texts", disable=None, leave=False) as bar:
        for start in range(0, len(texts), _BATCH):
            batch = [texts.text(i) for i in range(start, min(start + _BATCH, len(texts)))]
            parts.append(encoder.encode(batch))
            bar.update(len(batch))
    return np.concatenate(parts)
