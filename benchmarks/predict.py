"""Preparing images for a run's network: what ``underdog predict`` does, against Pillow in a bare pool of as many threads.

HAM10000 (10,015 JPEGs of 200x150) at 64x48, from the folder UNDERDOG_DATA or ../shared/data. The encoded files are in memory
before anything is measured; both sides decode, resize and stack them in batches of 128. The network's own time is left out.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import numpy.typing as npt
from decode import ARCHIVE, DATA, READING, bare, encoded
from measure import TimePairs, arguments, compare, report

from underdog.data.archive import Member
from underdog.data.decode import workers
from underdog.data.stream import decode_some

BATCH = 128

Batches = list[npt.NDArray[np.uint8]]


def underdog(members: list[Member]) -> Batches:
    """The batches that a network is shown, (B, H, W, 3)."""
    rest, batches = iter(members), []
    with ThreadPoolExecutor(workers()) as pool:
        while files := decode_some(islice(rest, BATCH), READING, 3, pool):
            batches.append(np.stack([pixels for _, pixels in files if not isinstance(pixels, str)]))
    return batches


def bare_pool(members: list[Member]) -> Batches:
    """The same without a word on what cannot be decoded."""
    with ThreadPoolExecutor(workers()) as pool:
        parts = (members[at : at + BATCH] for at in range(0, len(members), BATCH))
        return [np.stack(list(pool.map(bare, [m.read() for m in part]))) for part in parts]


def preparing(members: list[Member], pairs: int) -> list[TimePairs]:
    for ours, theirs in zip(underdog(members[:300]), bare_pool(members[:300]), strict=True):
        assert (ours == theirs).all()
    sides = (lambda: underdog(members)), (lambda: bare_pool(members))
    name = f"{len(members)} JPEGs prepared by {workers()} threads in batches of {BATCH} against a bare pool"
    per = 1e-6 * len(members)
    return [
        compare(f"{name}, processor time", *sides, 1.1, per, "us/image", pairs),
        compare(f"{name}, wall time", *sides, 1.1, per, "us/image", pairs, time.perf_counter),
    ]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], pairs=7)
    parser.add_argument("--images", type=int, metavar="N", help="prepare the first N images only")
    options = parser.parse_args()
    report(preparing(encoded(DATA / ARCHIVE)[: options.images], options.pairs), options.json)


if __name__ == "__main__":
    main()
