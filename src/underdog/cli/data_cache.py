"""``underdog data cache``: what is kept of decoded images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from underdog.cli.common import Options
from underdog.data.cache import default_cache
from underdog.data.entries import CacheEntry, entries, remove
from underdog.reporting.terminal import aligned

__all__ = ["run"]


def run(options: Options) -> None:
    """List the entries, or remove them."""
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
    rows = [("entry", "source", "images", "shape", "size", "last used")]
    for e in found:
        used = datetime.fromtimestamp(e.used).strftime("%Y-%m-%d %H:%M")
        source = f"{e.source} (damaged)".strip() if e.damaged else e.source
        rows.append((e.id[:12], source, f"{e.images:,}", "x".join(map(str, e.shape)), _megabytes(e.bytes), used))
    return "\n".join(aligned(rows, left=2))


def _megabytes(n: int) -> str:
    return f"{n / 1e6:.1f} MB"
