"""Losses against torch's own and against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from small import METHODS
from torch.nn import functional

import underdog as ud
from underdog.loss import loss_of

COUNTS = (50, 7, 1, 20)
#: Those of all methods' stages.
LOSSES = {
    f"{name}, stage {n}" if n else name: loss_of(stage.loss, COUNTS)
    for name, method in METHODS.items()
    for n, stage in enumerate(method.stages)
    if stage.loss != ud.cross_entropy or name == "baseline"
}


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 4, generator=generator, dtype=torch.float64) * 3
    return logits, torch.randint(0, 4, (200,), generator=generator)


def test_cross_entropy_is_torchs_and_its_formula(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    z, y = batch
    ours = ud.CrossEntropy()(z, y)
    torch.testing.assert_close(ours, functional.cross_entropy(z, y, reduction="none"))
    naive = [math.log(sum(math.exp(v) for v in row)) - row[k] for row, k in zip(z.tolist(), y.tolist(), strict=True)]
    torch.testing.assert_close(ours, torch.tensor(naive, dtype=torch.float64))


def test_class_weighting_is_inverse_frequency_with_mean_one(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    z, y = batch
    loss = ud.class_weighted(COUNTS)
    weights = torch.tensor([sum(COUNTS) / (len(COUNTS) * n) for n in COUNTS])
    torch.testing.assert_close(loss.weights, weights)
    assert sum(w * n for w, n in zip(loss.weights.tolist(), COUNTS, strict=True)) == pytest.approx(sum(COUNTS))
    theirs = functional.cross_entropy(z, y, weight=weights.double(), reduction="none")
    torch.testing.assert_close(loss(z, y), theirs, rtol=1e-6, atol=0)


def test_balanced_softmax_is_equation_4(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    z, y = batch
    naive = [
        -math.log(COUNTS[k] * math.exp(row[k]) / sum(n * math.exp(v) for n, v in zip(COUNTS, row, strict=True)))
        for row, k in zip(z.tolist(), y.tolist(), strict=True)
    ]
    ours = ud.balanced_softmax(COUNTS)(z, y)
    torch.testing.assert_close(ours, torch.tensor(naive, dtype=torch.float64), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("power", [0.3, 1.0, 1.7])
def test_weights_to_a_power_are_its_formula_with_mean_one(power: float) -> None:
    weights = ud.class_weighted(COUNTS, power).weights
    ratios = [(n / COUNTS[0]) ** -power for n in COUNTS]
    torch.testing.assert_close(weights / weights[0], torch.tensor(ratios), rtol=1e-5, atol=0)
    assert sum(w * n for w, n in zip(weights.tolist(), COUNTS, strict=True)) == pytest.approx(sum(COUNTS))


@pytest.mark.parametrize("power", [0.3, 1.7])
def test_logit_adjustment_is_menons_equation_10(power: float, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    z, y = batch
    prior = [n / sum(COUNTS) for n in COUNTS]
    naive = [
        math.log(sum((q / prior[k]) ** power * math.exp(v - row[k]) for q, v in zip(prior, row, strict=True)))
        for row, k in zip(z.tolist(), y.tolist(), strict=True)
    ]
    ours = ud.balanced_softmax(COUNTS, power)(z, y)
    torch.testing.assert_close(ours, torch.tensor(naive, dtype=torch.float64), rtol=1e-5, atol=1e-6)


def test_the_power_1_is_bit_for_bit_the_usual_loss() -> None:
    n = torch.tensor(COUNTS, dtype=torch.float32)
    assert ud.class_weighted(COUNTS).weights.equal(n.sum() / (len(n) * n))
    assert ud.balanced_softmax(COUNTS).log_counts.equal(n.log())


def test_with_equal_counts_all_losses_are_cross_entropy(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = ud.CrossEntropy()(*batch)
    for rule in (ud.cross_entropy, ud.class_weighted, ud.balanced_softmax):
        torch.testing.assert_close(rule((9, 9, 9, 9))(*batch), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_one_value_an_image_and_log_odds_has_the_gradients_sign(
    name: str, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    z, y = batch[0].requires_grad_(), batch[1]
    loss = LOSSES[name]
    assert loss(z, y).shape == loss.log_odds(z, y).shape == y.shape
    (plain,) = torch.autograd.grad(loss(z, y).sum(), z)
    (odds,) = torch.autograd.grad(loss.log_odds(z, y).sum(), z)
    assert (plain != 0).all()
    assert torch.equal(plain.sign(), odds.sign())
    # Each image's gradient is the other's times one positive number, so a gradient in pixels has its sign as well.
    scale = odds / plain
    torch.testing.assert_close(scale, scale[:, :1].expand_as(scale))
    assert (scale > 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_log_odds_keeps_a_direction_where_a_sure_network_has_none(name: str) -> None:
    z, y = torch.tensor([[200.0, 0.0, -5.0, 1.0]], requires_grad=True), torch.tensor([0])
    (plain,) = torch.autograd.grad(LOSSES[name](z, y).sum(), z)
    (odds,) = torch.autograd.grad(LOSSES[name].log_odds(z, y).sum(), z)
    assert (plain == 0).all()
    assert odds.sign().tolist() == [[-1, 1, 1, 1]]
