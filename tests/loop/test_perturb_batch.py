"""perturb_batch is the bare gradient step, whatever a script is made of."""

from __future__ import annotations

import pytest
import torch
from scripts import ANSWERS, CLASSES, EPS, RARE, Darken, LossInside, Wrapped, batch, expected, network, perturbed
from torch import nn
from torch.nn import functional as F

import underdog as ud

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def test_every_minority_image_is_moved_and_no_other() -> None:
    (x, y), net = batch(), network()
    before = x.clone()
    assert torch.equal(perturbed(x, y, net), expected(net, x, y))
    assert torch.equal(x, before)


def test_the_attack_may_be_another_one_and_gets_the_pixels_of_the_rare_images() -> None:
    (x, y), net, tally = batch(), network(), ud.Tally()
    assert torch.equal(perturbed(x, y, net, attack=ud.FGSM()), expected(net, x, y))
    darker = perturbed(x, y, net, attack=Darken(), tally=tally)
    assert torch.equal(darker[RARE], x[RARE] * 0.5)
    assert torch.equal(darker[~RARE], x[~RARE])
    assert (tally.altered, tally.zero_gradients) == (8, 0)
    far = perturbed(x, y, net, attack=ud.PGD(5))
    assert 0 < (far - x).abs().max() <= EPS + 1e-6
    before, after = (F.cross_entropy(net.eval()(z[RARE]), y[RARE]) for z in (x, far))
    assert after > before


@pytest.mark.parametrize("attack", [ud.FGSM(), ud.PGD(3, random_start=False)])
def test_an_attack_moves_normalised_images_by_as_many_pixels(attack: object) -> None:
    (x, y), net = batch(), network()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    seen = perturbed((x - mean) / std, y, net, mean=MEAN, std=STD, attack=attack)
    pixels = perturbed(x, y, nn.Sequential(ud.Normalize(MEAN, STD), net), attack=attack)
    moved = seen * std + mean - pixels
    assert (moved.abs() > 1e-5).float().mean() < 0.001  # other roundings turn hardly any sign around


def test_what_draws_draws_from_the_scripts_generator() -> None:
    (x, y), net = batch(), network()
    one, two, three = (
        perturbed(x, y, net, attack=ud.RandomSign(), generator=torch.Generator().manual_seed(n)) for n in (0, 0, 1)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


@pytest.mark.parametrize("how", ANSWERS)
def test_a_network_may_answer_in_any_of_these_ways(how: str) -> None:
    (x, y), net = batch(), network()
    assert torch.equal(perturbed(x, y, Wrapped(net, ANSWERS[how])), expected(net, x, y))


LOSSES: dict[str, tuple[object, object]] = {
    "none": (None, F.cross_entropy),
    "function": (F.cross_entropy, F.cross_entropy),
    "module": (nn.CrossEntropyLoss(), F.cross_entropy),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.3), lambda z, y: F.cross_entropy(z, y, label_smoothing=0.3)),
    "weighted": (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2, 30]).double()), F.cross_entropy),
    "mean of one's own": (lambda z, y: F.cross_entropy(z, y) ** 1, F.cross_entropy),
    "sum of one's own": (lambda z, y: F.cross_entropy(z, y).mul(len(y)), F.cross_entropy),
    "one for each": (lambda z, y: F.multi_margin_loss(z, y, reduction="none"), F.multi_margin_loss),
    "focal": (lambda z, y: ((1 - z.softmax(1).gather(1, y[:, None])) ** 2).squeeze(1) * F.cross_entropy(z, y, reduction="none"),
              lambda z, y: ((1 - z.softmax(1).gather(1, y[:, None])) ** 2).squeeze(1) * F.cross_entropy(z, y, reduction="none")),
    "underdog's": (ud.BalancedSoftmax(torch.tensor([9.0, 5, 1]).log()),
                   lambda z, y: F.cross_entropy(z + torch.tensor([9.0, 5, 1]).log(), y)),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_it_is_the_scripts_own_loss_that_is_differentiated_in_float64(name: str) -> None:
    (x, y), net = batch(), network().double()
    ours, by_hand = LOSSES[name]
    x = x.double()
    assert torch.equal(perturbed(x, y, net, loss=ours), expected(net, x, y, by_hand))


