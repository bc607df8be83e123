"""Sources whose files hold many images each: MNIST-style idx files and CIFAR's binary files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from underdog.data.archive import Member
from underdog.data.cifar import cifar_sets, is_cifar_name, read_cifar
from underdog.data.idx import idx_name, read_idx
from underdog.data.images import ImageSet
from underdog.data.reading import Reading
from underdog.errors import InputError

__all__ = ["Arrays", "find_arrays"]


@dataclass(frozen=True)
class Arrays:
    """The files of one set, and what reads them."""

    members: list[Member]
    reader: Callable[[str, list[Member], Reading], dict[str, ImageSet]]

    def read(self, name: str, reading: Reading) -> dict[str, ImageSet]:
        """The images of every part that is there."""
        return self.reader(name, self.members, reading)


def find_arrays(name: str, members: Sequence[Member]) -> Arrays | None:
    """The files of the set that lies nearest to the top of a source, None where there is none.

    Raises:
        InputError: several sets lie equally near; CIFAR's files for Python, which are pickles.
    """
    special = [m for m in members if idx_name(m.path) or is_cifar_name(m.path)]
    for depth in sorted({len(m.path.parts) for m in special}):
        level = [m for m in special if len(m.path.parts) == depth]
        sets = cifar_sets([m.path for m in level]) + ["idx"] * any(idx_name(m.path) for m in level)
        if sets:
            _check_single(name, level, sets)
            return Arrays(level, read_idx if sets == ["idx"] else read_cifar)
    return None


def _check_single(name: str, level: Sequence[Member], sets: Sequence[str]) -> None:
    """Refuse to choose between several sets."""
    # A file beside its own gzipped form is still one file.
    files = {(m.path.parent, idx_name(m.path) or m.path.name) for m in level}
    often = Counter(file for _, file in files)
    if len(sets) > 1 or max(often.values()) > 1:
        folders = ", ".join(sorted({str(folder) for folder, _ in files}))
        raise InputError(f"source {name!r} has several sets of images (in {folders}): name the folder of one")
