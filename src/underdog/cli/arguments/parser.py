"""The parser of the command line."""

from __future__ import annotations

import argparse

from underdog import __version__
from underdog.cli.arguments.base import Parser
from underdog.cli.arguments.bench import add_bench
from underdog.cli.arguments.data import add_data
from underdog.cli.arguments.methods import add_methods
from underdog.cli.arguments.results import add_export, add_predict, add_report
from underdog.cli.arguments.runs import add_compare, add_demo, add_grid, add_probe, add_train, add_tune

__all__ = ["parser"]


def parser() -> argparse.ArgumentParser:
    """The parser of ``underdog`` and its commands."""
    root = Parser(
        prog="underdog",
        description="Train image classifiers when some classes are rare, and see whether it helped.",
        epilog="examples:\n"
        "  underdog demo\n"
        "  underdog train photos/ --size 64 --method aos\n"
        "  underdog compare photos/ --size 64 --methods baseline,ros,aos --seeds 5 -o report.html\n\n"
        "'underdog COMMAND --help' explains a command.",
    )
    root.add_argument("--version", action="version", version=f"underdog {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for add in (
        add_demo,
        add_train,
        add_compare,
        add_probe,
        add_methods,
        add_grid,
        add_tune,
        add_report,
        add_data,
        add_predict,
        add_export,
        add_bench,
    ):
        add(commands)
    return root