def test_a_loss_object_of_the_script_keeps_its_reduction() -> None:
    (x, y), loss = batch(), nn.CrossEntropyLoss()
    perturbed(x, y, network(), loss=loss)
    assert loss.reduction == "mean"


def test_a_loss_that_lies_inside_the_model() -> None:
    (x, y), net = batch(), network()
    for reduction in ("mean", "sum", "none"):
        model = LossInside(net, reduction).double()
        got = perturbed(x.double(), y, model, objective=lambda v, k, model=model: model(v, k))
        assert torch.equal(got, expected(net, x.double(), y))


def test_a_network_that_ends_in_a_softmax() -> None:
    (x, y), net = batch(), network().double()
    got = perturbed(
        x.double(), y, nn.Sequential(net, nn.Softmax(1)), loss=lambda p, k: F.nll_loss(p.log(), k, reduction="none")
    )
    assert torch.equal(got, expected(net, x.double(), y))


def test_a_loss_that_changes_by_epoch_is_the_one_given_now() -> None:
    (x, y), net = batch(), network().double()
    x = x.double()
    toward = [perturbed(x, y, net, loss=lambda z, k, s=s: s * F.cross_entropy(z, k, reduction="none")) for s in (1, -1)]
    assert torch.equal(toward[0], expected(net, x, y))
    assert torch.equal(toward[1], expected(net, x, y, lambda z, k: -F.cross_entropy(z, k)))


@pytest.mark.parametrize(
    "loss", [lambda z, y: F.cross_entropy(z, y, weight=torch.tensor([1.0, 2, 30])), lambda z, y: z.std()]
)
def test_a_loss_reduced_in_a_way_that_cannot_be_undone_is_an_error_at_the_first_call(loss: object) -> None:
    x, y = batch()
    with pytest.raises(ud.InputError, match="neither the mean nor the sum"):
        perturbed(x, y, network(), loss=loss, tau=0)


@pytest.mark.parametrize("labels", [torch.int64, torch.float32])
def test_one_hot_and_soft_labels_count_as_their_largest_class(labels: torch.dtype) -> None:
    (x, y), net = batch(), network().double()
    hot = F.one_hot(y, CLASSES).to(labels)
    loss = None if labels == torch.float32 else lambda z, k: F.cross_entropy(z, k.double(), reduction="none")
    got = perturbed(x.double(), hot.double() if loss is None else hot, net, loss=loss)
    assert torch.equal(got, expected(net, x.double(), y))


# Inputs as people have them


class Normalised(nn.Module):
    """The same network with normalisation as its first layer."""

    def __init__(self, net: nn.Module, mean: object, std: object) -> None:
        super().__init__()
        self.normalise, self.net = ud.Normalize(torch.tensor(mean), torch.tensor(std)), net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(self.normalise(x))


@pytest.mark.parametrize(("mean", "std"), [(MEAN, STD), ([0.5], [0.5]), ([0.1, 0.5, 0.9], [0.01, 1.0, 7.0])])
def test_normalised_inputs_move_as_the_pixels_do(mean: list[float], std: list[float]) -> None:
    (x, y), net = batch(), network()
    both = Normalised(net, mean, std)
    pixels = perturbed(x, y, both, eps=32 / 255)
    seen = perturbed(both.normalise(x), y, net, eps=32 / 255, mean=mean, std=std)
    assert {0.0, 1.0} <= set(pixels.flatten().tolist())  # some values were clipped
    back = seen.double() * both.normalise.std.double() + both.normalise.mean.double()
    assert (back - pixels).abs().max() < 1e-6


def test_values_up_to_255_and_between_minus_1_and_1() -> None:
    (x, y), net = batch(), network()
    pixels = perturbed(x, y, net)
    bytes_ = perturbed(x * 255, y, Normalised(net, [0.0], [255.0]), high=255)
    assert (bytes_ / 255 - pixels).abs().max() < 1e-6
    centred = perturbed(x * 2 - 1, y, Normalised(net, [-1.0], [2.0]), low=-1)
    assert ((centred + 1) / 2 - pixels).abs().max() < 1e-6
    both = perturbed((x * 255 - 120) / 50, y, Normalised(net, [-120 / 50], [255 / 50]), high=255, mean=120, std=50)
    assert ((both * 50 + 120) / 255 - pixels).abs().max() < 1e-5  # values of -2.4 have less digits


