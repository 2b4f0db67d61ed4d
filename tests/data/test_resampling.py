"""Resampling: against tones, whose samples are known at every rate."""

import sys

import numpy as np
import pytest
import torch

from l2l_core.data.resampling import resampled
from l2l_core.errors import ContentError, UsageError

pytest.importorskip("torchaudio", reason="needs the extra audio")


def tone(rate: int, hz: float, seconds: float = 0.5) -> np.ndarray:
    return np.rint(20000 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.int16)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 32000, 44100, 48000])
def test_a_tone_stays_that_tone(rate: int) -> None:
    found, expected = resampled(tone(rate, 440), rate, 16000), tone(16000, 440)
    assert found.dtype == np.int16
    assert len(found) == int(np.ceil(len(tone(rate, 440)) * 16000 / rate))
    inner = slice(200, len(expected) - 200)
    assert np.abs(found[inner].astype(int) - expected[inner]).max() < 100


def test_what_the_lower_rate_cannot_hold_is_gone() -> None:
    assert np.abs(resampled(tone(44100, 12000), 44100, 16000)[200:-200]).max() < 200
    assert np.abs(resampled(tone(8000, 440), 8000, 16000)[200:-200]).max() > 19000


def test_samples_are_the_same_on_any_number_of_threads() -> None:
    noise = np.random.default_rng(0).integers(-(2**15), 2**15, 22050).astype(np.int16)
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(resampled(noise, 22050, 16000))
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(*found)
    # What is louder than 16 bits can say is clipped, not wrapped around.
    square = np.where(np.arange(4000) // 40 % 2, 32767, -32768).astype(np.int16)
    assert resampled(square, 8000, 16000)[100:150].min() > 20000


def test_the_same_rate_or_no_samples_need_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio.transforms", None)
    sound = tone(8000, 440)
    assert resampled(sound, 8000, 8000) is sound
    assert len(resampled(sound[:0], 8000, 16000)) == 0
    with pytest.raises(UsageError) as caught:
        resampled(sound, 8000, 12000)
    assert str(caught.value) == (
        "resampling to 12,000 samples a second takes the package torchaudio, which is not here (import of "
        "torchaudio.transforms halted; None in sys.modules); install it with `pip install l2l-core[audio]`"
    )


@pytest.mark.parametrize(("rate", "to"), [(16001, 16000), (1, 16000), (2**31, 16000)])
def test_rates_that_no_machine_could_bring_together_are_refused(rate: int, to: int) -> None:
    with pytest.raises(ContentError) as caught:
        resampled(np.zeros(8, np.int16), rate, to)
    assert str(caught.value) == f"has {rate:,} samples a second, of which {to:,} cannot be made; convert it"
