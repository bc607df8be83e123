"""Every option of training goes on after an interruption as if there had been none, and changes what is learned."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import underdog as ud

OPTIONS: dict[str, dict[str, object]] = {
    "adamw": {"optimizer": ud.named_optimizer("adamw", 0.1)},
    "sgd": {"optimizer": ud.named_optimizer("sgd", 0.01), "lr": 0.05},
    "two rates": {"lr_backbone": 1e-4},
    "cosine": {"scheduler": ud.named_scheduler("cosine", warmup=1)},
    "step": {"scheduler": ud.named_scheduler("step"), "lr_backbone": 1e-4},
    "one's own": {"scheduler": lambda now: 0.1 + abs(1 - 2 * now.share)},
    "augment": {"augment": ud.Augment(["flip", "crop", "color"])},
    "early stopping": {"early_stopping": 1, "lr": 0.02},
}  # fmt: skip


@pytest.fixture(scope="module")
def split() -> ud.Split:
    return ud.prepare(ud.load_images("digits"), rho=20, mu=0.6).split


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ud.PaperNet(1, 10, (16, 16), width=0.25)
    ud.freeze_until(net, "3")
    return net


def training(split: ud.Split, options: dict[str, object], seed: int = 0) -> ud.Training:
    hyper = ud.Hyperparameters(**{"epochs": 4, "batch": 64} | options)  # type: ignore[arg-type]
    return ud.Training(network(seed), ud.Method(ud.aos(0.1, 0.5)), split, hyper)


def finished(run: ud.Training) -> ud.Training:
    while not run.finished:
        run.advance()
    return run


@pytest.fixture(scope="module")
def plain(split: ud.Split) -> ud.Training:
    return finished(training(split, {}))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_training_with_an_option_goes_on_as_if_it_had_not_been_interrupted(
    options: dict[str, object], split: ud.Split, plain: ud.Training
) -> None:
    whole, first, second = finished(training(split, options)), training(split, options), training(split, options, 1)
    first.advance()
    tensors, rest = first.state()
    second.restore({k: v.clone().contiguous() for k, v in tensors.items()}, json.loads(json.dumps(rest)))
    finished(second)
    assert [(r.loss, r.val.confusion.tolist()) for r in second.records] == [
        (r.loss, r.val.confusion.tolist()) for r in whole.records
    ]
    weights = second.learner.weights()
    assert all(torch.equal(v, weights[k]) for k, v in whole.learner.weights().items())
    assert whole.records[0].loss != plain.records[0].loss or len(whole.records) < 4
    assert whole.learner.optimizer.param_groups[0]["lr"] == second.learner.optimizer.param_groups[0]["lr"]


def test_the_defaults_by_name_are_the_defaults(split: ud.Split, plain: ud.Training) -> None:
    named = {
        "optimizer": ud.named_optimizer("adam"),
        "scheduler": ud.named_scheduler("constant"),
        "augment": ud.Augment([]),
    }
    same = finished(training(split, named))
    assert [r.loss for r in same.records] == [r.loss for r in plain.records]
    weights = same.learner.weights()
    assert all(torch.equal(v, weights[k]) for k, v in plain.learner.weights().items())


def test_frozen_layers_and_their_statistics_stay_as_they_were(plain: ud.Training) -> None:
    before, after = network().state_dict(), plain.learner.model.state_dict()
    same = {k for k, v in before.items() if torch.equal(v, after[k])}
    assert same == {k for k in before if k.split(".")[0] in ("0", "1")}  # convolution and BatchNorm before layer 3


def test_early_stopping_waits_for_validation_and_says_so(split: ud.Split) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
    still = ud.Hyperparameters(
        epochs=9, lr=1e-12, early_stopping=2
    )  # too slow to change any answer: the first is the best
    run = finished(ud.Training(net, ud.Method(), split, still))
    assert (len(run.records), run.best_epoch, run.stopped_early) == (3, 0, True)
    assert not finished(training(split, {"early_stopping": 4})).stopped_early