def test_channels_last_stays_channels_last() -> None:
    (x, y), net = batch(), network().to(memory_format=torch.channels_last)
    got = perturbed(x.contiguous(memory_format=torch.channels_last), y, net)
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(got, expected(net, x.contiguous(memory_format=torch.channels_last), y))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_under_autocast_with_a_scaler(dtype: torch.dtype) -> None:
    (x, y), net = batch(), network()
    scaler, optimizer = torch.amp.GradScaler("cpu", init_scale=256.0), torch.optim.SGD(net.parameters(), 0.1)
    full = perturbed(x, y, net)
    with torch.autocast("cpu", dtype):
        half = perturbed(x, y, net)
        loss = F.cross_entropy(net(half), y)
    assert half.dtype == torch.float32
    assert ((half - full).abs() > EPS).float().mean() < 0.1  # few signs differ
    before = [p.detach().clone() for p in net.parameters()]
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 256
    assert not any(torch.equal(a, p) for a, p in zip(before, net.parameters(), strict=True))


def test_half_precision_inputs_keep_their_type() -> None:
    (x, y), net = batch(), network().bfloat16()
    got = perturbed(x.bfloat16(), y, net)
    assert got.dtype == torch.bfloat16
    assert (got[RARE] != x.bfloat16()[RARE]).float().mean() > 0.9


def sure(dtype: torch.dtype) -> nn.Sequential:
    """A network that has no doubt at all that everything is of class 2."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(432, CLASSES))
    with torch.no_grad():
        net[1].weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
        net[1].bias.copy_(torch.tensor([0.0, 5.0, 400.0]))
    return net.to(dtype)


@pytest.mark.parametrize(
    "loss", [None, F.cross_entropy, nn.CrossEntropyLoss(), nn.CrossEntropyLoss(weight=torch.ones(3) / 3)]
)
def test_under_half_precision_a_sure_network_still_has_a_direction(loss: object) -> None:
    x, y = batch()
    tally, counted = ud.Tally(), ud.Tally()
    with torch.autocast("cpu", torch.float16):
        perturbed(x, y, sure(torch.float32), loss=loss, tally=tally)
    assert (tally.images, tally.altered, tally.zero_gradients) == (24, 8, 0)
    got = perturbed(x, y, sure(torch.float32), loss=loss, tally=counted)  # in float32 the plain form has underflowed
    assert (counted.altered, counted.zero_gradients) == (8, 8)
    assert torch.equal(got, x)


def test_the_gradient_of_a_mean_would_underflow_where_that_of_the_sum_does_not() -> None:
    x, y = batch()
    net = nn.Sequential(nn.Flatten(), nn.Linear(432, CLASSES)).half()
    with torch.no_grad():
        net[1].weight.mul_(1e-5)
    tally = ud.Tally()
    perturbed(x.half(), y, net, loss=lambda z, k: F.nll_loss(z.log_softmax(1), k), tally=tally)
    leaf = x[RARE].half().requires_grad_()
    mean = torch.autograd.grad(F.cross_entropy(net(leaf).float(), y[RARE]) / 24, leaf)[0]
    ours = ud.Tally()
    perturbed(x.half(), y, net, tally=ours)
    assert tally.zero_gradients == ours.zero_gradients == 0
    assert (mean == 0).float().mean() > 0.5


def test_gradients_that_are_not_numbers_move_nothing_and_are_counted() -> None:
    (x, y), net, tally = batch(), network(), ud.Tally()
    perturbed(x, y, net)
    with torch.no_grad():
        net[0].weight.fill_(torch.nan)
    assert torch.equal(perturbed(x, y, net, tally=tally), x)
    assert tally.zero_gradients == 8


@pytest.mark.parametrize("minority", [[2], {2}, torch.tensor([2]), torch.tensor([2]).numpy(), frozenset([2])], ids=type)
def test_classes_and_labels_may_come_as_tensors_or_columns(minority: object) -> None:
    (x, y), net = batch(), network()
    assert torch.equal(perturbed(x, y[:, None].int(), net, minority=minority), expected(net, x, y))
    assert perturbed(x[:0], y[:0], net).shape == (0, *x.shape[1:])
