"""``underdog data fetch``: download data sets that underdog knows by name."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from underdog.data.known import KNOWN, KnownSet, find_dataset, known_set
from underdog.errors import InputError

__all__ = ["add_fetch", "fetch"]


def add_fetch(subcommands: Any) -> None:
    """The arguments of the command."""
    command = subcommands.add_parser(
        "fetch",
        help="download a well-known data set, or say how to get it",
        description="Download a well-known data set and check it. For one that needs an account, print what to do.\n\ndata sets:\n"
        + "\n".join(f"  {name:<8} {own.title}" for name, own in KNOWN.items()),
        epilog="examples:\n"
        "  underdog data fetch --list\n"
        "  underdog data fetch mnist --to data\n"
        "  underdog data fetch cifar10 --to data\n\n"
        "A download that broke off goes on where it was when the same command is given again.",
    )
    command.add_argument("name", nargs="?", metavar="NAME", help="one of the data sets above")
    command.add_argument("--to", type=Path, metavar="DIR", help="the folder that it is to lie in")
    command.add_argument("--list", action="store_true", help="list names, sizes and licences, and how each is got")
    command.set_defaults(action=fetch)


def fetch(options: argparse.Namespace) -> None:
    """Download a data set, or say how to get it."""
    from underdog.cli.commands import say  # noqa: PLC0415
    from underdog.cli.progress import bar  # noqa: PLC0415
    from underdog.data.fetch import fetch_dataset  # noqa: PLC0415

    if options.list:
        say(_table())
        return
    if options.name is None or options.to is None:
        raise InputError("data fetch needs the NAME of a data set and --to DIR, or --list")
    own = known_set(options.name)
    if not own.downloads:
        path = _by_hand(options.name, own, options.to)
    else:
        with bar(f"fetching {options.name}", own.size, "B") as shown:
            try:
                path = fetch_dataset(options.name, options.to, shown.update, shown.write)
            except KeyboardInterrupt:
                say("what has come is kept, and the same command goes on from there")
                raise
    say(f"look at it: underdog data info {path} {own.options}".rstrip())


def _by_hand(name: str, own: KnownSet, folder: Path) -> Path:
    """Where a data set without a public address lies.

    Raises:
        FetchError: nowhere; what to do was printed.
    """
    from underdog.cli.commands import say  # noqa: PLC0415
    from underdog.data.fetch import FetchError  # noqa: PLC0415

    try:
        path = find_dataset(name, folder)
    except InputError as error:
        say("\n".join(own.by_hand).format(folder=shlex.quote(str(folder))))
        raise FetchError(
            f"{name} is not in {str(folder)!r}, and cannot be fetched: see above for what to do"
        ) from error
    say(f"{path}: there")
    return path


def _table() -> str:
    """The data sets, one a line."""
    from underdog.reporting.terminal import aligned  # noqa: PLC0415  (after the arguments are understood)

    rows = [("name", "data set", "licence", "how", "download")]
    for name, own in KNOWN.items():
        size = f"{own.size / 1e6:,.1f} MB" if own.downloads else "-"
        rows.append((name, own.title, own.licence, "fetch" if own.downloads else "by hand", size))
    return "\n".join(aligned(rows, left=4))
