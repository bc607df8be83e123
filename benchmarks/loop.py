"""underdog in somebody's own loop: what it adds to the work that has to be done anyway.

``perturb_batch`` against a bare forward and ``autograd.grad`` of the same sub-batch; a ``Snapshot``'s loader against
the same ``DataLoader`` without it, on photographs decoded from JPEG and on a training epoch of images in memory. FGSM against
other libraries' is in ``underdog bench``.
"""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from measure import TimePairs, arguments, compare, report
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

from underdog import (
    FGSM,
    Epoch,
    ImageSet,
    Learner,
    Moment,
    PaperNet,
    Perturb,
    RandomStreams,
    Snapshot,
    aos,
    perturb_batch,
    to_unit,
)
from underdog.bench.memory import reset_peak, resident
from underdog.bench.training import bare_gradient

EPS, BATCH, SHAPE = 8 / 255, 128, (3, 32, 32)


def network() -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = PaperNet(3, 10, SHAPE[1:]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def batch(n: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(n, *SHAPE, generator=draw).contiguous(memory_format=torch.channels_last)
    return x, torch.randint(10, (n,), generator=draw)


def online(minority: int, pairs: int) -> TimePairs:
    """A batch of 128 of which ``minority`` images are altered: 32 of a balanced one where half are rare and tau is 1/2."""
    model, (x, _) = network(), batch(BATCH)
    y = (torch.arange(BATCH) < minority).long()
    some, labels = x[:minority], y[:minority]
    return compare(
        f"perturb_batch, {minority} of {BATCH} images, against forward and autograd.grad",
        lambda: perturb_batch(x, y, model, eps=EPS, tau=1, minority=[1]),
        lambda: bare_gradient(model, some, labels),
        target=1.1,
        per=1e-3,
        unit="ms",
        pairs=pairs,
    )


class Jpegs(Dataset[tuple[Tensor, int]]):
    """Smooth random photographs of twice a size, decoded and resized to it when they are read."""

    def __init__(self, n: int, size: int) -> None:
        rng, self.size = np.random.default_rng(0), (size, size)
        self.targets, self.files = [int(k % 10 == 0) for k in range(n)], []
        for _ in range(n):
            small = Image.fromarray(rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8))
            file = io.BytesIO()
            small.resize((2 * size, 2 * size), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
            self.files.append(file.getvalue())

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = Image.open(io.BytesIO(self.files[index])).convert("RGB")
        pixels = np.array(picture.resize(self.size, Image.Resampling.BILINEAR))
        return to_unit(torch.from_numpy(pixels).permute(2, 0, 1).contiguous()), self.targets[index]


class Rows(Sampler[int]):
    """The rows that the snapshot shows, in its order."""

    def __init__(self, rows: Iterable[int]) -> None:
        self.rows = list(rows)

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def exhaust(loader: Iterable[Any]) -> None:
    for _ in loader:
        pass


def snapshot(
    data: Dataset[Any], model: nn.Module, workers: int = 0
) -> tuple[Snapshot, DataLoader[Any], DataLoader[Any]]:
    """A snapshot with its loader in epoch 0, and a plain loader of the same images without alterations."""
    shown = Snapshot(data, aos(EPS, 0.5)).bind(model)
    shown.set_epoch(0)
    rows = [index.row for index in shown.loader().sampler]
    how: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    return shown, shown.loader(BATCH, **how), DataLoader(data, BATCH, sampler=Rows(rows), **how)


def loading(size: int, pairs: int, workers: int = 0) -> TimePairs:
    """Reading alone, a quarter of the shown images being altered; without the refresh.

    With workers, to which altered rows travel, it is wall time: most of the work is in other processes.
    """
    data = Jpegs(200, size)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 2))
    _, ours, plain = snapshot(data, model, workers)
    how = f"{workers} workers, wall time" if workers else "no workers"
    return compare(
        f"Snapshot's loader against DataLoader, photographs at {size}x{size}, {how}",
        lambda: exhaust(ours),
        lambda: exhaust(plain),
        target=1.05,
        per=len(plain.sampler) * 1e-6,  # type: ignore[arg-type]
        unit="us/image",
        pairs=pairs,
        clock=time.perf_counter if workers else time.process_time,
    )


def training(pairs: int) -> TimePairs:
    """Two epochs, of which the first refreshes, on images in memory; 11 images of each minority class, shown 49 times."""
    labels = torch.tensor([0] * 540 + [1] * 540 + [k for k in range(2, 4) for _ in range(11)])
    data = TensorDataset(torch.rand(len(labels), *SHAPE), labels)
    model = network()  # one for both sides: where weights lie in memory makes a difference of some percent
    shown, ours, plain = snapshot(data, model)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def train(loader: Iterable[Any]) -> None:
        for x, y in loader:
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    epoch = iter(range(2, 10**9))

    def two_of_ours() -> None:
        for _ in range(2):
            shown.set_epoch(next(epoch))
            train(ours)

    def two_of_theirs() -> None:
        for _ in range(2):
            train(plain)

    return compare(
        f"two training epochs of {len(shown)} images, Snapshot(aos) against DataLoader",
        two_of_ours,
        two_of_theirs,
        target=1.05,
        per=2 * len(shown) * 1e-6,
        unit="us/image",
        pairs=pairs,
    )


def memory(n: int = 100_000) -> list[TimePairs]:
    """The altered rows of ``n`` images of 64x64x3, which are themselves one image shown again and again."""
    pixels = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8).expand(n + 1, -1, -1, -1)
    labels = torch.ones(n + 1, dtype=torch.int64)
    labels[0] = 0
    epoch = Epoch.of(ImageSet(pixels, labels, ("0", "1"), minority=frozenset({1})))
    net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 2))
    perturb, now = Perturb(FGSM(), EPS, 1), Moment(0, None, RandomStreams(0), Learner(net, 2))
    few = replace(epoch, index=epoch.index[:64])
    for _ in range(2):
        perturb.refresh(few, now)  # loads what is loaded on first use, and takes what one gradient needs
    reset_peak()
    before, floor = resident("VmRSS") / 1e6, n * 3 * 64 * 64 / 4e6
    epoch = perturb.refresh(epoch, now)
    rows = [("held", resident("VmRSS") / 1e6 - before), ("peak", resident("VmHWM") / 1e6 - before)]
    name = f"{epoch.altered_rows} altered rows of 64x64x3 against 1/4 byte a value"
    return [TimePairs(f"{name}, {w}", "MB", mb, floor, mb / floor, mb / floor, mb / floor, 1.05, 1) for w, mb in rows]


def main() -> None:
    args = arguments(str(__doc__), pairs=21).parse_args()
    warnings.simplefilter("ignore")
    rows = memory()
    rows += [online(minority, args.pairs) for minority in (64, 32, 8)]
    rows += [loading(224, args.pairs), loading(64, args.pairs), loading(224, args.pairs, workers=2)]
    rows += [training(max(5, args.pairs // 3))]
    report(rows, args.json)


if __name__ == "__main__":
    main()
