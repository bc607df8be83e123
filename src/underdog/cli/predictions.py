"""Predictions as a table, as lines of JSON and as a CSV file, and what they come to."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from underdog.errors import InputError
from underdog.reporting.terminal import aligned, printable, width
from underdog.run.classifier import Prediction
from underdog.run.files import atomic

__all__ = ["PredictionTally", "Sink", "csv_file", "json_lines", "table_lines"]

#: Predictions as they come, in batches -> None.
Sink = Callable[[Sequence[Prediction]], None]
#: What prints a text, such as ``print``.
Say = Callable[..., Any]

#: What makes a spreadsheet take a cell for a formula, full-width forms included; and what is put before it.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
APOSTROPHE = "'"


def table_lines(classes: Sequence[str], say: Say) -> Sink:
    """A line for every file as it comes, below a heading."""
    wide = max(width(printable(text)) for text in ("class", *classes))
    heading = iter([f"{'class':<{wide}}   probability   file"])  # above the first line, if there is one

    def line(p: Prediction) -> str:
        file = printable(p.file)
        if p.label is None or p.probabilities is None:
            return f"{'-':<{wide}}   {'-':>11}   {file}   unreadable: {printable(p.error or '')}"
        label = printable(p.label)
        flags = f"   flagged: {printable(', '.join(p.flags))}" if p.flags else ""
        gap = " " * (wide - width(label))
        return f"{label}{gap}   {p.probabilities[classes.index(p.label)]:>11.3f}   {file}{flags}"

    return lambda some: say("\n".join([*heading, *map(line, some)]), file=sys.stdout)


def json_lines(classes: Sequence[str], say: Say) -> Sink:
    """A JSON object for every file, on one line, as it comes."""

    def line(p: Prediction) -> str:
        if p.probabilities is None:
            return json.dumps({"file": p.file, "error": p.error})
        each = dict(zip(classes, map(float, p.probabilities), strict=True))
        return json.dumps({"file": p.file, "class": p.label, "probabilities": each, "flags": p.flags})

    return lambda some: say("\n".join(map(line, some)), file=sys.stdout)


@contextmanager
def csv_file(path: Path, classes: Sequence[str]) -> Iterator[Sink]:
    """A table of every file with all probabilities, which is there when it is whole."""

    def row(p: Prediction) -> list[str]:
        values = [""] * len(classes) if p.probabilities is None else [f"{v:.6g}" for v in p.probabilities]
        return [cell(p.file), cell(p.label or ""), *values, cell("; ".join(p.flags)), cell(p.error or "")]

    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", *(f"probability:{c}" for c in classes), "flags", "error"])
        yield lambda some: writer.writerows(map(row, some))


def cell(text: str) -> str:
    """The text as a spreadsheet shows it and does not compute it: with an apostrophe before what begins like a formula.

    Texts that begin with an apostrophe get another, so that taking one off gives every text back. Bytes of file names that
    are no UTF-8 are escaped.

    >>> [cell(t) for t in ("mel", "=1+1", "-x.png", "'quoted")]
    ['mel', "'=1+1", "'-x.png", "''quoted"]
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    return APOSTROPHE + text if text.startswith((*FORMULA, APOSTROPHE)) else text


class PredictionTally:
    """What predictions come to."""

    def __init__(self) -> None:
        self.ignored, self.unreadable, self.classes, self.flags = 0, 0, Counter[str](), Counter[str]()

    def ignore(self, files: int) -> None:
        """Count files that are no images."""
        self.ignored += files

    def count(self, predictions: Iterable[Prediction]) -> None:
        """Count predictions."""
        for p in predictions:
            self.unreadable += p.label is None
            self.classes.update([p.label] if p.label is not None else [])
            self.flags.update(p.flags)

    @property
    def total(self) -> int:
        """Files that were judged, or could not be read."""
        return self.unreadable + self.classes.total()

    def check(self, files: Sequence[Path]) -> None:
        """Refuse an empty result.

        Raises:
            InputError: not a single file was found.
        """
        if not self.total:
            where = ", ".join(repr(str(f)) for f in files[:3]) + (", ..." if len(files) > 3 else "")
            raise InputError(f"no images in {where}" + (f" ({self.ignored} other files)" if self.ignored else ""))

    def table(self) -> str:
        """Images of each class, from the most frequent on, and how many were flagged with it."""
        names = sorted(self.classes | self.flags, key=lambda n: (-self.classes[n], n))
        rows = [(n, str(self.classes[n]), str(self.flags[n] or "")) for n in names]
        return "\n".join(aligned([("class", "images", "flagged" if self.flags else ""), *rows]))

    def remarks(self) -> list[str]:
        """What the table does not say."""
        found = []
        if self.unreadable:
            found.append(f"{self.unreadable} of {self.total} files could not be read")
        if self.ignored:
            found.append(f"{self.ignored} files that are no images were ignored")
        return found
