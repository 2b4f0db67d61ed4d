"""A small copy of Speech Commands in the layout of the authors' archive: a tone of its own for each word."""

import io
import tarfile
import wave
from pathlib import Path

import numpy as np

from l2l_core.catalog import open_catalog

EXAMPLES = 16
"""Of each word: as many as an episode of the protocol takes in 5-way 1-shot."""
RATE_HZ = 16_000
SHORTEST, USUAL, LONGEST = 3_200, 3_800, 4_000
"""Samples of a recording: from the first up to the second, and the third of one training word, so that no other subset
has a sound of as many frames."""


def write_keywords(archive: Path) -> Path:
    """Write all 35 words and what lies beside them in the official archive; gives its path, a tar.gz."""
    split = open_catalog([]).split("speech-commands")
    longest = split.classes("train")[0]
    generator = np.random.default_rng(0)
    times = np.arange(LONGEST) / RATE_HZ
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
        for number, word in enumerate(sorted(split.classes(None))):
            for example in range(EXAMPLES):
                length = LONGEST if word == longest else int(generator.integers(SHORTEST, USUAL))
                tone = np.sin(2 * np.pi * (200 + 150 * number) * times[:length] + generator.uniform(0, 6))
                noise = generator.normal(0, 0.1, length)
                _put(packed, f"./{word}/{example:08x}_nohash_0.wav", _wav(0.3 * tone + noise))
        _put(packed, "./_background_noise_/pink_noise.wav", _wav(generator.normal(0, 0.1, 99)))
        for name in ("README.md", "LICENSE", "testing_list.txt", "validation_list.txt"):
            _put(packed, f"./{name}", b"")
    return archive


def _put(packed: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    packed.addfile(member, io.BytesIO(content))


def _wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE_HZ)
        sound.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()
