"""The page on some runs: whole, closed to the network, escaped, and true to the reports."""

import re
import shutil
import subprocess
from base64 import b64decode
from dataclasses import replace
from html import escape, unescape
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from l2l_core.algorithms.protonet import ProtoNet
from l2l_core.data.benchmarks import Benchmark
from l2l_core.evaluation import page as page_module
from l2l_core.evaluation.page import report_page
from l2l_core.evaluation.page_run import Run
from l2l_core.evaluation.published import Comparison
from l2l_core.evaluation.report import GridCell
from l2l_core.evaluation.run import evaluate
from l2l_core.records import PublishedResult
from tests.evaluation.test_report import make_report
from tests.opened import open_small
from tests.small import SmallData

EVIL = "<script>alert('1')</script> & \"x\""
VOID = {"meta", "br", "img", "hr", "link", "input"}
CURVE = [(10.0 * step, 1 / step) for step in range(1, 100)]
VALIDATIONS = [(100.0, 0.5, 0.02), (900.0, 0.75, 0.01)]


class _Balance(HTMLParser):
    """Follows the tags; `open` is what is still open, `seen` every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def _runs() -> list[Run]:
    """Two runs on the same episodes, with everything that a page can show but pictures."""
    grid = (GridCell(3, 1, 0.5, 0.01), GridCell(3, 2, 0.6, 0.01), GridCell(2, 1, 0.7, 0.01))
    report = make_report(
        method=EVIL,
        weights=EVIL,
        per_class={EVIL: (3, 10), "b": (9, 10), "c": (10, 10)},
        confusions=((EVIL, "b", 7), ("b", EVIL, 1)),
        settings={"lr": 0.5, EVIL: EVIL},
        grid=grid,
        hardware=EVIL,
        command=f"l2l evaluate '{EVIL}'",
        date="2026-01-31",
    )
    other = replace(report, method="other", accuracies=(0.5, 0.5, 1.0), accuracy=2 / 3)
    return [Run(EVIL, report, CURVE, VALIDATIONS), Run("other", other, CURVE, [])]


def _published(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        PublishedResult("small-3w2s", f"A {EVIL}", "net", 0.31, None, "paper", False),
        PublishedResult("small-3w2s", "B", "net", 0.9, 0.01, "paper", True),
    ]
    compared = [Comparison(rows[1], -0.23333, False), Comparison(rows[0], 0.35667, True)]
    monkeypatch.setattr(page_module, "beside_published", lambda _: compared)


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> str:
    _published(monkeypatch)
    return report_page(_runs())


def _parsed(html: str) -> _Balance:
    parser = _Balance()
    parser.feed(html)
    parser.close()
    return parser


def _text(html: str) -> str:
    """What one reads, spaces made one."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def test_the_tags_are_balanced_and_nothing_is_loaded_or_run(whole: str) -> None:
    parser = _parsed(whole)
    assert parser.open == []
    tags = {tag for tag, _ in parser.seen}
    assert {"svg", "table", "article", "dl"} < tags
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "foreignobject"}
    for tag, attributes in parser.seen:
        for name, value in attributes.items():
            assert not name.startswith("on"), f"<{tag} {name}>"
            if name in ("src", "srcset", "href", "xlink:href", "data", "action"):
                assert (value or "").startswith(("#", "data:image/png;base64,")), f"<{tag} {name}={value}>"
    assert "@import" not in whole
    assert set(re.findall(r"url\((.)", whole)) <= {"#"}


def test_names_from_files_are_text(whole: str) -> None:
    assert "<script" not in whole
    assert escape(EVIL) in whole
    assert EVIL in _text(whole)


def test_each_plot_is_xml_with_ids_of_its_own_and_says_what_it_shows(whole: str) -> None:
    plots = re.findall(r"<svg.*?</svg>", whole, re.DOTALL)
    assert len(plots) == 5, "intervals, training, distribution, and a grid for each run"
    for plot in plots:
        root = ElementTree.fromstring(plot)
        assert root.get("role") == "img"
        assert len(root.get("aria-label") or "") > 30
        assert "currentColor" in plot
        assert "#010203" not in plot
    ids = [attributes["id"] for _, attributes in _parsed(whole).seen if "id" in attributes]
    assert len(ids) == len(set(ids)) > 50
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', whole)) <= set(ids)


def test_published_figures_stand_beside_ours_in_order(whole: str) -> None:
    text = _text(whole)
    ours = f"run accuracy episodes other 66.67 ± 1.23 % 3 {EVIL} 30.00 ± 1.23 % 3"
    assert ours in text
    theirs = (
        f"B, net 90.00 ± 1.00 % -23.33 paper A {EVIL}, net 31.00 % +35.67 (within both intervals) paper (unverified)"
    )
    assert theirs in text
    assert "the 2 published figures" in text
    (plot,) = re.findall(r'aria-label="(Accuracies with 95% intervals[^"]*)"', whole)
    told = f"B, net 90.00 % ± 1.00; other 66.67 % ± 1.23; A {EVIL}, net 31.00 %; {EVIL} 30.00 % ± 1.23."
    assert unescape(plot).endswith(told)


def test_runs_on_the_same_episodes_are_compared(whole: str) -> None:
    differences = np.array([0.5, 0.5, 1.0]) - np.array([0.1, 1 / 3, 1.0])
    ci95 = 1.96 * differences.std(ddof=1) / np.sqrt(3)
    expected = f"other {EVIL} {100 * differences.mean():+.2f} ± {100 * ci95:.2f} % within noise"
    assert expected in _text(whole)
    first, second = _runs()
    apart = report_page([first, replace(second, report=replace(second.report, episodes_digest="cd" * 32))])
    assert "Differences" not in apart


