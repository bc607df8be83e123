"""Snapshots in Lightning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from underdog.errors import InputError
from underdog.loop.loader import SnapshotLoader
from underdog.loop.losses import LossLike
from underdog.loop.script import Objective
from underdog.loop.snapshot import Snapshot
from underdog.ranks import Ranks
from underdog.validate import check_callable, check_kind

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.plugins.precision import Precision
    from lightning.pytorch.strategies import DDPStrategy
except ImportError as error:
    raise InputError("Lightning is not installed: pip install 'underdog[lightning]'") from error

__all__ = ["SnapshotCallback"]


class InPrecision(nn.Module):
    """A network that answers in the precision it is trained in; the loader is read outside of Lightning's autocast."""

    def __init__(self, network: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.network, self.precision = network, precision

    def forward(self, x: Any) -> Any:
        with self.precision.forward_context():
            return self.network(self.precision.convert_input(x))


def itself(module: LightningModule) -> nn.Module:
    """The network of a module that returns logits when it is called with images."""
    return module  # type: ignore[no-any-return]


class SnapshotCallback(Callback):  # type: ignore[misc]  # Lightning is looked at only where it is installed
    """Let a Lightning ``Trainer`` train on ``aos.loader(...)``: binds the module in training, and resumes from its checkpoints.

    Lightning itself announces the epochs. The refresh happens when the first batch of an epoch is asked for, in
    the main process. Sanity checks, validation and ``limit_train_batches`` change nothing of that. On several devices
    (``strategy="ddp"``) each is shown its share of the epoch, as in a plain loop; the snapshot needs no ``rank`` and
    ``world`` then.

    Args:
        snapshot: whose ``loader(...)`` the trainer is given.
        loss: what ``training_step`` takes of logits and labels; cross-entropy where None.
        network: from the module to what returns logits; by default the module itself, called with images.
        objective: J(x, y) -> (B,) in the place of ``loss``, for a loss that lies inside the module.

    Raises:
        InputError: a strategy that divides the network itself, such as FSDP; a trainer that does not train on the
            snapshot's loader; a module without ``forward`` where ``network`` is not given.

    >>> import torch, underdog as ud
    >>> data = torch.utils.data.TensorDataset(torch.rand(12, 1, 2, 2), torch.tensor([0] * 9 + [1] * 3))
    >>> aos = ud.Snapshot(data, ud.aos(8 / 255, tau=1))
    >>> quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    >>> trainer = Trainer(max_epochs=2, callbacks=[SnapshotCallback(aos)], accelerator="cpu", **quiet)
    >>> loader = aos.loader(batch_size=6)  # for trainer.fit(module, loader)
    """

    def __init__(
        self,
        snapshot: Snapshot,
        loss: LossLike = None,
        network: Callable[[LightningModule], nn.Module] = itself,
        objective: Objective | None = None,
    ) -> None:
        check_kind("snapshot", snapshot, Snapshot, "an underdog.Snapshot")
        check_callable("network", network, "a function of the module")
        check_callable("objective", objective, "a function of images and labels")
        self.snapshot, self.loss, self.network, self.objective = snapshot, loss, network, objective
        self._batch, self._seen = 1, 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        if trainer.world_size > 1 and not isinstance(trainer.strategy, DDPStrategy):
            raise InputError(
                f"a snapshot looks at the whole network on every device, which {type(trainer.strategy).__name__} divides: "
                'use strategy="ddp"'
            )
        self.snapshot.ranks = Ranks(trainer.global_rank, trainer.world_size)
        network, objective, precision = self.network(pl_module), self.objective, trainer.precision_plugin
        check_kind("network", network, nn.Module, "a function from the module to a torch.nn.Module")
        if objective is None and type(network).forward is LightningModule.forward:
            raise InputError(
                f"network must be given, since {type(network).__name__} has no forward to get logits from: "
                "SnapshotCallback(snapshot, loss, network=lambda module: module.net)"
            )

        def inside(x: Tensor, y: Tensor) -> Tensor:
            assert objective is not None
            with precision.forward_context():
                return objective(precision.convert_input(x), y)

        self.snapshot.bind(InPrecision(network, precision), self.loss, objective and inside)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loader = trainer.train_dataloader
        if not isinstance(loader, SnapshotLoader) or getattr(loader.sampler, "snapshot", None) not in (
            None,
            self.snapshot,
        ):
            raise InputError(
                f"the trainer trains on a {type(loader).__name__} that is not the snapshot's: give it snapshot.loader(...)"
            )
        self._batch = loader.batch_size or 1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self._seen = min((batch_idx + 1) * self._batch, len(self.snapshot))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seen = 0

    def state_dict(self) -> dict[str, Any]:
        """The snapshot's, as far as it was trained on."""
        return self.snapshot.state_dict(self._seen)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put it back; errors as ``Snapshot.load_state_dict``."""
        self.snapshot.load_state_dict(state_dict)
        self._seen = int(state_dict["seen"])
