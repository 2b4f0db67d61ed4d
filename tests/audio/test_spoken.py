"""From recordings to a result: words of a synthesiser, in the layouts in which such data goes round."""

import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import pad
from torch.utils.data import DataLoader, TensorDataset

from l2l_core.algorithms.methods import Setting, get_method
from l2l_core.audio import LogMelDataset, log_mel, resampled
from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.own import from_folder, from_torch
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.transforms import FusedNWaysKShots, LoadData, RemapLabels
from l2l_core.errors import TaskError, UsageError
from l2l_core.fetch.archives import open_tree
from l2l_core.prepare.readers import get_reader
from l2l_core.prepare.sounds import decode_sound, encode_sound
from l2l_core.records import Subset
from tests.audio.speech import RATE_HZ, VOICES, WORDS, recordings, say
from tests.prepare.raw import of_class, stored, want

torchaudio = pytest.importorskip("torchaudio", reason="needs the extra audio")


def nearest_centroid(pictures: torch.Tensor, shots: int, ways: int) -> float:
    """Share of queries whose nearest class mean is theirs; pictures [ways, examples, …], support first."""
    flat = pictures.flatten(2)
    centroids, queries = flat[:, :shots].mean(1), flat[:, shots:]
    nearest = torch.cdist(queries.flatten(0, 1), centroids).argmin(1).view(ways, -1)
    return float((nearest == torch.arange(ways)[:, None]).float().mean())


