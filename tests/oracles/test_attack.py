"""FGSM and PGD against foolbox."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from small import attacked

import underdog as ud
from underdog.attack.base import gradient

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # foolbox imports from old places in scipy
    import foolbox


BYTES = (0, 255)
STEP = "must be a number above 0 and at most 1, in units of pixels from 0 to 1 (such as 2/255)"


def images(channels: int) -> tuple[ud.Learner, torch.Tensor, torch.Tensor]:
    """A learner, images that meet both bounds, and their classes."""
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (32, channels, 16, 16), dtype=np.uint8))
    pixels[:, :, :4], pixels[:, :, 4:8] = BYTES
    y = torch.from_numpy(rng.integers(0, 5, 32))
    torch.manual_seed(0)
    learner = ud.Learner(ud.PaperNet(channels, 5, (16, 16), width=0.25), 5)
    for _ in range(3):  # BatchNorm's statistics are then no longer trivial
        learner.step(ud.to_unit(pixels), y)
    return learner, ud.to_unit(pixels).contiguous(memory_format=torch.channels_last), y


def by_foolbox(attack: Any, learner: ud.Learner, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    victim = foolbox.PyTorchModel(learner.model.eval(), bounds=(0, 1), device="cpu")
    return attack(victim, x, y, epsilons=eps)[1]


@pytest.mark.parametrize("eps", [1 / 255, 8 / 255, 0.3])
@pytest.mark.parametrize("channels", [1, 3])
def test_fgsm_gives_foolboxs_images(eps: float, channels: int) -> None:
    learner, x, y = images(channels)
    ours = attacked(ud.FGSM(), learner, x, y, eps)
    assert torch.equal(ours, by_foolbox(foolbox.attacks.LinfFastGradientAttack(random_start=False), learner, x, y, eps))
    assert (ours - x).abs().max() == pytest.approx(eps, abs=1e-6)
    assert (ours[:, :, 4:8] <= 1).all()
    assert (ours[:, :, :4] >= 0).all()


@pytest.mark.parametrize(("eps", "steps", "size"), [(8 / 255, 1, 8 / 255), (8 / 255, 7, 2 / 255), (0.3, 5, 0.2)])
def test_pgd_gives_foolboxs_images(eps: float, steps: int, size: float) -> None:
    learner, x, y = images(3)
    ours = attacked(ud.PGD(steps, size, random_start=False), learner, x, y, eps)
    theirs = foolbox.attacks.LinfPGD(abs_stepsize=size, steps=steps, random_start=False)
    assert torch.equal(ours, by_foolbox(theirs, learner, x, y, eps))


@pytest.mark.parametrize("attack", [ud.FGSM(), ud.PGD(3, 0.02, random_start=False), ud.PGD(2), ud.RandomSign()])
def test_an_eps_for_each_image_is_that_of_the_image_alone(attack: Any) -> None:
    learner, x, y = images(3)
    lengths = torch.linspace(0, 0.3, len(x), dtype=torch.float64)
    together = attack(learner, x, y, lengths, np.random.default_rng(0)).show(x, torch.arange(len(x)))
    for eps in (0.0, lengths[7].item(), 0.3):
        alike = attacked(attack, learner, x, y, eps)
        at = lengths.tolist().index(eps)
        assert torch.equal(together[at], alike[at])


def test_the_random_start_is_uniform_within_eps() -> None:
    learner, x, y = images(1)
    u = np.random.default_rng(0).uniform(-0.1, 0.1, x.shape).astype(np.float32)
    first = (x + torch.from_numpy(u)).clamp(0, 1)
    sign = gradient(learner, first, y).sign()
    expected = ((first + 0.05 * sign - x).clamp(-0.1, 0.1) + x).clamp(0, 1)
    assert torch.equal(attacked(ud.PGD(1, 0.05), learner, x, y, 0.1), expected)


@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_stays_as_near_as_fgsm_and_finds_a_higher_loss(random_start: bool) -> None:
    learner, x, y = images(3)
    before = x.clone()
    attacks = ud.FGSM(), ud.PGD(random_start=random_start)
    one, many = (attacked(attack, learner, x, y, 0.1) for attack in attacks)
    assert torch.equal(x, before)
    assert (many - x).abs().max() <= 0.1 + 1e-6
    assert 0 <= many.min() <= many.max() <= 1
    losses = [learner.objective(learner.logits(each), y).mean() for each in (x, one, many)]
    assert losses == sorted(losses)
    again, other = (attacked(attacks[1], learner, x, y, 0.1, seed) for seed in (0, 1))
    assert torch.equal(again, many)
    assert torch.equal(other, many) is not random_start


def test_a_gradient_that_is_one_value_for_many_pixels_is_followed() -> None:
    class Sums(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = torch.nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(x.sum((2, 3)))

    x, y = torch.full((4, 3, 8, 8), 0.5), torch.tensor([0, 1, 0, 1])
    moved = attacked(ud.PGD(steps=2.0), ud.Learner(Sums(), 2), x, y, 0.1)  # 2.0 is 2
    assert (moved - x).abs().max() <= 0.1 + 1e-6
    assert not torch.equal(moved, x)


def test_pgd_of_no_distance_leaves_images_as_they_are() -> None:
    learner, x, y = images(1)
    assert torch.equal(attacked(ud.PGD(), learner, x, y, 0.0), x)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1 and at most 1000, not 0"),
        ({"steps": 1.5}, "steps must be a whole number of at least 1 and at most 1000, not 1.5"),
        ({"step_size": 0}, f"step_size {STEP}, not 0"),
        ({"step_size": 2}, f"step_size {STEP}, not 2"),
        ({"step_size": float("nan")}, f"step_size {STEP}, not nan"),
        ({"random_start": "no"}, "random_start must be True or False, not 'no'"),
    ],
)
def test_pgd_refuses_what_it_cannot_do(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ud.InputError) as error:
        ud.PGD(**options)
    assert str(error.value) == why
