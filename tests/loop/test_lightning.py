"""Snapshots and perturb_batch in Lightning."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from extras import needs, quiet
from scripts import LossInside, Photos, network
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

import underdog as ud

needs("lightning")

import lightning as L  # noqa: E402
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper  # noqa: E402
from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: E402
from lightning.pytorch.utilities import CombinedLoader  # noqa: E402

from underdog.loop.lightning import SnapshotCallback  # noqa: E402

EPS, TAU, SEED, BATCH, EPOCHS = 16 / 255, 0.6, 5, 16, 4
AOS = ud.aos(EPS, TAU)
Batch = tuple[Tensor, Tensor]
pytestmark = [
    quiet,
    pytest.mark.filterwarnings(
        "ignore:Be aware that when using `ckpt_path`",  # what saved is not there when the run goes on
        "error:You're resuming",
    ),
]


class Module(L.LightningModule):
    """A classifier that notes what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.shown = network(), list[tuple[int, Tensor, Tensor]]()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Batch, number: int) -> Tensor:
        self.shown.append((self.current_epoch, *batch))
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Batch, number: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def snapshot(resampler: ud.Resampler = AOS) -> ud.Snapshot:
    return ud.Snapshot(Photos(transform=ud.to_unit), resampler, seed=SEED)


def trainer(aos: ud.Snapshot | None, *callbacks: L.Callback, **settings: object) -> L.Trainer:
    own = [] if aos is None else [SnapshotCallback(aos)]
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    keep = {"enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in callbacks)}
    return L.Trainer(callbacks=[*own, *callbacks], **{"max_epochs": EPOCHS} | quiet | keep | settings)


def validation() -> DataLoader[Batch]:
    return DataLoader(Photos(transform=ud.to_unit, seed=1), batch_size=20)


def trained(resampler: ud.Resampler = AOS, workers: int = 0, **settings: object) -> Module:
    module, aos = Module(), snapshot(resampler)
    loader = aos.loader(BATCH, num_workers=workers, persistent_workers=workers > 0)
    trainer(aos, **settings).fit(module, loader, validation())
    return module


def plain(
    epochs: int = EPOCHS, limit: int = 99, resampler: ud.Resampler = AOS
) -> tuple[list[Batch], dict[str, Tensor]]:
    """What a plain loop shows, and the weights it comes to."""
    net, shown = network(), list[Batch]()
    optimizer, aos = torch.optim.Adam(net.parameters()), snapshot(resampler).bind(net)
    loader = aos.loader(BATCH)
    for epoch in range(epochs):
        aos.set_epoch(epoch)
        for _, (x, y) in zip(range(limit), loader, strict=False):
            shown.append((x, y))
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    return shown, net.state_dict()


def equal(module: Module, shown: list[Batch], weights: dict[str, Tensor]) -> bool:
    images = all(torch.equal(x, v) and torch.equal(y, w) for (_, x, y), (v, w) in zip(module.shown, shown, strict=True))
    return images and all(torch.equal(v, weights[k]) for k, v in module.net.state_dict().items())


@pytest.mark.parametrize("workers", [0, 2])
def test_lightning_shows_the_very_images_that_a_plain_loop_shows(workers: int) -> None:
    assert equal(trained(workers=workers), *plain())


def test_lightning_that_stops_within_epochs_and_validates_there() -> None:
    assert equal(trained(limit_train_batches=3, val_check_interval=2, workers=1), *plain(limit=3))


def test_in_lightning_tau_0_and_eps_0_are_plain_oversampling_bit_for_bit() -> None:
    reference = trained(ud.RandomOverSampler(), max_epochs=2)
    shown, weights = [(x, y) for _, x, y in reference.shown], reference.net.state_dict()
    for resampler in (ud.aos(EPS, 0), ud.aos(0, TAU)):
        assert equal(trained(resampler, max_epochs=2), shown, weights)
    assert not equal(trained(max_epochs=2), shown, weights)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Module, Path]:
    """A run, saved after every batch, after every validation (in the middle and at the end), after every epoch."""
    folder, module, aos = tmp_path_factory.mktemp("lightning"), Module(), snapshot()
    kinds = {
        "batch": {"every_n_train_steps": 1},
        "validation": {"save_on_train_epoch_end": False},
        "epoch": {"save_on_train_epoch_end": True, "mode": "max"},  # Lightning wants them to differ in this
    }
    saving = [ModelCheckpoint(folder, f"{kind}-{{step}}", save_top_k=-1, **how) for kind, how in kinds.items()]
    trainer(aos, *saving, val_check_interval=2).fit(module, aos.loader(BATCH), validation())
    return module, folder


