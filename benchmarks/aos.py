"""AOS against ROS, and a refresh against the bare gradient: what adversarial oversampling costs.

CIFAR-10's shape, rho 50, mu 0.8, tau 0.4; random images. Two epochs of AOS are one refresh and two
trainings, so a pair compares two epochs with two. Without ``--full`` the classes are smaller (2 of 400
images and 8 of 8 instead of 2 of 5,000 and 8 of 100), with the same proportions: every minority image is
shown 50 times, and a refresh takes 64 gradients for 4,000 images shown instead of 832 for 50,000.
"""

from __future__ import annotations

import copy

import torch
from measure import Comparison, arguments, compare, random_images, report
from torch import nn
from torch.nn import functional

from underdog import (
    FGSM,
    Epoch,
    Hyperparameters,
    ImageSet,
    Learner,
    Method,
    PaperNet,
    Perturb,
    RandomOverSampler,
    RandomStreams,
    Split,
    aos,
    normalized,
    to_unit,
)
from underdog.resample.base import Resampler
from underdog.train import Training

SHAPE, RHO, EPS, TAU = (3, 32, 32), 50, 8 / 255, 0.4


def imbalanced(rare: int) -> ImageSet:
    """Two majority classes, and eight minority classes of ``rare`` images."""
    return random_images([RHO * rare] * 2 + [rare] * 8, SHAPE)


def network(images: ImageSet) -> nn.Module:
    torch.manual_seed(0)
    return normalized(PaperNet(SHAPE[0], 10, SHAPE[1:]), images.images)


def two_epochs(rare: int, pairs: int) -> Comparison:
    """``Training.advance`` twice, with ten validation images."""
    images = imbalanced(rare)
    split = Split(images, random_images([1] * 10, SHAPE))
    hyper = Hyperparameters(epochs=10**6, lr=1e-4)

    def training(resampler: Resampler) -> Training:
        return Training(network(images), Method(resampler), split, hyper)

    ours, ros = training(aos(EPS, TAU)), training(RandomOverSampler())
    per = 2 * len(ros.epoch) * 1e-6

    def advance_twice(training: Training) -> None:
        training.advance(), training.advance()

    return compare(
        f"two epochs, AOS against ROS, {len(ros.epoch)} shown",
        lambda: advance_twice(ours),
        lambda: advance_twice(ros),
        target=1.05,
        per=per,
        unit="us/image",
        pairs=pairs,
    )


def refresh(pairs: int) -> Comparison:
    """Full size: 800 distinct minority images, 40,000 minority examples of which 0.4 are chosen."""
    images, rng = imbalanced(100), RandomStreams(0)
    learner = Learner(network(images), 10)
    model = copy.deepcopy(learner.model)
    epoch = RandomOverSampler().start(Epoch.of(images), rng)
    perturb, t = Perturb(FGSM(EPS), TAU), iter(range(10**9))
    rare = images.labels >= 2
    x = to_unit(images.images[rare]).contiguous(memory_format=torch.channels_last)
    chunks = list(zip(torch.split(x, 64), torch.split(images.labels[rare], 64), strict=True))

    def bare() -> None:
        model.eval()
        for part, y in chunks:
            leaf = part.detach().requires_grad_()
            torch.autograd.grad(functional.cross_entropy(model(leaf), y, reduction="sum"), leaf)

    return compare(
        f"refresh against the gradient of {len(x)} images",
        lambda: perturb.refresh(epoch, next(t), learner, rng),
        bare,
        target=1.3,
        per=len(x) * 1e-6,
        unit="us/image",
        pairs=pairs,
    )


def main() -> None:
    parser = arguments(str(__doc__), pairs=15)
    parser.add_argument("--full", action="store_true", help="CIFAR-10's true size: minutes a pair")
    args = parser.parse_args()
    report([refresh(3 * args.pairs), two_epochs(100 if args.full else 8, args.pairs)], args.json)


if __name__ == "__main__":
    main()
