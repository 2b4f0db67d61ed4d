"""HTML from values: whatever comes from a file is escaped here, and nowhere else."""

from collections.abc import Sequence
from html import escape
from typing import Final

_FIGURE: Final = "0123456789+-−±"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def markup(value: object) -> Markup:
    """A value as HTML: markup as it is, anything else as escaped text."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def element(tag: str, *content: object, **attributes: object) -> Markup:
    """An element, its attributes and its content escaped; an underscore in a name of an attribute is a hyphen.

    Args:
        tag: its name.
        content: what stands in it, one after another.
        attributes: ``class_`` stands for ``class``; None leaves one out.
    """
    words = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{words}>{''.join(map(markup, content))}</{tag}>")


def table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> Markup:
    """A table that scrolls where it is too wide; columns of figures stand to the right, as the first row has them."""
    sides = [_side(cell) for cell in rows[0]] if rows else [None] * len(header)

    def line(tag: str, cells: Sequence[object], **attributes: str) -> Markup:
        aligned = zip(cells, sides, strict=True)
        return element("tr", *(element(tag, cell, class_=side, **attributes) for cell, side in aligned))

    body = element("tbody", *(line("td", row) for row in rows))
    return scrolling(element("table", element("thead", line("th", header, scope="col")), body))


def scrolling(content: Markup) -> Markup:
    """What may be too wide for a narrow window, in a part that scrolls, with the keyboard too."""
    return element("div", content, class_="wide", tabindex=0)


def _side(cell: object) -> str | None:
    return "figure" if not isinstance(cell, Markup) and str(cell)[:1] in tuple(_FIGURE) else None