def test_few_classes_make_a_matrix(whole: str) -> None:
    (matrix, *_) = re.findall(r'<table class="matrix">.*?</table>', whole, re.DOTALL)
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>.*?</tr>", matrix)[1:]]
    # Sorted by name: the evil one begins with "<", before letters.
    assert rows == [["30.0", "70.0", ""], ["10.0", "90.0", ""], ["", "", "100"]]


def test_many_classes_make_lists_hardest_first() -> None:
    per_class = {f"class {n:02}": (n, 40) for n in range(30)}
    confusions = tuple((f"class {n:02}", "class 29", 40 - n) for n in range(29))
    html = report_page([Run("a", make_report(per_class=per_class, confusions=confusions))])
    assert '<table class="matrix">' not in html
    text = _text(html)
    assert "class 00 0.0 % 40 class 01 2.5 % 40 class 02" in text
    assert "class 00 class 29 40 class 01 class 29 39" in text
    assert "and 15 more" in text
    assert f"of {sum(40 - n for n in range(30)):,} mistakes" in text
    assert _parsed(html).open == []


def test_training_curves_need_a_log() -> None:
    bare = replace(_runs()[0], losses=(), validations=())
    assert "training loss" not in report_page([bare])
    assert "training loss" in report_page(_runs())


def test_how_it_was_run(whole: str) -> None:
    text = _text(whole)
    assert f"command l2l evaluate '{EVIL}' date 2026-01-31" in text
    assert f'settings lr 0.5, {EVIL} "' in text
    assert f"digest of the episodes {'ab' * 32}" in text
    assert "versions l2l_core 1, python 3" in text


def test_an_old_report_makes_a_page() -> None:
    html = report_page([Run("old", make_report())])
    assert _parsed(html).open == []
    for title in ("Accuracy per class", "What is taken for what", "Accuracy against", "Training", "Differences"):
        assert title not in html


@pytest.fixture
def evaluated(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> tuple[Benchmark, Run]:
    benchmark = open_small(small, monkeypatch)
    torch.manual_seed(0)
    learner = ProtoNet(nn.Sequential(nn.Flatten(), nn.Linear(16 * 16, 2, bias=False)))
    return benchmark, Run("net", evaluate(benchmark, learner, weights="w"))


def test_the_hardest_and_easiest_episodes_are_drawn(evaluated: tuple[Benchmark, Run]) -> None:
    benchmark, run = evaluated
    html = report_page([run])
    accuracies = list(run.report.accuracies)
    by_hardness = sorted(range(20), key=lambda i: (accuracies[i], i))[:3]
    by_ease = sorted(range(20), key=lambda i: (-accuracies[i], i))[:3]
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)" alt="Episode (\d+), classes ([^"]+)"', html)
    assert [int(number) for _, number, _ in pictures] == [*by_hardness, *by_ease]
    generator = benchmark.episodes()
    for content, number, names in pictures:
        pixels = np.asarray(Image.open(BytesIO(b64decode(content))))
        episode = generator[int(number)]
        # The first picture of the support, and the last query in the last row.
        assert np.abs(pixels[:16, :16] - 255 * (1 - episode.support_x[0, 0].numpy())).max() <= 1
        assert np.abs(pixels[-17:-1, -17:-1] - 255 * (1 - episode.query_x[-1, 0].numpy())).max() <= 1
        classes = generator.describe([int(number)]).all_classes_BN[0]
        assert names.split(", ") == [benchmark.dataset().classes[row] for row in classes]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"benchmark": "nowhere-5w1s"}, "unknown benchmark 'nowhere-5w1s'"),
        ({"episodes_digest": "00"}, "the report is of other episodes than small-3w2s gives here"),
        ({"shots": 8}, "has 8 examples, but shots + queries = 11"),
    ],
)
def test_where_there_are_no_pictures_the_page_says_why(
    evaluated: tuple[Benchmark, Run], changes: dict[str, object], reason: str
) -> None:
    run = evaluated[1]
    html = report_page([replace(run, report=replace(run.report, **changes))])
    assert "data:image" not in html
    assert reason in _text(html)


def test_data_that_is_absent_is_said_how_to_get(evaluated: tuple[Benchmark, Run], tmp_path: Path) -> None:
    text = _text(report_page([evaluated[1]], tmp_path / "empty"))
    assert "No pictures: " in text
    assert "l2l import small" in text


def test_a_browser_opens_it_without_a_complaint(whole: str, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs a browser; put chromium on the PATH")
    path = tmp_path / "report.html"
    path.write_text(whole, encoding="utf-8")
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    words = (*quiet, "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr")
    run = subprocess.run(
        [browser, *words, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert "CONSOLE" not in run.stderr
    # What the browser makes of it is what was written: it has mended nothing.
    opened = [tag for tag, _ in _parsed(run.stdout).seen]
    assert opened == [tag for tag, _ in _parsed(whole).seen]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("set/Abc/1", "set/Abc/2", "set/Xyz/1"), ("Abc/1", "Abc/2", "Xyz/1")),
        (("a/1", "b/1"), ("a/1", "b/1")),
        (("a/11", "a/12"), ("11", "12")),
        (("cat", "car"), ("cat", "car")),
        (("a/b", "a/bc/d"), ("b", "bc/d")),
    ],
)
def test_folders_that_all_classes_share_are_left_out(names: tuple[str, ...], shown: tuple[str, ...]) -> None:
    report = replace(make_report(), per_class=dict.fromkeys(names, (1, 2)), confusions=((names[0], names[1], 1),))
    short = page_module._with_short_names(report)
    assert tuple(short.per_class) == shown
    assert short.confusions == ((shown[0], shown[1], 1),)
