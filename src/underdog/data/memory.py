"""How much memory this process may still take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["available_memory", "field", "gigabytes", "image_memory"]

#: Decoded images may take one part in so many of what is available: a source has them once, the parts of an experiment
#: once more, and the network needs memory too.
SHARE = 3


def image_memory(processes: int = 1) -> int | None:
    """Bytes that decoded images may take in each of so many processes: a third of what is available; None where unknown."""
    available = available_memory()
    return None if available is None else available // (SHARE * processes)


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes of memory that are free, or within the limits of this process or its control groups; None where unknown.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    return min((max(0, n) for n in (*_free(root), *_in_groups(root), *_in_limits(root))), default=None)


def gigabytes(n: int) -> str:
    """Bytes as people read them.

    >>> gigabytes(4_915_200_000), gigabytes(3_000_000)
    ('4.9 GB', '3 MB')
    """
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.0f} MB"


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError:  # not on this system
        return ""


def field(text: str, name: str) -> int:
    """The number beside a name in a file of /proc, 0 where there is none.

    >>> field("VmHWM:      912 kB", "VmHWM")
    912
    """
    lines = (line.replace(":", " ").split() for line in text.splitlines())
    return next((int(line[1]) for line in lines if line[:1] == [name]), 0)


def _free(root: Path) -> Iterator[int]:
    if kilobytes := field(_text(root / "proc/meminfo"), "MemAvailable"):
        yield 1024 * kilobytes


def _in_groups(root: Path) -> Iterator[int]:
    """What control groups (version 2, or 1) leave; the files they have read ahead do not count, which give way."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, kinds, inside = line.split(":", 2)
        if not kinds:
            top, limit, used = root / "sys/fs/cgroup", "memory.max", "anon"
        elif "memory" in kinds.split(","):
            top, limit, used = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "total_rss"
        else:
            continue
        group = PurePosixPath(inside.lstrip("/"))
        for folder in (top / group, *(top / p for p in group.parents)):
            if (most := _text(folder / limit).strip()).isdigit():
                yield int(most) - field(_text(folder / "memory.stat"), used)


def _in_limits(root: Path) -> Iterator[int]:
    """What ``ulimit -d`` and ``ulimit -v`` leave."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415  (not on every system)

    status = _text(root / "proc/self/status")
    for limit, used in ((resource.RLIMIT_DATA, "VmData"), (resource.RLIMIT_AS, "VmSize")):
        most, _ = resource.getrlimit(limit)
        if most != resource.RLIM_INFINITY:
            yield most - 1024 * field(status, used)
