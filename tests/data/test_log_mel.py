"""Log-mel pictures: against a slow computation, frame by frame; and as a data set in every loader."""

import math
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from l2l_core.data.datasets import MetaDataset, PreparedDataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.log_mel import LogMelDataset, log_mel
from l2l_core.data.meta import FilteredMetaDataset, OnDeviceDataset, UnionMetaDataset
from l2l_core.data.pretraining import ExampleBatches
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.transforms import FusedNWaysKShots, LoadData, RemapLabels
from l2l_core.errors import UsageError
from l2l_core.prepare.held import hold_arrays
from l2l_core.store import Manifest, open_store, write_store

pytest.importorskip("torchaudio", reason="needs the extra audio")

LENGTHS = (900, 3000, 0, 1200, 2400, 2999, 400, 1, 2000, 1600, 700, 2500)


def slow_log_mel(
    samples: npt.NDArray[np.floating[Any]], rate: int, mels: int, window_ms: float = 25, hop_ms: float = 10
) -> npt.NDArray[np.float64]:
    """The picture [mels, frames] of samples in [-1, 1): one frame and one band after the other, by their formulas."""
    window, hop = 2 * round(rate * window_ms / 2000), round(rate * hop_ms / 1000)
    samples = np.concatenate([samples, np.zeros(max(0, window - len(samples)))])
    hann = np.array([0.5 - 0.5 * math.cos(2 * math.pi * i / window) for i in range(window)])

    def mel(hz: float) -> float:
        return 2595 * math.log10(1 + hz / 700)

    corners = [700 * (10 ** (mel(rate / 2) * i / (mels + 1) / 2595) - 1) for i in range(mels + 2)]
    columns = []
    for start in range(0, len(samples) - window + 1, hop):
        power = np.abs(np.fft.rfft(samples[start : start + window] * hann)) ** 2
        column = []
        for low, centre, high in zip(corners, corners[1:], corners[2:], strict=False):
            total = 0.0
            for place, value in enumerate(power):
                hz = place * rate / window
                total += value * max(0.0, min((hz - low) / (centre - low), (high - hz) / (high - centre)))
            column.append(math.log(total + 1e-6))
        columns.append(column)
    return np.array(columns).T


def noise(count: int, seed: int = 0) -> npt.NDArray[np.int16]:
    return np.random.default_rng(seed).normal(0, 3000, count).astype(np.int16)


@settings(deadline=None, max_examples=10, derandomize=True)
@given(
    rate=st.sampled_from([8000, 11025, 16000, 22050]),
    length=st.one_of(st.just(0), st.integers(200, 1500)),
    mels=st.integers(1, 40),
    window_ms=st.sampled_from([20, 25, 32.5]),
    hop_ms=st.sampled_from([5, 10, 30]),
)
def test_pictures_are_those_of_the_formulas(rate: int, length: int, mels: int, window_ms: float, hop_ms: float) -> None:
    sound = noise(length, length)
    found = log_mel(torch.from_numpy(sound), rate, mels=mels, window_ms=window_ms, hop_ms=hop_ms)
    expected = slow_log_mel(sound / 2**15, rate, mels, window_ms, hop_ms)
    assert found.dtype == torch.float32
    assert found.shape == (1, *expected.shape)
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-4, atol=1e-3)


def test_a_second_at_16_khz_is_40_by_98_in_any_batch() -> None:
    sounds = torch.from_numpy(noise(6 * 16000)).view(2, 3, 16000)
    found = log_mel(sounds, 16000)
    assert found.shape == (2, 3, 1, 40, 98)
    assert torch.equal(found[1, 2], log_mel(sounds[1, 2], 16000))
    torch.testing.assert_close(log_mel(sounds.double() / 2**15, 16000), found, rtol=0, atol=0)
    np.testing.assert_allclose(
        found[1, 0, 0].numpy(), slow_log_mel(sounds[1, 0].numpy() / 2**15, 16000, 40), rtol=1e-4, atol=1e-3
    )


