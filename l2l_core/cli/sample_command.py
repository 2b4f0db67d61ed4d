"""``l2l sample``: look at episodes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from l2l_core.cli.options import AsJson, Root, make_folder, print_json, say

if TYPE_CHECKING:
    from l2l_core.data.generator import TaskGenerator

_CHUNK: Final = 1024
"""Episodes drawn at once: the first line comes at once, however many are asked for."""
_LAST: Final = 2**53
"""Largest episode number that every reader of JSON keeps exactly."""


def run(
    name: Annotated[str, typer.Argument(help="A data set, or a benchmark whose settings are the defaults.")],
    ways: Annotated[int | None, typer.Option(help="Classes of an episode. [default: 5]")] = None,
    shots: Annotated[int | None, typer.Option(help="Support examples per class. [default: 1]")] = None,
    queries: Annotated[int | None, typer.Option(help="Query examples per class. [default: 15]")] = None,
    subset: Annotated[str | None, typer.Option(help="train, validation or test. [default: train]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the episodes. [default: 0]")] = None,
    start: Annotated[int, typer.Option(help="Number of the first episode.", min=0, max=_LAST)] = 0,
    episodes: Annotated[int, typer.Option(help="How many.", min=1)] = 1,
    drawing: Annotated[
        Path | None,
        typer.Option(
            "--png",
            "--svg",
            help="Draw the first episodes into this file; an SVG where its name ends in .svg, else a PNG.",
            dir_okay=False,
        ),
    ] = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Print episodes: the classes, and the ids of their support and query examples within the subset.

    Examples:
        l2l sample glyphs --ways 5 --shots 1 --png episode.png
        l2l sample omniglot-20w5s --svg episode.svg
        l2l sample omniglot-20w5s --episodes 3 --json
    """
    from l2l_core.catalog import open_catalog
    from l2l_core.data.benchmarks import load_benchmark
    from l2l_core.data.datasets import load_dataset
    from l2l_core.data.generator import TaskGenerator
    from l2l_core.errors import UnknownNameError, UsageError
    from l2l_core.evaluation.pictures import MAX_EPISODES, draw_episodes

    catalog = open_catalog()
    if name not in (*catalog.datasets, *catalog.benchmarks):
        raise UnknownNameError("data set or benchmark", name, [*catalog.datasets, *catalog.benchmarks])
    if name in catalog.benchmarks:
        benchmark = load_benchmark(name, root=root)
        record = benchmark.record
        if record.kind == "variable" and None in (ways, shots, queries):
            raise UsageError(f"the episodes of {name} vary in their form; give --ways, --shots and --queries")
        dataset = benchmark.dataset(subset)  # type: ignore[arg-type]  # load_dataset checks it
        defaults = record.ways, record.shots, record.queries, record.seed
    else:
        dataset = load_dataset(name, subset or "train", root=root)  # type: ignore[arg-type]
        defaults = 5, 1, 15, 0
    form = [
        default if given is None else given
        for given, default in zip((ways, shots, queries, seed), defaults, strict=True)
    ]
    generator = TaskGenerator(dataset, *form)
    if drawing is not None:
        if dataset.modality != "images":
            raise UsageError(f"{name} holds {dataset.modality}, which --png cannot draw; leave it out")
        make_folder(drawing.parent, "--png")
    numbers = range(start, start + episodes)
    for first in range(0, episodes, _CHUNK):
        for line in _describe(generator, dataset.classes, numbers[first : first + _CHUNK]):
            if as_json:
                print_json(line)
            else:
                _print_episode(line)
    if drawing is not None:
        drawn = [
            (line["episode"], generator[line["episode"]], line["classes"])
            for line in _describe(generator, dataset.classes, numbers[:MAX_EPISODES])
        ]
        title = f"{dataset.name} ({dataset.subset}), {generator.ways}-way {generator.shots}-shot, seed {generator.seed}"
        draw_episodes(drawn, title, drawing)
        say(f"drew {len(drawn)} of {episodes} episodes into {drawing}")


def _describe(generator: "TaskGenerator", classes: Sequence[str], numbers: range) -> Iterator[dict[str, Any]]:
    batch = generator.describe(numbers)
    for number, classes_N, ids_NK in zip(numbers, batch.all_classes_BN, batch.all_ids_BNK, strict=True):
        yield {
            "episode": number,
            "seed": generator.seed,
            "classes": [classes[row] for row in classes_N],
            "support": ids_NK[:, : generator.shots].tolist(),
            "query": ids_NK[:, generator.shots :].tolist(),
        }


def _print_episode(line: Mapping[str, Any]) -> None:
    print(f"episode {line['episode']}")
    for class_name, support, query in zip(line["classes"], line["support"], line["query"], strict=True):
        print(f"  {class_name}: support {' '.join(map(str, support))} | query {' '.join(map(str, query))}")
