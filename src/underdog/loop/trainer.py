"""Snapshots in the Trainer of Hugging Face's Transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from underdog.errors import InputError
from underdog.loop.items import ShownIndex
from underdog.loop.losses import LossLike, per_image
from underdog.loop.script import logits_of
from underdog.loop.snapshot import Snapshot
from underdog.ranks import Ranks
from underdog.validate import check_callable, check_kind

try:
    from transformers import Trainer, TrainerCallback, default_data_collator
except ImportError as error:
    raise InputError("Transformers is not installed: pip install 'underdog[transformers]'") from error

__all__ = ["SnapshotTrainer"]

#: The file in a checkpoint's folder.
STATE = "underdog.pt"


class Order(Sampler[ShownIndex]):
    """The order of the epoch announced last, of all ranks together, since the Trainer's loader divides it.

    Without ``set_epoch``, which the Trainer's loaders call in every iteration.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def __len__(self) -> int:
        return len(self.snapshot.start)

    def __iter__(self) -> Iterator[ShownIndex]:
        return self.snapshot.walk(whole=True)


class Announce(TrainerCallback):  # type: ignore[misc]  # Transformers is looked at only where it is installed
    """Announces every training epoch, by the number that the Trainer gives it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot, self.epoch = snapshot, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        updates = -(-len(parts["train_dataloader"]) // args.gradient_accumulation_steps)
        self.epoch = state.global_step // max(1, updates)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self.snapshot.set_epoch(self.epoch)
        self.epoch += 1


class SnapshotTrainer(Trainer):  # type: ignore[misc]
    """A ``transformers.Trainer`` that trains on a ``Snapshot``; also a mixin, before a Trainer of one's own.

    The loss that is attacked is the Trainer's: ``compute_loss``, with label smoothing, ``compute_loss_func`` or
    whatever overrides it. Checkpoints hold the snapshot's state, and a run resumes, also within an epoch, as if nothing
    had happened. On several devices the Trainer divides the epoch, batch by batch, and each alters its share of the images
    for all of them; the snapshot needs no ``rank`` and ``world`` then.

    Args:
        args: as ``transformers.Trainer``.
        snapshot: of a data set of dictionaries, in the place of ``train_dataset``.
        loss: J(logits, labels) that is attacked in the place of ``compute_loss``, where that returns a mean that cannot be
            undone, such as one with class weights: ``torch.nn.CrossEntropyLoss(weight=w)``. It is not trained with.
        kwargs: as ``transformers.Trainer``.

    Raises:
        InputError: a ``train_dataset`` too, a data set whose items are no dictionaries, a resampler that changes the length
            of epochs, a checkpoint without a snapshot's state; several processes that divide the network (FSDP, DeepSpeed)
            or of which one reads for all.

    *Deviation*: no callback, since those cannot decide what the Trainer's loader shows.

    >>> import torch, transformers, underdog as ud
    >>> data = [{"pixel_values": torch.rand(3, 8, 8), "label": int(k < 3)} for k in range(12)]
    >>> config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], num_labels=2)
    >>> model = transformers.ResNetForImageClassification(config)
    >>> args = transformers.TrainingArguments("runs", use_cpu=True, report_to="none")
    >>> trainer = SnapshotTrainer(model, args, snapshot=ud.Snapshot(data, ud.aos(8 / 255, tau=1)))
    >>> len(trainer.get_train_dataloader().dataset), trainer.snapshot.minority  # and then trainer.train()
    (12, frozenset({1}))
    """

    def __init__(self, *args: Any, snapshot: Snapshot, loss: LossLike = None, **kwargs: Any) -> None:
        check_kind("snapshot", snapshot, Snapshot, "an underdog.Snapshot")
        check_callable("loss", loss, "a function of logits and labels")
        super().__init__(*args, **kwargs)
        self.check()
        first = snapshot.items.dataset[0]
        if self.data_collator is default_data_collator and not isinstance(first, Mapping):
            raise InputError(
                f"snapshot must be of a data set of dictionaries, as the Trainer takes them, not of {type(first).__name__}s; "
                "for other items, give a data_collator"
            )
        self.snapshot, self.loss = snapshot, loss
        snapshot.ranks = Ranks(self.args.process_index, self.args.world_size)
        self.train_dataset = snapshot.loader().dataset
        self.add_callback(Announce(snapshot))

    def check(self) -> None:
        """Refuse what a snapshot cannot be combined with; errors as the class."""
        if self.train_dataset is not None:
            raise InputError("train_dataset must not be given: the snapshot is what is trained on")
        kind = self.accelerator.distributed_type.value
        if self.args.world_size > 1 and not kind.startswith("MULTI_"):
            raise InputError(
                f"a snapshot looks at the whole network in every process, which {kind} divides: use DistributedDataParallel "
                "(torchrun without fsdp= and deepspeed=)"
            )
        if self.args.world_size > 1 and self.accelerator.dispatch_batches:
            raise InputError(
                "dispatch_batches must be left away: one process would read for all, and the others would not alter images"
            )

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The Trainer's own loader, of the snapshot's items."""
        self.snapshot.bind(self.model, objective=self._losses)
        loader: DataLoader[Any] = super().get_train_dataloader()
        return loader

    def _get_train_sampler(self, *args: Any) -> Sampler[ShownIndex]:
        return Order(self.snapshot)

    def _losses(self, x: Tensor, y: Tensor) -> Tensor:
        images = {getattr(self.model, "main_input_name", "pixel_values"): x}
        with self.compute_loss_context_manager():
            if self.loss is not None:
                return per_image(self.loss, logits_of(self.model(**images), len(x)), y)
            loss: Tensor = self.compute_loss(self.model, images | {"labels": y})
        return loss

    # The Trainer's ways of writing to and reading from a checkpoint's folder; others know too late, or not at all, where it is.

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            torch.save(self.snapshot.state_dict(), Path(output_dir) / STATE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        if not (path := Path(checkpoint) / STATE).exists():
            raise InputError(
                f"{checkpoint} has no {STATE}, so what the snapshot showed is not known: it was written with save_only_model, "
                "or by another Trainer"
            )
        self.snapshot.load_state_dict(torch.load(path, weights_only=True))
