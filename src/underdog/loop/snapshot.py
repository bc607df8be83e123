"""Epochs of a user's data set as resamplers make them, through a DataLoader."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import Dataset, IterableDataset

from underdog.epoch import Epoch
from underdog.errors import InputError
from underdog.loop.items import Augment, Items, ShownIndex, ShownItems, seeded
from underdog.loop.labels import find_labels, label_of
from underdog.loop.loader import EpochSampler, SnapshotLoader
from underdog.loop.losses import LossLike, class_numbers
from underdog.loop.rows import RowsOf, as_written, change_at, differing
from underdog.loop.sampler import LOOKS, check_world, fingerprint, share, warn_unannounced
from underdog.loop.script import FEW, Objective, Script
from underdog.loop.units import Channels, Units
from underdog.methods.check import check_epoch
from underdog.methods.method import Method, Place, place_of
from underdog.ranks import Ranks
from underdog.resample.base import Moment, Resampler
from underdog.rng import RandomStreams
from underdog.validate import check_callable, check_same, check_whole

__all__ = ["Snapshot"]

#: Items read twice to see whether the data set augments at random: what happens in a twentieth of all reads is missed once
#: in 700 times. Images that may be altered are compared with their last reading in every refresh.
TWICE = 64


class Snapshot:
    """A data set of one's own, shown in epochs that a resampler makes of it: the paper's AOS in one's own loop.

    Each training epoch is announced with ``set_epoch(t)``. Where the next iteration of the loader begins, the altered
    images are made anew if the resampler says so (AOS: before every second epoch), from the bound model as it is then.
    Iterations that were not announced, such as for metrics, show the same epoch again. With the same seed, network and
    batch size the loader shows the very images that ``fit`` shows, whatever the number of workers.

    Args:
        dataset: any map-style data set of tuples (image, label, ...) or dictionaries. An image is a tensor (C, H, W), or
            a picture or an array of bytes, which become such tensors. Bytes become floating point, as which they can be
            altered by less than a step, and are not divided: they need ``high=255``.
        resampler: such as ``aos(8/255, 0.5)``; eps is a share of the pixel range. Or a ``Method``, of whose stages the
            resamplers are used; its losses are the script's own matter.
        epochs: how many there will be; what changes over them, and a method of several stages, needs it.
        labels: (N,) class numbers or a function from an index to one, where the data set does not offer them.
        augment: random augmentation (C, H, W) -> anything, applied after the alteration, with torch, numpy and Python
            seeded from (epoch, position). The data set itself must give the same image at every reading.
        image: what dictionaries call the image, where it is none of "pixel_values", "image", "img", "images".
        minority: class numbers that may be altered; by default those with at most half the largest's images.
        mean, std: per channel, where the data set normalises its images.
        low, high: what the darkest and the brightest pixel are before normalisation.
        seed: any integer; decides everything that is drawn.
        rank, world: the number of this process and how many there are. Each rank shows its share of one epoch, whose first
            examples are repeated where ``world`` does not divide it, and alters its share of the images for all of them.

    Attributes:
        current: the ``Epoch`` that is shown, with ``altered_examples`` and ``zero_gradients``.

    Raises:
        InputError: labels that cannot be found, an iterable data set, a rank outside [0, world); a data set that augments at
            random, images outside [low, high] or of several sizes, where they are read: up to 64 here, and those of rare
            classes when they are altered.

    Warns:
        UserWarning: when a third iteration begins and no epoch was ever announced.

    *Source*: Algorithm 1 of the paper, by way of ``Epoch`` and the resamplers.
    *Deviation*: as ``aos``; altered images are kept as signs, in two bits a value, which travel to the workers with the index
    of the image.

    >>> from torch.utils.data import TensorDataset
    >>> from underdog import aos
    >>> data = TensorDataset(torch.rand(12, 1, 2, 2), torch.tensor([0] * 9 + [1] * 3))
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> shown = Snapshot(data, aos(8 / 255, tau=1)).bind(net)
    >>> loader = shown.loader(batch_size=6)
    >>> for epoch in range(2):
    ...     shown.set_epoch(epoch)
    ...     print([len(y) for x, y in loader], shown.current.altered_examples)
    [6, 6, 6] 9
    [6, 6, 6] 9
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        resampler: Resampler | Method,
        *,
        epochs: int | None = None,
        labels: object = None,
        augment: Augment | None = None,
        image: str | None = None,
        minority: Collection[int] | None = None,
        mean: Channels | None = None,
        std: Channels | None = None,
        low: float = 0.0,
        high: float = 1.0,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.ranks = Ranks(rank, world)
        self.epochs = None if epochs is None else check_whole("epochs", epochs, least=1)
        try:
            self.method = resampler if isinstance(resampler, Method) else Method(resampler)
        except InputError as error:
            raise InputError(
                f"resampler must be one, such as underdog.aos(8 / 255, tau=0.5), not {resampler!r}"
            ) from error
        check_callable("augment", augment, "a function of an image")
        numbers = self._labels(dataset, labels)
        self.seed, self.rng, self.augment = seed, RandomStreams(seed), augment
        self.items = Items(dataset, Units.of(mean, std, low, high), image)
        self.first = RowsOf.reading(self.items, numbers, minority)
        self.targets = self._probe()
        self.script: Script | None = None
        self.start = self.current = self._started(self._place(0))
        self._due: int | None = None  # the epoch announced last
        self._begun: int | None = None  # the epoch that ``current`` is
        self._resume, self._looks, self._announcements = 0, 0, 0
        self._anew = False  # whether epochs may begin in the middle without a state
        self._fresh = False  # whether an epoch was announced that nothing was trained on

    def _place(self, t: int) -> Place:
        """Where in the method epoch t stands."""
        return place_of(self.method, t, self.epochs)

    def _moment(self, place: Place, started: bool = True) -> Moment:
        return Moment(place.t, place.epochs, self.rng, self.script, place.stage, started=started)

    def _started(self, place: Place) -> Epoch:
        """What a stage's resampler makes of the items when the stage begins."""
        resampler = self.method.stages[place.stage].resampler
        epoch = resampler.start(self.first, self._moment(place, started=False))
        if any(made.synthetic for made in epoch.made):
            raise InputError(
                f"{type(resampler).__name__} makes images, which the data set does not have: use underdog.fit"
            )
        return check_epoch(resampler, epoch, self.first)

    @staticmethod
    def _labels(dataset: Dataset[Any], labels: object) -> npt.NDArray[np.int64]:
        if isinstance(dataset, IterableDataset):
            return find_labels(dataset)  # says what to do instead
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise InputError(
                f"the data set must have a length and items by index; {type(dataset).__name__} has not both"
            )
        return find_labels(dataset, labels)

    def _probe(self) -> Callable[[Tensor], Tensor]:
        """Read a few items twice, and find out how labels are written: from class numbers to that."""
        n, items = len(self.first.images), self.items
        one_hot: Tensor | None = None
        with seeded(0):
            for row in np.unique(np.linspace(0, n - 1, min(n, TWICE)).astype(int)).tolist():
                one, two = items.dataset[row], items.dataset[row]
                x = items.image(one)
                items.units.check(x[None])
                again = items.image(two)
                if x.shape != again.shape or not torch.equal(x, again):
                    raise differing(row)
                if (label := label_of(one)) is None or isinstance(label, str):
                    continue
                y = torch.as_tensor(label)
                number = int(class_numbers(y.reshape(1, -1) if y.ndim else y[None]))
                if number != self.first.labels[row]:
                    raise InputError(
                        f"image {row} comes with label {number}, but the labels found say {self.first.labels[row]}: "
                        "give labels= that agree with the data set's items"
                    )
                if y.ndim and y.numel() > 1:
                    one_hot = y
        return partial(as_written, like=one_hot)

    def __len__(self) -> int:
        """Examples that this rank shows in every epoch, right from the beginning."""
        return math.ceil(len(self.start) / self.ranks.world)

    @property
    def shown_epoch(self) -> int | None:
        """The number of the epoch in ``current``; None before the first."""
        return self._begun

    @property
    def counts(self) -> tuple[int, ...]:
        """(K,) images of each class of the data set."""
        return self.first.counts

    @property
    def minority(self) -> frozenset[int]:
        """The classes that may be altered."""
        return self.first.minority

    def bind(self, model: nn.Module, loss: LossLike = None, objective: Objective | None = None) -> Snapshot:
        """Say which network the images are altered against: the one in training, and the loss it trains with.

        Args:
            model, loss, objective: as ``perturb_batch``. What the loop does between loader and network, such as
                normalising, belongs into ``model`` here: ``nn.Sequential(ud.Normalize(mean, std), model)``.

        Returns:
            itself. A loss that changes by epoch is bound again before the epoch.

        Raises:
            InputError: a process group or DistributedDataParallel model of another number of processes than ``world``.
        """
        script = Script(model, loss, objective, self.items.units, self.targets, self.ranks)
        self.ranks.check(model)
        self.script = script
        return self

    def loader(self, batch_size: int = 1, **settings: Any) -> SnapshotLoader:
        """A ``DataLoader`` of the shown items, always shuffled.

        Args:
            batch_size, settings: of ``torch.utils.data.DataLoader``, except for what decides which items are shown.

        Raises:
            InputError: shuffle=False, or a sampler.
        """
        if not settings.pop("shuffle", True):
            raise InputError("shuffle must not be False: repeated and altered images would arrive as one block")
        for name in ("sampler", "batch_sampler"):
            if settings.get(name) is not None:
                raise InputError(
                    f"{name} cannot be given: the epoch says which images are shown. To train on a part of the data "
                    "(SubsetRandomSampler), give Snapshot a torch.utils.data.Subset of them: balanced as a whole, the set "
                    "would repeat its validation images in training"
                )
        shown = ShownItems(self.items, self.augment, self.seed)
        loader = SnapshotLoader(shown, batch_size, sampler=EpochSampler(self), **settings)
        # Accelerate's mark for loaders to leave alone: it would divide what is divided, and half would be left out.
        loader._is_accelerate_prepared = not self.ranks.alone
        return loader

    def set_epoch(self, epoch: int, anew: bool = False) -> None:
        """Announce that the loader's next iteration is training epoch ``epoch`` = 0, 1, ...

        Where epochs are left out, the newest of their refreshes is made up for, from the network as it is then.

        Args:
            anew: begin in the middle although no state was loaded, when a run is resumed without one. The images that
                ``epoch`` shows are then altered against the network as it is now, not as it was when their refresh was due.

        Raises:
            InputError: an epoch before the last one; 0 begins from the start. One above 0 in a snapshot that has shown
                none, unless ``anew``.
        """
        epoch = check_whole("epoch", epoch)
        if self._begun is not None and 0 < epoch < self._begun:
            raise InputError(
                f"epochs go forward: {epoch} cannot follow {self._begun}. 0 begins again; load_state_dict goes back"
            )
        self._anew |= anew
        if epoch and self._begun is None and not self._anew:
            raise InputError(
                f"epoch {epoch} cannot be the first: what it shows was decided in epochs before. To resume, call "
                "load_state_dict with what state_dict() returned then; where that was not saved, set_epoch"
                f"({epoch}, anew=True) alters the images against the network as it is now"
            )
        self._due, self._fresh = epoch, True
        self._announcements += 1
        if epoch != self._begun:
            self._resume = 0

    def watched(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches of an epoch, until the bound model is trained on an epoch that was trained on before."""
        fresh, trained, announcements = self._fresh, list[bool](), self._announcements

        def stepped(optimizer: Optimizer, args: object, kwargs: object) -> None:
            if not trained and self._trains(optimizer):
                trained.append(True)
                self._fresh = False

        hook = register_optimizer_step_post_hook(stepped)
        try:
            for batch in batches:
                yield batch
                if trained and not fresh and self._announcements == announcements:
                    raise InputError(
                        "the model is trained on an epoch that set_epoch did not announce: call set_epoch(t) before every "
                        "training epoch t = 0, 1, ...; iterations without it are for looking, show the same epoch again "
                        "and never refresh it"
                    )
        finally:
            hook.remove()

    def _trains(self, optimizer: Optimizer) -> bool:
        """Whether an optimiser is one of the bound model's."""
        ours = set() if self.script is None else {id(p) for p in self.script.model.parameters()}
        return any(id(p) in ours for group in optimizer.param_groups for p in group["params"])

    def _begin(self) -> int:
        """Refresh if the epoch announced last is new; its number, or -1 before the first."""
        if self.script is None:
            raise InputError(
                "bind(model, loss) must be called before the loader is iterated: images are altered against it"
            )
        t = self._due
        if t is None or t == self._begun:
            self._first_look(self.script)
            return -1 if self._begun is None else self._begun
        self.ranks.check(self.script.model)  # a process group may have come after ``bind``
        with self.ranks.failing_together():
            self._first_look(self.script)
        # Buffers drift apart: BatchNorm sees other batches on every rank.
        with self.ranks.first_buffers(self.script.model):
            epoch = self._refreshed(t)
        if epoch.mixture is not None:
            raise InputError("the resampler mixes images, whose loss is of two labels, which only underdog.fit knows")
        if len(epoch) != len(self.start):
            raise InputError(
                f"the resampler changes the epoch's length from {len(self.start)} to {len(epoch)}, which loaders and "
                "schedules are built on: use one that keeps it, or underdog.fit"
            )
        self.current, self._begun = epoch, t
        return t

    def _refreshed(self, t: int) -> Epoch:
        """Epoch ``t``, by the newest refresh of its stage that was due since the one that is shown: mostly its own, or none."""
        begun = -1 if self._begun is None or t < self._begun else self._begun
        place, since = self._place(t), self._place(max(begun, 0))
        if place.stage != since.stage:
            before, since_t = self._started(place), -1
        else:
            before, since_t = (self.start, -1) if begun < 0 else (self.current, since.t)
        resampler = self.method.stages[place.stage].resampler
        for due in range(place.t, since_t, -1):
            epoch = resampler.refresh(before, self._moment(place._replace(t=due)))
            if epoch is not before:
                return check_epoch(resampler, epoch, self.first)
        return before

    def _first_look(self, script: Script) -> None:
        """At one image of each class: what is wrong with a new network or its loss shows before training."""
        if script.is_new:
            rows = np.unique(self.first.labels, return_index=True)[1][:FEW]
            script.look_at(self.first.unit(rows), self.targets(torch.from_numpy(self.first.labels[rows])))

    def walk(self, whole: bool = False) -> Iterator[ShownIndex]:
        """This rank's examples in the order of ``Epoch.batches``, or those of all ranks for a loader that divides them."""
        if not self._announcements and self._looks == LOOKS:
            warn_unannounced(self)
        t = self._begin()
        # A look before the interrupted epoch is announced again shows it whole.
        epoch, begin = self.current, 0 if self._due is None else self._resume
        order = self.rng("shuffle", t).permutation(len(epoch))
        order = (order if whole else share(order, self.ranks.rank, self.ranks.world))[begin:]
        for position, row, origin in zip(order, epoch.index[order], epoch.origin[epoch.index[order]], strict=True):
            yield ShownIndex(int(position), int(origin), t, change_at(epoch, int(row)))
        self._looks += 1
        if self._due is not None:
            self._resume = 0

    def state_dict(self, seen: int = 0) -> dict[str, Any]:
        """Everything needed to resume as if nothing had happened, except for the script's own model and optimiser.

        Args:
            seen: in the middle of an epoch, how many of its examples this rank has trained on; the loader itself cannot
                know, since workers read ahead. The resumed epoch is announced with its own number and shows the rest.
                One rank's state serves all ranks.
        """
        return {
            **self._same(),
            "epoch": self._begun,
            "seen": check_whole("seen", seen, most=len(self)),
            "world": self.ranks.world,
            "notes": list(self.current.notes),
            "shown": self.current.state(),
        }

    def _same(self) -> dict[str, Any]:
        """What must be the same where a state is put back."""
        return {
            "images": len(self.first.images),
            "labels": fingerprint(self.first.labels),
            "seed": self.seed,
            "minority": sorted(self.minority),
            "units": repr(self.items.units),
            "resampler": re.sub(
                " at 0x[0-9a-f]+", "", repr([stage.resampler for stage in self.method.stages])
            ),  # those of one's own may say where they lie
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what ``state_dict`` returned; then announce the next epoch, or the one that was interrupted.

        Raises:
            InputError: no state of a snapshot; one of another data set, seed, resampler, minority or range, or, within an
                epoch, of another number of ranks.
        """
        check_same(state, self._same())
        check_world(state, self.ranks.world)
        self.current = self.first.restored(state["shown"], tuple(state["notes"]))
        self._begun, self._resume = state["epoch"], int(state["seen"])
        self._due, self._fresh = None, False
