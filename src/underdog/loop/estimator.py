"""AOS as a scikit-learn classifier."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from underdog.data.imbalance import minority_by_count
from underdog.data.pixels import gather
from underdog.epoch import Epoch
from underdog.errors import InputError
from underdog.hyper import Hyperparameters
from underdog.learner import Learner, seeded
from underdog.model import Factory, model_factory
from underdog.model.normalize import Normalize
from underdog.resample.aos import aos
from underdog.resample.base import Moment
from underdog.resample.random import RandomOverSampler
from underdog.rng import RandomStreams
from underdog.validate import check_callable, check_eps, check_kind, check_positive, check_tau, check_whole

__all__ = ["AOSClassifier"]

#: Units of the default network's hidden layer.
HIDDEN = 100
#: Images predicted at a time, the last chunk padded: an answer must not depend on what else is asked.
CHUNK = 64

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class UnitEpoch(Epoch):
    """An epoch of images that are numbers in [0, 1] already, (M, C, H, W) float32."""

    def _unit(self, rows: Tensor) -> Tensor:
        return gather(self.images, rows)


def small_network(channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """One hidden layer over all values: the default, which takes images of any size."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * math.prod(size), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes)
    )


class AOSClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A network trained with Adversarial OverSampling, as a scikit-learn classifier.

    Passes scikit-learn's estimator checks and works in a ``Pipeline``, in ``GridSearchCV`` over ``eps`` and ``tau``, and
    with pickle. Trains for ``epochs`` epochs and keeps the last weights; without a minority it is random oversampling.

    Args:
        eps: length of the alteration as a share of the range ``bounds``, in [0, 1].
        tau: probability in [0, 1] that a minority example is altered.
        network: a name that ``model_factory`` knows, such as "paper", or a function (channels, classes, (height, width)) to a
            network; by default one hidden layer of 100 units.
        image_shape: (H, W) or (C, H, W) of the image in a row of X; by default one row of d pixels.
        bounds: (low, high), what the darkest and the brightest pixel are, such as (0, 255); by default the least and the
            greatest value of the training data.
        minority: labels that may be altered; by default those of classes with at most half the largest's images.
        epochs, lr, batch_size: see ``Hyperparameters``.
        device: where to train and predict.
        random_state: a number, a ``RandomState``, or None for new random numbers in every fit.

    Attributes:
        classes_: (K,) labels in order.
        bounds_: (low, high) as trained with.
        model_: the network, from (B, C, H, W) in [0, 1] to logits (B, K).
        losses_: the mean training loss of each epoch.

    Raises:
        InputError: (a ValueError) an argument out of its range, images outside of ``bounds``, an ``image_shape``
            that does not have d values, a minority that is no label.

    *Source*: Algorithm 1 of the paper.

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> rare = AOSClassifier(image_shape=(8, 8), bounds=(0, 16), epochs=5, random_state=0).fit(X[:900], y[:900] == 8)
    >>> rare.score(X[900:], y[900:] == 8) > 0.9
    True
    """

    def __init__(
        self,
        eps: float = 8 / 255,
        tau: float = 0.5,
        *,
        network: str | Factory | None = None,
        image_shape: tuple[int, ...] | None = None,
        bounds: tuple[float, float] | None = None,
        minority: Collection[Any] | None = None,
        epochs: int = 50,
        lr: float = 1e-3,
        batch_size: int = 32,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.eps, self.tau, self.network, self.image_shape, self.bounds = eps, tau, network, image_shape, bounds
        self.minority, self.epochs, self.lr, self.batch_size = minority, epochs, lr, batch_size
        self.device, self.random_state = device, random_state

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> AOSClassifier:  # noqa: N803
        """Train on rows X (n, d) and their labels y (n,)."""
        self._check()
        values, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        self.bounds_ = self._bounds(values)
        shape, hyper = self._shape(values.shape[1]), Hyperparameters(self.epochs, self.lr, self.batch_size)
        images, rng = self._images(values), RandomStreams(int(check_random_state(self.random_state).randint(2**31)))
        with seeded(rng.torch_seed("init"), torch.device("cpu")):
            self.model_ = nn.Sequential(_normalizing(images), self._factory()(shape[0], len(self.classes_), shape[1:]))
        learner = Learner(self.model_, len(self.classes_), hyper.lr, device=self.device)
        self.losses_ = self._train(learner, self._epoch(images.to(learner.device), numbers), hyper, rng)
        return self

    def _check(self) -> None:
        """What is wrong with the arguments, whether or not this training needs them."""
        check_eps(self.eps)
        check_tau(self.tau)
        check_positive("batch_size", self.batch_size, whole=True)
        check_kind("minority", self.minority, Collection | NoneType, "labels in y, such as [2]")
        if not isinstance(self.network, str):
            check_callable("network", self.network, "a name or a function (channels, classes, size)")
        try:
            torch.empty(0, device=self.device)
        except (TypeError, RuntimeError, AssertionError) as error:
            raise InputError(f"device must be one that torch finds, not {self.device!r}: {error}") from error

    def _train(self, learner: Learner, first: Epoch, hyper: Hyperparameters, rng: RandomStreams) -> list[float]:
        """Algorithm 1; the mean loss of each epoch."""
        resampler = aos(self.eps, self.tau) if first.minority else RandomOverSampler()
        epoch, losses = resampler.start(first, Moment(0, hyper.epochs, rng, learner, started=False)), list[float]()
        for t in range(hyper.epochs):
            with seeded(rng.torch_seed("torch", t), learner.device):
                epoch = resampler.refresh(epoch, Moment(t, hyper.epochs, rng, learner))
                for x, y, _ in epoch.batches(hyper.batch, rng("shuffle", t)):
                    learner.step(x, y)
            losses.append(learner.flush()[0])
        return losses

    def _epoch(self, images: Tensor, numbers: npt.NDArray[np.int64]) -> Epoch:
        counts, every = tuple(np.bincount(numbers).tolist()), np.arange(len(numbers))
        names = tuple(map(str, self.classes_.tolist()))
        return UnitEpoch(images, (), numbers, every, every, names, counts, self._minority(counts))

    def _minority(self, counts: tuple[int, ...]) -> frozenset[int]:
        if self.minority is None:
            return minority_by_count(counts)
        if unknown := [label for label in self.minority if label not in self.classes_]:
            raise InputError(f"minority must be labels in y, not {unknown} (labels: {self.classes_.tolist()})")
        return frozenset(np.searchsorted(self.classes_, list(self.minority)).tolist())

    def _factory(self) -> Factory:
        if self.network is None:
            return small_network
        return model_factory(self.network) if isinstance(self.network, str) else self.network

    def _bounds(self, values: Floats) -> tuple[float, float]:
        low, high = float(values.min()), float(values.max())
        if self.bounds is None:
            return low, high if high > low else low + 1
        try:
            least, most = map(float, self.bounds)
        except (TypeError, ValueError):
            least = most = math.nan
        if not (math.isfinite(most - least) and least < most):
            raise InputError(f"bounds must be (low, high) with low below high, not {self.bounds!r}")
        if low < least or high > most:
            raise InputError(f"X must lie within bounds {self.bounds}, but its values go from {low:g} to {high:g}")
        return least, most

    def _shape(self, d: int) -> tuple[int, int, int]:
        """(C, H, W) of d values."""
        given = (1, d) if self.image_shape is None else self.image_shape
        if not isinstance(given, Sequence) or len(given) not in (2, 3):
            raise InputError(f"image_shape must be (H, W) or (C, H, W), not {given!r}")
        c, h, w = (1, *(check_whole("image_shape", size, least=1) for size in given))[-3:]
        if c * h * w != d:
            raise InputError(f"image_shape {given} must have as many values as a row of X, {d}")
        return c, h, w

    def _images(self, values: Floats) -> Tensor:
        """(n, C, H, W) float32, [0, 1] within the bounds."""
        low, high = self.bounds_
        unit = torch.from_numpy((values - low) / (high - low)).float()
        return unit.view(-1, *self._shape(values.shape[1]))

    def predict_proba(self, X: npt.ArrayLike) -> Floats:  # noqa: N803
        """(n, K) probabilities of the labels ``classes_``."""
        check_is_fitted(self)
        images = self._images(validate_data(self, X, reset=False, dtype=np.float64))
        padded = torch.cat([images, images[-1:].expand(-len(images) % CHUNK, *images.shape[1:])])
        with torch.no_grad():
            self.model_.eval()
            logits = torch.cat(
                [self.model_(part.to(self.device)).double().cpu() for part in torch.split(padded, CHUNK)]
            )
        probabilities: Floats = logits[: len(images)].softmax(1).numpy()
        return probabilities

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:  # noqa: N803
        """(n,) the most probable label of each row."""
        check_is_fitted(self)
        labels: npt.NDArray[Any] = self.classes_[self.predict_proba(X).argmax(1)]
        return labels


def _normalizing(images: Tensor) -> Normalize:
    """The layer that gives (n, C, H, W) mean 0 and deviation 1 in every channel."""
    std = images.std((0, 2, 3), correction=0)
    return Normalize(images.mean((0, 2, 3)), torch.where(std > 1e-6, std, 1.0))
