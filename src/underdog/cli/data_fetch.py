"""``underdog data fetch``: download data sets that underdog knows by name."""

from __future__ import annotations

import shlex
from pathlib import Path

from underdog.cli.common import Options, say
from underdog.cli.progress import bar
from underdog.data.fetch import FetchError, fetch_dataset
from underdog.data.known import KNOWN, KnownSet, find_dataset, known_set
from underdog.errors import InputError
from underdog.reporting.terminal import aligned

__all__ = ["run"]


def run(options: Options) -> None:
    """Download a data set, or say how to get it."""
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
                say("what has come is kept, and the same command resumes from there")
                raise
    say(f"look at it: underdog data info {path} {own.options}".rstrip())


def _by_hand(name: str, own: KnownSet, folder: Path) -> Path:
    """Where a data set without a public address lies.

    Raises:
        FetchError: nowhere; what to do was printed.
    """
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
    rows = [("name", "data set", "licence", "how", "download")]
    for name, own in KNOWN.items():
        size = f"{own.size / 1e6:,.1f} MB" if own.downloads else "-"
        rows.append((name, own.title, own.licence, "fetch" if own.downloads else "by hand", size))
    return "\n".join(aligned(rows, left=4))
