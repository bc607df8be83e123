"""``underdog data cache``, and which cache the other commands use."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from underdog.errors import InputError

if TYPE_CHECKING:  # numpy is imported there
    from underdog.data.entries import CacheEntry

__all__ = ["add_cache", "cache_arguments", "chosen_cache"]


def cache_arguments(group: Any) -> None:
    """The options by which a command that reads images says where to keep them."""
    group.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="keep decoded images here for the next time; images that need more than a third of the memory available, or half "
        "of a GPU's, are read from here while training (default: the variable UNDERDOG_CACHE, or underdog's folder among "
        "the user's caches)",
    )  # fmt: skip
    group.add_argument(
        "--no-cache", action="store_true", help="decode images, and keep none; they then have to fit into memory"
    )


def chosen_cache(options: argparse.Namespace) -> Path | None:
    """The cache that the options name, or None.

    Raises:
        InputError: it was named, and cannot be written.
    """
    from underdog.data.cache import check_writable, default_cache  # noqa: PLC0415

    if options.no_cache:
        return None
    if options.cache is not None:
        return Path(options.cache)
    try:
        folder = default_cache()
        check_writable(folder)
        return folder
    except InputError as error:
        if os.environ.get("UNDERDOG_CACHE"):
            raise
        print(f"note: {error}; images are decoded every time", flush=True)
        return None


def add_cache(subcommands: Any) -> None:
    """The arguments of the command."""
    command = subcommands.add_parser(
        "cache",
        help="list decoded images that are kept, or remove them",
        description="List what is kept of decoded images, or remove it.",
        epilog="examples:\n"
        "  underdog data cache\n"
        "  underdog data cache --clear 4a3367b384b1\n"
        "  underdog data cache --clear",
    )
    command.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="the cache (default: the variable UNDERDOG_CACHE, or underdog's folder among the user's caches)",
    )  # fmt: skip
    command.add_argument(
        "--clear", nargs="?", const="", metavar="ENTRY",
        help="remove the entries whose names begin so; everything where none is named",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(action=cache)


def cache(options: argparse.Namespace) -> None:
    """List the entries, or remove them."""
    from underdog.data.cache import default_cache  # noqa: PLC0415
    from underdog.data.entries import entries, remove  # noqa: PLC0415

    folder = options.cache or default_cache()
    found = entries(folder) if options.clear is None else remove(folder, options.clear)
    if options.json:
        print(json.dumps({"cache": str(folder), "entries": [asdict(e) for e in found]}, indent=1))
        return
    if found:
        print(_table(found))
    total = f"{len(found)} entr{'y' if len(found) == 1 else 'ies'}, {_megabytes(sum(e.bytes for e in found))}"
    print(f"{total} {'in' if options.clear is None else 'removed from'} {folder}")


def _table(found: Sequence[CacheEntry]) -> str:
    """The entries, one a line."""
    from underdog.reporting.terminal import aligned  # noqa: PLC0415  (after the arguments are understood)

    rows = [("entry", "source", "images", "shape", "size", "last used")]
    for e in found:
        used = datetime.fromtimestamp(e.used).strftime("%Y-%m-%d %H:%M")
        source = f"{e.source} (damaged)".strip() if e.damaged else e.source
        rows.append((e.id[:12], source, f"{e.images:,}", "x".join(map(str, e.shape)), _megabytes(e.bytes), used))
    return "\n".join(aligned(rows, left=2))


def _megabytes(n: int) -> str:
    return f"{n / 1e6:.1f} MB"
