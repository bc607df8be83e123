"""The same work by other libraries, where they are installed."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from underdog.attack.pgd import PGD
from underdog.bench.setting import BATCH, EPS, SHAPES, BenchSetting, imbalanced, installed, network, random_images
from underdog.bench.timing import TimePairs, Work
from underdog.data.images import ImageSet, to_unit
from underdog.epoch import Epoch
from underdog.learner import Learner
from underdog.loop.online import perturb_batch
from underdog.model.paper import PaperNet
from underdog.resample.base import Moment, Resampler
from underdog.resample.random import RandomOverSampler
from underdog.resample.smote import SMOTE
from underdog.rng import RandomStreams

__all__ = ["PEERS", "Missing", "attacked", "balanced_by_imblearn", "balanced_by_underdog", "balancing", "missing"]

#: Distributions by the names of their modules, and how to install them. torchattacks asks for an old version of
#: requests, which it hardly uses and others cannot live with.
PEERS = {
    "imblearn": ("imbalanced-learn", "pip install 'underdog[bench]'"),
    "foolbox": ("foolbox", "pip install 'underdog[bench]'"),
    "torchattacks": ("torchattacks", "pip install --no-deps torchattacks requests"),
}
#: Images that are altered at a time, and PGD's steps and their length.
ALTERED, STEPS, STEP = 64, 10, EPS / 4


@dataclass(frozen=True)
class Missing:
    """A figure that is not there, why, and what to do about it."""

    name: str
    why: str


def missing(module: str) -> str | None:
    """Why a peer cannot be compared with, None where it can be imported.

    >>> missing("json") is None
    True
    """
    distribution, how = PEERS.get(module, (module, f"pip install {module}"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module)
    except ImportError as error:
        return f"{distribution} cannot be imported ({error}): {how}"
    return None


def attacked(setting: BenchSetting, attack: str, library: str) -> Iterator[TimePairs | Missing]:
    """The same images altered by another library, whose own loss and checks it keeps."""
    name = f"{attack} of {ALTERED} images against {library}"
    if why := missing(library):
        yield Missing(name, why)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = random_images([ALTERED // 10 + 1] * 10, SHAPES["CIFAR-10"])
        model = network(images).to(setting.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        x = to_unit(images.images[:ALTERED]).to(setting.device).contiguous(memory_format=torch.channels_last)
        y = images.labels[:ALTERED].to(setting.device)
        yield setting.compare(
            f"{name} {installed(library)}",
            _ATTACKS[attack, "underdog"](model, x, y),
            _ATTACKS[attack, library](model, x, y),
            target=1.0,
            per=1e-3,
            unit="ms",
            times=3 if attack == "FGSM" else 1,
        )


def _fgsm(model: Any, x: Tensor, y: Tensor) -> Work:
    return lambda: perturb_batch(x, y, model, eps=EPS, tau=1, minority=range(10))


def _pgd(model: Any, x: Tensor, y: Tensor) -> Work:
    learner, rng = Learner(model, 10, device=x.device), np.random.default_rng(0)
    model.eval()  # the learner has made it train
    attack, eps = PGD(STEPS, STEP, random_start=False), torch.full((len(x),), EPS, dtype=torch.float64, device=x.device)
    return lambda: attack(learner, x, y, eps, rng)


def _foolbox(attack: Callable[[Any], Any], model: Any, x: Tensor, y: Tensor) -> Work:
    foolbox = importlib.import_module("foolbox")
    made, wrapped = attack(foolbox.attacks), foolbox.PyTorchModel(model, (0, 1), device=x.device)
    return lambda: made.run(wrapped, x, y, epsilon=EPS)


def _torchattacks(attack: Callable[[Any, Any], Any], model: Any, x: Tensor, y: Tensor) -> Work:
    made = attack(importlib.import_module("torchattacks"), model)
    return lambda: made(x, y)


#: By attack and library: what alters images of some classes by a network. None begins at random, so that all do the same.
_ATTACKS: dict[tuple[str, str], Callable[[Any, Tensor, Tensor], Work]] = {
    ("FGSM", "underdog"): _fgsm,
    ("FGSM", "foolbox"): partial(_foolbox, lambda library: library.LinfFastGradientAttack(random_start=False)),
    ("FGSM", "torchattacks"): partial(_torchattacks, lambda library, model: library.FGSM(model, eps=EPS)),
    ("PGD", "underdog"): _pgd,
    ("PGD", "foolbox"): partial(
        _foolbox, lambda library: library.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=False)
    ),
    ("PGD", "torchattacks"): partial(
        _torchattacks, lambda library, model: library.PGD(model, eps=EPS, alpha=STEP, steps=STEPS, random_start=False)
    ),
}

#: Ways to balance, and the type that imbalanced-learn is given: its SMOTE wraps around on uint8.
_BALANCERS: dict[str, tuple[Resampler, str, type]] = {
    "ROS": (RandomOverSampler(), "RandomOverSampler", np.uint8),
    "SMOTE": (SMOTE(), "SMOTE", np.float32),
}


def balanced_by_underdog(resampler: Resampler, images: ImageSet) -> object:
    """Start and refresh once, and go over the epoch in batches of float32; what is left at the end."""
    channels, height, width = images.shape
    rng = RandomStreams(0)
    learner = Learner(PaperNet(channels, len(images.classes), (height, width)), len(images.classes))
    now = Moment(0, None, rng, learner)
    epoch = resampler.refresh(resampler.start(Epoch.of(images), replace(now, started=False)), now)
    for batch in epoch.batches(BATCH, rng("shuffle")):
        assert batch.x.dtype == torch.float32
    return epoch


def balanced_by_imblearn(method: str, images: ImageSet) -> object:
    """The same by imbalanced-learn, whose rows become float32 images a batch at a time too."""
    _, name, dtype = _BALANCERS[method]
    sampler = getattr(importlib.import_module("imblearn.over_sampling"), name)(random_state=0)
    flat: Any = images.images[:].flatten(1).numpy().astype(dtype, copy=False)
    x, y = sampler.fit_resample(flat, images.labels.numpy())
    for rows in torch.split(torch.from_numpy(np.random.default_rng(0).permutation(len(y))), BATCH):
        to_unit(torch.from_numpy(x[rows.numpy()]).view(-1, *images.shape))
    return x, y


def balancing(setting: BenchSetting, method: str) -> Iterator[TimePairs | Missing]:
    """The time to get a balanced epoch of CIFAR-10's shape, all of its batches, on the CPU."""
    name = f"a balanced epoch by {method}, against imbalanced-learn"
    if why := missing("imblearn"):
        yield Missing(name, why)
        return
    images = imbalanced(setting.sizes.balanced, SHAPES["CIFAR-10"])
    yield setting.compare(
        f"{name} {installed('imbalanced-learn')}",
        lambda: balanced_by_underdog(_BALANCERS[method][0], images),
        lambda: balanced_by_imblearn(method, images),
        target=1.0,
    )
