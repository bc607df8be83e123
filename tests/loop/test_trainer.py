"""Snapshots in the Transformers Trainer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from extras import needs
from scripts import Photos, Pictures, network
from torch import Tensor, nn
from torch.nn import functional as F

import underdog as ud

needs("transformers", "accelerate")

from transformers import Trainer, TrainerCallback, TrainingArguments  # noqa: E402
from transformers.modeling_outputs import ImageClassifierOutput  # noqa: E402

from underdog.loop.trainer import SnapshotTrainer  # noqa: E402

EPS, TAU, SEED, BATCH, EPOCHS = 16 / 255, 0.6, 5, 16, 4
AOS = ud.aos(EPS, TAU)
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning", "ignore:.*pin_memory.*")


class Model(nn.Module):
    """A model as in Transformers, which notes what it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.shown, self.config = network(), list[Tensor](), SimpleNamespace(problem_type=None)

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> ImageClassifierOutput:
        if self.training:
            self.shown.append(pixel_values)
        logits = self.net(pixel_values)
        return ImageClassifierOutput(loss=None if labels is None else F.cross_entropy(logits, labels), logits=logits)


def arguments(folder: Path, **settings: object) -> TrainingArguments:
    usual = {"num_train_epochs": EPOCHS, "per_device_train_batch_size": BATCH, "learning_rate": 1e-3, "use_cpu": True}
    quiet = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "seed": 3, "logging_strategy": "no"}
    return TrainingArguments(str(folder), **usual | quiet | settings)


def trainer(
    folder: Path, resampler: ud.Resampler = AOS, kind: Any = SnapshotTrainer, **settings: Any
) -> SnapshotTrainer:
    parts = {k: settings.pop(k) for k in ("callbacks", "compute_loss_func", "loss") if k in settings}
    aos = ud.Snapshot(Pictures(), resampler, seed=SEED)
    return kind(Model(), arguments(folder, **settings), snapshot=aos, eval_dataset=Pictures(1), **parts)


