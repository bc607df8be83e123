"""Training against loops of plain PyTorch, AOS against ROS, and a refresh against the bare gradient."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from underdog.attack.fgsm import FGSM
from underdog.bench.floors import Share, flop, peak
from underdog.bench.setting import BATCH, EPS, LR, SHAPES, TAU, BenchSetting, imbalanced, network, random_images
from underdog.bench.timing import TimePairs, Work
from underdog.data.images import ImageSet, to_unit
from underdog.data.split import Split
from underdog.epoch import Epoch
from underdog.hyper import Hyperparameters
from underdog.learner import PRECISIONS, Learner
from underdog.methods.method import Method
from underdog.resample.aos import aos
from underdog.resample.base import Moment, Resampler
from underdog.resample.perturb import CHUNK, Perturb
from underdog.resample.random import RandomOverSampler
from underdog.rng import RandomStreams
from underdog.train import Training

__all__ = ["against_bare", "against_loader", "aos_against_ros", "bare_loop", "refresh", "training_of"]


def training_of(
    images: ImageSet, setting: BenchSetting, resampler: Resampler | None = None, precision: str = "float32"
) -> Training:
    """A training of Table 1's network that never ends, with ten validation images."""
    split = Split(images, random_images([1] * 10, images.shape))
    method = Method() if resampler is None else Method(resampler)
    hyper = Hyperparameters(epochs=10**6, lr=LR, batch=BATCH)
    return Training(network(images), method, split, hyper, device=setting.device, precision=precision)


def bare_loop(
    model: nn.Module,
    images: ImageSet,
    device: torch.device,
    precision: str = "float32",
    memory_format: torch.memory_format = torch.channels_last,
) -> Work:
    """An epoch of plain PyTorch, written by hand: images on the device, fused Adam.

    Args:
        model: on the device, in the memory format.
        images: what an epoch shows once, in random order.
        device, precision, memory_format: where and how.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
    stream, t = RandomStreams(0), iter(range(10**9))
    pixels, labels = images.images[:].to(device), images.labels.to(device)
    half = precision != "float32"

    def epoch() -> None:
        order = torch.from_numpy(stream("shuffle", next(t)).permutation(len(images))).to(device)
        for rows in torch.split(order, BATCH):
            x = pixels.index_select(0, rows).to(torch.float32).div_(255).contiguous(memory_format=memory_format)
            with torch.autocast(device.type, PRECISIONS[precision], enabled=half):
                logits = model(x)
            loss = functional.cross_entropy(logits.float(), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return epoch


def against_bare(setting: BenchSetting, data: str, precision: str) -> Iterator[TimePairs | Share]:
    """``Training.advance``, all of it (shuffling, loss, best weights, ten validation images), against ``bare_loop``.

    Beside it the share of the arithmetic's bound, by a product of matrices measured just before.
    """
    highest = peak(setting, precision)
    images = random_images([setting.sizes.batches * BATCH // 10] * 10, SHAPES[data])
    training = training_of(images, setting, precision=precision)
    model = copy.deepcopy(training.learner.model)
    name = f"training, {data}'s shape, {precision}"
    found = setting.compare(
        f"{name}, against a bare loop",
        training.advance,
        bare_loop(model, images, setting.device, precision),
        target=1.05,
        per=len(images) * 1e-6,
        unit="us/image",
    )
    yield found
    yield Share.of(name, flop(model, images.shape).training, highest, 1e6 / found.underdog)


def against_loader(setting: BenchSetting) -> Iterator[TimePairs]:
    """ROS against what PyTorch itself has for rare classes: a ``WeightedRandomSampler`` and a ``DataLoader``.

    The other side is the usual loop: images in memory as float32, Adam as it is by default; as many examples an epoch.
    """
    device, rare = setting.device, max(1, setting.sizes.batches * BATCH // 500)
    images = imbalanced(rare, SHAPES["CIFAR-10"])
    ours = training_of(images, setting, RandomOverSampler())
    shown, model = len(ours.epoch), network(images).to(device)
    data = TensorDataset(to_unit(images.images[:]), images.labels)
    weights = (1 / torch.tensor(images.counts, dtype=torch.float64))[images.labels]
    draw = torch.Generator().manual_seed(0)
    sampler = WeightedRandomSampler(weights.tolist(), shown, generator=draw)
    loader = DataLoader(data, BATCH, sampler=sampler)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)

    def epoch() -> None:
        for x, y in loader:
            optimizer.zero_grad()
            functional.cross_entropy(model(x.to(device)), y.to(device)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    yield setting.compare(
        f"an epoch of ROS, {shown} shown, against WeightedRandomSampler and DataLoader",
        ours.advance,
        epoch,
        target=1.0,
        per=shown * 1e-6,
        unit="us/image",
    )


def aos_against_ros(setting: BenchSetting) -> Iterator[TimePairs]:
    """Two epochs of AOS, one refresh and two trainings, against two epochs of ROS."""
    images = imbalanced(setting.sizes.rare, SHAPES["MNIST"])
    ours, ros = training_of(images, setting, aos(EPS, TAU)), training_of(images, setting, RandomOverSampler())

    def two_epochs(training: Training) -> Work:
        return lambda: (training.advance(), training.advance())

    yield setting.compare(
        f"two epochs of AOS, {len(ros.epoch)} shown, against ROS",
        two_epochs(ours),
        two_epochs(ros),
        target=1.05,
        per=2 * len(ros.epoch) * 1e-6,
        unit="us/image",
    )


def refresh(setting: BenchSetting) -> Iterator[TimePairs]:
    """A refresh of AOS at full size against ``autograd.grad`` of the distinct images alone, in chunks of as many."""
    images, rng = imbalanced(setting.sizes.balanced, SHAPES["CIFAR-10"]), RandomStreams(0)
    learner = Learner(network(images), len(images.classes), device=setting.device)
    model = copy.deepcopy(learner.model)
    epoch = RandomOverSampler().start(Epoch.of(images, setting.device), Moment(0, None, rng, started=False))
    perturb, t = Perturb(FGSM(), EPS, TAU), iter(range(10**9))
    rare = torch.isin(images.labels, torch.tensor(sorted(epoch.minority)))
    x = to_unit(images.images[rare]).to(setting.device).contiguous(memory_format=torch.channels_last)
    chunks = list(zip(torch.split(x, CHUNK), torch.split(images.labels[rare].to(setting.device), CHUNK), strict=True))

    yield setting.compare(
        f"a refresh of AOS against the gradient of its {len(x)} images",
        lambda: perturb.refresh(epoch, Moment(next(t), None, rng, learner)),
        lambda: [bare_gradient(model, part, y) for part, y in chunks],
        target=1.05,
        per=len(x) * 1e-6,
        unit="us/image",
    )


def bare_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The least that FGSM needs."""
    model.eval()
    leaf = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(functional.cross_entropy(model(leaf), y, reduction="sum"), leaf)
    model.train()
    return gradient
