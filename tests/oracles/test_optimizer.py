"""Optimisers and schedules by name against torch's own."""

from __future__ import annotations

import pytest
from small import image_set, learner
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR, ReduceLROnPlateau

import underdog as ud

EPOCHS, UPDATES = 5, 8


def rates(make: object) -> list[float]:
    optimizer = SGD(nn.Linear(2, 2).parameters(), lr=0.3)
    scheduler: LRScheduler = make(optimizer)  # type: ignore[operator]
    found = []
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
def test_schedules_are_torchs(name: str, torchs: object) -> None:
    rule = ud.named_scheduler(name)
    assert rates(lambda o: rule(o, EPOCHS, UPDATES)) == pytest.approx(rates(torchs), abs=1e-12)


def test_a_warm_up_rises_in_equal_steps_to_the_height_and_the_course_begins_there() -> None:
    rule = ud.named_scheduler("cosine", warmup=2)
    found = rates(lambda o: rule(o, EPOCHS, UPDATES))
    assert found[:16] == pytest.approx([0.3 * (u + 1) / 16 for u in range(16)])
    shorter = ud.named_scheduler("cosine")
    assert found[16:] == pytest.approx(rates(lambda o: shorter(o, EPOCHS - 2, UPDATES))[:24])
    constant = ud.named_scheduler("constant", warmup=1)
    assert rates(lambda o: constant(o, EPOCHS, UPDATES))[7:] == pytest.approx([0.3] * 33)


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


def test_a_scheduler_that_asks_for_a_score_is_refused() -> None:
    with pytest.raises(ud.InputError, match="ReduceLROnPlateau"):
        learner(3).schedule(lambda o, epochs, updates: ReduceLROnPlateau(o), 1, 1)
