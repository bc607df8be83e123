"""``underdog predict``: a run's network on new images."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from underdog.cli.safe import cell, printable
from underdog.errors import InputError

if TYPE_CHECKING:
    from underdog.cli.parser import Commands
    from underdog.run.classifier import Classifier, Prediction

__all__ = ["add_predict", "predict"]

#: Predictions as they come, in batches -> None.
Sink = Callable[[Sequence["Prediction"]], None]


def add_predict(commands: Commands) -> None:
    """The arguments of the command."""
    from underdog.cli.parser import add_device, whole  # noqa: PLC0415  (which imports this module)

    command = commands.add_parser(
        "predict",
        help="a run's network on new images: class, probabilities, flagged rare classes",
        description="Judge images by the network of a finished run, at its best epoch, with the run's preparation of images, "
        "class names and decision rule. Files that cannot be read are reported and do not stop the others.",
        epilog="examples:\n"
        "  underdog predict runs/aos-s0-0123456789ab new/\n"
        "  underdog predict runs/aos-s0-0123456789ab a.jpg b.png more.zip --csv predictions.csv\n\n"
        "In the CSV file a text that a spreadsheet would take for a formula (it begins with =, +, -, @ or the like), or that "
        "begins\nwith an apostrophe, has an apostrophe before it: take off one to have the text.",
    )
    command.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    command.add_argument(
        "files", type=Path, nargs="+", metavar="FILES-OR-FOLDERS",
        help="images; folders, which are searched for images; archives (.zip, .tar, .tar.xz, ...)",
    )  # fmt: skip
    command.add_argument(
        "--csv", type=Path, metavar="OUT", help="write a table with all probabilities instead of showing one"
    )
    command.add_argument("--json", action="store_true", help="a JSON object a line instead of a table")
    command.add_argument("--batch", type=whole, default=128, metavar="N", help="images at a time (default: 128)")
    add_device(command)


def predict(options: argparse.Namespace) -> None:
    """Carry out the command."""
    from underdog.cli.commands import device, writable  # noqa: PLC0415  (torch is imported here)
    from underdog.cli.progress import bar  # noqa: PLC0415
    from underdog.run.classifier import batched, load  # noqa: PLC0415

    if options.csv and options.json:
        raise InputError("csv and json exclude each other: the one is a file, the other goes to standard output")
    if options.csv:
        writable(options.csv)
    classifier = load(options.run, device(options.device))
    told = Tally()
    predictions = classifier.stream(options.files, options.batch, told.ignore)
    with bar("predicting", None, " images") as shown, _sink(options, classifier, shown.write) as write:
        for some in batched(predictions, options.batch):
            write(some)
            told.count(some)
            shown.update(len(some))
        told.check(options.files)  # while a file is still under its temporary name
    if options.csv:
        print(told.table())
        print(f"predictions: {printable(str(options.csv))}")
    told.remark()


class Tally:
    """What the predictions come to."""

    def __init__(self) -> None:
        self.ignored, self.unreadable, self.classes, self.flags = 0, 0, Counter[str](), Counter[str]()

    def ignore(self, files: int) -> None:
        self.ignored += files

    def count(self, predictions: Iterable[Prediction]) -> None:
        for p in predictions:
            self.unreadable += p.label is None
            self.classes.update([p.label] if p.label is not None else [])
            self.flags.update(p.flags)

    def check(self, files: Sequence[Path]) -> None:
        """Refuse an empty result."""
        if not self.unreadable + self.classes.total():
            where = ", ".join(repr(str(f)) for f in files[:3]) + (", ..." if len(files) > 3 else "")
            raise InputError(f"no images in {where}" + (f" ({self.ignored} other files)" if self.ignored else ""))

    def table(self) -> str:
        """Images of each class, from the most frequent on."""
        names = {name: printable(name) for name in self.classes | self.flags}
        width = max([len("class"), *map(len, names.values())])
        lines = [f"{'class':<{width}}   images" + ("   flagged" if self.flags else "")]
        for name in sorted(names, key=lambda n: (-self.classes[n], n)):
            flagged = f"   {self.flags[name] or '':>7}" if self.flags else ""
            lines.append(f"{names[name]:<{width}}   {self.classes[name]:>6}{flagged}".rstrip())
        return "\n".join(lines)

    def remark(self) -> None:
        """Say on standard error what is not in the table of classes."""
        total = self.unreadable + self.classes.total()
        if self.unreadable:
            print(f"underdog: {self.unreadable} of {total} files could not be read", file=sys.stderr)
        if self.ignored:
            print(f"underdog: {self.ignored} files that are no images were ignored", file=sys.stderr)


@contextmanager
def _sink(options: argparse.Namespace, classifier: Classifier, say: Callable[..., Any]) -> Iterator[Sink]:
    """Where the predictions go: a file that is there when all are in it, or standard output."""
    from underdog.run.files import atomic  # noqa: PLC0415

    if not options.csv:
        line = (_json if options.json else _line)(classifier.classes)
        heading = iter([] if options.json else [_heading(classifier.classes)])  # above the first line, if there is one
        yield lambda some: say("\n".join([*heading, *map(line, some)]), file=sys.stdout)
        return
    with atomic(options.csv) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", *(f"probability:{c}" for c in classifier.classes), "flags", "error"])
        yield lambda some: writer.writerows(_row(p, len(classifier.classes)) for p in some)


def _row(p: Prediction, classes: int) -> list[str]:
    values = [""] * classes if p.probabilities is None else [f"{v:.6g}" for v in p.probabilities]
    return [cell(p.file), cell(p.label or ""), *values, cell("; ".join(p.flags)), cell(p.error or "")]


def _json(classes: Sequence[str]) -> Callable[[Prediction], str]:
    """The object for a prediction, on one line."""

    def line(p: Prediction) -> str:
        if p.probabilities is None:
            return json.dumps({"file": p.file, "error": p.error})
        each = dict(zip(classes, map(float, p.probabilities), strict=True))
        return json.dumps({"file": p.file, "class": p.label, "probabilities": each, "flags": p.flags})

    return line


def _heading(classes: Sequence[str]) -> str:
    return f"{'class':<{_width(classes)}}   probability   file"


def _line(classes: Sequence[str]) -> Callable[[Prediction], str]:
    """The line of the table for a prediction."""
    width, number = _width(classes), {name: k for k, name in enumerate(classes)}

    def line(p: Prediction) -> str:
        file = printable(p.file)
        if p.label is None or p.probabilities is None:
            return f"{'-':<{width}}   {'-':>11}   {file}   unreadable: {printable(p.error or '')}"
        flags = f"   flagged: {printable(', '.join(p.flags))}" if p.flags else ""
        return f"{printable(p.label):<{width}}   {p.probabilities[number[p.label]]:>11.3f}   {file}{flags}"

    return line


def _width(classes: Sequence[str]) -> int:
    return max(len("class"), *(len(printable(c)) for c in classes))
