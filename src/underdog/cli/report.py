"""``underdog report``: a page, or tables, on runs that are finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from underdog.cli.common import Options, say, writable
from underdog.decision.rule import check_target
from underdog.errors import InputError
from underdog.paths import run_folders
from underdog.reporting import write_report, write_tables
from underdog.reporting.tables import ASCII
from underdog.reporting.terminal import printable

__all__ = ["page", "run"]


def run(options: Options) -> None:
    """Carry out the command."""
    if options.target_precision is not None:
        check_target(options.target_precision)
    output = options.output or (None if options.tables else Path("report.html"))
    if output is not None:
        writable(output)
    folders = run_folders(options.runs)
    if options.tables is not None:
        _tables(folders, options.runs, options.tables)
    if output is not None and (decisions := page(folders, output, options.target_precision)):
        say("\n" + decisions)


def _tables(folders: Sequence[Path], runs: Path, output: Path) -> None:
    """Write a grid's tables, and say what they say."""
    if output.exists() and not output.is_dir():
        raise InputError(f"--tables {output} must be a folder, and is a file")
    for title, sentences in write_tables(folders, runs, output).items():
        say("\n  ".join(printable(text).translate(ASCII) for text in (f"{title}:", *sentences)) + "\n")
    say(f"tables: {output / 'tables.html'}")


def page(folders: Sequence[Path], output: Path, target: float | None = None) -> str:
    """Write a report; what it says of a decision, as text."""
    decisions = write_report(folders, output, target)
    say(f"report: {output}")
    return decisions
