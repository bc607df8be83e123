"""The files below a folder, and links that stay in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from underdog.errors import InputError

__all__ = ["FolderFile", "folder_files", "hidden", "is_utf8", "siblings"]

#: Links to folders that are followed, at most: folders of links to folders of links lead to any number.
MOST_LINKS = 10_000


@dataclass(frozen=True)
class FolderFile:
    """A file, and its path inside the folder."""

    path: Path
    inside: PurePosixPath


def hidden(name: str) -> bool:
    """Whether a file or folder is one that people do not see, or that macOS adds to archives."""
    return name.startswith((".", "__MACOSX"))


def siblings(path: Path) -> list[str]:
    """The names of what lies where a path leads to, of which one may have been meant."""
    return [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []


def is_utf8(name: str) -> bool:
    """Whether a name can be written: those of files may hold bytes that are no text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def folder_files(root: Path) -> list[FolderFile]:
    """The regular files below a folder, links inside it included, sorted by path.

    Raises:
        InputError: a link that leaves the folder or leads nowhere, too many of them, a name that is not UTF-8.
    """
    return sorted(_walk(root), key=lambda file: file.inside)


def _walk(root: Path) -> Iterator[FolderFile]:
    real = root.resolve()
    # Each folder with what it really is, and with all that it really lies in: a link to one of those is a circle.
    waiting = [(root, real, frozenset({real}))]
    links = 0
    while waiting:
        folder, real, above = waiting.pop()
        with os.scandir(folder) as opened:
            entries = [entry for entry in opened if not hidden(entry.name)]
        for entry in entries:
            path = folder / entry.name
            target = _target(path, root) if entry.is_symlink() else real / entry.name
            if entry.is_dir() and target not in above:
                waiting.append((path, target, above | {target}))
                links += entry.is_symlink()
            elif entry.is_file():
                yield FolderFile(path, _inside(path, root))
        if links > MOST_LINKS:
            raise InputError(f"source {str(root)!r} has links to folders that lead to more than {MOST_LINKS:,} folders")


def _target(link: Path, root: Path) -> Path:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"source {str(root)!r}: the link {link.relative_to(root)} leads nowhere") from error
    if not target.is_relative_to(root.resolve()):
        raise InputError(f"source {str(root)!r}: the link {link.relative_to(root)} leaves the folder (to {target})")
    return target


def _inside(path: Path, root: Path) -> PurePosixPath:
    inside = PurePosixPath(*path.relative_to(root).parts)
    if not is_utf8(str(inside)):
        raise InputError(f"source {str(root)!r}: {str(inside)!a} is a name that is not UTF-8")
    return inside
