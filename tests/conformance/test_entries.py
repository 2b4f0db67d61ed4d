"""What every entry owes, by name: a data set, a benchmark or a method that is added is held to it at once."""

import inspect
from pathlib import Path

import pytest
import torch

from l2l_core.algorithms.methods import METHODS, Setting
from l2l_core.catalog import check_catalog, open_catalog
from l2l_core.cli.options import size_text
from l2l_core.data.benchmarks import training_augmentation
from l2l_core.errors import ConsentError, L2LError
from l2l_core.fetch.cache import Cache
from l2l_core.fetch.consent import ensure_consent
from l2l_core.prepare.readers import VERSIONS, get_reader
from l2l_core.prepare.stores import check_recipes, downloaded, prepared_form, store_path
from l2l_core.records import SUBSETS
from tests.cli.command import make_command

CATALOG = open_catalog([])
FORMS = [(name, form) for name in CATALOG.datasets for form in CATALOG.dataset(name).forms]


def test_nothing_in_the_catalogue_contradicts_itself() -> None:
    assert check_catalog(CATALOG) == []
    assert check_recipes(CATALOG) == []


@pytest.mark.parametrize("name", VERSIONS)
def test_a_reader_is_a_module_with_three_functions(name: str) -> None:
    reader = get_reader(name)
    assert [*inspect.signature(reader.options_of).parameters] == ["options", "where"]
    assert [*inspect.signature(reader.recognises).parameters] == ["tree", "options"]
    assert [*inspect.signature(reader.read).parameters] == ["tree", "wanted"]
    assert type(VERSIONS[name]) is int


@pytest.mark.parametrize(("name", "form_name"), FORMS)
def test_a_form_has_a_reader_and_a_place(name: str, form_name: str, tmp_path: Path) -> None:
    record, cache = CATALOG.dataset(name), Cache.at(tmp_path)
    form = record.forms[form_name]
    reader = get_reader(form.reader)
    options = {**record.prepared, **form.options}
    reader.options_of(options, "")
    # An option that nobody reads would be a typing error that nobody sees.
    with pytest.raises(L2LError, match="no_such_option: unknown field"):
        reader.options_of({**options, "no_such_option": 1}, "")
    path = store_path(record, form, cache)
    assert path == store_path(record, form, cache)
    assert path.parent == cache.stores(name)
    assert path.name.startswith(f"{form_name}-")
    assert prepared_form(record, cache) is None
    assert downloaded(record, cache) == {}
    assert list(tmp_path.iterdir()) == []  # asking touches no disk


@pytest.mark.parametrize("name", CATALOG.datasets)
def test_the_forms_of_a_data_set_have_stores_of_their_own(name: str, tmp_path: Path) -> None:
    record = CATALOG.dataset(name)
    places = {store_path(record, form, Cache.at(tmp_path)) for form in record.forms.values()}
    assert len(places) == len(record.forms)


@pytest.mark.parametrize(("name", "form_name"), FORMS)
def test_what_is_downloaded_can_be_checked(name: str, form_name: str) -> None:
    form = CATALOG.dataset(name).forms[form_name]
    assert form.title.strip()
    for file in form.files:
        assert all(url.startswith("https://") for url in file.urls)
        assert file.limit_bytes > 0
        assert file.expected_bytes <= file.limit_bytes


@pytest.mark.parametrize("name", CATALOG.datasets)
def test_a_data_set_says_where_it_comes_from(name: str) -> None:
    record = CATALOG.dataset(name)
    assert CATALOG.licences()[record.licence].name
    papers = [*record.papers, *(split.paper for split in record.splits.values() if split.paper)]
    assert all(CATALOG.papers()[key].title for key in papers)
    assert all(split.source for split in record.splits.values())


@pytest.mark.parametrize("key", CATALOG.licences())
def test_a_licence_that_asks_for_consent_says_what_to(key: str, tmp_path: Path) -> None:
    licence = CATALOG.licences()[key]
    if not licence.consent:
        ensure_consent(licence, Cache.at(tmp_path))
        return
    assert licence.terms
    assert licence.url
    with pytest.raises(ConsentError, match=f"--yes or L2L_ACCEPT_LICENCES={key}"):
        ensure_consent(licence, Cache.at(tmp_path), ask=lambda _: "no")


def test_every_address_is_https() -> None:
    files = [file for name, form in FORMS for file in CATALOG.dataset(name).forms[form].files]
    addresses = [url for file in files for url in file.urls]
    addresses += [paper.url for paper in CATALOG.papers().values() if paper.url]
    addresses += [licence.url for licence in CATALOG.licences().values() if licence.url]
    assert len(addresses) > 400
    assert [url for url in addresses if not url.startswith("https://")] == []


def test_list_shows_every_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_command(monkeypatch, capsys)("list", "datasets", "--json", "--root", tmp_path).json
    assert [row["name"] for row in rows] == list(CATALOG.datasets)
    unsized = set[str]()
    for row in rows:
        record = CATALOG.dataset(row["name"])
        form, size = record.download, "none"
        if form is not None:
            exact = all(file.size_bytes for file in form.files)
            size = f"{'' if exact else '~'}{size_text(form.expected_bytes)}"
        if form is not None and not form.expected_bytes:  # of whose files no source gives a size
            size = f"<{size_text(form.limit_bytes)}"
            unsized.add(record.name)
        assert row == {
            "name": record.name,
            "title": record.title,
            "classes": record.raw.classes,
            "examples": record.raw.examples,
            "download": size,
            "download_bytes": (form.expected_bytes or None) if form else None,
            "licence": record.licence,
            "here": False,
        }
    assert sorted(unsized) == ["20-newsgroups", "amazon-reviews", "few-rel", "news-classification"]