def plain(accumulate: int = 1) -> tuple[list[Tensor], dict[str, Tensor]]:
    """What a plain loop with the Trainer's optimizer and schedule shows, and the weights it comes to."""
    net, shown = network(), list[Tensor]()
    aos = ud.Snapshot(Pictures(), AOS, seed=SEED).bind(net)
    loader = aos.loader(BATCH)
    updates = -(-len(loader) // accumulate)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: max(0.0, 1 - n / (EPOCHS * updates)))
    for epoch in range(EPOCHS):
        aos.set_epoch(epoch)
        for number, batch in enumerate(loader):
            shown.append(batch["pixel_values"])
            n = min(accumulate, len(loader) - number // accumulate * accumulate)
            (F.cross_entropy(net(shown[-1]), batch["label"]) / n).backward()
            if (number + 1) % accumulate == 0 or number + 1 == len(loader):
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
    return shown, net.state_dict()


def equal(model: Model, shown: list[Tensor], weights: dict[str, Tensor]) -> bool:
    images = all(torch.equal(x, v) for x, v in zip(model.shown, shown, strict=True))
    return images and all(torch.equal(v, weights[k]) for k, v in model.net.state_dict().items())


@pytest.mark.parametrize(
    "settings",
    [
        {"dataloader_num_workers": 2, "dataloader_persistent_workers": True},
        {"gradient_accumulation_steps": 3},
        {"eval_strategy": "steps", "eval_steps": 3, "eval_on_start": True},
    ],
    ids=["workers", "accumulation", "evaluation"],
)
def test_the_trainer_shows_the_very_images_that_a_plain_loop_shows(settings: dict[str, Any], tmp_path: Path) -> None:
    own = trainer(tmp_path, **settings)
    own.train()
    assert own.state.global_step == own.state.max_steps
    assert equal(own.model, *plain(settings.get("gradient_accumulation_steps", 1)))


class Nosy(TrainerCallback):
    """Looks through the training loader in the middle and at the end of epochs."""

    def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        assert sum(len(batch["labels"]) for batch in parts["train_dataloader"]) == 60


def test_looking_through_the_trainers_loader_changes_nothing(tmp_path: Path) -> None:
    own = trainer(tmp_path, callbacks=[Nosy()])
    own.train()
    assert equal(own.model, *plain())


def test_in_the_trainer_tau_0_and_eps_0_are_plain_oversampling_bit_for_bit(tmp_path: Path) -> None:
    runs = [
        trainer(tmp_path, r, num_train_epochs=2) for r in (ud.RandomOverSampler(), ud.aos(EPS, 0), ud.aos(0, TAU), AOS)
    ]
    losses = [run.train().training_loss for run in runs]
    first = runs[0].model.shown, runs[0].model.net.state_dict()
    assert [equal(run.model, *first) for run in runs] == [True, True, True, False]
    assert losses[0] == losses[1] == losses[2] != losses[3]


@pytest.mark.parametrize(("accumulate", "steps"), [(1, (1, 4, 6)), (2, (3,))])
def test_the_trainer_goes_on_from_any_checkpoint(accumulate: int, steps: tuple[int, ...], tmp_path: Path) -> None:
    how = {"gradient_accumulation_steps": accumulate}
    whole = trainer(tmp_path, save_strategy="steps", save_steps=1, **how)
    whole.train()
    for step in steps:
        resumed = trainer(tmp_path, **how)
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        shown = whole.model.shown[step * accumulate :]
        assert equal(resumed.model, shown, whole.model.net.state_dict()), step


def test_the_trainers_own_loss_is_attacked(tmp_path: Path) -> None:
    def opposite(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return -F.cross_entropy(outputs.logits, labels)

    class Mine(Trainer):
        def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor], *args: Any, **kwargs: Any) -> Tensor:
            return opposite(model(inputs["pixel_values"]), inputs["labels"])

    class Both(SnapshotTrainer, Mine):
        pass

    ways: dict[str, dict[str, Any]] = {
        "usual": {},
        "function": {"compute_loss_func": opposite},
        "method": {"kind": Both},
        "smoothing": {"label_smoothing_factor": 0.9},
    }
    shown = {}
    for name, way in ways.items():
        own = trainer(tmp_path, num_train_epochs=1, **way)
        own.train()
        shown[name] = torch.cat(own.model.shown)
    assert torch.equal(shown["function"], shown["method"])
    assert (shown["usual"] != shown["function"]).any()
    assert (shown["usual"] != shown["smoothing"]).any()


def test_class_weights_in_the_trainer(tmp_path: Path) -> None:
    weight = torch.tensor([1.0, 2, 30])

    def weighted(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return F.cross_entropy(outputs.logits, labels, weight=weight)

    with pytest.raises(ud.InputError, match="SnapshotTrainer, as its loss="):
        trainer(tmp_path, compute_loss_func=weighted).train()
    shown = []
    for loss in (nn.CrossEntropyLoss(weight=weight), lambda z, y: -F.cross_entropy(z, y)):
        own = trainer(tmp_path, compute_loss_func=weighted, loss=loss, num_train_epochs=1)
        own.train()
        shown.append(torch.cat(own.model.shown))
    net = network()
    aos = ud.Snapshot(Pictures(), AOS, seed=SEED).bind(net, nn.CrossEntropyLoss(weight=weight))
    aos.set_epoch(0)
    assert torch.equal(shown[0], torch.cat([batch["pixel_values"] for batch in aos.loader(BATCH)]))
    assert (shown[0] != shown[1]).any()


def test_perturb_batch_in_the_trainers_training_step(tmp_path: Path) -> None:
    tally = ud.Tally()

    class Online(Trainer):
        def training_step(self, model: nn.Module, inputs: dict[str, Tensor], *more: Any) -> Tensor:
            x, y = inputs["pixel_values"], inputs["labels"]
            inputs["pixel_values"] = ud.perturb_batch(x, y, model, eps=EPS, tau=1, minority=[2], tally=tally)
            return super().training_step(model, inputs, *more)

    data, args = Pictures(), arguments(tmp_path, num_train_epochs=2)
    own = Online(Model(), args, train_dataset=data, eval_dataset=data)
    own.train()
    assert (tally.images, tally.altered) == (2 * 44, 2 * 4)
    own.evaluate()
    assert tally.images == 2 * 44


def test_what_the_trainer_cannot_do_is_an_error_at_the_first_call(tmp_path: Path) -> None:
    aos, args = ud.Snapshot(Pictures(), AOS), arguments(tmp_path)
    with pytest.raises(ud.InputError, match="train_dataset"):
        SnapshotTrainer(Model(), args, snapshot=aos, train_dataset=Pictures())
    for kind in ("FSDP", "DEEPSPEED"):
        parts = {"args": SimpleNamespace(world_size=2), "accelerator.distributed_type.value": kind}
        with pytest.raises(ud.InputError, match=f"which {kind} divides"):
            SnapshotTrainer.check(MagicMock(train_dataset=None, **parts))
    with pytest.raises(ud.InputError, match=r"snapshot must be an underdog\.Snapshot, not None"):
        SnapshotTrainer(Model(), args, snapshot=None)
    with pytest.raises(ud.InputError, match=r"loss must be a function .* not 'ce'"):
        SnapshotTrainer(Model(), args, snapshot=aos, loss="ce")
    with pytest.raises(ud.InputError, match="dictionaries, as the Trainer takes them, not of tuples"):
        SnapshotTrainer(Model(), args, snapshot=ud.Snapshot(Photos(transform=ud.to_unit), AOS))
    shrinking = trainer(tmp_path, ud.Every(2, Shrink()))
    with pytest.raises(ud.InputError, match="length from 44 to 12"):
        shrinking.train()
    assert shrinking.model.shown == []
    saved = trainer(tmp_path, save_strategy="steps", save_steps=1, max_steps=1, save_only_model=True)
    saved.train()
    with pytest.raises(ud.InputError, match="save_only_model"):
        trainer(tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))


class Shrink(ud.NoResampling):
    """Shows less in later epochs."""

    def refresh(self, epoch: ud.Epoch, now: ud.Moment) -> ud.Epoch:
        return ud.RandomUnderSampler().start(epoch, now)
