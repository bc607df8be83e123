"""Data sets that underdog knows by name: where they come from, and under which names they lie in a folder."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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


_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_IDX = "train-images-idx3-ubyte"

#: Checksums are those that others have published, and sizes too; MIT Indoor 67's SHA-1 is the one of the library vipy.
KNOWN: Mapping[str, KnownSet] = {
    "cifar10": KnownSet(
        title="CIFAR-10",
        licence="none stated",
        places=(
            UsualPlace("cifar-10-binary.tar.gz"),
            UsualPlace("cifar-10-batches-bin"),
            UsualPlace("cifar10_jpeg.tar.xz"),
        ),
        downloads=(
            Download(
                "cifar-10-binary.tar.gz",
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                170_052_171,
                "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
    ),
    "intel": KnownSet(
        title="Intel Image Classification",
        licence="none stated",
        places=(
            UsualPlace("intel-image-classification.zip"),
            UsualPlace("archive.zip", holds="seg_train"),
            UsualPlace("intel-image-classification"),
            UsualPlace("archive", holds="seg_train"),
            UsualPlace("intel_scenes_150.tar.xz"),
            UsualPlace(".", holds="seg_train"),
        ),
        by_hand=(
            "Kaggle asks for an account. Either sign in there and download",
            "  https://www.kaggle.com/datasets/puneet6060/intel-image-classification",
            "and put the zip file, as it is, at",
            "  {folder}/intel-image-classification.zip",
            "or, with Kaggle's own command and an API token,",
            "  kaggle datasets download -d puneet6060/intel-image-classification -p {folder}",
            "Then check what is there:",
            "  underdog data info {folder}/intel-image-classification.zip --size 150",
        ),
        options="--size 150",
    ),
    "mit67": KnownSet(
        title="MIT Indoor Scene Recognition (67 classes)",
        licence="research only",
        places=(
            UsualPlace("indoorCVPR_09.tar"),
            UsualPlace("indoorCVPR_09"),
            UsualPlace("Images"),
        ),
        downloads=(
            Download(
                "indoorCVPR_09.tar",
                "http://groups.csail.mit.edu/vision/LabelMe/NewImages/indoorCVPR_09.tar",
                2_592_010_240,
                "sha1:0b252516e746ba428b96af408d2e8162d9b08ac5",
            ),
        ),
        options="--size 240 --skip-corrupt",
    ),
    "mnist": KnownSet(
        title="MNIST",
        licence="CC BY-SA 3.0",
        places=(
            UsualPlace("mnist", holds=f"{_IDX}.gz"),
            UsualPlace("mnist.tar"),
            UsualPlace("MNIST/raw"),
            UsualPlace("MNIST"),
            UsualPlace(".", holds=f"{_IDX}.gz"),
            UsualPlace(".", holds=_IDX),
            UsualPlace(".", holds=_IDX.replace("-idx", ".idx")),
        ),
        downloads=(
            Download(
                f"mnist/{_IDX}.gz",
                f"{_MNIST}{_IDX}.gz",
                9_912_422,
                "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            Download(
                "mnist/train-labels-idx1-ubyte.gz",
                f"{_MNIST}train-labels-idx1-ubyte.gz",
                28_881,
                "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            Download(
                "mnist/t10k-images-idx3-ubyte.gz",
                f"{_MNIST}t10k-images-idx3-ubyte.gz",
                1_648_877,
                "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            Download(
                "mnist/t10k-labels-idx1-ubyte.gz",
                f"{_MNIST}t10k-labels-idx1-ubyte.gz",
                4_542,
                "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
    ),
    "scene15": KnownSet(
        title="Scene-15",
        licence="none stated",
        places=(UsualPlace("scene15_128.tar.xz"),),
        by_hand=(
            "underdog knows no address of it. Put its images, in a folder for each class, at",
            "  {folder}/scene15",
            "Then check what is there:",
            "  underdog data info {folder}/scene15 --size 128",
        ),
        options="--size 128",
    ),
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
