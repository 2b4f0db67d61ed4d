"""Sounds at another sampling rate."""

from collections.abc import Callable
from functools import lru_cache
from math import ceil, gcd
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from l2l_core.errors import ContentError
from l2l_core.prepare.sounds import audio_package, to_int16

_ZEROS: Final = 6
"""Zero crossings of the filter at each side: torchaudio's default."""
_MAX_FILTER: Final = 2**24
"""Numbers in the filter, 128 MiB of them; 44,100 to 16,000 samples a second takes 76,000. Rates without a common factor
would take as many as their product."""
_MAX_RATIO: Final = 64
"""Of two rates: beyond it one is a mistake, and of a few bytes would become gigabytes."""


def resampled(samples: npt.NDArray[np.int16], from_hz: int, to_hz: int) -> npt.NDArray[np.int16]:
    """A sound at another sampling rate, int16 [samples · to_hz / from_hz, rounded up]; as it is where that is the same.

    By a windowed sinc, computed in float64: so the order of additions, which differs from machine to machine, does not
    show in 16 bits.

    Args:
        samples: int16 [samples].
        from_hz: their rate.
        to_hz: the rate that is wanted.

    Raises:
        ContentError: one rate cannot be made of the other; the message is the second half of a sentence.
        UsageError: torchaudio is not installed.
    """
    if from_hz == to_hz or not len(samples):
        return samples
    common, ratio = gcd(from_hz, to_hz), max(from_hz, to_hz) / min(from_hz, to_hz)
    width = ceil(_ZEROS * from_hz / min(from_hz, to_hz))
    if ratio > _MAX_RATIO or to_hz // common * (2 * width + from_hz // common) > _MAX_FILTER:
        raise ContentError(f"has {from_hz:,} samples a second, of which {to_hz:,} cannot be made; convert it")
    return to_int16(_filter(from_hz, to_hz)(torch.from_numpy(samples.astype(np.float64) / 2**15)).numpy())


@lru_cache(maxsize=4)
def _filter(from_hz: int, to_hz: int) -> Callable[[Tensor], Tensor]:
    """What resamples float64 [samples]; kept, since to compute the filter takes ten times as long as to apply it."""
    transforms = audio_package("torchaudio.transforms", f"resampling to {to_hz:,} samples a second")
    made: Callable[[Tensor], Tensor] = transforms.Resample(
        from_hz, to_hz, lowpass_filter_width=_ZEROS, dtype=torch.float64
    )
    return made
