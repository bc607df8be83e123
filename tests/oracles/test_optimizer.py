"""Optimisers and schedules by name against torch's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from small import image_set, learner
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR

import underdog as ud
from underdog.optimizer import SchedulerRule

EPOCHS, UPDATES = 5, 8


def rates(rule: SchedulerRule, epochs: int = EPOCHS) -> list[float]:
    """The learning rates of a learner's updates."""
    who, found = learner(2, lr=0.3), []
    for epoch in range(epochs):
        who.begin(rule, epoch, epochs, UPDATES)
        for _ in range(UPDATES):
            found.append(who.optimizer.param_groups[0]["lr"])
            who._updated(1)
    return found


def torch_rates(make: Callable[[Optimizer], LRScheduler]) -> list[float]:
    optimizer = SGD(nn.Linear(2, 2).parameters(), lr=0.3)
    scheduler, found = make(optimizer), []
    for _ in range(EPOCHS * UPDATES):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("name", "torchs"),
    [
        ("cosine", lambda o: CosineAnnealingLR(o, EPOCHS * UPDATES)),
        ("linear", lambda o: LinearLR(o, 1, 0, EPOCHS * UPDATES)),
        ("step", lambda o: MultiStepLR(o, [EPOCHS * UPDATES // 2, 3 * EPOCHS * UPDATES // 4])),
    ],
)
def test_schedules_are_torchs(name: str, torchs: Callable[[Optimizer], LRScheduler]) -> None:
    assert rates(ud.named_scheduler(name)) == pytest.approx(torch_rates(torchs), abs=1e-12)


def test_a_warm_up_rises_in_equal_steps_to_the_height_and_the_course_begins_there() -> None:
    found = rates(ud.named_scheduler("cosine", warmup=2))
    assert found[:16] == pytest.approx([0.3 * (u + 1) / 16 for u in range(16)])
    assert found[16:] == pytest.approx(rates(ud.named_scheduler("cosine"), EPOCHS - 2))
    assert rates(ud.named_scheduler("constant", warmup=1))[7:] == pytest.approx([0.3] * 33)


@pytest.mark.parametrize(
    ("name", "decay", "kind", "expected"),
    [("adam", None, Adam, 0), ("adamw", None, AdamW, 0.01), ("sgd", None, SGD, 0), ("adam", 0.1, Adam, 0.1)],
)
def test_optimizers_are_torchs(name: str, decay: float | None, kind: type[Optimizer], expected: float) -> None:
    optimizer = ud.named_optimizer(name, decay)(nn.Linear(2, 2).parameters(), 0.2)
    assert type(optimizer) is kind
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.2, expected)
    assert optimizer.defaults.get("momentum", 0.9) == 0.9


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(ud.InputError, match="unknown optimizer 'adan'; did you mean 'adam'"):
        ud.named_optimizer("adan")
    with pytest.raises(ud.InputError, match="unknown scheduler 'cosin'; did you mean 'cosine'"):
        ud.named_scheduler("cosin")


def test_the_backbone_learns_at_its_own_rate() -> None:
    split = ud.Split(*(image_set((20, 4, 8), (1, 16, 16), seed) for seed in range(2)))
    net = learner(3).model
    before = {k: v.clone() for k, v in net.named_parameters()}
    hyper = ud.Hyperparameters(epochs=1, optimizer=SGD, lr_backbone=1e-30)
    ud.Training(net, ud.Method(), split, hyper).advance()
    moved = [k for k, v in net.named_parameters() if (v - before[k]).abs().max() > 1e-20]
    last = ud.head(net)
    assert moved == [f"{last}.weight", f"{last}.bias"]


def test_a_rate_for_a_backbone_that_is_frozen_is_refused() -> None:
    net = learner(3).model
    ud.freeze_until(net, ud.head(net))
    with pytest.raises(ud.InputError, match="lr_backbone needs parameters to train"):
        ud.Learner(net, 3, lr_backbone=0.1)
