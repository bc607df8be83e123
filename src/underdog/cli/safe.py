"""Names from anywhere, made harmless for terminals and spreadsheets."""

from __future__ import annotations

__all__ = ["cell", "printable"]

#: What makes a spreadsheet take a cell for a formula, full-width forms included; and what is put before it.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
APOSTROPHE = "'"


def printable(text: str) -> str:
    """The text with everything escaped that moves a terminal's cursor, changes its direction, or is no character.

    >>> print(printable("a\\x1b[2Jb\\u202ec d"))
    a\\x1b[2Jb\\u202ec d
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cell(text: str) -> str:
    """The text as a spreadsheet shows it and does not compute it: with an apostrophe before what begins like a formula.

    Texts that begin with an apostrophe get another, so that taking one off gives every text back. Bytes of file names that
    are no UTF-8 are escaped.

    >>> [cell(t) for t in ("mel", "=1+1", "-x.png", "'quoted")]
    ['mel', "'=1+1", "'-x.png", "''quoted"]
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    return APOSTROPHE + text if text.startswith((*FORMULA, APOSTROPHE)) else text
