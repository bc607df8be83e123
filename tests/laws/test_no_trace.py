"""Attacks and evaluations leave no trace on the network or on anyone's random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from small import METHODS, Awkward, attacked, image_set, moment

import underdog as ud
from underdog.attack.base import gradient


def snapshot(who: ud.Learner) -> list[object]:
    """Everything a refresh must leave bit-identical."""
    model = who.model
    moments, plain = who.optimizer_state()
    return [
        [(k, v.clone()) for k, v in model.state_dict().items()],
        [(k, id(v)) for k, v in model.named_buffers()],
        [m.training for m in model.modules()],
        [(p.requires_grad, None if p.grad is None else p.grad.clone(), id(p.grad)) for p in model.parameters()],
        sorted((k, v.clone()) for k, v in moments.items()),
        plain,
        torch.get_rng_state(),
        numpy_state(),
        random.getstate(),
        torch.is_grad_enabled(),
    ]


def numpy_state() -> list[object]:
    """Keys and position of numpy's global generator: the keys alone do not change with every draw."""
    _, keys, *position = np.random.get_state()
    return [keys.copy(), position]


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)  # type: ignore[arg-type]
    if isinstance(a, np.ndarray):
        return bool((a == b).all())
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))  # type: ignore[arg-type]
    return a == b


def trained(fails: bool = False) -> ud.Learner:
    """A learner with moments, gradients and mixed flags."""
    who = ud.Learner(Awkward(), 3)
    who.step(torch.rand(8, 1, 16, 16), torch.arange(8) % 3)
    who.model.fails = fails
    return who


def resampled(method: ud.Method, who: ud.Learner) -> None:
    """What the resamplers of all stages do, at their start and before an epoch."""
    for n, stage in enumerate(method.stages):
        epoch = stage.resampler.start(ud.Epoch.of(image_set((9, 2, 2))), moment(who=who, stage=n, started=False))
        stage.resampler.refresh(epoch, moment(who=who, stage=n))


X, Y = ud.to_unit(image_set((4,)).images), torch.zeros(4, dtype=torch.int64)
ACTIONS: dict[str, Callable[[ud.Learner], object]] = {
    **{f"method {name}": partial(resampled, method) for name, method in METHODS.items()},
    "all altered": partial(resampled, ud.Method(ud.aos(0.1, 1))),
    "by loss": partial(resampled, ud.Method(ud.Perturb(ud.PGD(2), 0.1, 1, select=ud.ByLoss()))),
    "noise": lambda who: attacked(ud.RandomSign(), who, X, Y, 0.1),
    "fgsm": lambda who: attacked(ud.FGSM(), who, X, Y, 0.1),
    "pgd": lambda who: attacked(ud.PGD(3), who, X, Y, 0.1),
    "evaluate": lambda who: ud.evaluate(who, image_set((4, 4, 4))),
    "logits": lambda who: who.logits(X),
    "features": lambda who: who.features(X),
    "gradients": lambda who: who.gradients(X, lambda logits: logits),
}


def looks(action: str) -> bool:
    """Whether an action runs the network."""
    who, seen = trained(), list[torch.Tensor]()
    forward = who._forward
    who._forward = lambda x: (seen.append(x), forward(x))[1]  # type: ignore[method-assign]
    ACTIONS[action](who)
    return bool(seen)


def test_what_needs_the_network_is_known() -> None:
    found = {action for action in ACTIONS if looks(action)}
    assert found >= {
        "method aos",
        "all altered",
        "by loss",
        "fgsm",
        "pgd",
        "evaluate",
        "logits",
        "features",
        "gradients",
    }
    assert not found & {"method ros", "method noise", "noise"}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("action", ACTIONS)
def test_no_trace(action: str, fails: bool) -> None:
    who = trained(fails)
    breaks = fails and looks(action)
    before = snapshot(who)
    with pytest.raises(RuntimeError, match="broke") if breaks else nullcontext():
        ACTIONS[action](who)
    assert [n for n, (a, b) in enumerate(zip(before, snapshot(who), strict=True)) if not same(a, b)] == []


@pytest.mark.parametrize("action", ["gradients", "features", "logits"])
def test_the_global_random_state_is_untouched_by_a_network_that_draws(action: str) -> None:
    who = trained()
    before = [torch.get_rng_state(), numpy_state(), random.getstate()]
    ACTIONS[action](who)
    assert same(before, [torch.get_rng_state(), numpy_state(), random.getstate()])


def test_inputs_are_left_alone_even_by_an_in_place_first_layer() -> None:
    who, x = trained(), torch.rand(4, 1, 16, 16) - 0.5
    before = x.clone()
    who.gradients(x, lambda z: z.sum(1, keepdim=True))
    gradient(who, x, Y)
    who.features(x)
    assert torch.equal(x, before)
    assert x.grad is None


def test_training_keeps_frozen_parts_frozen_and_the_callers_random_state() -> None:
    model = Awkward()
    frozen = {k: v.clone() for k, v in model.frozen.state_dict().items()}
    split = ud.Split(image_set((20, 4, 4)), image_set((3, 3, 3), seed=1), image_set((3, 3, 3), seed=2))
    state = torch.get_rng_state()
    ud.fit(model, ud.Method(ud.aos(0.1, 0.5)), split, ud.Hyperparameters(epochs=2, batch=8))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, model.frozen.state_dict()[k]) for k, v in frozen.items())
    assert not model.frozen.training
    assert model.bn.training


def test_a_model_in_evaluation_mode_as_a_whole_is_put_into_training_mode() -> None:
    model = Awkward().eval()
    ud.Learner(model, 3)
    assert model.bn.training


def test_a_normalised_model_in_evaluation_mode_is_put_into_training_mode_too() -> None:
    model = ud.normalized(Awkward().eval(), image_set((4, 4)).images)
    ud.Learner(model, 3)
    assert model[1].bn.training
