"""``underdog report``: a page, or tables, on runs that are finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from underdog.cli.common import Options, say, writable
from underdog.decision.rule import check_target
from underdog.errors import InputError
from underdog.paths import run_folders
from underdog.reporting import report_json, write_report, write_tables
from underdog.reporting.terminal import printable
from underdog.reporting.text import ASCII
from underdog.run.files import write_atomic

__all__ = ["page", "run"]


def run(options: Options) -> None:
    """Carry out the command."""
    if options.target_precision is not None:
        check_target(options.target_precision)
    output = options.output or (None if options.tables or options.json else Path("report.html"))
    if options.json == "-" and (output or options.tables):
        raise InputError("--json - fills standard output, so it goes without -o and --tables: give it a file")
    for path in filter(None, (output, options.json)):
        if path != "-":
            writable(Path(path))
    folders = run_folders(options.runs)
    if options.json is not None:
        _numbers(folders, options.json, options.target_precision)
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


def _numbers(folders: Sequence[Path], output: str, target: float | None) -> None:
    """Write what a report says as JSON, to a file or standard output."""
    text = report_json(folders, target)
    if output == "-":
        print(text, end="", flush=True)
    else:
        write_atomic(Path(output), lambda path: path.write_text(text, encoding="utf-8"))
        say(f"numbers: {output}")


def page(folders: Sequence[Path], output: Path, target: float | None = None) -> str:
    """Write a report; what it says of a decision, as text."""
    decisions = write_report(folders, output, target)
    say(f"report: {output}")
    return decisions
