"""``l2l reproduce``: from a recipe to its figure, beside the published one."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from l2l_core.cli.options import AsJson, Device, Devices, Note, Record, Root, make_folder, print_json, say
from l2l_core.cli.processes import speaks, start_processes


def run(
    recipe: Annotated[str, typer.Argument(help="Name of the recipe, as in `l2l list recipes`.")],
    form: Annotated[
        str, typer.Option(help="full: the paper's budget, for a GPU; short: for two processor cores.")
    ] = "short",
    episodes: Annotated[
        int | None, typer.Option(help="Episodes to evaluate on. [default: the benchmark's number]", min=2)
    ] = None,
    device: Device = None,
    devices: Devices = 1,
    out: Annotated[Path, typer.Option(help="Folder of the runs, each in one of its own.", file_okay=False)] = Path(
        "runs"
    ),
    record: Record = None,
    zoo: Annotated[
        Path | None, typer.Option(help="Also write the weights here, in half their bytes, as metadata/zoo has them.")
    ] = None,
    note: Note = "",
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Find or fetch the data, train as the recipe says, evaluate, and say whether the published figure is reproduced.

    A training that was stopped or killed goes on when it is asked for again; a finished one is only evaluated.

    Examples:
        l2l reproduce omniglot-5w1s-protonet
        l2l reproduce cifar-fs-5w1s-r2d2 --form full --device cuda
    """
    start_processes(devices)
    from l2l_core.allocator import keep_memory
    from l2l_core.distributed import joined
    from l2l_core.evaluation.own_results import add_own_result
    from l2l_core.training.recipes import reproduce

    keep_memory()
    if speaks():
        make_folder(out, "--out")
        if record is not None:
            make_folder(record, "--record")
    with joined():
        done = reproduce(
            recipe,
            form,  # type: ignore[arg-type]  # reproduce checks it
            folder=out,
            root=root,
            episodes=episodes,
            device=device,
            zoo=zoo,
            progress=speaks(),
            say=say,
        )
    if not speaks():
        return
    if record is not None:
        add_own_result(record / f"{done.report.benchmark}.csv", done.as_result(note))
    if as_json:
        verdicts = {"reproduced": done.reproduced, "as_expected": done.as_expected}
        print_json({**asdict(done.as_result(note)), **verdicts})
    else:
        print(done)
