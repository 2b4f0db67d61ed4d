"""From a WAV file to the samples that are stored, and back."""

import io
import struct

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ContentError

SUFFIX = ".wav"


def decode_sound(content: bytes) -> tuple[int, npt.NDArray[np.int16]]:
    """Sampling rate in Hz and the samples int16 [samples] of a WAV file.

    Args:
        content: the bytes of the file: one channel, 16 bits a sample, uncompressed.

    Raises:
        ContentError: it is something else, or cut off; the message is the second half of a sentence, for the caller to
            say of which file.
    """
    import wave

    try:
        with wave.open(io.BytesIO(content)) as file:
            channels, width, rate, count, *_ = file.getparams()
            samples = file.readframes(count)
    except (wave.Error, EOFError, struct.error, ValueError, RuntimeError) as error:  # of a chunk that lies
        reason = str(error) or "it ends too early"
        raise ContentError(f"is not a readable WAV file ({reason}); give uncompressed WAV files") from None
    if channels != 1 or width != 2:
        raise ContentError(
            f"has {channels} channel{'s' if channels != 1 else ''} of {8 * width} bits a sample; "
            "convert it to one channel of 16 bits"
        )
    if len(samples) != 2 * count:
        raise ContentError(f"ends after {len(samples) // 2:,} of {count:,} samples; get the file anew")
    return rate, np.frombuffer(samples, "<i2")


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
