"""Words spoken by a synthesiser, espeak-ng, which the package espeakng-loader carries."""

import ctypes
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "marvin")
VOICES = ("en", "en-us", "en-gb-scotland", "en+f2", "en-us+f4", "en+m3", "en-gb-x-rp+f5", "en-029")
SPEEDS = (140, 175, 210)
"""Words a minute."""
RATE_HZ = 22050

# Of speak_lib.h: samples come by the callback, before the call returns; parameters by their numbers.
_SYNCHRONOUS, _CHARACTERS, _UTF8, _SPEED = 2, 1, 1, 1
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@cache
def _library() -> Any:
    loader = pytest.importorskip("espeakng_loader", reason="needs the package espeakng-loader, a speech synthesiser")
    library = ctypes.cdll.LoadLibrary(loader.get_library_path())
    assert library.espeak_Initialize(_SYNCHRONOUS, 0, loader.get_data_path().encode(), 0) == RATE_HZ
    return library


def say(word: str, voice: str, speed: int) -> npt.NDArray[np.int16]:
    """The word as spoken by that voice, int16 [samples] at `RATE_HZ`."""
    library, pieces = _library(), []

    @_Callback
    def keep(samples: Any, count: int, _: Any) -> int:
        if samples and count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(keep)
    assert library.espeak_SetVoiceByName(voice.encode()) == 0, f"espeak-ng has no voice {voice}"
    library.espeak_SetParameter(_SPEED, speed, 0)
    text = word.encode()
    library.espeak_Synth(text, len(text) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    return np.concatenate(pieces)


def recordings(words: Sequence[str] = WORDS) -> Iterator[tuple[str, str, npt.NDArray[np.int16]]]:
    """Word, a name of the recording and its samples: each word by every voice at every speed."""
    for word in words:
        for number, (voice, speed) in enumerate(product(VOICES, SPEEDS)):
            yield word, f"{number:08x}_nohash_0", say(word, voice, speed)
