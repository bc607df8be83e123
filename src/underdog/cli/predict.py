"""``underdog predict``: a run's network on new images."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from underdog.cli.common import Options, device, say, writable
from underdog.cli.predictions import PredictionTally, csv_file, json_lines, table_lines
from underdog.cli.progress import bar
from underdog.errors import InputError
from underdog.reporting.terminal import printable
from underdog.run.classifier import batched, load

__all__ = ["run"]


def run(options: Options) -> None:
    """Carry out the command."""
    if options.csv and options.json:
        raise InputError("csv and json exclude each other: the one is a file, the other goes to standard output")
    if options.csv:
        writable(options.csv)
    classifier, told = load(options.run, device(options.device)), PredictionTally()
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
