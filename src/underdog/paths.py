"""What somebody named on disk: imported before anything heavy is, so that a mistyped path is answered at once."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from underdog.errors import InputError, nearest

__all__ = ["check_paths", "existing_path", "existing_run", "existing_source", "run_folders"]

#: Entries of a folder that a mistyped name is compared with.
SEEN = 1000


def check_paths(options: Namespace) -> None:
    """What a command was given to read must be there.

    Raises:
        InputError: something is not.
    """
    given = vars(options)
    if given.get("source", "digits") != "digits":
        existing_source(options.source)
    if "run" in given:
        existing_run(options.run)
    if "runs" in given:
        run_folders(options.runs)
    for path in [*given.get("files", ()), *([given["grid"]] if Path(given.get("grid", "")).suffix else ())]:
        existing_path(Path(path))


def existing_source(source: str | Path) -> Path:
    """The path of a source of images.

    Raises:
        InputError: it does not exist.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise InputError(
            f"source {str(source)!r}: no such folder or file{nearest(str(source), ['digits', *_beside(path)])}"
        )
    return path


def existing_path(path: Path) -> Path:
    """A file or folder that exists.

    Raises:
        InputError: it does not, or is neither.
    """
    if not path.exists():
        raise InputError(f"{str(path)!r}: no such file or folder{nearest(path.name, _beside(path))}")
    if not (path.is_dir() or path.is_file()):
        raise InputError(f"{str(path)!r} is neither a file nor a folder")
    return path


def existing_run(folder: Path) -> Path:
    """The folder of a run.

    Raises:
        InputError: it does not exist.
    """
    if not folder.exists():
        near = nearest(folder.name, _beside(folder))
        raise InputError(f"{str(folder)!r} is no finished run (a folder with result.json){near}")
    return folder


def run_folders(runs: Path) -> list[Path]:
    """The finished runs in a folder of runs, or the folder itself where it is one.

    Raises:
        InputError: there is none.
    """
    if (runs / "result.json").exists():
        return [runs]
    if not (found := sorted(path.parent for path in runs.glob("*/result.json"))):
        raise InputError(f"{runs} has no finished run (a folder with result.json)")
    return found


def _beside(path: Path) -> Iterator[str]:
    """Names of what lies in the same folder."""
    try:
        for _, other in zip(range(SEEN), path.parent.iterdir(), strict=False):
            yield other.name
    except OSError:
        return
