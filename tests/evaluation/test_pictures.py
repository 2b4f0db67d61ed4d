"""Pictures for people: that they are PNG files and hold what they should."""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from l2l_core.data.episodes import Episode
from l2l_core.errors import CacheError
from l2l_core.evaluation import pictures
from l2l_core.evaluation.pictures import MAX_EPISODES, draw_episodes, draw_results, draw_training, episode_png
from tests.evaluation.test_report import make_report

Numbered = tuple[int, Episode, Sequence[str]]


def _episode(
    ways: int, shots: int, queries: int, channels: int = 1, size: tuple[int, int] = (5, 7), seed: int = 0
) -> Episode:
    generator = torch.Generator().manual_seed(seed)

    def half(each: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.rand(ways * each, channels, *size, generator=generator)
        return x, torch.arange(ways).repeat_interleave(each)

    return Episode(*half(shots), *half(queries))


def _named(episode: Episode, number: int = 0) -> Numbered:
    return number, episode, [f"class {way}" for way in range(int(episode.support_y.max()) + 1)]


def _open(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved while a test runs."""
    saved: list[Figure] = []
    save: Callable[[Figure, Path], None] = pictures._save

    def spy(figure: Figure, path: Path) -> None:
        saved.append(figure)
        save(figure, path)

    monkeypatch.setattr(pictures, "_save", spy)
    return saved


@pytest.mark.parametrize("channels", [1, 3])
def test_the_grid_is_that_of_a_slow_loop(channels: int) -> None:
    ways, shots, queries, height, width, gap = 3, 2, 4, 5, 7, 4
    episode = _episode(ways, shots, queries, channels, (height, width))
    paper, grey = (0.0, 0.2) if channels == 1 else (1.0, 0.8)
    slow = np.full((ways * (height + 1), (shots + queries) * (width + 1) + gap, channels), paper, np.float32)
    bar = shots * (width + 1)
    slow[:, bar : bar + gap - 1] = grey
    for label in range(ways):
        for place in range(shots + queries):
            own = (
                episode.support_x[label * shots + place]
                if place < shots
                else episode.query_x[label * queries + place - shots]
            )
            left = place * (width + 1) + (gap if place >= shots else 0)
            for y in range(height):
                for x in range(width):
                    for channel in range(channels):
                        slow[label * (height + 1) + y, left + x, channel] = own[channel, y, x]
    grid = pictures._grid(episode, ways)
    assert grid.shape == (slow.shape if channels == 3 else slow.shape[:2])
    assert np.array_equal(grid.reshape(slow.shape), slow)


def _flat_episode(ways: int, shots: int, queries: int, channels: int) -> tuple[Episode, np.ndarray]:
    """An episode of pictures of one colour each, and these colours [N, K + Q, 3] as they should be in the file."""
    count = ways * (shots + queries)
    levels = (np.arange(count) * 7 + 20).astype(np.uint8)
    values = np.stack([levels, levels[::-1], np.full(count, 90, np.uint8)], axis=-1)[:, :channels]
    shown = np.repeat(255 - values, 3, axis=1) if channels == 1 else values
    x = torch.from_numpy(values / 255).float()[:, :, None, None].expand(-1, -1, 6, 6)
    x = x.unflatten(0, (ways, shots + queries))
    labels = torch.arange(ways)
    episode = Episode(
        x[:, :shots].flatten(0, 1),
        labels.repeat_interleave(shots),
        x[:, shots:].flatten(0, 1),
        labels.repeat_interleave(queries),
    )
    return episode, shown.reshape(ways, shots + queries, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_file_shows_each_picture_in_its_place(tmp_path: Path, channels: int) -> None:
    ways, shots, queries = 3, 2, 3
    episode, colours = _flat_episode(ways, shots, queries, channels)
    draw_episodes([_named(episode)], "flat", tmp_path / "flat.png")
    pixels = _open(tmp_path / "flat.png").astype(int)
    centres = np.zeros((ways, shots + queries, 2))
    for label in range(ways):
        for place in range(shots + queries):
            found = np.argwhere(np.abs(pixels - colours[label, place]).max(axis=-1) <= 1)
            assert len(found) > 30 * 30, f"picture {place} of class {label} is smaller than a quarter inch"
            centres[label, place] = np.median(found, axis=0)
    assert (np.diff(centres[:, :, 0], axis=0) > 30).all(), "a row a class, in order"
    steps = np.diff(centres[:, :, 1], axis=1)
    assert (steps > 30).all(), "support first, then queries, in order"
    assert (steps[:, shots - 1] > steps[:, 0] + 5).all(), "a gap between support and query"
    assert np.ptp(centres[:, :, 0], axis=1).max() <= 2


@pytest.mark.parametrize("channels", [1, 3])
def test_one_episode_eight_and_more(tmp_path: Path, figures: list[Figure], channels: int) -> None:
    episodes = [_named(_episode(5, 1, 3, channels, (28, 28), seed), 100 + seed) for seed in range(MAX_EPISODES + 1)]
    heights = []
    for count in (1, MAX_EPISODES, MAX_EPISODES + 1):
        draw_episodes(episodes[:count], "several", tmp_path / "several.png")
        height, width, _ = _open(tmp_path / "several.png").shape
        assert 200 < width < 2000
        heights.append(height)
        titles = [axes.get_title(loc="left") for axes in figures[-1].axes]
        assert titles == [f"episode {100 + number}" for number in range(min(count, MAX_EPISODES))]
    assert 300 < heights[0] < 600
    assert 6 * heights[0] < heights[1] == heights[2] < 10 * heights[0]


def test_rows_are_named_and_halves_counted(tmp_path: Path, figures: list[Figure]) -> None:
    long = "images_background/Japanese_(katakana)/character07"
    names = ["a", r"price $\in _$", long]
    draw_episodes(
        [(0, _episode(3, 2, 4), names)], "a title of some length, longer than this is wide", tmp_path / "a.png"
    )
    (axes,) = figures[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [*names[:2], "…" + long[-33:]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2 support", "4 query"]


def test_small_pictures_are_drawn_as_large_as_big_ones(tmp_path: Path) -> None:
    shapes = set()
    for side in (7, 28, 84):
        draw_episodes([_named(_episode(5, 1, 5, 1, (side, side)))], "sizes", tmp_path / "size.png")
        shapes.add(_open(tmp_path / "size.png").shape[0])
    assert len(shapes) == 1


def _curve(accuracies: Sequence[float]) -> list[tuple[float, float, float]]:
    return [(2.5 * n, value, 0.02) for n, value in enumerate(accuracies, start=1)]


def test_training_curves_hold_the_checkpoints(tmp_path: Path, figures: list[Figure]) -> None:
    draw_training({"protonet": _curve([0.4, 0.6, 0.7]), "maml": _curve([0.5])}, tmp_path / "training.png")
    height, width, _ = _open(tmp_path / "training.png").shape
    assert width > height > 300
    (axes,) = figures[0].axes
    curves = {line.get_label(): np.asarray(line.get_xydata()) for line in axes.get_lines()}
    assert curves["protonet"] == pytest.approx(np.array([[2.5, 40], [5, 60], [7.5, 70]]))
    assert curves["maml"] == pytest.approx(np.array([[2.5, 50]]))
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((38, 72))


def test_bars_hold_the_accuracies_their_intervals_and_chance(tmp_path: Path, figures: list[Figure]) -> None:
    reports = {
        "first": make_report(accuracy=0.931, ci95=0.004, ways=5),
        "second": make_report(accuracy=0.02, ci95=0.01, ways=5),
    }
    draw_results(reports, tmp_path / "results.png")
    height, width, _ = _open(tmp_path / "results.png").shape
    assert width > height > 150
    (axes,) = figures[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["second", "first"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([2, 93.1])
    assert [text.get_text() for text in axes.texts] == ["2.00 ± 1.00 %", "93.10 ± 0.40 %"]
    spans = [segment[:, 0].tolist() for segment in axes.collections[0].get_segments()]
    assert spans == [pytest.approx([1, 3]), pytest.approx([92.7, 93.5])]
    assert any(np.allclose(line.get_xdata(), 20) for line in axes.get_lines())
    assert axes.get_title() == "small-3w2s, 3 episodes"


def test_svg_where_the_name_says_so(tmp_path: Path) -> None:
    def draw(path: Path) -> bytes:
        draw_episodes([_named(_episode(2, 1, 2))], "title", path)
        return path.read_bytes()

    def training(path: Path) -> bytes:
        draw_training({"protonet": _curve([0.4, 0.6])}, path)
        return path.read_bytes()

    def results(path: Path) -> bytes:
        draw_results({"first": make_report()}, path)
        return path.read_bytes()

    for each in (draw, training, results):
        root = ElementTree.fromstring(each(tmp_path / "a.SVG"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert each(tmp_path / "a.png").startswith(b"\x89PNG")


def test_an_episode_without_words(tmp_path: Path) -> None:
    for channels in (1, 3):
        episode = _episode(3, 2, 4, channels)
        pixels = np.asarray(Image.open(BytesIO(episode_png(episode, 3))))
        grid = pictures._grid(episode, 3)
        assert pixels.shape == grid.shape
        assert np.abs(pixels - 255 * (1 - grid if channels == 1 else grid)).max() <= 0.51


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / "a.png"
    with pytest.raises(CacheError, match="cannot write a.png to .*: a file stands where a folder should be"):
        draw_episodes([_named(_episode(2, 1, 1))], "title", path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