@pytest.mark.parametrize("name", CATALOG.datasets)
def test_the_subsets_add_up(name: str) -> None:
    record, counts = CATALOG.dataset(name), CATALOG.counts(name)
    for split_name, info in record.splits.items():
        split = CATALOG.split(name, split_name)
        if record.raw.examples and info.examples and all(info.examples.values()):
            assert sum(info.examples.values()) == record.raw.examples
        if counts and set(split.classes()) <= set(counts):
            for subset, examples in info.examples.items():
                assert examples == sum(counts[its_class] for its_class in split.classes(subset))


@pytest.mark.parametrize("name", CATALOG.datasets)
def test_statistics_fit_the_pictures(name: str) -> None:
    record, statistics = CATALOG.dataset(name), CATALOG.statistics(name)
    if statistics is not None:
        assert record.modality == "images"
        assert len(statistics.mean) == {"L": 1, "RGB": 3}[record.prepared["mode"]]
        assert statistics.source


@pytest.mark.parametrize("name", CATALOG.datasets)
def test_the_subsets_of_every_split_are_disjoint_and_complete(name: str) -> None:
    record = CATALOG.dataset(name)
    every_class = set(CATALOG.split(name).classes())
    assert "" not in every_class
    assert len(every_class) == record.raw.classes
    for split_name in record.splits:
        split = CATALOG.split(name, split_name)
        subsets = [split.classes(subset) for subset in SUBSETS]
        assert sum(map(len, subsets)) == len(set().union(*subsets)) == record.raw.classes
        assert set().union(*subsets) == every_class
        assert len(set(split.superclass_of.values())) == (record.raw.superclasses or 0)


@pytest.mark.parametrize("name", CATALOG.benchmarks)
def test_a_benchmark_can_be_honoured(name: str) -> None:
    benchmark = CATALOG.benchmark(name)
    record = CATALOG.dataset(benchmark.dataset)
    assert not benchmark.rotations or record.rotations
    classes = CATALOG.split(benchmark.dataset, benchmark.split).classes(benchmark.subset)
    assert max(benchmark.ways, 5) <= len(classes) * (4 if benchmark.rotations else 1)
    if record.raw.examples_per_class:
        assert benchmark.shots + benchmark.queries <= record.raw.examples_per_class
    assert all(key in CATALOG.papers() for key in benchmark.papers)
    size = record.prepared.get("image_size")
    assert benchmark.image_size == (tuple(size) if size else None)
    assert (len(training_augmentation(benchmark)) > 0) == (benchmark.augmentation != "none")
    if benchmark.kind == "variable":
        assert name == f"meta-dataset-{benchmark.dataset}"
        assert (benchmark.ways, benchmark.shots, benchmark.queries) == (0, 0, 0)
    else:
        assert name == f"{benchmark.dataset}-{benchmark.ways}w{benchmark.shots}s"


def test_every_data_set_has_its_standard_protocols() -> None:
    fixed = """20-newsgroups amazon-reviews cifar-fs cub fc100 few-rel glyphs mini-imagenet news-journals omniglot
    reuters-21578 speech-commands tiered-imagenet tiered-imagenet-sample"""
    drawn = {name for name in CATALOG.datasets if "meta-dataset" in CATALOG.dataset(name).splits}
    expected = {f"{name}-5w{shots}s" for name in fixed.split() for shots in (1, 5)}
    expected |= {f"{name}-20w{shots}s" for name in ("glyphs", "omniglot") for shots in (1, 5)}
    assert set(CATALOG.benchmarks) == expected | {f"meta-dataset-{name}" for name in drawn}


@pytest.mark.parametrize("benchmark", CATALOG.benchmarks)
def test_a_figure_is_a_figure(benchmark: str) -> None:
    rows = CATALOG.published(benchmark)
    runs = [(row.method, row.backbone) for row in rows]
    assert len(set(runs)) == len(runs)
    for row in rows:
        assert 0.1 < row.accuracy <= 1
        assert row.ci95 is None or 0 < row.ci95 < 0.05
        assert row.source
        assert row.verified == ("from memory" not in row.source)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_builds_a_learner_that_adapts(name: str) -> None:
    tasks, ways, shots, queries = 2, 5, 2, 3
    draws = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    learner = METHODS[name].build(Setting(ways, shots, classes=6)).eval()
    support_x = torch.rand(tasks, ways * shots, 1, 28, 28, generator=draws)
    support_y = torch.arange(ways).repeat_interleave(shots).expand(tasks, -1)
    query_x = torch.rand(tasks, ways * queries, 1, 28, 28, generator=draws)
    logits_BQN = learner.adapt(support_x, support_y)(query_x)
    assert logits_BQN.shape == (tasks, ways * queries, ways)
    assert logits_BQN.isfinite().all()
    # A task alone gives what it gives in company; and what was learned is not forgotten but used.
    alone_BQN = learner.adapt(support_x[:1], support_y[:1])(query_x[:1])
    torch.testing.assert_close(alone_BQN, logits_BQN[:1], rtol=1e-4, atol=1e-4)
    swapped_BQN = learner.adapt(support_x.flip(0), support_y)(query_x)
    # By what tells the ways apart, which in some methods is next to nothing before they are trained.
    theirs, ours = (each - each.mean(dim=-1, keepdim=True) for each in (swapped_BQN, logits_BQN))
    assert (theirs - ours).abs().max() > 0.01 * ours.abs().max() > 0
