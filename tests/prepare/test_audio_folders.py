"""Recordings in folders, in the layout of Speech Commands."""

import io
import random
import struct
import wave
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_core.errors import CatalogError, ContentError
from l2l_core.prepare.readers import Wanted
from l2l_core.prepare.readers.audio_folders import _samples, options_of, recognises
from tests.prepare.pictures import assert_prepared, changed, elsewhere, source_of
from tests.prepare.raw import MemoryTree, split_of, want

ADVICE = "give a complete copy in the layout of the official files"


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WAVE file of chunks."""
    body = b"".join(kind + struct.pack("<L", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<L", 4 + len(body)) + b"WAVE" + body


def wav(samples: Sequence[int], rate: int = 16000, channels: int = 1, bits: int = 16, tag: int = 1) -> bytes:
    """A WAV file as its specification has it, written without Python's module for it."""
    head = struct.pack("<HHLLHH", tag, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    return riff((b"fmt ", head), (b"data", struct.pack(f"<{len(samples)}h", *samples)))


def samples_of(seed: int) -> list[int]:
    """A noise of any length up to 40 samples, full scale among them; of none for each multiple of 16."""
    rng = random.Random(seed)
    return [rng.choice([-32768, 32767, 0, rng.randint(-99, 99)]) for _ in range(rng.randint(1, 40) if seed % 16 else 0)]


def speech_commands() -> tuple[dict[str, bytes], dict[str, list[np.ndarray]], Wanted]:
    """Files with all 35 words of four to nine recordings, word to examples, what to ask for."""
    subset_of = split_of("speech-commands/l2l")
    files: dict[str, bytes] = {}
    expected: dict[str, list[np.ndarray]] = {}
    for position, word in enumerate(sorted(subset_of)):
        speakers = random.Random(word).sample(range(16**8), 4 + position % 6)
        seeds = {f"{word}/{speaker:08x}_nohash_{k}.wav": 100 * position + k for k, speaker in enumerate(speakers)}
        files |= {name: wav(samples_of(seed)) for name, seed in seeds.items()}
        expected[word] = [np.array(samples_of(seeds[name]), np.int16) for name in sorted(seeds)]
    files |= {"_background_noise_/pink_noise.wav": wav([1] * 999), "README.md": b"", "LICENSE": b""}
    files |= {"testing_list.txt": b"", "validation_list.txt": b"", "_background_noise_/README.md": b""}
    counts = {word: len(arrays) for word, arrays in expected.items()}
    return files, expected, want(subset_of, {}, counts=counts, modality="sounds", sample_rate_hz=16000)


def test_every_recording_of_speech_commands_is_an_example(tmp_path: Path) -> None:
    files, expected, wanted = speech_commands()
    store = assert_prepared("audio_folders", files, wanted, expected, tmp_path / "one")
    assert len(store.manifest.classes) == 35
    assert any(len(array) == 0 for arrays in expected.values() for array in arrays)
    again = assert_prepared("audio_folders", elsewhere(files), wanted, expected, tmp_path / "two")
    assert again.source == store.source


def small() -> tuple[dict[str, bytes], Wanted]:
    files = {f"{word}/{k}.wav": wav([k, ord(word)]) for word in "ab" for k in range(2)}
    return files, want(
        {"a": "train", "b": "test"}, {}, counts={"a": 2, "b": 2}, modality="sounds", sample_rate_hz=16000
    )


def test_names_and_what_stands_beside_the_samples_do_not_matter(tmp_path: Path) -> None:
    files, wanted = small()
    data = wav([1, 2])[36:]
    files = {
        "x/a/1.wav.wav": riff((b"LIST", b"INFOodd"), (b"fmt ", wav([])[20:36]), (b"data", data[8:]), (b"id3 ", b"abc")),
        "x/a/0.WAV": wav([-5]),
        "x/a/list.txt": b"",
        "x/b/1.wav": wav([7]),
        "x/b/2.wav": wav([8]),
        "beside.wav": wav([0]),
        "_c/noise.wav": b"",
    }
    expected = {
        "a": [np.array([-5], np.int16), np.array([1, 2], np.int16)],
        "b": [np.array([7], np.int16), np.array([8], np.int16)],
    }
    assert_prepared("audio_folders", files, wanted, expected, tmp_path)


def test_the_digest_is_of_recordings_and_classes() -> None:
    files, wanted = small()
    others = [files | {"a/0.wav": wav([9])}, files | {"a/0.wav": files["b/0.wav"], "b/0.wav": files["a/0.wav"]}]
    assert len({source_of("audio_folders", each, wanted) for each in [files, *others]}) == 3


def _put(name: str, content: bytes | None) -> Callable[[dict[str, bytes]], object]:
    return lambda files: files.pop(name) if content is None else files.update({name: content})


def _without_a(files: dict[str, bytes]) -> None:
    del files["a/0.wav"], files["a/1.wav"]


WHERE = "made: a/0.wav in copy.zip"
REFUSED = [
    (_without_a, f"made: 1 of 2 classes are missing from copy.zip (the first is a); {ADVICE}"),
    (_put("a/0.wav", None), f"made: a in copy.zip has 1 examples instead of 2; {ADVICE}"),
    (_put("c/0.wav", wav([])), f"made: copy.zip holds c, which is none of the 2 classes; {ADVICE}"),
    (_put("x/a/0.wav", b""), "made: a lies in more than one folder of copy.zip (a, x/a); give the one that is meant"),
    (_put("a/0.wav", b""), f"{WHERE} is no readable sound (it ends too early); get the file anew"),
    (
        _put("a/0.wav", b"word" * 20),
        f"{WHERE} is no readable sound (Format not recognised); give WAV, FLAC, Ogg or MP3, w",
    ),
    (_put("a/0.wav", wav([1], tag=3)), f"{WHERE} is no readable sound (Unspecified internal error); give WAV, FLAC, "),
    (
        _put("a/0.wav", wav([1, 2], rate=8000)),
        f"{WHERE} has 8,000 samples a second instead of 16,000; give the original recordings",
    ),
    (_put("a/0.wav", wav([1] * 9)[:-5]), f"{WHERE} ends after 6 of 9 samples; get the file anew"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_wrong_content_is_refused(change: Callable[[dict[str, bytes]], object], message: str) -> None:
    files, wanted = small()
    with pytest.raises(ContentError) as caught:
        source_of("audio_folders", changed(files, change), wanted)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=5), st.integers(0, 200))
def test_whatever_the_bytes_it_is_samples_or_one_clear_refusal(changes: list[tuple[int, int]], length: int) -> None:
    content = bytearray(wav(list(range(40))))
    for position, value in changes:
        content[position % len(content)] = value
    try:
        assert _samples(bytes(content[:length]), 16000).dtype == np.int16
    except ContentError as error:
        assert "; " in str(error)


def test_recordings_of_other_kinds_are_examples_too(tmp_path: Path) -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.array([5, -6], np.int16), 16000, format="FLAC")
    wanted = want({"a": "train"}, {}, counts={"a": 2}, modality="sounds", sample_rate_hz=16000)
    files = {"a/0.flac": stream.getvalue(), "a/1.wav": wav([2, 4, -7, -9], channels=2)}
    expected = {"a": [np.array([5, -6], np.int16), np.array([3, -8], np.int16)]}
    assert_prepared("audio_folders", files, wanted, expected, tmp_path)


def test_what_python_writes_is_read() -> None:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as recording:
        recording.setparams((1, 2, 44100, 0, "NONE", ""))
        recording.writeframes(struct.pack("<3h", 1, -2, 3))
    assert _samples(stream.getvalue(), 44100).tolist() == [1, -2, 3]


def test_it_knows_its_layout() -> None:
    options = options_of({}, "")
    for name, expected in {
        "a/1.wav": True,
        "x/a/1.WAV": True,
        "1.wav": False,
        "_n/1.wav": False,
        "a/1.png": False,
        "a/1.Flac": True,
        "a/1.mp3": True,
        "a/flac": False,
    }.items():
        assert recognises(MemoryTree({name: b""}), options) is expected


def test_options_that_cannot_be_are_named() -> None:
    with pytest.raises(CatalogError) as caught:
        options_of({"sample_rate_hz": 16000}, "x: ")
    assert caught.value.problems == ("x: sample_rate_hz: unknown field",)
