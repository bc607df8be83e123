"""Small pictures on disk, the real archives, and the command line in this process."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from underdog.cli import main

# Many small networks: more threads only wait for each other. Processes started by tests inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# How long an example takes depends on what else the machine is doing.
settings.register_profile("underdog", deadline=None)
settings.load_profile("underdog")

Files = dict[str, bytes]
DATA = Path(os.environ.get("UNDERDOG_DATA") or Path(__file__).parents[2] / "shared" / "data")


class Ran(NamedTuple):
    """What a command did: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


class Pictures:
    """Encoded images, and the folders and archives they come in."""

    def pixels(self, seed: int, size: tuple[int, int] = (16, 16), bands: int = 1, level: int = 128) -> np.ndarray:
        """Noise around a level: (H, W), or (H, W, bands)."""
        shape = size if bands == 1 else (*size, bands)
        noise = np.random.default_rng(seed).integers(-60, 61, shape)
        return np.clip(level + noise, 0, 255).astype(np.uint8)

    def encode(self, image: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
        """The bytes of an image file."""
        buffer = io.BytesIO()
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
        return buffer.getvalue()

    def tree(self, counts: Mapping[str, int], size: tuple[int, int] = (16, 16), bands: int = 1, seed: int = 0) -> Files:
        """``counts[c]`` images named "c/0.png", ...; each class has its own brightness."""
        levels = np.linspace(60, 200, len(counts)).astype(int)
        return {
            f"{c}/{i:03}.png": self.encode(self.pixels(1000 * k + i + 10**6 * seed, size, bands, int(levels[k])))
            for k, (c, n) in enumerate(counts.items())
            for i in range(n)
        }

    def folder(self, root: Path, files: Files) -> Path:
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        return root

    def tar(self, path: Path, files: Files) -> Path:
        """A tar archive, compressed as its name says, the members in the order given."""
        kind = path.suffix[1:].replace("tgz", "gz").replace("txz", "xz")
        with tarfile.open(path, "w" if kind == "tar" else f"w:{kind}") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    def zip(self, path: Path, files: Files) -> Path:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests leave nothing among the user's caches; processes started by tests inherit it."""
    os.environ["UNDERDOG_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def pictures() -> Pictures:
    return Pictures()


@pytest.fixture
def archive() -> Callable[[str], Path]:
    """The path of a real archive; skips the test where it is not there."""

    def find(name: str) -> Path:
        if not (DATA / name).exists():
            pytest.skip(f"{name} is neither in the folder UNDERDOG_DATA nor in ../shared/data")
        return DATA / name

    return find


@pytest.fixture
def underdog(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """The command line in this process: arguments, separated by spaces or as several strings -> what it did."""

    def run(command: str, *more: object) -> Ran:
        capsys.readouterr()
        try:
            code = main([*command.split(), *map(str, more)])
        except SystemExit as end:  # argparse's own errors
            code = int(end.code or 0)
        return Ran(code, *capsys.readouterr())

    return run
