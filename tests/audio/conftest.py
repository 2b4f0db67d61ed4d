"""A folder of spoken words."""

from pathlib import Path

import pytest

from tests.audio.speech import RATE_HZ, recordings


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a word, of 24 recordings each: a third WAV files, a third stereo FLAC, a third MP3, at 22,050 Hz."""
    soundfile = pytest.importorskip("soundfile", reason="needs the extra audio")
    folder = tmp_path_factory.mktemp("spoken") / "words"
    for number, (word, name, samples) in enumerate(recordings()):
        (folder / word).mkdir(parents=True, exist_ok=True)
        suffix = ("wav", "flac", "mp3")[number % 3]
        frames = samples[:, None].repeat(2, axis=1) if suffix == "flac" else samples
        soundfile.write(folder / word / f"{name}.{suffix}", frames, RATE_HZ)
    return folder
