"""Sounds as pictures: how loud each band of frequencies is at each moment, of sounds of any rate.

Letters in shapes: M sounds.
"""

import warnings
from collections.abc import Callable
from functools import cached_property, lru_cache
from math import isfinite
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

from l2l_core.data.arrays import check_out
from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.sampling import IntArray
from l2l_core.errors import UsageError
from l2l_core.prepare.held import Held
from l2l_core.prepare.own import whole_number
from l2l_core.prepare.sounds import audio_package

MELS: Final = 40
"""Bands, of 25 ms every 10 ms, as in the first convolutional nets that spot keywords (Sainath & Parada 2015)."""
WINDOW_MS: Final = 25.0
HOP_MS: Final = 10.0
_FLOOR: Final = 1e-6
"""Added to the power, so that silence is a finite number: that of a tone of a hundred-thousandth of full scale."""
_PIECE: Final = 2**18
"""Samples that are transformed at a time, 16 seconds at 16 kHz: a tenth faster than one second or 100, and what is made
on the way takes 10 MB whatever the batch."""


def log_mel(
    waveforms: Tensor,
    sample_rate_hz: int,
    *,
    mels: int = MELS,
    window_ms: float = WINDOW_MS,
    hop_ms: float = HOP_MS,
) -> Tensor:
    """Log-mel pictures of sounds, float32 [..., 1, mels, frames]: ln(power + 1e-6) in each band of each frame.

    A frame is a stretch of `window_ms`, an even number of samples, times a Hann window; the next begins `hop_ms` later.
    The first begins with the sound, the last is the last to lie within it, and a sound shorter than one has silence
    behind it. Power is the squared magnitude of its discrete Fourier transform. The bands are triangles, evenly spaced
    in mel from 0 to half the sampling rate, each as high as 1; m = 2595 log10(1 + f / 700) of a frequency f in Hz.

    Args:
        waveforms: [..., samples] in int16, or floats of which 1 is the loudest.
        sample_rate_hz: their rate; windows are so many milliseconds at any rate.
        mels: how many bands.
        window_ms: length of a frame, in milliseconds.
        hop_ms: from one to the next.

    Raises:
        UsageError: an argument that cannot be, more bands than such windows can tell apart, or torchaudio is missing.

    Source: Sainath & Parada 2015, section 2, for 40 bands of 25 ms every 10 ms, and Warden 2018 for sounds of 16 kHz
    and a second.
    """
    if not waveforms.ndim or (waveforms.dtype != torch.int16 and not waveforms.is_floating_point()):
        raise UsageError(
            f"log_mel was given {waveforms.dtype} {list(waveforms.shape)}; give [..., samples] in int16 or floats"
        )
    if (whole_number(mels) or 0) < 1:
        raise UsageError(f"mels is {mels!r}; give a whole number of bands, at least 1")
    window, hop = _window_and_hop(sample_rate_hz, window_ms, hop_ms)
    transform = _transform(sample_rate_hz, mels, window, hop, str(waveforms.device))
    samples = waveforms.float().div(2**15) if waveforms.dtype == torch.int16 else waveforms.float()
    if samples.shape[-1] < window:
        samples = pad(samples, (0, window - samples.shape[-1]))
    power: Tensor = transform(samples)
    return power.add_(_FLOOR).log_().unsqueeze(-3)


