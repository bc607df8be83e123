"""Data sets that underdog knows by name: where they come from, and under which names they lie in a folder."""

from __future__ import annotations

import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from underdog.errors import InputError, unknown

__all__ = ["KNOWN", "Download", "KnownSet", "UsualPlace", "find_dataset", "known_set"]


@dataclass(frozen=True)
class Download:
    """A file with a public address.

    Attributes:
        name: its path below the folder that data sets lie in.
        address: http or https.
        size: in bytes.
        checksum: algorithm of ``hashlib`` and hexadecimal digest, as "sha256:0123...".
    """

    name: str
    address: str
    size: int
    checksum: str


@dataclass(frozen=True)
class UsualPlace:
    """A name under which a data set may lie in a folder.

    Attributes:
        path: of a folder or archive, relative; "." for the folder itself.
        holds: a file or folder that has to be in it, or "" where the name says enough.
    """

    path: str
    holds: str = ""

    def __str__(self) -> str:
        text = "the folder itself" if self.path == "." else self.path
        return f"{text} with {self.holds}" if self.holds else text

    def find(self, folder: Path) -> Path | None:
        """What lies there, if it is a source that holds what it has to."""
        path = folder / self.path
        if not path.exists():
            return None
        return path if not self.holds or _holds(path, self.holds) else None


@dataclass(frozen=True)
class KnownSet:
    """A data set.

    Attributes:
        title: its name.
        licence: as its authors state it.
        places: names under which it may lie in a folder, the official distribution first; its own name is another.
        downloads: its files, or none where it has no public address.
        by_hand: what to do where it has none, a step a line; "{folder}" is the folder that it is to lie in.
        options: what a command that reads it needs, such as "--size 150".
    """

    title: str
    licence: str
    places: tuple[UsualPlace, ...]
    downloads: tuple[Download, ...] = ()
    by_hand: tuple[str, ...] = ()
    options: str = ""

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(d.size for d in self.downloads)


def _known(about: dict[str, Any]) -> KnownSet:
    """An entry of the table."""
    return KnownSet(
        about["title"],
        about["licence"],
        tuple(UsualPlace(**place) for place in about["places"]),
        tuple(Download(**download) for download in about.get("downloads", ())),
        tuple(about.get("by_hand", ())),
        about.get("options", ""),
    )


#: The data sets by name, as ``known.toml`` has them.
KNOWN: Mapping[str, KnownSet] = {
    name: _known(about) for name, about in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8")).items()
}


def known_set(name: str, known: Mapping[str, KnownSet] = KNOWN) -> KnownSet:
    """The data set called ``name``.

    Raises:
        InputError: there is none of that name.

    >>> known_set("mnist").title
    'MNIST'
    """
    if name not in known:
        raise unknown("data set", name, known)
    return known[name]


def find_dataset(name: str, folder: str | Path, known: Mapping[str, KnownSet] = KNOWN) -> Path:
    """Where in a folder a data set lies, for ``load_images``.

    Args:
        name: "cifar10", "intel", "mit67", "mnist" or "scene15".
        folder: in which data sets lie, each under one of its usual names or in a folder of its own name; where it has
            several, the official distribution comes first.
        known: the data sets by name.

    Raises:
        InputError: no such name or folder, or the data set is not there, or not whole: what was looked for, and how to
            get it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "mnist.tar").touch()
    ...     find_dataset("mnist", folder).name
    'mnist.tar'
    """
    own, root = known_set(name, known), Path(folder).expanduser()
    if not root.is_dir():
        raise InputError(f"data folder {str(folder)!r}: no such folder")
    for place in own.places:
        if found := place.find(root) or place.find(root / name):
            _check_whole(name, own, root, found)
            return found
    if _filled(root / name):
        return root / name
    looked = ", ".join([*map(str, own.places), f"{name}/"])
    how = "gets it" if own.downloads else "says how to get it"
    raise InputError(
        f"{name} is not in {str(folder)!r} (looked for: {looked}); 'underdog data fetch {name} --to {folder}' {how}"
    )


def _check_whole(name: str, own: KnownSet, root: Path, found: Path) -> None:
    """Refuse a folder of which only some files have been downloaded: one without a test part can be read."""
    files = [root / d.name for d in own.downloads if found in (root / d.name).parents]
    missing = [f.name for f in files if not f.exists() and not f.with_suffix("").exists()]
    if missing and len(missing) < len(files):
        raise InputError(
            f"{str(found)!r} lacks {', '.join(missing)}; 'underdog data fetch {name} --to {root}' gets what is missing"
        )


def _filled(folder: Path) -> bool:
    """Whether a folder has more than what a download that broke off left in it."""
    return folder.is_dir() and any(not p.name.startswith(".") for p in folder.iterdir())


def _holds(path: Path, name: str) -> bool:
    """Whether a folder or a zip file has a file or folder of that name at its top."""
    if path.is_dir():
        return (path / name).exists()
    try:
        with zipfile.ZipFile(path) as archive:
            return any(n.replace("\\", "/").split("/")[0] == name for n in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
