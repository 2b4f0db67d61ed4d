"""``l2l sample``: look at episodes."""

from pathlib import Path
from typing import Annotated

import typer

from l2l_core.cli.options import AsJson, Root, print_json, say


def run(
    name: Annotated[str, typer.Argument(help="A data set, or a benchmark whose settings are the defaults.")],
    ways: Annotated[int | None, typer.Option(help="Classes of an episode. [default: 5]")] = None,
    shots: Annotated[int | None, typer.Option(help="Support examples per class. [default: 1]")] = None,
    queries: Annotated[int | None, typer.Option(help="Query examples per class. [default: 15]")] = None,
    subset: Annotated[str | None, typer.Option(help="train, validation or test. [default: train]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the episodes. [default: 0]")] = None,
    start: Annotated[int, typer.Option(help="Number of the first episode.", min=0)] = 0,
    episodes: Annotated[int, typer.Option(help="How many.", min=1)] = 1,
    png: Annotated[Path | None, typer.Option(help="Draw the episodes into this file.")] = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Print episodes: the classes, and the ids of their support and query examples within the subset.

    Examples: l2l sample glyphs --ways 5 --shots 1 --png episode.png; l2l sample omniglot-20w5s --episodes 3 --json
    """
    from l2l_core.catalog import open_catalog
    from l2l_core.data.benchmarks import load_benchmark
    from l2l_core.data.datasets import load_dataset
    from l2l_core.data.generator import TaskGenerator
    from l2l_core.evaluation.pictures import MAX_EPISODES, draw_episodes

    if name in open_catalog().benchmarks:
        benchmark = load_benchmark(name, root=root)
        record = benchmark.record
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
    numbers = range(start, start + episodes)
    batch = generator.describe(numbers)
    for number, classes_N, ids_NK in zip(numbers, batch.all_classes_BN, batch.all_ids_BNK, strict=True):
        line = {
            "episode": number,
            "seed": generator.seed,
            "classes": [dataset.classes[row] for row in classes_N],
            "support": ids_NK[:, : generator.shots].tolist(),
            "query": ids_NK[:, generator.shots :].tolist(),
        }
        if as_json:
            print_json(line)
            continue
        print(f"episode {number}")
        for class_name, support, query in zip(line["classes"], line["support"], line["query"], strict=True):
            print(f"  {class_name}: support {' '.join(map(str, support))} | query {' '.join(map(str, query))}")
    if png is not None:
        drawn = [
            (number, generator[number], [dataset.classes[row] for row in classes_N])
            for number, classes_N in zip(numbers[:MAX_EPISODES], batch.all_classes_BN, strict=False)
        ]
        title = f"{dataset.name} ({dataset.subset}), {generator.ways}-way {generator.shots}-shot, seed {generator.seed}"
        draw_episodes(drawn, title, png)
        say(f"drew {len(drawn)} of {episodes} episodes into {png}")
