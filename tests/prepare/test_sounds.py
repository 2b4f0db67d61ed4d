"""Files of sound: samples out are samples in, and what is no such file is refused."""

import struct
import sys
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from scipy.io import wavfile

from l2l_core.errors import ContentError, UsageError
from l2l_core.prepare.sounds import decode_sound, encode_sound, is_sound

TONE = (np.sin(np.arange(8000) * 0.05) * 20000).astype(np.int16)


@given(st_numpy.arrays(np.int16, st.integers(0, 50)), st.integers(1, 192_000))
def test_what_is_written_is_read_by_us_and_by_scipy(samples: np.ndarray, rate: int) -> None:
    content = encode_sound(samples, rate)
    found_rate, found = decode_sound(content)
    assert (found_rate, found.tolist(), found.dtype) == (rate, samples.tolist(), np.dtype("<i2"))
    if len(samples):
        theirs_rate, theirs = wavfile.read(BytesIO(content))
        assert (theirs_rate, theirs.tolist()) == (rate, samples.tolist())


def wav(data: bytes, channels: int = 1, bits: int = 16, tag: int = 1, rate: int = 8000) -> bytes:
    """A WAV file as its specification has it."""
    frame = channels * bits // 8
    head = struct.pack("<4sLHHLLHH", b"fmt ", 16, tag, channels, rate, rate * frame, frame, bits)
    return b"RIFF" + struct.pack("<L", 12 + len(head) + len(data)) + b"WAVE" + head + chunk(data)


def chunk(data: bytes) -> bytes:
    return b"data" + struct.pack("<L", len(data)) + data


def written(kind: str, subtype: str | None, samples: Any = TONE, rate: int = 16000) -> bytes:
    """A file as libsndfile writes it."""
    stream = BytesIO()
    soundfile.write(stream, samples, rate, format=kind, subtype=subtype)
    return stream.getvalue()


EXACT = [
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_32"),
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("WAVEX", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
]


@pytest.mark.parametrize(("kind", "subtype"), EXACT)
def test_what_holds_16_bits_gives_them_back(kind: str, subtype: str) -> None:
    samples = np.array([0, 1, -1, 255, -256, 32767, -32768, *TONE[:99]], np.int16)
    given = samples / 2**15 if subtype in ("FLOAT", "DOUBLE") else samples
    rate, found = decode_sound(written(kind, subtype, given, 44100))
    assert (rate, found.tolist(), found.dtype) == (44100, samples.tolist(), np.int16)


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("WAV", "ULAW")])
def test_what_leaves_something_out_gives_much_the_same(kind: str, subtype: str | None) -> None:
    rate, found = decode_sound(written(kind, subtype))
    assert (rate, found.shape) == (16000, TONE.shape)
    assert np.corrcoef(found[800:-800], TONE[800:-800])[0, 1] > 0.99
    assert 0.9 < np.abs(found[800:-800]).max() / 20000 < 1.2


def test_other_widths_are_rounded_to_16_bits() -> None:
    values = [0, 127, 128, 129, 384, -128, -384, -385, 256, 8388607, -8388608]
    content = wav(b"".join(value.to_bytes(3, "little", signed=True) for value in values), bits=24)
    assert decode_sound(content)[1].tolist() == [0, 0, 0, 1, 2, 0, -2, -2, 1, 32767, -32768]
    content = wav(bytes([0, 127, 128, 129, 255]), bits=8)
    assert decode_sound(content)[1].tolist() == [-32768, -256, 0, 256, 32512]
    loud = wav(np.array([1.0, -1.0, 1.5, -7, 0.25], "<f4").tobytes(), bits=32, tag=3)
    assert decode_sound(loud)[1].tolist() == [32767, -32768, 32767, -32768, 8192]


def test_of_several_channels_it_is_the_mean() -> None:
    frames = np.array([[100, 200], [-32768, -32768], [32767, 32767], [32767, -32767], [1, 2], [3, 4]], "<i2")
    assert decode_sound(wav(frames.tobytes(), 2))[1].tolist() == [150, -32768, 32767, 0, 2, 4]
    frames = np.array([[3, 6, 9], [-3, 0, 0]], "<i2")
    assert decode_sound(written("FLAC", "PCM_16", frames))[1].tolist() == [6, -1]


