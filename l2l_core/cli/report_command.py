"""``l2l report``: runs as a page to look at."""

from pathlib import Path
from typing import Annotated

import typer

from l2l_core.cli.options import Root, make_folder


def run(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Files of reports, or folders that hold a report.json.")
    ],
    out: Annotated[Path, typer.Option(help="The page to write.", dir_okay=False)] = Path("report.html"),
    root: Root = None,
) -> None:
    """Write one HTML page on some runs, which needs no network: figures, curves, classes, episodes; print its file.

    Examples:
        l2l report runs/omniglot-5w1s-protonet-s0
        l2l report protonet.json maml.json --out both.html
    """
    from l2l_core.evaluation.page import report_page
    from l2l_core.evaluation.page_run import read_runs
    from l2l_core.files import write_file

    found = read_runs(runs)
    make_folder(out.parent, "--out")
    write_file(out, report_page(found, root).encode())
    print(out)
