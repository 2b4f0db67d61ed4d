"""From a file of sound to the samples that are stored, and back.

Plain WAV files, of one channel and 16 bits, are read by Python itself. All others are read by the package soundfile,
of the extra ``audio``: its wheel carries libsndfile, while torchaudio has handed its own decoding to torchcodec, which
takes an installation of FFmpeg.
"""

import io
import struct
from importlib import import_module
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ContentError, UsageError

SUFFIX: Final = ".wav"
"""Of what `encode_sound` writes."""
_SUFFIXES: Final = (SUFFIX, ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")
_PIECE: Final = 2**20
"""Samples that are asked for at a time, since a damaged file may claim any number of them."""


def is_sound(name: str) -> bool:
    """Whether a file holds a sound, by its name."""
    return name.lower().endswith(_SUFFIXES)


def audio_package(name: str, task: str) -> Any:
    """A package of the extra ``audio``, imported.

    Args:
        name: of the package.
        task: what it is needed for, as the beginning of a sentence.

    Raises:
        UsageError: it is not installed, or does not load; says how to install it.
    """
    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # of a library that the package cannot find
        package = name.partition(".")[0]
        raise UsageError(
            f"{task} takes the package {package}, which is not here ({error}); install it with "
            "`pip install l2l-core[audio]`"
        ) from None


def decode_sound(content: bytes) -> tuple[int, npt.NDArray[np.int16]]:
    """Sampling rate in Hz and the samples int16 [samples] of a file of sound; there may be none, or all be silent.

    Of several channels it is the mean. Samples of another width are rounded to 16 bits, and what is louder than these
    can say is clipped. A file that was cut off is refused where its format tells how long it should be, which AIFF, AU
    and WAV files of other than whole numbers do not. An MP3 file of varying bit rate that does not say how many frames
    it has may end early, since libsndfile then estimates their number.

    Args:
        content: the bytes of the file: WAV of one channel, 16 bits a sample, uncompressed, or with the extra ``audio``
            anything that libsndfile reads, such as FLAC, Ogg (Vorbis or Opus), MP3 and other WAV files.

    Raises:
        ContentError: it is something else, or cut off; the message is the second half of a sentence, for the caller to
            say of which file.
        UsageError: it takes the extra ``audio``, which is not installed.
    """
    plain = _plain_wav(content)
    rate, samples = _by_libsndfile(content) if plain is None else plain
    if rate < 1:
        raise ContentError("has no samples a second; correct its header")
    return rate, samples


def _plain_wav(content: bytes) -> tuple[int, npt.NDArray[np.int16]] | None:
    """Rate and samples of a WAV file of one channel and 16 bits; None of any other file that is not cut off."""
    import wave

    try:
        with wave.open(io.BytesIO(content)) as file:
            channels, width, rate, count, *_ = file.getparams()
            samples = file.readframes(count)
    except wave.Error:  # another container or coding, or none at all
        return None
    except (EOFError, struct.error, ValueError, RuntimeError) as error:  # of a chunk that lies
        raise ContentError(f"is no readable sound ({str(error) or 'it ends too early'}); get the file anew") from None
    frame = channels * width
    if len(samples) != frame * count:
        raise ContentError(f"ends after {len(samples) // frame:,} of {count:,} samples; get the file anew")
    return (rate, np.frombuffer(samples, "<i2")) if frame == 2 and channels == 1 else None


def _by_libsndfile(content: bytes) -> tuple[int, npt.NDArray[np.int16]]:
    soundfile = audio_package("soundfile", "a sound that is no WAV file of one channel and 16 bits")
    pieces = []
    try:
        with soundfile.SoundFile(_Stream(content)) as file:
            rate, count = file.samplerate, file.frames
            while len(piece := file.read(_PIECE, "float32", always_2d=True)):
                pieces.append(piece.mean(axis=1) if piece.shape[1] > 1 else piece[:, 0])
    except (soundfile.SoundFileError, TypeError, ValueError) as error:  # the latter of a header that lies
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        raise ContentError(f"is no readable sound ({reason}); give WAV, FLAC, Ogg or MP3, whole") from None
    samples = np.concatenate([np.zeros(0, np.float32), *pieces])
    if len(samples) != count:
        raise ContentError(f"ends after {len(samples):,} of {count:,} samples; get the file anew")
    if not np.isfinite(samples).all():
        raise ContentError("has samples that are no finite numbers; record or convert it anew")
    return rate, to_int16(samples)


class _Stream(io.BytesIO):
    """Bytes whose beginning cannot be passed: in a damaged file libsndfile looks there, and no exception reaches it."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return super().seek(0)


def to_int16(samples: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int16]:
    """Samples of which 1 is the loudest, as those that are stored: rounded, and clipped where they are louder."""
    whole: npt.NDArray[np.int16] = np.rint(samples * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
    return whole


def encode_sound(samples: npt.NDArray[np.int16], sample_rate_hz: int) -> bytes:
    """A WAV file of samples int16 [samples], one channel."""
    import wave

    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return stream.getvalue()
