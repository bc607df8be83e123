"""What parts of a method have to keep to, and what their compositions mean where that was once something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underdog as ud
from underdog.methods.build import build
from underdog.methods.expression import parse
from underdog.methods.focal import FocalLoss
from underdog.methods.method import equal_updates
from underdog.methods.mixup import Mixup
from underdog.methods.parameters import declared
from underdog.resample.amount import chances

SMALL = ud.ImageSet(
    torch.randint(0, 256, (24, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.tensor([0] * 16 + [1] * 8),
    ("a", "b"),
)
SPLIT = ud.Split(SMALL, SMALL, None)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Linear(3, 2))


def training(method: ud.Method, epochs: int = 3) -> ud.Training:
    return ud.Training(network(), method, SPLIT, ud.Hyperparameters(epochs=epochs, batch=8))


def shown(method: ud.Method, epochs: int = 3) -> list[int]:
    found = training(method, epochs)
    return [found.advance().images for _ in range(epochs)]


@dataclass(frozen=True)
class Drawing(ud.NoResampling):
    """Shows another number of images in every epoch."""

    def refresh(self, epoch: ud.Epoch, now: ud.Moment) -> ud.Epoch:
        return replace(epoch, index=np.arange(10 + now.t))


def test_equal_updates_fill_up_what_is_drawn_anew_in_every_epoch() -> None:
    assert shown(ud.Method(Drawing())) == [10, 11, 12]
    assert shown(equal_updates(ud.Method(Drawing()))) == [32, 32, 32]
    mixed = ud.Method(ud.Chain(Drawing(), Mixup()))
    assert shown(equal_updates(mixed)) == [32, 32, 32]


def test_images_are_mixed_also_where_their_number_changes() -> None:
    found = training(ud.Method(ud.Chain(Drawing(), Mixup())))
    for n in (10, 11, 12):
        found.advance()
        assert found.epoch.mixture is not None
        assert len(found.epoch.mixture.partner) == n


def test_a_mixture_that_is_not_made_anew_stays() -> None:
    found = training(ud.Method(ud.Every(2, Mixup())))
    mixtures = []
    for _ in range(3):
        found.advance()
        mixtures.append(found.epoch.mixture)
    assert mixtures[0] is mixtures[1]
    assert mixtures[2] is not mixtures[1]


def test_every_stage_prepares_the_network_the_first_one_too() -> None:
    called: list[str] = []
    stages = [
        ud.Stage(share=0.5, prepare=lambda net: called.append("1")),
        ud.Stage(share=0.5, prepare=lambda net: called.append("2")),
    ]
    found = training(ud.Method(stages=stages), epochs=2)
    assert called == ["1"]
    found.advance()
    found.advance()
    assert called == ["1", "2"]


@pytest.mark.parametrize("gamma", [0.25, 0.5, 1.0, 2.0])
def test_focal_loss_has_a_finite_gradient_where_the_network_is_sure(gamma: float) -> None:
    logits = torch.tensor([[40.0, 0.0], [200.0, 0.0], [-40.0, 0.0]], requires_grad=True)
    loss = FocalLoss(gamma)(logits, torch.zeros(3, dtype=torch.int64))
    loss.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert loss[2].item() == pytest.approx(40, rel=1e-5)


def test_selected_examples_are_as_many_as_tau_says() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.exponential(size=1000)
    for tau in (0.2, 0.5, 0.8, 1.0):
        found = chances(np.full(1000, tau), wanted / wanted.mean())
        assert found.sum() == pytest.approx(1000 * tau)
        assert found.max() <= 1
        order = np.argsort(wanted)
        assert (np.diff(found[order]) >= -1e-12).all()


@pytest.mark.parametrize("other", ["logit-adjust", "drw", "balanced-softmax", "class-weighted", "ros(ratio=0.5)"])
def test_aos_leaves_the_balance_to_what_else_balances(other: str) -> None:
    method = build(parse(f"aos(eps=8/255)+{other}"))
    for stage in method.stages:
        parts = stage.resampler.resamplers if isinstance(stage.resampler, ud.Chain) else (stage.resampler,)
        assert ud.RandomOverSampler() not in parts


def test_images_of_ones_own_are_bytes_of_the_images_shape() -> None:
    epoch = ud.Epoch.of(SMALL)
    for pixels in (
        torch.rand(2, 1, 4, 4),
        torch.zeros(2, 1, 5, 4, dtype=torch.uint8),
        torch.zeros(3, 1, 4, 4, dtype=torch.uint8),
    ):
        with pytest.raises(ud.InputError, match=r"synthetic images must be uint8 of shape \(2, 1, 4, 4\)"):
            epoch.with_synthetic(pixels, np.zeros(2, dtype=np.int64))


class Own(ud.NoResampling):
    def __init__(self, change: Callable[[ud.Epoch], Any]) -> None:
        self.change = change

    def refresh(self, epoch: ud.Epoch, now: ud.Moment) -> Any:
        return self.change(epoch)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda epoch: None, "resampler Own must return an Epoch, not NoneType"),
        (lambda epoch: epoch.nothing, "resampler Own failed: AttributeError"),
        (lambda epoch: replace(epoch, index=[0, 1]), "whose index is a numpy array of whole numbers"),
        (lambda epoch: replace(epoch, index=np.ones(3)), "whose index is a numpy array of whole numbers"),
        (lambda epoch: replace(epoch, index=np.array([99])), "shows rows from 99 to 99; there are rows 0 to 23"),
        (
            lambda epoch: replace(epoch, mixture=ud.Mixture(np.full(24, 99), np.ones(24, "f4"), np.ones(24, "f4"))),
            "mixes other examples than the 24 that are shown",
        ),
        (
            lambda epoch: replace(epoch, mixture=ud.Mixture(np.zeros(24, int), np.full(24, 9, "f4"), np.ones(24, "f4"))),
            r"mixes by weights outside \[0, 1\]",
        ),
        (lambda epoch: exec("raise SystemExit(0)"), "resampler Own failed: SystemExit"),
    ],
)  # fmt: skip
def test_what_a_resampler_of_ones_own_does_wrong_is_named(change: Callable[[ud.Epoch], Any], says: str) -> None:
    with pytest.raises(ud.InputError, match=says):
        training(ud.Method(Own(change)))


class Flat(ud.Loss):
    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return logits.detach().sum(1)


class Narrow(ud.Adjustment):
    def forward(self, logits: Tensor) -> Tensor:
        return logits[:, :1]


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (lambda: ud.Method(loss=Flat()), r"loss must be a rule, from class counts to a loss: loss=lambda counts:"),
        (lambda: ud.Method(loss=lambda counts: Flat()), "loss Flat must depend on the logits"),
        (lambda: ud.Method(loss=lambda counts: counts[9]), "the rule for the loss failed on the class counts"),
        (lambda: ud.Method(posthoc=lambda counts: Narrow()), r"adjustment Narrow must return logits of shape \(2, 2\)"),
        (lambda: ud.method("logit-adjust(tau=1e30)"), "tau must be at most 10"),
        (lambda: ud.method("aos(eps=8/255,attack=pgd,steps=1000000)"), "at least 1 and at most 1000"),
        (lambda: ud.method("aos(eps=1e300)"), r"eps must be a number in \[0, 1\].*not 1e\+300"),
    ],
)  # fmt: skip
def test_what_a_loss_or_an_adjustment_does_wrong_is_named(method: Callable[[], ud.Method], says: str) -> None:
    with pytest.raises(ud.InputError, match=says):
        training(method())


def test_an_axis_alone_is_a_parameter_to_search_and_has_its_first_value() -> None:
    def own(share: Annotated[float, ud.Axis((0.1, 0.2), first=0.2)] = 0.2) -> ud.Method:
        return ud.Method()

    def wrong(share: Annotated[float, ud.Axis((0.1, 0.2), first=0.5)] = 0.2) -> ud.Method:
        return ud.Method()

    # Annotations are texts here, which only names of the module can be read from.
    for function in (own, wrong):
        function.__annotations__["share"] = eval(function.__annotations__["share"], globals())
    assert declared(own)["share"].about.search == ud.Axis((0.1, 0.2), first=0.2)
    with pytest.raises(ud.InputError, match=r"first value, 0\.5, is not among its values"):
        declared(wrong)


def test_runs_that_scripts_make_differ_by_all_that_results_depend_on(tmp_path: Any) -> None:
    hyper = ud.Hyperparameters(epochs=1, batch=8)
    tested = ud.Split(SMALL, SMALL, SMALL)
    for method in (ud.Method(ud.RandomOverSampler()), ud.Method(ud.RandomUnderSampler())):
        for optimizer in (ud.named_optimizer("adam"), ud.named_optimizer("sgd")):
            ud.fit(network(), method, tested, replace(hyper, optimizer=optimizer), out=tmp_path)
    assert len(list(tmp_path.glob("*/result.json"))) == 4
    with pytest.raises(ud.InputError, match="name must be letters"):
        ud.fit(network(), ud.Method(), tested, hyper, out=tmp_path, name="my method (v2)")
