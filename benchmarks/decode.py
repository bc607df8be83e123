"""Reading images: decoding against Pillow in a bare pool of as many threads, and a second start against the disk.

HAM10000 (10,015 JPEGs of 200x150) at 64x48, from the folder UNDERDOG_DATA or ../shared/data. The encoded files are in memory
before anything is measured; the cache is read from disk, its pages evicted, and from memory.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from measure import TimePairs, Work, arguments, compare, report
from PIL import Image, ImageOps

from underdog import Reading, load_images
from underdog.data.archive import Member, open_members
from underdog.data.cache import CachedSource
from underdog.data.decode import decode, workers

ARCHIVE = "ham10000_200x150.tar.xz"
READING = Reading(size=(48, 64))
DATA = Path(os.environ.get("UNDERDOG_DATA") or Path(__file__).parents[2] / "shared" / "data")


def quiet(images: int) -> None:
    """No progress is shown."""


def encoded(archive: Path) -> list[Member]:
    """The archive's images, in memory."""
    with open_members(archive) as members:
        images = [m for m in members if m.path.suffix == ".jpg"]
        return [Member(m.path, partial(bytes, m.read())) for m in images]


def bare(data: bytes) -> npt.NDArray[np.uint8]:
    """The least that Pillow has to do."""
    image = Image.open(io.BytesIO(data))
    image.draft(None, (128, 96))
    return np.asarray(ImageOps.fit(image.convert("RGB"), (64, 48), Image.Resampling.BICUBIC))


def bare_pool(members: list[Member]) -> npt.NDArray[np.uint8]:
    with ThreadPoolExecutor(workers()) as pool:
        return np.stack(list(pool.map(bare, [m.read() for m in members])))


def decoding(members: list[Member], pairs: int) -> list[TimePairs]:
    some = np.asarray(decode(members[:100], READING, quiet).pixels)
    assert (np.moveaxis(some, 1, 3) == bare_pool(sorted_by_path(members[:100]))).all()
    sides = partial(decode, members, READING, quiet), partial(bare_pool, members)
    name = f"{len(members)} JPEGs decoded by {workers()} threads against a bare pool"
    per = 1e-6 * len(members)
    return [
        compare(f"{name}, processor time", *sides, 1.1, per, "us/image", pairs),
        compare(f"{name}, wall time", *sides, 1.1, per, "us/image", pairs, time.perf_counter),
    ]


def sorted_by_path(members: list[Member]) -> list[Member]:
    return sorted(members, key=lambda m: m.path)


def evicted(file: Path, work: Work) -> object:
    """The same work, the file's pages out of memory."""
    with file.open("rb") as data:
        os.posix_fadvise(data.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return work()


def second_start(archive: Path, cache: Path, pairs: int) -> list[TimePairs]:
    """The images of the cache, and all that a start has to read, against ``numpy.load`` of the same file."""
    load_images(archive, READING, cache=cache)
    time.sleep(2.5)  # until files count as unchanged, even if they were copied here just now
    load_images(archive, READING, cache=cache)
    (file,) = cache.glob("images/*/pixels.npy")
    source = CachedSource(archive, cache)
    with source.members() as listed:
        images = [m for m in listed if m.path.suffix == ".jpg"]
    entry: Work = partial(source.decode, images, READING, quiet)
    start: Work = partial(load_images, archive, READING, cache=cache)
    floor: Work = partial(np.load, file)
    size, rows = f"{file.stat().st_size / 1e6:.0f} MB", []
    for name, side in (("a cache entry", entry), ("a second start", start)):
        of = f"{name} of {size}, from"
        cold, bare_cold = partial(evicted, file, side), partial(evicted, file, floor)
        rows += [
            compare(f"{of} disk, wall time", cold, bare_cold, 1.1, 1e-3, "ms", pairs, time.perf_counter),
            compare(f"{of} memory, processor time", side, floor, None, 1e-3, "ms", pairs),
        ]
    return rows


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], pairs=7)
    parser.add_argument("--images", type=int, metavar="N", help="decode the first N images only")
    options = parser.parse_args()
    members = encoded(DATA / ARCHIVE)[: options.images]
    with tempfile.TemporaryDirectory() as cache:
        rows = second_start(DATA / ARCHIVE, Path(cache), 3 * options.pairs)
    report([*decoding(members, options.pairs), *rows], options.json)


if __name__ == "__main__":
    main()
