"""WAV files: samples out are samples in, and what is no such file is refused."""

import struct
import wave
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from scipy.io import wavfile

from l2l_core.errors import ContentError
from l2l_core.prepare.sounds import decode_sound, encode_sound


@given(st_numpy.arrays(np.int16, st.integers(0, 50)), st.integers(1, 192_000))
def test_what_is_written_is_read_by_us_and_by_scipy(samples: np.ndarray, rate: int) -> None:
    content = encode_sound(samples, rate)
    found_rate, found = decode_sound(content)
    assert (found_rate, found.tolist(), found.dtype) == (rate, samples.tolist(), np.dtype("<i2"))
    if len(samples):
        theirs_rate, theirs = wavfile.read(BytesIO(content))
        assert (theirs_rate, theirs.tolist()) == (rate, samples.tolist())


def wav(channels: int, width: int) -> bytes:
    stream = BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(bytes(12 * channels * width))
    return stream.getvalue()


GOOD = encode_sound(np.arange(100, dtype=np.int16), 8000)
FLOATS = GOOD.replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 3, 1), 1)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (wav(2, 2), "has 2 channels of 16 bits a sample; convert it to one channel of 16 bits"),
        (wav(1, 1), "has 1 channel of 8 bits a sample; convert it to one channel of 16 bits"),
        (wav(1, 3), "has 1 channel of 24 bits a sample; convert it to one channel of 16 bits"),
        (GOOD[:-10], "ends after 95 of 100 samples; get the file anew"),
        (GOOD[:20], "is not a readable WAV file (it ends too early); give uncompressed WAV files"),
        (b"", "is not a readable WAV file (it ends too early); give uncompressed WAV files"),
        (
            b"ID3" + bytes(99),
            "is not a readable WAV file (file does not start with RIFF id); give uncompressed WAV files",
        ),
        (FLOATS, "is not a readable WAV file (unknown format: 3); give uncompressed WAV files"),
    ],
)
def test_what_is_no_plain_wav_file_says_why(content: bytes, expected: str) -> None:
    with pytest.raises(ContentError) as caught:
        decode_sound(content)
    assert str(caught.value) == expected


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte_is_no_crash(place: int, value: int) -> None:
    content = bytearray(GOOD)
    content[place] = value
    with suppress(ContentError):
        decode_sound(bytes(content))
