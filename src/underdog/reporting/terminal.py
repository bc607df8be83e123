"""Foreign text in a terminal: names of files and classes may hold anything."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

__all__ = ["aligned", "printable", "shortened", "width"]


def printable(text: str) -> str:
    r"""Text without control characters, line breaks, marks of direction and bytes that were no text: they are escaped.

    >>> printable("cat\x1b[31m\n")
    'cat\\x1b[31m\\n'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def width(text: str) -> int:
    """Columns that a terminal gives to a text: two to wide East Asian characters, none to combining ones.

    >>> width("cat"), width("猫"), width("e\N{COMBINING ACUTE ACCENT}")
    (3, 2, 1)
    """
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def shortened(text: str, columns: int) -> str:
    """Printable text that fills at most so many columns, its middle left out where it would fill more.

    >>> shortened("a rather long name", 11)
    'a rat...ame'
    """
    text = printable(text)
    if width(text) <= columns:
        return text
    head, tail = text, text
    while width(head) > (columns - 2) // 2 + 1:
        head = head[:-1]
    while width(head) + 3 + width(tail) > columns:
        tail = tail[1:]
    return f"{head}...{tail}"


def aligned(table: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of a table, printable, its columns as wide as their widest cell, the first ``left`` ones flush left.

    >>> aligned([("class", "images"), ("cat", "12"), ("猫", "3")])
    ['class  images', 'cat        12', '猫          3']
    """
    rows = [[printable(text) for text in row] for row in table]
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]

    def cell(i: int, text: str) -> str:
        gap = " " * (widths[i] - width(text))
        return text + gap if i < left else gap + text

    return ["  ".join(cell(i, text) for i, text in enumerate(row)).rstrip() for row in rows]
