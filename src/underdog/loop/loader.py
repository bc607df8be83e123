"""A DataLoader of what a snapshot shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from torch.utils.data import DataLoader, DistributedSampler

from underdog.errors import InputError
from underdog.loop.items import ShownIndex

__all__ = ["EpochSampler", "ShownEpochs", "SnapshotLoader"]


class ShownEpochs(Protocol):
    """What a loader asks of a ``Snapshot``."""

    @property
    def shown_epoch(self) -> int | None: ...

    def __len__(self) -> int: ...

    def walk(self, whole: bool = False) -> Iterator[ShownIndex]: ...

    def set_epoch(self, epoch: int) -> None: ...

    def watched(self, batches: Iterable[Any]) -> Iterator[Any]: ...


class EpochSampler(DistributedSampler[ShownIndex]):
    """The order of an epoch; the refresh happens where its iteration begins, which is always in the main process.

    A ``DistributedSampler``, since it gives this rank's share, by which frameworks know not to divide it again.
    """

    def __init__(self, snapshot: ShownEpochs) -> None:
        self.snapshot = snapshot  # nothing of the parent's: it divides a data set, and shuffles by itself

    def __len__(self) -> int:
        return len(self.snapshot)

    def __iter__(self) -> Iterator[ShownIndex]:
        return self.snapshot.walk()

    def set_epoch(self, epoch: int) -> None:
        self.snapshot.set_epoch(epoch)


class SnapshotLoader(DataLoader[Any]):
    """A ``DataLoader`` that notices training on an epoch that was not announced.

    Nothing happens, no epoch begins and no worker starts, before the first batch is asked for: frameworks make an
    iterator early, before they say which epoch it is for.
    """

    sampler: EpochSampler
    _is_accelerate_prepared: bool

    def __iter__(self) -> Any:
        return self._watched()

    def set_epoch(self, epoch: int) -> None:
        """The same as ``Snapshot.set_epoch``."""
        self.sampler.set_epoch(epoch)

    def _watched(self) -> Iterator[Any]:
        if not isinstance(self.sampler, EpochSampler):
            raise InputError(
                f"the loader's sampler was replaced by a {type(self.sampler).__name__}, which does not know what an epoch "
                "shows (Lightning does so for overfit_batches): leave that setting away"
            )
        yield from self.sampler.snapshot.watched(super().__iter__())

    # Lightning asks loaders for their state, and takes those that have none for ones that cannot resume within an epoch.

    def state_dict(self) -> dict[str, Any]:
        """Which epoch is shown; what it shows is the state of the ``Snapshot``."""
        return {"epoch": self.sampler.snapshot.shown_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Check that the snapshot is back where it was.

        Raises:
            InputError: its own state was not loaded.
        """
        if state["epoch"] != (now := self.sampler.snapshot.shown_epoch):
            raise InputError(
                f"the loader's state is from within epoch {state['epoch']}, but its snapshot is in {now}: save and load the "
                "snapshot's state too (in Lightning, underdog.loop.lightning.SnapshotCallback does)"
            )
