"""``l2l leaderboard``: our figures of a benchmark beside the published ones."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from l2l_core.cli.options import AsJson, print_json, print_table, say

if TYPE_CHECKING:
    from l2l_core.evaluation.leaderboard import Standing


def run(
    benchmark: Annotated[str, typer.Argument(help="Name of the benchmark.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    as_json: AsJson = False,
) -> None:
    """List a benchmark's figures, ours and the published, best first; ~ where the interval meets that of our best.

    Examples:
        l2l leaderboard omniglot-5w1s
        l2l leaderboard mini-imagenet-5w5s --markdown
    """
    from l2l_core.catalog import open_catalog
    from l2l_core.evaluation.leaderboard import standings

    rows = standings(benchmark, open_catalog())
    if as_json:
        print_json([asdict(row) for row in rows])
    elif not rows:
        say(f"there is no figure of {benchmark} yet, neither published nor ours")
    elif markdown:
        _print_markdown(rows)
    else:
        header = ["", "method", "backbone", "accuracy, %", "~", "source"]
        print_table(header, [["ours" if row.ours else "", *_cells(row)] for row in rows])


def _cells(row: "Standing") -> list[str]:
    """Method, backbone, accuracy in percent, whether it overlaps with our best, and where it is from."""
    accuracy = f"{100 * row.accuracy:.2f}" + ("" if row.ci95 is None else f" ± {100 * row.ci95:.2f}")
    source = row.budget if row.ours else "published" if row.verified else "unverified"
    return [row.method, row.backbone, accuracy, "~" if row.overlaps else "", source]


def _print_markdown(rows: Sequence["Standing"]) -> None:
    print("| method | backbone | accuracy, % | ~ | source |")
    print("|---|---|---|---|---|")
    for row in rows:
        # A bar within a cell would end it.
        cells = [cell.replace("|", "\\|") for cell in _cells(row)]
        if row.ours:
            cells = [f"**{cell}**" if cell else "" for cell in cells[:3]] + [cells[3], f"ours, {cells[4]}"]
        print(f"| {' | '.join(cells)} |")
