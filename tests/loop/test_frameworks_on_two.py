"""Lightning, the Trainer of Transformers and Accelerate on two processes show what one process or a plain loop shows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from extras import needs, quiet
from scripts import Photos, Pictures, network
from torch import Tensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from two import in_two

import underdog as ud

needs("lightning", "transformers", "accelerate")

import lightning as L  # noqa: E402
import test_lightning  # noqa: E402
import test_trainer  # noqa: E402
from accelerate import Accelerator  # noqa: E402

from underdog.loop.lightning import SnapshotCallback  # noqa: E402

#: 60 examples, 30 a rank; batches of 8 make the last one smaller.
BATCH, EPOCHS, SEED, AOS = 8, 4, test_lightning.SEED, test_lightning.AOS
Answer = dict[str, Any]


def like_torchrun(rank: int) -> None:
    """What torchrun tells the frameworks."""
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ.update({k: str(v) for k, v in ranks.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29400", TORCHELASTIC_RUN_ID="test", ACCELERATE_USE_CPU="1")


def arrays(images: list[Tensor]) -> list[np.ndarray]:
    return [x.numpy() for x in images]


def weights(net: torch.nn.Module) -> np.ndarray:
    """Without buffers, which the Trainer lets drift apart."""
    return np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])


def plain(rank: int) -> Answer:
    """A plain loop under DistributedDataParallel, as torchrun would start it."""
    net, shown = network(), list[Tensor]()
    model = DistributedDataParallel(net)
    optimizer = torch.optim.Adam(net.parameters())
    aos = ud.Snapshot(Photos(transform=ud.to_unit), AOS, seed=SEED, rank=rank, world=2).bind(model)
    loader = aos.loader(BATCH)
    for epoch in range(EPOCHS):
        aos.set_epoch(epoch)
        for x, y in loader:
            shown.append(x)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return {"shown": arrays(shown), "weights": weights(net)}


def in_lightning(folder: Path, **more: Any) -> tuple[test_lightning.Module, ud.Snapshot, L.Trainer]:
    aos, module = test_lightning.snapshot(), test_lightning.Module()
    settings = {"strategy": "ddp", "devices": 2, "default_root_dir": folder, "limit_val_batches": 0} | more
    return module, aos, test_lightning.trainer(aos, **settings)


def lightning(rank: int, folder: Path) -> Answer:
    """A run saved after every batch, one that goes on from within its epoch 2, and what is refused."""
    saving = L.pytorch.callbacks.ModelCheckpoint(folder, "{step}", save_top_k=-1, every_n_train_steps=1)
    module, aos, trainer = in_lightning(folder)
    trainer = test_lightning.trainer(aos, saving, strategy="ddp", devices=2, limit_val_batches=0)
    trainer.fit(module, aos.loader(BATCH))
    again, aos, trainer = in_lightning(folder)
    trainer.fit(again, aos.loader(BATCH), ckpt_path=folder / "step=10.ckpt")
    undivided, aos, _ = in_lightning(folder)
    alone = test_lightning.trainer(None, strategy="ddp", devices=2, limit_val_batches=0)
    with pytest.raises(ud.InputError, match="rank and world must be"):
        alone.fit(undivided, aos.bind(undivided).loader(BATCH))
    sharded, aos, trainer = in_lightning(folder)
    trainer.strategy.__class__ = type("FSDPStrategy", (L.pytorch.strategies.ParallelStrategy,), {})
    with pytest.raises(ud.InputError, match='FSDPStrategy divides: use strategy="ddp"'):
        SnapshotCallback(aos).setup(trainer, sharded, "fit")
    shown = arrays([x for _, x, _ in module.shown])
    return {
        "shown": shown,
        "weights": weights(module.net),
        "resumed": arrays([x for _, x, _ in again.shown]),
        "last": weights(again.net),
    }


def transformers(rank: int, folder: Path) -> Answer:
    """A run saved after every step, one that goes on from within its epoch 2, and what is refused."""
    settings: dict[str, Any] = {"per_device_train_batch_size": BATCH}
    whole = test_trainer.trainer(folder, save_strategy="steps", save_steps=1, **settings)
    whole.train()
    again = test_trainer.trainer(folder, **settings)
    again.train(resume_from_checkpoint=str(folder / "checkpoint-10"))
    with pytest.raises(ud.InputError, match="dispatch_batches"):
        test_trainer.trainer(folder, accelerator_config={"dispatch_batches": True})
    return {
        "shown": arrays(whole.model.shown),
        "altered": whole.snapshot.current.altered[0].packed.numpy(),
        "weights": weights(whole.model.net),
        "resumed": arrays(again.model.shown),
        "last": weights(again.model.net),
    }


def accelerated(rank: int) -> list[int]:
    """The rows that a loader shows which Accelerate was given too."""
    aos = ud.Snapshot(Photos(transform=ud.to_unit), AOS, seed=SEED, rank=rank, world=2).bind(network())
    loader, other = Accelerator(cpu=True).prepare(aos.loader(BATCH), DataLoader(Photos(), batch_size=BATCH))
    aos.set_epoch(0)
    assert sum(len(x) for x, _ in other) == 24  # half of the plain one, filled up
    return [sum(len(x) for x, _ in loader), len(list(loader))]


def everything(rank: int, folder: Path) -> Answer:
    like_torchrun(rank)
    return {
        "plain": plain(rank),
        "lightning": lightning(rank, folder / "lightning"),
        "transformers": transformers(rank, folder / "transformers"),
        "accelerate": accelerated(rank),
    }


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    folder = tmp_path_factory.mktemp("two")
    return in_two(everything, folder, folder)


pytestmark = quiet


def same(one: list[np.ndarray], two: list[np.ndarray]) -> bool:
    return len(one) == len(two) and all(np.array_equal(x, v) for x, v in zip(one, two, strict=True))


def test_lightning_on_two_devices_is_the_plain_loop_under_torchrun_and_goes_on_within_an_epoch(
    both: list[Answer],
) -> None:
    for rank in both:
        plain, found = rank["plain"], rank["lightning"]
        assert len(plain["shown"]) == 4 * EPOCHS
        assert same(found["shown"], plain["shown"])
        assert np.array_equal(found["weights"], plain["weights"])
        assert same(found["resumed"], found["shown"][10:])
        assert np.array_equal(found["last"], found["weights"])


def test_the_trainer_on_two_devices_divides_the_epochs_of_one_process_and_alters_alike(both: list[Answer]) -> None:
    zero, one = (rank["transformers"] for rank in both)
    assert np.array_equal(zero["altered"], one["altered"])
    assert np.array_equal(zero["weights"], one["weights"])
    aos = ud.Snapshot(Pictures(), AOS, seed=SEED).bind(network())
    aos.set_epoch(0)
    expected = np.concatenate([batch["pixel_values"].numpy() for batch in aos.loader(2 * BATCH)])
    together = [np.concatenate(pair) for pair in zip(zero["shown"][:4], one["shown"][:4], strict=True)]
    shown = np.concatenate(together)
    assert np.array_equal(shown[: len(expected)], expected)  # the same global batches, from equal weights
    assert np.array_equal(shown[len(expected) :], expected[:4])  # the Trainer fills the last batch up
    assert all(same(rank["resumed"], rank["shown"][10:]) for rank in (zero, one))
    assert all(np.array_equal(rank["last"], rank["weights"]) for rank in (zero, one))


def test_accelerate_does_not_divide_what_is_divided(both: list[Answer]) -> None:
    assert [rank["accelerate"] for rank in both] == [[30, 4], [30, 4]]
