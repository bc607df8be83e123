"""``underdog data``: the commands about data alone."""

from __future__ import annotations

import argparse
from typing import Any

from underdog.cli.data_cache import add_cache
from underdog.cli.data_fetch import add_fetch
from underdog.cli.data_info import add_info

__all__ = ["add_data", "data"]


def add_data(commands: Any) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "data",
        help="what is in a source of images, data sets to download, and what is cached",
        description="Commands about data.",
        epilog="examples:\n  underdog data info photos/\n  underdog data fetch mnist --to data\n  underdog data cache\n\n"
        "'underdog data COMMAND --help' explains a command.",
    )
    subcommands = command.add_subparsers(required=True, metavar="COMMAND", parser_class=type(command))
    add_info(subcommands)
    add_fetch(subcommands)
    add_cache(subcommands)


def data(options: argparse.Namespace) -> None:
    """Do what the subcommand does."""
    options.action(options)