@pytest.mark.parametrize(
    "name",
    [
        "batch-step=1",
        "batch-step=7",
        "batch-step=8",
        "validation-step=6",
        "validation-step=8",
        "epoch-step=4",
        "epoch-step=8",
    ],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_lightning_goes_on_from_any_checkpoint(name: str, workers: int, checkpoints: tuple[Module, Path]) -> None:
    whole, folder = checkpoints
    aos, module = snapshot(), Module()
    loader = aos.loader(BATCH, num_workers=workers)
    trainer(aos, val_check_interval=2).fit(module, loader, validation(), ckpt_path=folder / f"{name}.ckpt")
    done = int(name.split("=")[1])
    assert len(module.shown) == len(whole.shown) - done
    assert equal(module, [(x, y) for _, x, y in whole.shown[done:]], whole.net.state_dict())


def test_resuming_within_an_epoch_without_the_callback_is_an_error(checkpoints: tuple[Module, Path]) -> None:
    aos, module = snapshot(), Module()
    with pytest.raises(ud.InputError, match="SnapshotCallback"):
        trainer(None).fit(module, aos.bind(module).loader(BATCH), ckpt_path=checkpoints[1] / "batch-step=7.ckpt")


def test_resuming_a_run_that_had_no_snapshot_needs_a_word(tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path, "old", save_last=False)
    data = Photos(transform=ud.to_unit)
    trainer(None, saving, max_epochs=3).fit(Module(), DataLoader(data, BATCH, shuffle=True))
    aos, module = snapshot(), Module()
    with pytest.raises(ud.InputError, match=r"set_epoch\(3, anew=True\)"):
        trainer(aos).fit(module, aos.loader(BATCH), ckpt_path=tmp_path / "old.ckpt")
    aos.set_epoch(3, anew=True)
    trainer(aos).fit(module, aos.loader(BATCH), ckpt_path=tmp_path / "old.ckpt")
    assert {t for t, _, _ in module.shown} == {3}
    assert aos.current.altered_examples > 5


def test_what_lightning_may_not_do_to_the_loader_is_an_error_at_the_first_call() -> None:
    aos, module = snapshot(), Module()
    with pytest.raises(ud.InputError, match="trains on a DataLoader"):
        trainer(aos).fit(module, validation())
    with pytest.raises(ud.InputError, match="a list that is not the snapshot's"):
        trainer(aos).fit(module, CombinedLoader([aos.loader(BATCH)]))
    for wrong, said in ((lambda module: None, "a torch.nn.Module, not None"), (3, "network must be a function")):
        with pytest.raises(ud.InputError, match=said):
            alone(SnapshotCallback(aos, network=wrong)).fit(module, aos.loader(BATCH))  # type: ignore[arg-type]
    with pytest.raises(ud.InputError, match="network must be given, since Closed has no forward"):
        trainer(aos).fit(Closed(), aos.loader(BATCH))
    with pytest.raises(ud.InputError, match=r"snapshot must be an underdog\.Snapshot"):
        SnapshotCallback(None)  # type: ignore[arg-type]
    with (
        pytest.warns(UserWarning, match="overfit"),
        pytest.raises(ud.InputError, match="SequentialSampler"),
    ):
        trainer(aos, overfit_batches=2).fit(module, aos.loader(BATCH))


class Closed(Module):
    """A module that is called by nobody, and whose network returns its own loss."""

    forward = L.LightningModule.forward

    def __init__(self) -> None:
        super().__init__()
        self.net = LossInside(network(), "none")

    def training_step(self, batch: Batch, number: int) -> Tensor:
        self.shown.append((self.current_epoch, *batch))
        return self.net(*batch).mean()


def test_a_loss_inside_the_module_is_attacked_in_its_precision() -> None:
    module, aos, types = Closed(), snapshot(), set[torch.dtype]()
    module.net.net.register_forward_hook(lambda net, x, z: types.add(z.dtype))
    own = SnapshotCallback(aos, objective=module.net)
    alone(own, precision="bf16-mixed", max_epochs=1).fit(module, aos.loader(BATCH))
    assert types == {torch.bfloat16}
    module, aos = Closed(), snapshot()
    own = SnapshotCallback(aos, objective=module.net)
    alone(own, max_epochs=1).fit(module, aos.loader(BATCH))
    assert all(torch.equal(x, v) for (_, x, _), (v, _) in zip(module.shown, plain(1)[0], strict=True))


def alone(callback: SnapshotCallback, **settings: object) -> L.Trainer:
    """A trainer with this callback."""
    own = trainer(None, **settings)
    own.callbacks.append(callback)
    return own


def test_lightnings_precision_is_that_of_the_gradient_too() -> None:
    module, types = Module(), list[tuple[bool, torch.dtype]]()
    module.net.register_forward_hook(lambda net, x, z: types.append((net.training, z.dtype)))
    aos = snapshot()
    trainer(aos, precision="bf16-mixed", max_epochs=1).fit(module, aos.loader(BATCH))
    assert set(types) == {(False, torch.bfloat16), (True, torch.bfloat16)}


class Online(Module):
    """A module with one line more, and a sampler."""

    def __init__(self, sampler: ud.BalancedSampler) -> None:
        super().__init__()
        self.sampler, self.tally = sampler, ud.Tally()

    def training_step(self, batch: Batch, number: int) -> Tensor:
        x, y = batch
        x = ud.perturb_batch(x, y, self, eps=EPS, minority=self.sampler.minority, tally=self.tally)
        return super().training_step((x, y), number)


def test_perturb_batch_in_a_training_step() -> None:
    data = Photos(transform=ud.to_unit)
    module = Online(ud.BalancedSampler(data))
    trainer(None, max_epochs=2).fit(module, DataLoader(data, batch_size=BATCH, sampler=module.sampler))
    assert 2 * 0.2 * 20 < module.tally.altered < 2 * 0.8 * 20
    orders = [torch.cat([y for t, _, y in module.shown if t == epoch]) for epoch in (0, 1)]
    assert [y.bincount().tolist() for y in orders] == [[20] * 3] * 2
    assert not torch.equal(*orders)


def test_lightning_divides_a_balanced_sampler_among_devices() -> None:
    whole = list(ud.BalancedSampler([0] * 9 + [1] * 3))
    ranks = [
        list(DistributedSamplerWrapper(ud.BalancedSampler([0] * 9 + [1] * 3), num_replicas=2, rank=rank, shuffle=False))
        for rank in (0, 1)
    ]
    assert ranks == [whole[0::2], whole[1::2]]