def test_silence_is_a_sound_and_so_are_no_samples() -> None:
    assert decode_sound(written("FLAC", "PCM_16", np.zeros(50, np.int16)))[1].tolist() == [0] * 50
    assert decode_sound(wav(b"", 2))[1].shape == (0,)


GOOD = encode_sound(np.arange(100, dtype=np.int16), 8000)
FLAC, MP3 = written("FLAC", "PCM_16"), written("MP3", None)
NO_SOUND = "is no readable sound (Format not recognised); give WAV, FLAC, Ogg or MP3, whole"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(GOOD[:-10], "ends after 95 of 100 samples; get the file anew", id="cut-wav"),
        pytest.param(
            wav(bytes(600), 2, 24)[:-7], "ends after 98 of 100 samples; get the file anew", id="cut-wav-of-24-bits"
        ),
        pytest.param(GOOD[:20], "is no readable sound (it ends too early); get the file anew", id="cut-head"),
        pytest.param(b"", "is no readable sound (it ends too early); get the file anew", id="empty"),
        pytest.param(b"not a sound, but a text\n" * 9, NO_SOUND, id="text"),
        pytest.param(bytes(999), NO_SOUND, id="zeros"),
        pytest.param(
            FLAC[: len(FLAC) // 2],
            "is no readable sound (Error : flac decoder lost sync); give WAV, FLAC, Ogg or MP3, whole",
            id="cut-flac",
        ),
        pytest.param(MP3[: len(MP3) // 2], "ends after 2,351 of 8,000 samples; get the file anew", id="cut-mp3"),
        pytest.param(
            wav(np.array([0, np.nan], "<f4").tobytes(), bits=32, tag=3),
            "has samples that are no finite numbers; record or convert it anew",
            id="nan",
        ),
        pytest.param(wav(bytes(8), rate=0), "has no samples a second; correct its header", id="no-rate"),
    ],
)
def test_what_is_no_whole_sound_says_why(content: bytes, expected: str) -> None:
    with pytest.raises(ContentError) as caught:
        decode_sound(content)
    assert str(caught.value) == expected


def test_a_damaged_file_prints_no_exception_of_libsndfiles_reading(capfd: pytest.CaptureFixture[str]) -> None:
    for whole in (MP3, written("AIFF", "PCM_16"), FLAC):
        for length in (12, 20, 30, 44):
            with suppress(ContentError):
                decode_sound(whole[:length])
    assert "Traceback" not in capfd.readouterr().err


def test_the_head_of_a_file_that_lies_takes_no_memory() -> None:
    """A FLAC file whose head claims 2^36 − 1 samples."""
    content = bytearray(FLAC)
    content[8 + 13] |= 0x0F
    content[8 + 14 : 8 + 18] = b"\xff" * 4
    with pytest.raises(ContentError) as caught:
        decode_sound(bytes(content))
    assert "; " in str(caught.value)


@settings(max_examples=200)
@given(st.sampled_from([GOOD, FLAC, MP3, written("OGG", "VORBIS", TONE[:800]), wav(bytes(60), 2, 24)]), st.data())
def test_a_changed_byte_or_a_cut_is_no_crash(good: bytes, data: st.DataObject) -> None:
    content = bytearray(good)
    # The heads are where most can go wrong.
    place = data.draw(st.one_of(st.integers(0, min(len(content), 120) - 1), st.integers(0, len(content) - 1)))
    content[place] = data.draw(st.integers(0, 255))
    length = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    with suppress(ContentError):
        rate, samples = decode_sound(bytes(content[:length]))
        assert rate >= 1
        assert samples.dtype == np.int16


def test_plain_files_need_no_extra_and_others_say_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert decode_sound(GOOD)[1].tolist() == list(range(100))
    for content in (FLAC, wav(bytes(8), 2)):
        with pytest.raises(UsageError) as caught:
            decode_sound(content)
        assert str(caught.value) == (
            "a sound that is no WAV file of one channel and 16 bits takes the package soundfile, which is not here "
            "(import of soundfile halted; None in sys.modules); install it with `pip install l2l-core[audio]`"
        )


def test_sounds_are_known_by_their_names() -> None:
    names = ("a.wav", "b/c.FLAC", "x.ogg", "x.opus", "x.mp3", "x.aiff", "x.au", "x.png", "wav", "x.wav.txt", "x.m4a")
    assert [name for name in names if is_sound(name)] == list(names[:7])
