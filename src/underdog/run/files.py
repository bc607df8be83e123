"""Files that are either whole or not there."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["atomic", "read_json", "write_atomic", "write_json", "write_tensors"]


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` for a file that is renamed to it in the end, unless something raises.

    A reader, a crash or a full disk meets the old file or the new one, never a half.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file that is then whole or not there."""
    with atomic(path) as temporary:
        write(temporary)


def write_json(path: Path, data: Any) -> None:
    """Write plain data; numbers that are not finite are refused."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors as safetensors.

    Raises:
        OSError: the disk is full or refuses.
    """
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:
        raise OSError(f"{path}: {error}") from error


def read_json(path: Path) -> Any:
    """Read plain data.

    Raises:
        OSError, ValueError: no such file, or not JSON.
    """
    return json.loads(path.read_text(encoding="utf-8"))
