"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from underdog.captured import CapturedLearner
from underdog.data.images import to_device, to_unit
from underdog.data.split import Split
from underdog.distributed import DistributedLearner
from underdog.epoch import Epoch
from underdog.errors import InputError, TrainingError
from underdog.evaluation import Evaluation, evaluate
from underdog.history import EpochRecord, History
from underdog.hyper import Hyperparameters
from underdog.learner import Learner, seeded
from underdog.loss import loss_of
from underdog.methods.check import check_adjustment, check_loss, check_pure, checked, guarded
from underdog.methods.method import Method, Place, expected_examples, outside, place_of, preparations
from underdog.ranks import ALONE, Ranks
from underdog.resample.base import Moment, leaves
from underdog.rng import RandomStreams

__all__ = ["Training", "iter_epochs"]

#: Seconds within which a resampler of somebody's own starts that is started twice, to see whether it keeps state.
QUICK = 10


@dataclass(eq=False)
class Training:
    """A training in progress: advance it by an epoch at a time, save its state, put it back.

    Everything that changes is here: the learner's weights and moments, the epoch shown, the records and
    the best weights so far. ``iter_epochs`` and ``fit`` are the usual ways to use it.

    Args:
        model: any network from (B, C, H, W) in [0, 1] to (B, K).
        method: what to show and which loss to use.
        split: training, validation and test parts.
        hyper: epochs, learning rate, batch size, optimiser.
        seed: the run's seed, for shuffling, resampling and whatever the model draws.
        device, precision: see ``Learner``.
        progress: called with the number of images after every update.
        ranks: the processes that train together, this one among them; each has all images, and its share of every batch.
        capture: on a GPU, record updates as a CUDA graph and replay it, see ``CapturedLearner``.
        kept, preparing: see ``Moment.kept``, whose names are made unique, and ``Moment.progress``.

    Attributes:
        notes: remarks on the model for the result.
    """

    model: nn.Module
    method: Method
    split: Split
    hyper: Hyperparameters
    seed: int = 0
    device: torch.device | str = "cpu"
    precision: str = "float32"
    progress: Callable[[int], object] = lambda images: None
    ranks: Ranks = ALONE
    capture: bool = True
    kept: Callable[[str, Callable[[], Tensor]], Tensor] = lambda name, make: make()
    preparing: Callable[[float], object] = lambda share: None
    records: list[EpochRecord] = field(default_factory=list, init=False)
    best_epoch: int = field(default=-1, init=False)
    notes: tuple[str, ...] = field(default=(), init=False)
    _held: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)  # until the training has begun

    def __post_init__(self) -> None:
        train, hyper = self.split.train, self.hyper
        self.rng = RandomStreams(self.seed)
        self.learner: Learner = self._kind()(
            self.model,
            len(train.classes),
            self.method.lr_factor * hyper.lr,
            hyper.optimizer,
            self.device,
            self.precision,
            hyper.lr_backbone and self.method.lr_factor * hyper.lr_backbone,
        )
        self.val = replace(self.split.val, images=self.split.val.images.to(self.learner.device))
        self.first = Epoch.of(train, self.learner.device)
        self.expected_examples = expected_examples(self.method, self.first, hyper.epochs)
        self.adjustment = self.method.adjustment(self.first.counts)
        self._try_network()
        begin = time.perf_counter()
        place = place_of(self.method, 0, hyper.epochs)
        with seeded(self.rng.torch_seed("prepare"), self.learner.device):
            self._prepare(place)
        self.epoch = self._started(place)
        self.start_seconds = time.perf_counter() - begin
        if self.start_seconds < QUICK:
            check_pure(self.method.stages[0].resampler, self.epoch, lambda: self._started(place))
            self._rehearse()
        self._held.clear()
        self.best_weights = self.learner.weights()

    def _moment(self, place: Place, started: bool = True) -> Moment:
        """What the resampler of a stage may look at."""
        return Moment(
            place.t, place.epochs, self.rng, self.learner, place.stage, started=started,
            keep=self._keep, progress=self.preparing,
        )  # fmt: skip

    def _keep(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        if name not in self._held:
            self._held[name] = self.kept(name, make)
        return self._held[name]

    def _started(self, place: Place) -> Epoch:
        """What a stage's resampler makes of the images when the stage begins."""
        stage = self.method.stages[place.stage]
        self.learner.loss = loss_of(stage.loss, self.first.counts)
        return checked(
            stage.resampler, self.first, lambda: stage.resampler.start(self.first, self._moment(place, False))
        )

    def _rehearse(self) -> None:
        """Begin every stage with parts of somebody's own, and refresh it once: what is wrong with them shows before training."""
        every = (place_of(self.method, t, self.hyper.epochs) for t in range(self.hyper.epochs))
        for place in [place for place in every if not place.t]:
            resampler = self.method.stages[place.stage].resampler
            if any(outside(part) for part in leaves(resampler)):
                refreshed = partial(resampler.refresh, self._started(place), self._moment(place))
                check_pure(resampler, checked(resampler, self.first, refreshed), refreshed)
        self.learner.loss = loss_of(self.method.stages[0].loss, self.first.counts)

    def _prepare(self, place: Place) -> None:
        """Change the network as a stage wants it, and begin with a new optimiser."""
        if (prepare := self.method.stages[place.stage].prepare) is not None:
            with guarded(f"prepare of stage {place.stage + 1}"):
                prepare(self.learner.model)
                self.learner.renew()

    def _kind(self) -> Callable[..., Learner]:
        if not self.ranks.alone:
            return partial(DistributedLearner, ranks=self.ranks)
        return CapturedLearner if self.capture and torch.device(self.device).type == "cuda" else Learner

    def _try_network(self) -> None:
        """A network or a change that does not fit the images fails now, and not after hours."""
        x = to_unit(self.first.images[:2])
        self.hyper.augment(x, self.hyper.augment.draw(len(x), self.rng, 0).to(x.device))
        try:
            logits = self.learner.logits(x)
        except InputError:
            raise
        except Exception as error:  # it is anybody's code
            shape = "x".join(map(str, self.split.train.shape))
            raise InputError(f"the model cannot take images of {shape} (channels x height x width): {error}") from error
        labels = torch.from_numpy(self.first.labels[: len(x)]).to(logits.device)
        for stage in self.method.stages:
            check_loss(loss_of(stage.loss, self.first.counts), logits, labels)
        if self.adjustment is not None:
            check_adjustment(self.adjustment, logits)

    @property
    def finished(self) -> bool:
        return len(self.records) >= self.hyper.epochs or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Whether validation has been waited for as long as ``early_stopping`` allows, with epochs to go."""
        done, patience = len(self.records), self.hyper.early_stopping
        return patience is not None and done < self.hyper.epochs and done - 1 - self.best_epoch >= patience

    @property
    def best_macro_f1(self) -> float:
        return self.records[self.best_epoch].val.macro_f1 if self.records else -1.0

    @contextmanager
    def _timed(self, phase: str, seconds: dict[str, float]) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        if self.learner.device.type == "cuda":
            torch.cuda.synchronize(self.learner.device)
        seconds[phase] = time.perf_counter() - begin

    def advance(self) -> EpochRecord:
        """Train one epoch (Algorithm 1, lines 3-17) and score it on the validation part.

        Raises:
            TrainingError: the loss or the network's answers are no longer finite; names the epoch.
        """
        t, learner, seconds = len(self.records), self.learner, dict[str, float]()
        before = self.epoch
        try:
            # The model may draw too (Dropout): its numbers depend on the seed, the epoch and the rank alone.
            own = [self.ranks.rank] if self.ranks.rank else []
            with seeded(self.rng.torch_seed("torch", t, *own), learner.device):
                with self._timed("refresh", seconds):
                    self.epoch = self._refreshed(t)  # lines 3-14
                with self._timed("train", seconds):  # lines 15-17
                    size, n = self.hyper.batch, len(self.epoch)
                    self._schedule(t, -(-n // size))
                    for begin, _ in zip(range(0, n, size), self._updates(t), strict=True):
                        self.progress(min(size, n - begin))
                    loss, images, updates = learner.flush()
            with self._timed("evaluate", seconds):
                val = evaluate(learner, self.val, self.adjustment).metrics
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            whose = "has one image" if self.ranks.alone else "has one image for a rank"
            raise TrainingError(
                f"the last batch of an epoch of {len(self.epoch)} examples {whose}, which this network's BatchNorm cannot "
                f"take: choose another batch size than {self.hyper.batch}"
            ) from error
        except TrainingError as error:
            raise TrainingError(f"{error} in epoch {t} (the first is 0); a lower learning rate may help") from error
        self.records.append(
            EpochRecord(
                epoch=t,
                loss=loss,
                val=val,
                updates=updates,
                images=images,
                altered_images=self.epoch.altered_examples,
                altered_rows=self.epoch.altered_rows,
                zero_gradients=self.epoch.zero_gradients,
                refreshed=self.epoch is not before,
                prior=self._prior(t),
                seconds=seconds,
            )
        )
        if self.best_epoch < 0 or val.macro_f1 > self.best_macro_f1:
            self.best_epoch, self.best_weights = t, learner.weights()
        return self.records[-1]

    def _refreshed(self, t: int) -> Epoch:
        """What epoch t shows."""
        place, before = place_of(self.method, t, self.hyper.epochs), self.epoch
        if place.stage and not place.t:
            self._prepare(place)
            started = self._started(place)
            before = replace(started, notes=tuple(dict.fromkeys((*before.notes, *started.notes))))
            self._held.clear()
        stage = self.method.stages[place.stage]
        self.learner.loss = loss_of(stage.loss, self.first.counts)
        mixture = before.mixture  # which fits no epoch of another length, and is mostly made anew
        before = before if mixture is None else replace(before, mixture=None)
        epoch = checked(stage.resampler, self.first, lambda: stage.resampler.refresh(before, self._moment(place)))
        if mixture is not None and epoch.mixture is None and len(epoch) == len(before):
            return self.epoch if epoch is before else replace(epoch, mixture=mixture)
        return epoch

    def _schedule(self, t: int, updates: int) -> None:
        """Let the learning rate take its course: over all epochs with the same optimiser, of any lengths."""
        beginnings = preparations(self.method, self.hyper.epochs)
        begin = max(at for at in beginnings if at <= t)
        end = min(at for at in beginnings if at > t)
        self.learner.begin(self.hyper.scheduler, t - begin, end - begin, updates)

    def _prior(self, t: int) -> tuple[float, ...]:
        stage = self.method.stages[place_of(self.method, t, self.hyper.epochs).stage]
        prior = loss_of(stage.loss, self.first.counts).prior(self.epoch.shown)
        return prior if self.adjustment is None else self.adjustment.prior(prior)

    @property
    def prior(self) -> tuple[float, ...]:
        """(K,) class frequencies, up to a factor, that the logits of the best epoch speak for."""
        return self.records[self.best_epoch].prior

    def _updates(self, t: int) -> Iterator[None]:
        """Train on what epoch t shows, in random order; alterations are part of it, so that random changes come after them."""
        order, drawn = self._parts(t)
        return self.learner.train(self.epoch, order, self.hyper.augment, drawn)

    def _parts(self, t: int) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """This rank's share of every batch of epoch t: the examples' numbers, and those that are drawn for their changes."""
        size, ranks = self.hyper.batch, self.ranks
        order = self.epoch.order(size, self.rng("shuffle", t), ranks)
        drawn = to_device(self.hyper.augment.draw(len(self.epoch), self.rng, t), self.learner.device)
        return order, [part[ranks.rank :: ranks.world] for part in torch.split(drawn, size)]

    def finish(self) -> History:
        """Evaluate the last and the best epoch, once, and leave the best weights in the model.

        Nothing else in underdog looks at the test part.
        """
        test = self.split.test

        def both() -> tuple[Evaluation, Evaluation | None]:
            scored = [
                None if part is None else evaluate(self.learner, part, self.adjustment) for part in (self.val, test)
            ]
            assert scored[0] is not None
            return scored[0], scored[1]

        last_val, last_test = both()
        self.learner.load_weights(self.best_weights)
        best_val, best_test = both()
        notes = (*self.epoch.notes, *self.notes, *self.learner.notes)
        return History(tuple(self.records), self.best_epoch, best_val, last_val, best_test, last_test, notes)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that is needed to resume as if nothing had happened: tensors, and plain data."""
        moments, plain = self.learner.optimizer_state()
        parts = {
            "model": self.learner.weights(),
            "best": self.best_weights,
            "optimizer": moments,
            "epoch": self.epoch.state(),
        }
        tensors = {f"{part}.{k}": v for part, values in parts.items() for k, v in values.items()}
        records = [record.to_json(self.split.train.classes) for record in self.records]
        return tensors, {
            "records": records,
            "best_epoch": self.best_epoch,
            "optimizer": plain,
            "notes": list(self.epoch.notes),
        }

    def restore(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Put back what ``state`` returned; the model, data and settings must be the same."""

        def part(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}

        self.records = [EpochRecord.from_json(record) for record in plain["records"]]
        for place in (place_of(self.method, t, self.hyper.epochs) for t in range(len(self.records))):
            if place.stage and not place.t:
                with seeded(0, self.learner.device):  # what it draws is replaced by what was saved
                    self._prepare(place)
        self.learner.load_weights(part("best"))
        self.best_weights = self.learner.weights()
        self.learner.load_weights(part("model"))
        self.learner.load_optimizer(part("optimizer"), plain["optimizer"])
        self.epoch = self.first.restored(part("epoch"), tuple(plain["notes"]))
        self.best_epoch = plain["best_epoch"]


def iter_epochs(
    model: nn.Module,
    method: Method,
    split: Split,
    hyper: Hyperparameters | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    precision: str = "float32",
) -> Iterator[EpochRecord]:
    """Train, and yield a record after each epoch; the model holds that epoch's weights.

    Args and errors as ``Training``.

    *Source*: Algorithm 1 of the paper; every other method is the same loop with another resampler or loss.

    >>> import underdog as ud
    >>> split = ud.prepare(ud.load_images("digits"), rho=20, mu=0.6).split
    >>> for record in ud.iter_epochs(ud.PaperNet(1, 10, (16, 16)), ud.Method(), split, ud.Hyperparameters(epochs=2)):
    ...     print(record.epoch, record.updates)
    0 5
    1 5
    """
    training = Training(model, method, split, hyper or Hyperparameters(), seed, device, precision)
    while not training.finished:
        yield training.advance()
