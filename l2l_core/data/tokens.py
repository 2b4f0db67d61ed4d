"""Texts as token ids: each text of a data set is tokenised once, and its ids are a data set like any other.

Letters in shapes: M texts, L tokens of the longest, T tokens of all texts side by side.
"""

import hashlib
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from l2l_core.data.arrays import check_out
from l2l_core.data.batches import at_least_one
from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.derived import made_or_kept
from l2l_core.data.sampling import IntArray
from l2l_core.errors import UsageError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.held import Held
from l2l_core.text.tokens import IdArray, Tokenizer

_BATCH: Final = 1024
"""Texts that a tokenizer is given at a time: enough to occupy all cores where it uses them."""


class TokenDataset(PreparedDataset):
    """A data set of texts whose examples are token ids, int64 [L]; classes, order and ids of examples are the texts'.

    So is the fingerprint: an episode is the same whatever its texts are tokenised with. L is the same for all tasks:
    `max_length`, or the length of the longest text where that is less. Shorter texts have padding behind them, longer
    ones are cut as the tokenizer does that: a `Vocabulary` keeps the first words, BERT's tokenizer keeps [SEP] at the
    end. A text without any token, such as an empty one, counts as one token, which is padding: so no mask is all
    false, and no model divides by nothing.

    Args:
        texts: the data set.
        tokenizer: makes ids of texts; a `Vocabulary`, an `HFTokenizer`, or whatever has the attributes of `Tokenizer`.
        max_length: most tokens a text; Bao et al. 2020 take 500, of which no headline has a tenth.
        masks: whether examples are what models of Hugging Face take instead: ``{"input_ids": int64 [L],
            "attention_mask": int64 [L]}``, the mask 1 for tokens and 0 for padding.
        cache: where the ids are kept, if the tokenizer has a version; they lie beside the data set's store and go with
            it. A file that cannot be read is made anew. None keeps them in memory alone.

    Attributes:
        texts, max_length, masks: as given.
        tokenizer: its name.
        vocabulary: how many ids it has.
        pad_id: what rows are filled up with.
        dtype: torch.int64.

    Raises:
        UsageError: these are no texts, or that is no tokenizer; or what it gives is not what a `Tokenizer` gives, or it
            has other ids, that of padding included, than it says.
        CacheError: the cache cannot be written.

    Source: Bao et al. 2020, ``src/dataset/loader.py`` of the released code, for the 500.
    """

    def __init__(
        self,
        texts: PreparedDataset,
        tokenizer: Tokenizer,
        max_length: int = 128,
        masks: bool = False,
        cache: Cache | None = None,
    ) -> None:
        if not isinstance(texts, PreparedDataset) or texts.modality != "texts":
            found = (
                f"{texts.name}, which holds {texts.modality}" if hasattr(texts, "modality") else type(texts).__name__
            )
            raise UsageError(
                f"TokenDataset takes a prepared data set of texts, found {found}; load one with load_dataset, or make "
                "one with from_csv or from_iterable"
            )
        if not isinstance(tokenizer, Tokenizer):
            raise UsageError(
                f"TokenDataset takes a tokenizer, found {type(tokenizer).__name__}; give a Vocabulary, or an "
                "HFTokenizer of one of Hugging Face's"
            )
        if not 0 <= tokenizer.pad_id < tokenizer.size:
            raise UsageError(
                f"the pad_id of {tokenizer.name} is {tokenizer.pad_id}, but its size is {tokenizer.size}; let it be "
                f"one of 0 to {tokenizer.size - 1}"
            )
        self.texts, self.masks = texts, masks
        self.max_length = at_least_one("max_length", max_length)
        self.tokenizer, self.vocabulary, self.pad_id = tokenizer.name, tokenizer.size, tokenizer.pad_id
        ids_T, bounds = _made_or_kept(texts, tokenizer, self.max_length, cache)
        counts_M = np.diff(bounds)
        # A text without tokens is found behind all others, where there is padding.
        self._starts_M = np.where(counts_M > 0, bounds[:-1], len(ids_T))
        # Half as wide as they could be, since each place of what is gathered is compared with them.
        self._lengths_M = counts_M.astype(np.int32).clip(min=1)
        self._places_L = np.arange(self._lengths_M.max(initial=1), dtype=np.int32)
        # So much room that a whole row can be read from wherever a text begins.
        self._ids_T = np.append(ids_T, np.full(len(self._places_L), self.pad_id, np.int32))
        offsets = np.append(texts.class_index.starts_C, len(texts))
        groups = dict(zip(texts.classes, texts.superclasses, strict=True))
        super().__init__(
            Held(texts.name, texts.classes, "arrays", self._ids_T, offsets), None, groups, subset=texts.subset
        )
        self.dtype = torch.int64

    @cached_property
    def example_shape(self) -> tuple[int, ...]:
        """L, as the shape of a row of ids."""
        return (len(self._places_L),)

    @cached_property
    def fingerprint(self) -> str:
        """That of the texts."""
        return self.texts.fingerprint

    def text(self, index: int) -> str:
        """The text of example `index`, 0 <= index < len."""
        return self.texts.text(index)

    def example(self, index: int) -> Any:
        """Example `index`, 0 <= index < len, without its label."""
        gathered = self.gather(np.array([index]))
        return {key: rows[0] for key, rows in gathered.items()} if self.masks else gathered[0]

    def gather(self, ids: IntArray, out: Tensor | None = None) -> Any:
        """Token ids of some texts, int64 [*ids.shape, L]; with `masks` a dictionary, see above.

        Args:
            ids: int64, any shape, each in [0, len).
            out: where to put them, contiguous and of that type and shape; a new tensor for None.

        Raises:
            IndexError: some id is not.
            UsageError: `out` does not fit, or is given although there are masks.
        """
        if not self.masks:
            if out is not None:
                check_out(self.name, out, self.dtype, (*ids.shape, *self.example_shape))
            return torch.from_numpy(self.arrays(ids, None if out is None else out.numpy()))
        if out is not None:
            raise UsageError(f"{self.name}: out was given, but ids with masks cannot be gathered into it; leave it out")
        # In one block: two that are freed together are more than the C library keeps, and to have the pages anew took
        # twice as long as all the rest (64 tasks of 130 headlines: 4.4 ms, so 1.5).
        both = np.empty((2, *ids.shape, *self.example_shape), np.int64)
        rows, mask = self.arrays(ids, both[0]), both[1]
        mask.reshape(-1, *self.example_shape)[:] = self._present(ids.reshape(-1))
        return {"input_ids": torch.from_numpy(rows), "attention_mask": torch.from_numpy(mask)}

    def arrays(self, ids: IntArray, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Token ids of some texts as a NumPy array, int64 [*ids.shape, L]; without masks.

        Args and errors are those of `gather`.
        """
        self._check(ids)
        shape = (*ids.shape, *self.example_shape)
        if out is None:
            out = np.empty(shape, np.int64)
        else:
            check_out(self.name, out, np.dtype(np.int64), shape)
        ids_M, width = ids.reshape(-1), self._ids_T.itemsize
        (L,) = self.example_shape
        # Row t is the L ids from place t on: all rows there could be, none of them copied.
        rows_TL: npt.NDArray[np.int32] = np.ndarray(
            (len(self._ids_T) - L + 1, L), np.int32, self._ids_T.data, strides=(width, width)
        )
        # Filled, then written over: a third quicker than to choose between tokens and padding one by one.
        out.fill(self.pad_id)
        np.copyto(out.reshape(-1, L), rows_TL[self._starts_M[ids_M]], where=self._present(ids_M))
        return out

    def _present(self, ids_M: IntArray) -> npt.NDArray[np.bool_]:
        """Where the rows of some texts hold tokens, [M, L]."""
        present_ML: npt.NDArray[np.bool_] = self._places_L < self._lengths_M[ids_M][:, None]
        return present_ML


class _Flat(NamedTuple):
    """Ids of all texts, int32 [T], and where each text begins and the last one ends, int64 [M + 1]."""

    ids_T: IdArray
    bounds: npt.NDArray[np.int64]


def _made_or_kept(texts: PreparedDataset, tokenizer: Tokenizer, max_length: int, cache: Cache | None) -> _Flat:
    """The ids of all texts, from the cache where they are there; else they are made, and kept if they may be."""
    if cache is None or tokenizer.version is None:
        return _made(texts, tokenizer, max_length)
    key = hashlib.sha256(f"{texts.fingerprint} {tokenizer.version} {max_length}".encode()).hexdigest()[:16]
    arrays = made_or_kept(
        cache,
        texts.name,
        f"tokens/{tokenizer.name}-{key}.safetensors",
        lambda: _made(texts, tokenizer, max_length)._asdict(),
        lambda found: _fits(found["ids_T"], found["bounds"], len(texts), tokenizer.size),
    )
    return _Flat(**arrays)


def _made(texts: PreparedDataset, tokenizer: Tokenizer, max_length: int) -> _Flat:
    parts = [np.empty(0, np.int64)]
    with tqdm(desc=f"tokenising {texts.name}", total=len(texts), unit=" texts", disable=None, leave=False) as bar:
        for start in range(0, len(texts), _BATCH):
            batch = [texts.text(i) for i in range(start, min(start + _BATCH, len(texts)))]
            encoded = tokenizer.encode(batch, max_length)
            if len(encoded) != len(batch):
                raise UsageError(
                    f"{tokenizer.name} was given {len(batch)} texts and gave the ids of {len(encoded)}; let its encode "
                    "give one array a text"
                )
            for i, ids in enumerate(encoded, start):
                parts.append(_as_ids(ids, f"{tokenizer.name}, for text {i} of {texts.name},", max_length))
            bar.update(len(batch))
    bounds = np.cumsum([len(ids) for ids in parts])
    ids_T = np.concatenate(parts)
    wrong = np.flatnonzero((ids_T < 0) | (ids_T >= tokenizer.size))
    if len(wrong):
        text = int(np.searchsorted(bounds, wrong[0], side="right")) - 1
        raise UsageError(
            f"{tokenizer.name}, for text {text} of {texts.name}, gave the id {ids_T[wrong[0]]}, but its size is "
            f"{tokenizer.size}; let its encode give 0 to {tokenizer.size - 1}, or correct the size"
        )
    return _Flat(ids_T.astype(np.int32), bounds)


def _as_ids(ids: Any, who: str, max_length: int) -> IntArray:
    """The ids of a text as its tokenizer gave them, so wide that none wraps round before it is compared."""
    array = np.asarray(ids)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise UsageError(f"{who} gave {array.dtype} {list(array.shape)}; let its encode give whole numbers [tokens]")
    if len(array) > max_length:
        raise UsageError(f"{who} gave {len(array)} ids, but max_length is {max_length}; let its encode cut them")
    return array.astype(np.int64, copy=False)


def _fits(ids_T: npt.NDArray[Any], bounds: npt.NDArray[Any], texts: int, size: int) -> bool:
    """Whether these are ids of so many texts, and of so many different ids."""
    if ids_T.dtype != np.int32 or ids_T.ndim != 1 or bounds.dtype != np.int64 or bounds.shape != (texts + 1,):
        return False
    ascending = bounds[0] == 0 and bounds[-1] == len(ids_T) and (bounds[1:] >= bounds[:-1]).all()
    return bool(ascending and ((ids_T >= 0) & (ids_T < size)).all())


def packed(ids: Tensor, mask_or_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens of all rows side by side, int64 [T], and where each row begins and the last one ends, int64 [M + 1].

    As ``nn.EmbeddingBag(…, include_last_offset=True)``, ``torch.nested.nested_tensor_from_jagged`` and attention over
    variable lengths take them.

    Args:
        ids: int64 [..., L]; M rows, whatever the shape in front.
        mask_or_lengths: a mask [..., L], true or not 0 where a token is; or lengths, int64 [...], each in [0, L].

    Raises:
        UsageError: the second is of neither shape, or has a length that is none.
    """
    if mask_or_lengths.shape == ids.shape:
        present = mask_or_lengths != 0
    elif mask_or_lengths.shape == ids.shape[:-1]:
        L = ids.shape[-1]
        if ((mask_or_lengths < 0) | (mask_or_lengths > L)).any():
            raise UsageError(
                f"lengths are {mask_or_lengths.min()} to {mask_or_lengths.max()}, but rows have {L} places; give "
                f"lengths from 0 to {L}"
            )
        present = torch.arange(L, device=ids.device) < mask_or_lengths.unsqueeze(-1)
    else:
        raise UsageError(
            f"ids {list(ids.shape)} came with {list(mask_or_lengths.shape)}; give a mask {list(ids.shape)}, or lengths "
            f"{list(ids.shape[:-1])}"
        )
    return ids[present], functional.pad(present.sum(dim=-1).flatten().cumsum(dim=0), (1, 0))


def padded(flat: Tensor, offsets: Tensor, pad_id: int = 0) -> Tensor:
    """Rows of tokens with padding behind them, [M, L], L being the length of the longest: what `packed` packed.

    ``offsets.diff()`` is the length of each.

    Args:
        flat: int64 [T].
        offsets: int64 [M + 1], from 0 up to T.
        pad_id: what to fill them up with.

    Raises:
        UsageError: the offsets are no such ones.
    """
    lengths_M = offsets.diff()
    fits = flat.ndim == offsets.ndim == 1 and len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(flat)
    if not fits or (lengths_M < 0).any():
        raise UsageError(
            f"tokens {list(flat.shape)} came with offsets {offsets.tolist()[:8]}; give offsets that ascend from 0 to "
            f"{len(flat)}"
        )
    longest = max(lengths_M.tolist(), default=0)
    present_ML = torch.arange(longest, device=flat.device) < lengths_M[:, None]
    rows_ML = flat.new_full(present_ML.shape, pad_id)
    rows_ML[present_ML] = flat
    return rows_ML