@pytest.fixture(scope="module")
def words(spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return from_folder(spoken, sample_rate_hz=16000, root=tmp_path_factory.mktemp("home"))


def test_a_folder_of_speech_in_three_formats_is_a_data_set(words: PreparedDataset) -> None:
    assert (words.classes, len(words), words.sample_rate_hz) == (tuple(sorted(WORDS)), 264, 16000)
    lengths = [len(words[i][0]) / 16000 for i in range(len(words))]
    assert 0.2 < min(lengths) < max(lengths) < 1.2
    assert all(words[i][0].abs().max() > 0.1 for i in range(len(words)))


def test_five_words_are_told_apart_by_one_example_each(words: PreparedDataset) -> None:
    pictures = LogMelDataset(words)
    tasks = TaskGenerator(pictures, 5, 1, 15, seed=0)
    shares = []
    for number in range(30):
        ids_NK = tasks.describe([number]).all_ids_BNK[0]
        shares.append(nearest_centroid(pictures.gather(ids_NK), 1, 5))
    assert np.mean(shares) > 0.42, "chance is 0.2"


def test_an_untrained_network_does_so_too(words: PreparedDataset) -> None:
    pictures = LogMelDataset(words)
    setting = Setting(5, 1, pictures.example_shape, len(pictures.classes), "conv4")
    torch.manual_seed(0)
    learner = get_method("protonet").build(setting)
    episodes = TaskGenerator(pictures, 5, 1, 5, seed=0).batch(range(12))
    with torch.no_grad():
        logits = learner.adapt(episodes.support_x, episodes.support_y)(episodes.query_x)
    assert (logits.argmax(-1) == episodes.query_y).float().mean() > 0.35, "chance is 0.2"


def test_silence_stereo_and_8_khz_are_sounds_like_others(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    (tmp_path / "mixed/word").mkdir(parents=True)
    voice = resampled(say("seven", "en", 175), RATE_HZ, 16000)
    kinds: dict[str, tuple[Any, int, str]] = {
        "1.wav": (voice, 16000, "PCM_16"),
        "2.wav": (resampled(voice, 16000, 8000), 8000, "PCM_16"),
        "3.wav": (np.stack([voice, voice], 1), 16000, "PCM_16"),
        "4.wav": (voice, 16000, "PCM_24"),
        "5.flac": (np.zeros(16000, np.int16), 16000, "PCM_16"),
    }
    for name, (samples, rate, subtype) in kinds.items():
        soundfile.write(tmp_path / "mixed/word" / name, samples, rate, subtype)
    mixed = from_folder(tmp_path / "mixed", dtype=torch.int16)
    assert mixed.sample_rate_hz == 16000, "of the first"
    first, narrow, stereo, wide, silent = (mixed[i][0].numpy() for i in range(5))
    assert np.array_equal(first, voice)
    assert np.array_equal(stereo, voice)
    assert np.array_equal(wide, voice)
    assert not silent.any()
    assert abs(len(narrow) - len(voice)) <= 1
    assert np.corrcoef(narrow[: len(voice)], voice[: len(narrow)])[0, 1] > 0.9
    assert not LogMelDataset(mixed)[4][0].any()
    # The rate is part of what a store is kept under: each has its own, and neither takes the other's place.
    slower = from_folder(tmp_path / "mixed", sample_rate_hz=8000, dtype=torch.int16)
    assert slower.sample_rate_hz == 8000
    assert np.array_equal(slower[1][0].numpy(), resampled(voice, 16000, 8000))
    assert np.array_equal(from_folder(tmp_path / "mixed", dtype=torch.int16)[1][0].numpy(), narrow)
    wrong: tuple[Any, ...] = (0, -8000, 8000.5, "8000", True)
    for rate in wrong:
        with pytest.raises(UsageError) as caught:
            from_folder(tmp_path / "mixed", sample_rate_hz=rate)
        assert str(caught.value) == (f"sample_rate_hz is {rate!r}; give a whole number of samples a second, at least 1")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four words in the layout of speech_commands_v0.02.tar.gz, which has no folder above the words."""
    path = tmp_path_factory.mktemp("archive") / "speech_commands_v0.02.tar.gz"
    files: dict[str, bytes] = {"README.md": b"## Speech Commands", "LICENSE": b"CC BY", ".DS_Store": b"\0"}
    listed: dict[str, list[str]] = {"testing_list.txt": [], "validation_list.txt": []}
    for number, (word, name, samples) in enumerate(recordings(WORDS[:4])):
        second = resampled(samples, RATE_HZ, 16000)[: 16000 - 500 * (number % 3)]
        files[f"{word}/{name}.wav"] = encode_sound(second, 16000)
        if number % 8 < 2:
            listed[("testing_list.txt", "validation_list.txt")[number % 8]].append(f"{word}/{name}.wav")
    files |= {name: "".join(f"{line}\n" for line in lines).encode() for name, lines in listed.items()}
    noise = encode_sound(np.random.default_rng(0).integers(-99, 99, 60 * 160).astype(np.int16), 16000)
    files |= {"_background_noise_/pink_noise.wav": noise, "_background_noise_/README.md": b"# Background noise"}
    with tarfile.open(path, "w:gz") as tar:
        for name in ("", *sorted(files)):
            member = tarfile.TarInfo(f"./{name}")
            if name:
                member.size = len(files[name])
                tar.addfile(member, BytesIO(files[name]))
            else:
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
    return path


def test_the_official_archive_is_read_as_it_stands(archive: Path, tmp_path: Path) -> None:
    subset_of: dict[str, Subset] = dict.fromkeys(WORDS[:4], "train")
    wanted = want(subset_of, {}, counts=dict.fromkeys(WORDS[:4], 24), modality="sounds", sample_rate_hz=16000)
    reader = get_reader("audio_folders")
    tree = open_tree(archive, max_entries=10_000, max_bytes=2**28, scratch=tmp_path)
    try:
        assert reader.recognises(tree, reader.options_of({}, ""))
        store = stored(reader.read(tree, wanted), wanted, tmp_path)
    finally:
        tree.close()
    assert store.offsets[-1] == 96
    with tarfile.open(archive) as tar:
        for word in WORDS[:4]:
            names = sorted(name for name in tar.getnames() if name.startswith(f"./{word}/"))
            for found, name in zip(of_class(store, word), names, strict=True):
                member = tar.extractfile(name)
                assert member is not None
                assert np.array_equal(found, decode_sound(member.read())[1])


@pytest.fixture
def commands(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """torchaudio's data set on the unpacked archive; decoded by us, for what torchaudio decodes by may not be here."""
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "SpeechCommands/speech_commands_v0.02", filter="data")
    loads: list[str] = []

    def load(path: str) -> tuple[torch.Tensor, int]:
        loads.append(path)
        rate, samples = decode_sound(Path(path).read_bytes())
        return torch.from_numpy(samples.astype(np.float32) / 2**15)[None], rate

    monkeypatch.setattr(torchaudio, "load", load)

    def make(**options: Any) -> Any:
        dataset = torchaudio.datasets.SPEECHCOMMANDS(tmp_path, **options)
        dataset.loads = loads
        return dataset

    return make


def picture(waveform: torch.Tensor) -> torch.Tensor:
    """What a sound of torchaudio's, [1, samples], is brought to."""
    return log_mel(pad(waveform[0], (0, 16000 - waveform.shape[1])), 16000)


def test_torchaudios_data_set_becomes_tasks(commands: Callable[..., Any]) -> None:
    dataset = commands()
    meta = from_torch(dataset, label_of=2, transform=picture)
    assert not dataset.loads, "the labels are known without a recording"
    assert set(meta.labels) == set(WORDS[:4])
    assert {word: len(ids) for word, ids in meta.labels_to_indices.items()} == dict.fromkeys(WORDS[:4], 24)
    for i in (0, 50, 95):
        waveform, rate, word, *_ = dataset[i]
        found, label = meta[i]
        assert (rate, label) == (16000, word)
        assert torch.equal(found, picture(waveform))
    tasks = TaskDataset(meta, [FusedNWaysKShots(meta, n=3, k=2), LoadData(meta), RemapLabels(meta)], num_tasks=4)
    inputs, labels = next(iter(DataLoader(tasks, batch_size=2)))
    assert inputs.shape == (2, 6, 1, 40, 98)
    assert [sorted(row) for row in labels.tolist()] == [[0, 0, 1, 1, 2, 2]] * 2
    episode = TaskGenerator(meta, 3, 1, 1, seed=0)[0]
    assert episode.query_x.shape == (3, 1, 40, 98)


def test_a_subset_of_torchaudios_is_its_own_data_set(commands: Callable[..., Any]) -> None:
    testing, training = commands(subset="testing"), commands(subset="training")
    assert len(from_torch(testing, label_of=2)) == 12
    assert len(from_torch(training, label_of=2)) == 96 - 24
    speakers = from_torch(training, label_of=3)
    assert len(speakers.labels) == len(VOICES) * 3 - 6
    assert speakers[0][1] == training[0][3]


def test_without_a_word_of_the_label_it_says_what_is_missing(commands: Callable[..., Any]) -> None:
    dataset = commands()
    with pytest.raises(UsageError) as caught:
        from_torch(dataset)
    assert str(caught.value) == (
        "the examples of SPEECHCOMMANDS have 5 parts, of which the second is 16000 in all; say with "
        "from_torch(dataset, label_of=2) that the third is the label, or which part it is"
    )
    assert not dataset.loads
    meta = from_torch(dataset, label_of=2)
    with pytest.raises(TaskError, match="cannot be stacked .*; give the data set a transform that makes tensors of on"):
        TaskGenerator(meta, 4, 3, 3, seed=0)[0]


def test_other_examples_of_several_parts_are_told_apart_too() -> None:
    tensors = TensorDataset(torch.arange(4.0), torch.full((4,), 8000), torch.tensor([0, 1, 0, 1]))
    with pytest.raises(UsageError, match="the examples of Triples have 3 parts, of which the second is 8000 in all; s"):
        from_torch(Triples(tensors))
    meta = from_torch(Triples(tensors), label_of=2, transform=lambda value: value * 2)
    assert [(float(meta[i][0]), meta[i][1]) for i in range(4)] == [(0, 0), (2, 1), (4, 0), (6, 1)]
    doubled = from_torch(
        TensorDataset(torch.arange(4.0), torch.tensor([5, 5, 6, 6])), transform=lambda value: value * 2
    )
    assert doubled.labels_to_indices == {5: [0, 1], 6: [2, 3]}
    assert float(doubled[3][0]) == 6


class Triples(torch.utils.data.Dataset[Any]):
    """A data set whose labels nobody knows without reading."""

    def __init__(self, tensors: Any) -> None:
        self._rows = tensors

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Any:
        return self._rows[index]