def test_silence_is_finite_and_a_tone_stands_in_its_band() -> None:
    assert torch.equal(log_mel(torch.zeros(16000), 16000), torch.full((1, 40, 98), 1e-6).log())
    seconds = torch.arange(16000) / 16000
    bands = [int(log_mel(torch.sin(2 * math.pi * hz * seconds), 16000)[0, :, 50].argmax()) for hz in (200, 1000, 4000)]
    # The centre of band b is (b + 1) / 41 of the way in mel.
    full = 2595 * math.log10(1 + 8000 / 700)
    assert bands == [round(41 * 2595 * math.log10(1 + hz / 700) / full) - 1 for hz in (200, 1000, 4000)]


def test_gradients_flow_back_to_the_sound() -> None:
    sound = torch.randn(800, requires_grad=True)
    log_mel(sound, 16000).sum().backward()
    assert sound.grad is not None
    assert sound.grad.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"waveforms": torch.zeros(9, dtype=torch.int64)},
            "log_mel was given torch.int64 [9]; give [..., samples] in ",
        ),
        (
            {"waveforms": torch.tensor(1.0)},
            "log_mel was given torch.float32 []; give [..., samples] in int16 or floats",
        ),
        ({"sample_rate_hz": 0}, "sample_rate_hz is 0; give a whole number of samples a second"),
        ({"sample_rate_hz": 8000.5}, "sample_rate_hz is 8000.5; give a whole number of samples a second"),
        ({"mels": 0}, "mels is 0; give a whole number of bands, at least 1"),
        ({"mels": [40]}, "mels is [40]; give a whole number of bands, at least 1"),
        (
            {"window_ms": 0.05},
            "window_ms is 0.05; give milliseconds in which there are at least 2 of 16,000 samples a ",
        ),
        (
            {"window_ms": math.nan},
            "window_ms is nan; give milliseconds in which there are at least 2 of 16,000 samples ",
        ),
        ({"hop_ms": -1}, "hop_ms is -1; give milliseconds in which there are at least 1 of 16,000 samples a second"),
        (
            {"mels": 128},
            "mels is 128, more bands than windows of 400 samples, 16,000 a second, tell apart; give fewer, or a longer "
            "window_ms",
        ),
    ],
)
def test_what_cannot_be_says_why(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        log_mel(**{"waveforms": torch.zeros(900), "sample_rate_hz": 16000, **arguments})
    assert str(caught.value).startswith(message)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """Twelve noises of three classes at 8 kHz; one is silent, one shorter than a window."""
    path = tmp_path_factory.mktemp("sounds") / "sounds.safetensors"
    manifest = Manifest("words", path.stem, ("a", "b", "c"), {}, {}, "sounds", 8000)
    examples = [noise(length, i) for i, length in enumerate(LENGTHS)]
    examples[4] = np.zeros_like(examples[4])
    write_store(path, manifest, [4, 4, 4], None, iter(examples), lambda: "0" * 64)
    return PreparedDataset(open_store(path), None, {"a": "vowel"}, subset="test", dtype=torch.float32)


@pytest.fixture(scope="module")
def pictures(sounds: PreparedDataset) -> LogMelDataset:
    return LogMelDataset(sounds)


def test_classes_ids_and_fingerprint_are_those_of_the_sounds(sounds: PreparedDataset, pictures: LogMelDataset) -> None:
    assert (pictures.name, pictures.classes, pictures.superclasses) == ("words", ("a", "b", "c"), ("vowel", "", ""))
    assert (pictures.subset, pictures.modality, pictures.dtype) == ("test", "arrays", torch.float32)
    assert (len(pictures), pictures.example_shape) == (12, (1, 40, 36))  # 3,000 samples in steps of 80, less a window
    assert pictures.targets.tolist() == sounds.targets.tolist()
    assert pictures.fingerprint == sounds.fingerprint
    ours, theirs = (TaskGenerator(each, 3, 1, 2, seed=5) for each in (pictures, sounds))
    assert ours.digest(20) == theirs.digest(20)


def test_every_example_is_its_picture_padded_and_normalised(sounds: PreparedDataset, pictures: LogMelDataset) -> None:
    for i in range(12):
        padded = np.zeros(3000)
        samples = sounds[i][0].numpy()
        padded[: len(samples)] = samples
        expected = slow_log_mel(padded, 8000, 40)
        expected = (expected - expected.mean()) / max(expected.std(), 1e-9)
        picture, label = pictures[i]
        assert label == i // 4
        np.testing.assert_allclose(picture[0].numpy(), expected, rtol=1e-3, atol=2e-3)
    whole = pictures.gather(np.array([0, 1, 5])).double().flatten(1)
    torch.testing.assert_close(whole.mean(1), torch.zeros(3).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(whole.std(1, correction=0), torch.ones(3).double(), rtol=0, atol=1e-5)
    assert not pictures[4][0].any(), "silence is all zeros"


def test_a_batch_is_its_examples_whatever_the_pieces(pictures: LogMelDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.array([[3, 0, 11], [4, 4, 7]])
    alone = torch.stack([torch.stack([pictures[int(i)][0] for i in row]) for row in ids])
    out = torch.full((2, 3, 1, 40, 36), math.nan)
    assert pictures.gather(ids, out) is out
    for piece in (1, 6000, 2**20):
        monkeypatch.setattr("l2l_core.data.log_mel._PIECE", piece)
        torch.testing.assert_close(pictures.gather(ids), alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out, alone, rtol=1e-5, atol=1e-5)
    assert pictures.gather(np.zeros((0, 2), np.int64)).shape == (0, 2, 1, 40, 36)
    assert isinstance(pictures.arrays(ids), np.ndarray)
    assert np.array_equal(pictures.arrays(ids, np.empty((2, 3, 1, 40, 36), np.float32)), pictures.gather(ids).numpy())
    with pytest.raises(IndexError, match="words has 12 examples; ids 0 to 12 were asked for"):
        pictures.gather(np.array([0, 12]))
    with pytest.raises(UsageError, match="words: out is torch.float32 \\[2, 36\\]; give a contiguous torch.float32"):
        pictures.gather(ids, torch.zeros(2, 36))


def test_sounds_can_be_cut_or_lengthened(sounds: PreparedDataset) -> None:
    short, long = LogMelDataset(sounds, seconds=0.1), LogMelDataset(sounds, seconds=1, mels=20, hop_ms=20)
    assert (short.example_shape, long.example_shape) == ((1, 40, 8), (1, 20, 49))
    cut = slow_log_mel(sounds[1][0].numpy()[:800], 8000, 40)
    np.testing.assert_allclose(short[1][0][0].numpy(), (cut - cut.mean()) / cut.std(), rtol=1e-3, atol=2e-3)
    lengthened = slow_log_mel(np.append(sounds[1][0].numpy(), np.zeros(5000)), 8000, 20, 25, 20)
    expected = (lengthened - lengthened.mean()) / lengthened.std()
    np.testing.assert_allclose(long[1][0][0].numpy(), expected, rtol=1e-3, atol=2e-3)


def test_the_type_in_which_sounds_are_loaded_does_not_matter(sounds: PreparedDataset, pictures: LogMelDataset) -> None:
    stored = PreparedDataset(sounds._store, dtype=torch.int16)
    assert torch.equal(LogMelDataset(stored).gather(np.arange(12)), pictures.gather(np.arange(12)))
    chosen = LogMelDataset(PreparedDataset(sounds._store, ["c", "a"]), seconds=3000 / 8000)
    assert chosen.classes == ("a", "c")
    assert torch.equal(chosen.gather(np.arange(8)), pictures.gather(np.array([0, 1, 2, 3, 8, 9, 10, 11])))


def test_only_sounds_become_pictures(sounds: PreparedDataset, pictures: LogMelDataset) -> None:
    numbers = PreparedDataset(hold_arrays("numbers", np.zeros((2, 3), np.float32), [0, 1], "arrays"))
    for other in (numbers, pictures, MetaDataset(sounds)):
        with pytest.raises(UsageError) as caught:
            LogMelDataset(other)  # type: ignore[arg-type]
        assert str(caught.value) == (
            f"LogMelDataset was given {other!r}; give a data set of sounds, from load_dataset or from_folder"
        )
    for seconds in (0, -1.0, math.inf, "1", True):
        with pytest.raises(UsageError) as caught:
            LogMelDataset(sounds, seconds=seconds)  # type: ignore[arg-type]
        assert str(caught.value) == f"seconds is {seconds!r}; give a number above 0, or None for the longest sound"
    with pytest.raises(UsageError, match="mels is 300, more bands than windows of 200 samples, 8,000 a second, tell"):
        LogMelDataset(sounds, mels=300)


def test_a_missing_extra_is_named_before_any_batch(sounds: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio.transforms", None)
    with pytest.raises(UsageError) as caught:
        LogMelDataset(sounds, mels=39)
    assert str(caught.value) == (
        "a log-mel picture takes the package torchaudio, which is not here (import of torchaudio.transforms halted; "
        "None in sys.modules); install it with `pip install l2l-core[audio]`"
    )


def tasks_of(pictures: LogMelDataset) -> TaskDataset:
    meta = MetaDataset(pictures)
    return TaskDataset(meta, [FusedNWaysKShots(meta, n=3, k=2), LoadData(meta), RemapLabels(meta)], num_tasks=6)


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_give_the_tasks_of_this_process(pictures: LogMelDataset, context: str) -> None:
    tasks = tasks_of(pictures)
    here = [tasks[i] for i in range(6)]
    loader = DataLoader(tasks, batch_size=2, num_workers=1, multiprocessing_context=context)
    for number, (inputs, labels) in enumerate(loader):
        for place in range(2):
            expected_x, expected_y = here[2 * number + place]
            torch.testing.assert_close(inputs[place], expected_x, rtol=1e-5, atol=1e-5)
            assert torch.equal(labels[place], expected_y)


def test_every_source_of_batches_takes_them(pictures: LogMelDataset) -> None:
    meta = MetaDataset(pictures)
    assert meta.gathers_at_once
    episode = TaskGenerator(pictures, 3, 1, 2, seed=0).batch(range(4))
    assert episode.support_x.shape == (4, 3, 1, 40, 36)
    assert episode.query_x.shape == (4, 6, 1, 40, 36)
    inputs, labels = next(iter(ExampleBatches(pictures, 4, seed=0)))
    assert inputs.shape == (4, 1, 40, 36)
    assert labels.shape == (4,)
    everything = pictures.gather(np.arange(12))
    held = OnDeviceDataset(meta, device="cpu")
    torch.testing.assert_close(held.gather(np.arange(12)), everything, rtol=1e-5, atol=1e-5)
    filtered = FilteredMetaDataset(meta, [0, 2])
    torch.testing.assert_close(filtered[4][0], everything[8], rtol=1e-5, atol=1e-5)
    union = UnionMetaDataset([meta, MetaDataset(pictures)])
    torch.testing.assert_close(union.gather(np.array([13])), everything[[1]], rtol=1e-5, atol=1e-5)


def test_it_pickles_small(pictures: LogMelDataset, tmp_path: Path) -> None:
    content = pickle.dumps(pictures)
    assert len(content) < 100_000
    assert torch.equal(pickle.loads(content).gather(np.arange(3)), pictures.gather(np.arange(3)))