class LogMelDataset(PreparedDataset):
    """A data set of sounds whose examples are log-mel pictures, float32 [1, mels, frames].

    Classes, order, ids and fingerprint are those of the sounds, so that an episode is the same whatever it is seen
    through. Each picture is computed when it is asked for, and brought to mean 0 and deviation 1 over all its values:
    recordings of one word then differ less by how loud they are, and no number has to be learned from a training set.
    (Nearest centroids tell 51 % of five words of synthetic speech by one example so, and 48 % without; by five, 70 and
    65 %.)
    All zeros stand for one that is the same everywhere, such as silence.

    Args:
        sounds: the data set.
        seconds: what every sound is cut to, or brought to by silence behind it; None for the longest of the data set.
            Subsets whose longest sounds differ need it to have pictures of one size.
        mels, window_ms, hop_ms: as for `log_mel`.

    Attributes:
        sounds: as given.

    Raises:
        UsageError: the data set holds no sounds, an argument that cannot be, or torchaudio is missing.
    """

    def __init__(
        self,
        sounds: PreparedDataset,
        *,
        seconds: float | None = None,
        mels: int = MELS,
        window_ms: float = WINDOW_MS,
        hop_ms: float = HOP_MS,
    ) -> None:
        rate = sounds.sample_rate_hz if isinstance(sounds, PreparedDataset) and sounds.modality == "sounds" else None
        if rate is None:
            raise UsageError(
                f"LogMelDataset was given {sounds!r}; give a data set of sounds, from load_dataset or from_folder"
            )
        if seconds is not None and not (_is_number(seconds) and 0 < seconds * rate < 2**31):
            raise UsageError(f"seconds is {seconds!r}; give a number above 0, or None for the longest sound")
        self._samples = sounds.example_shape[0] if seconds is None else max(1, round(seconds * rate))
        self._options: dict[str, Any] = {"mels": mels, "window_ms": window_ms, "hop_ms": hop_ms}
        # Computed once here, so that what cannot be is refused before the first batch.
        shape = log_mel(torch.zeros(self._samples), rate, **self._options).shape
        # It holds no picture, only what they are like: `gather` computes them.
        offsets = np.append(sounds.class_index.starts_C, len(sounds))
        held = Held(sounds.name, sounds.classes, "arrays", np.empty((0, *shape), np.float32), offsets)
        groups = dict(zip(sounds.classes, sounds.superclasses, strict=True))
        super().__init__(held, None, groups, subset=sounds.subset)
        self.sounds = sounds

    def example(self, index: int) -> Tensor:
        """The picture of sound `index`, 0 <= index < len, without its label: float32 [1, mels, frames]."""
        picture: Tensor = self.gather(np.array([index]))[0]
        return picture

    def gather(self, ids: IntArray, out: Tensor | None = None) -> Tensor:
        """Pictures of some sounds, float32 [*ids.shape, 1, mels, frames].

        Args:
            ids: int64, any shape, each in [0, len).
            out: where to put them, contiguous and of that type and shape; a new tensor for None.

        Raises:
            IndexError: some id is not.
            UsageError: `out` does not fit.
        """
        flat, shape = self._flat(ids), (*ids.shape, *self.example_shape)
        if out is None:
            out = torch.empty(shape)
        else:
            check_out(self.name, out, self.dtype, shape)
        out_M = out.view(len(flat), *self.example_shape)
        rate = self.sounds.sample_rate_hz
        assert rate is not None
        piece = max(1, _PIECE // max(self._samples, self.sounds.example_shape[0]))
        for start in range(0, len(flat), piece):
            waveforms = torch.from_numpy(self.sounds.arrays(flat[start : start + piece]))[:, : self._samples]
            waveforms = pad(waveforms, (0, self._samples - waveforms.shape[1]))
            out_M[start : start + piece] = _normalised(log_mel(waveforms, rate, **self._options))
        return out

    def arrays(self, ids: IntArray, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """`gather`, as a NumPy array."""
        return self.gather(ids, None if out is None else torch.from_numpy(out)).numpy()

    @cached_property
    def fingerprint(self) -> str:
        """That of the sounds."""
        return self.sounds.fingerprint


def _normalised(pictures: Tensor) -> Tensor:
    """Pictures [M, 1, mels, frames], each of mean 0 and deviation 1; 0 where it is the same everywhere."""
    deviations, means = torch.std_mean(pictures, dim=(1, 2, 3), correction=0, keepdim=True)
    # What rounding leaves of the deviation of equal values is no sound.
    return (pictures - means) / torch.where(deviations > 1e-4, deviations, torch.inf)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _window_and_hop(sample_rate_hz: int, window_ms: float, hop_ms: float) -> tuple[int, int]:
    """Lengths in samples, the first an even number.

    Raises:
        UsageError: the rate is none, or there are no samples in one of them.
    """
    if (whole_number(sample_rate_hz) or 0) < 1:
        raise UsageError(f"sample_rate_hz is {sample_rate_hz!r}; give a whole number of samples a second")
    lengths = []
    # The bands of torchaudio stand a little askew where a window has an odd number of samples.
    for name, value, least in (("window_ms", window_ms, 2), ("hop_ms", hop_ms, 1)):
        length = least * round(value * sample_rate_hz / 1000 / least) if _is_number(value) else 0
        if not least <= length < 2**24:
            raise UsageError(
                f"{name} is {value!r}; give milliseconds in which there are at least {least} of {sample_rate_hz:,} "
                "samples a second"
            )
        lengths.append(length)
    return lengths[0], lengths[1]


@lru_cache(maxsize=8)
def _transform(sample_rate_hz: int, mels: int, window: int, hop: int, device: str) -> Callable[[Tensor], Tensor]:
    """What makes power in mel bands [..., mels, frames] of samples [..., samples]."""
    transforms = audio_package("torchaudio.transforms", "a log-mel picture")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bands without a frequency, which are refused below
        spectrogram = transforms.MelSpectrogram(sample_rate_hz, n_fft=window, hop_length=hop, center=False, n_mels=mels)
    if not spectrogram.mel_scale.fb.any(dim=0).all():
        raise UsageError(
            f"mels is {mels}, more bands than windows of {window} samples, {sample_rate_hz:,} a second, tell apart; "
            "give fewer, or a longer window_ms"
        )
    transform: Callable[[Tensor], Tensor] = spectrogram.to(device)
    return transform
