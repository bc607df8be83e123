"""``underdog predict``: a run's network on new images."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from underdog.cli.machine_options import add_device
from underdog.cli.values import whole
from underdog.errors import InputError

if TYPE_CHECKING:
    from underdog.cli.parser import Commands

__all__ = ["add_predict", "predict"]


def add_predict(commands: Commands) -> None:
    """The arguments of the command."""
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
    from underdog.cli.commands import device, say, writable  # noqa: PLC0415  (torch is imported here)
    from underdog.cli.predictions import Tally, csv_file, json_lines, table_lines  # noqa: PLC0415
    from underdog.cli.progress import bar  # noqa: PLC0415
    from underdog.reporting.terminal import printable  # noqa: PLC0415
    from underdog.run.classifier import batched, load  # noqa: PLC0415

    if options.csv and options.json:
        raise InputError("csv and json exclude each other: the one is a file, the other goes to standard output")
    if options.csv:
        writable(options.csv)
    classifier, told = load(options.run, device(options.device)), Tally()
    predictions = classifier.stream(options.files, options.batch, told.ignore)
    with ExitStack() as files:
        shown = files.enter_context(bar("predicting", None, " images"))
        lines = (json_lines if options.json else table_lines)(classifier.classes, shown.write)
        write = files.enter_context(csv_file(options.csv, classifier.classes)) if options.csv else lines
        for some in batched(predictions, options.batch):
            write(some)
            told.count(some)
            shown.update(len(some))
        told.check(options.files)  # while a CSV file is still under its temporary name
    if options.csv:
        say(f"{told.table()}\npredictions: {printable(str(options.csv))}")
    for remark in told.remarks():
        print(f"underdog: {remark}", file=sys.stderr)
