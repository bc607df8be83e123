"""Parts of methods put together: stages, chains, amounts by row, mixtures, schedules, adjustments, and their sums."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import METHODS, image_set, moment
from torch import nn
from torch.nn import functional

import underdog as ud
from underdog.attack.base import gradient
from underdog.methods.build import build
from underdog.methods.expression import parse
from underdog.methods.table import METHODS as TABLE
from underdog.methods.table import ROLES
from underdog.resample.base import leaves
from underdog.run.estimate import Estimate
from underdog.run.spec import RunSpec

COUNTS, SHAPE = (20, 5, 9), (1, 4, 4)
ROS = ud.RandomOverSampler()


def images(counts: tuple[int, ...] = COUNTS, seed: int = 0) -> ud.ImageSet:
    return image_set(counts, SHAPE, seed)


def network(seed: int = 0, classes: int = 3) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, classes))


def victim() -> ud.Learner:
    return ud.Learner(network(), 3)


def training(method: ud.Method, epochs: int = 5, net: nn.Module | None = None, **options: object) -> ud.Training:
    """Of three small parts of other images."""
    split = ud.Split(*(images(seed=seed) for seed in range(3)))
    hyper = ud.Hyperparameters(**{"epochs": epochs, "batch": 8, "lr": 0.01} | options)  # type: ignore[arg-type]
    return ud.Training(net or network(), method, split, hyper, seed=3)


def finished(run: ud.Training) -> ud.Training:
    while not run.finished:
        run.advance()
    return run


def trained(method: ud.Method, epochs: int = 5, **options: object) -> ud.Training:
    return finished(training(method, epochs, **options))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


def figures(run: ud.Training) -> list[object]:
    return [(r.loss, r.images, r.altered_images, r.val.confusion.tolist()) for r in run.records]


def check_resumed(make: Callable[[int], ud.Training], cut: int) -> None:
    """A training that is interrupted after ``cut`` epochs ends as the one that is not; another seed draws other weights."""
    whole, first, second = finished(make(0)), make(0), make(1)
    for _ in range(cut):
        first.advance()
    tensors, plain = first.state()
    second.restore({k: v.clone().contiguous() for k, v in tensors.items()}, json.loads(json.dumps(plain)))
    finished(second)
    assert figures(second) == figures(whole)
    assert same(whole.learner.weights(), second.learner.weights())
    assert same(whole.epoch.state(), second.epoch.state())
    assert (whole.finish().test.logits == second.finish().test.logits).all()


# Stages


def test_deferred_oversampling_shows_plain_epochs_until_its_stage_begins() -> None:
    method = ud.Method(stages=[ud.Stage(share=0.6), ud.Stage(ROS, share=0.4)])
    run, plain = training(method), training(ud.Method())
    for t in range(5):
        run.advance(), plain.advance()
        if t == 2:
            assert same(run.learner.weights(), plain.learner.weights())
            assert same(run.epoch.state(), run.first.state())
    assert [r.images for r in run.records] == [34] * 3 + [60] * 2
    drawn = ROS.start(run.first, moment(0, 3, stage=1, started=False))
    assert same(run.epoch.state(), drawn.state())


def test_stages_begin_where_their_shares_end_and_each_has_one_epoch_at_least() -> None:
    shares = {ROS: 0.05, ud.NoResampling(): 0.9, ud.RandomUnderSampler(): 0.05}
    method = ud.Method(stages=[ud.Stage(resampler, share=share) for resampler, share in shares.items()])
    assert [r.images for r in trained(method, epochs=4).records] == [60, 34, 34, 15]
    assert [r.images for r in trained(method, epochs=3).records] == [60, 34, 15]
    with pytest.raises(ud.InputError, match="a method of 3 stages needs at least 3 epochs, not 2"):
        training(method, epochs=2)


def conv() -> nn.Module:
    """A network whose BatchNorm and Dropout would leave traces in a backbone that is not frozen as a whole."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2))
    return nn.Sequential(net, nn.Linear(64, 3))


def drawn(seed: int, make: Callable[[], nn.Module] = conv) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def test_the_second_stage_of_crt_trains_a_new_head_alone_with_a_new_optimiser_and_schedule() -> None:
    run = training(ud.method("crt(start=0.6)"), net=drawn(0), scheduler=ud.named_scheduler("linear"))
    rates, heads, renew = list[float](), list[torch.Tensor](), run.learner.renew

    def watched() -> None:
        run.learner.optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))

    def renewed() -> None:
        heads.append(run.learner.weights()["1.weight"])
        renew(), watched()

    watched()
    run.learner.renew = renewed  # type: ignore[method-assign]
    for _ in range(3):
        run.advance()
    before, first = run.learner.weights(), run.learner.optimizer
    finished(run)
    after = run.learner.weights()
    assert {k for k, v in after.items() if not torch.equal(v, before[k])} == {"1.weight", "1.bias"}
    assert len(heads) == 1
    assert not any(torch.equal(heads[0], weights["1.weight"]) for weights in (before, after))
    assert run.learner.optimizer is not first
    assert sum(p.numel() for g in run.learner.optimizer.param_groups for p in g["params"]) == 64 * 3 + 3
    assert [r.images for r in run.records] == [34] * 3 + [60] * 2
    # Each stage's rates fall from the height in equal steps.
    assert rates == pytest.approx([0.01 * (1 - n / 15) for n in range(15)] + [0.01 * (1 - n / 16) for n in range(16)])


@pytest.mark.parametrize("cut", [3, 4, 5])  # before, within and at the last epoch of the second stage
def test_crt_goes_on_within_its_second_stage_as_if_it_had_not_been_interrupted(cut: int) -> None:
    options = {"scheduler": ud.named_scheduler("cosine", warmup=1), "optimizer": ud.named_optimizer("sgd")}
    method = ud.method("crt(start=0.5)+balanced-softmax")
    check_resumed(lambda seed: training(method, 6, drawn(seed), **options), cut)


def test_a_rate_of_the_backbone_is_no_matter_of_a_stage_in_which_it_is_frozen() -> None:
    run = trained(ud.method("crt"), net=drawn(0), lr_backbone=0.001)
    assert [g["lr"] for g in run.learner.optimizer.param_groups] == [0.01]
    check_resumed(lambda seed: training(ud.method("crt(start=0.4)"), 5, drawn(seed), lr_backbone=0.001), 3)


# Chains


def pattern(epoch: ud.Epoch, label: int) -> list[bool]:
    """Which examples of a class are altered."""
    rows = epoch.index[epoch.labels[epoch.index] == label]
    return (rows >= epoch.originals).tolist()


def test_two_alterations_of_different_classes_are_both_shown_and_draw_apart() -> None:
    noise = [ud.Perturb(ud.RandomSign(), 0.1 * k, 0.5, minority=[k]) for k in (1, 2)]
    same_size = images((20, 12, 12))
    alone = noise[0].refresh(ud.Epoch.of(same_size), moment(4, who=victim()))
    epoch = ud.Epoch.of(same_size)
    for t in range(5):
        epoch = ud.Chain(*noise).refresh(epoch, moment(t, who=victim()))
        # Replaced, not piled up.
        assert [len(made) for made in epoch.altered] == [sum(pattern(epoch, 1)), sum(pattern(epoch, 2))]
        assert len(epoch.labels) == len(same_size) + epoch.altered_rows == len(same_size) + epoch.altered_examples
    draws = [ud.RandomStreams(0, within)("perturb", 4).random(12) < 0.5 for within in ((), (0, 1))]
    assert [pattern(epoch, 1), pattern(epoch, 2)] == [d.tolist() for d in draws]
    assert pattern(epoch, 1) != pattern(epoch, 2)
    assert pattern(epoch, 1) == pattern(alone, 1)
    x, moved = epoch.show(epoch.origin[epoch.index]), epoch.show(epoch.index)
    far = (moved - x).flatten(1).abs().amax(1)
    for k in (1, 2):
        of = torch.from_numpy((epoch.labels[epoch.index] == k) & (epoch.index >= epoch.originals))
        assert torch.allclose(far[of], torch.tensor(0.1 * k))
    signs = [altered.rows()["packed"][0] for altered in epoch.altered]
    assert not torch.equal(*signs)


def test_what_alters_after_another_alteration_alters_the_original_and_is_shown() -> None:
    both = ud.Chain(ud.Perturb(ud.FGSM(), 0.1, 1), ud.Perturb(ud.FGSM(clip=False), 0.3, 1, minority=[1]))
    who, epoch = victim(), ud.Epoch.of(images())
    for t in range(3):
        epoch = both.refresh(epoch, moment(t, who=who))
    rare = np.flatnonzero(epoch.labels[:34] == 1)
    x, y = ud.to_unit(images().images[rare]), images().labels[rare]
    assert torch.allclose(epoch.show(epoch.index[rare]), x + 0.3 * gradient(who, x, y).sign())
    assert [len(made) for made in epoch.altered] == [14, 5]
    assert epoch.altered_examples == 14


@dataclass(frozen=True)
class Inventing(ud.NoResampling):
    """Images of class 1 that are made anew before every epoch, as bright as it is late."""

    n: int = 3

    def refresh(self, epoch: ud.Epoch, now: ud.Moment) -> ud.Epoch:
        pixels = torch.full((self.n, *SHAPE), 10 * self.n + now.t, dtype=torch.uint8)
        return epoch.with_synthetic(pixels, np.full(self.n, 1), now.maker)


ALTERING = ud.Every(2, ud.Perturb(ud.FGSM(), 0.1, 1))
CHAINS = {
    "alone": (ud.Chain(Inventing()), 37),
    "then altered": (ud.Chain(Inventing(), ALTERING), 37),
    "after altering": (ud.Chain(ALTERING, Inventing()), 37),
    "after oversampling": (ud.Chain(ROS, ALTERING, Inventing()), 63),
    "beside SMOTE": (ud.Chain(ud.SMOTE(2), Inventing(), ALTERING), 63),
    "two": (ud.Chain(Inventing(), Inventing(4), ALTERING), 41),
    "within": (ud.Every(2, ud.Chain(Inventing(), ud.Perturb(ud.FGSM(), 0.1, 1))), 37),
}


@pytest.mark.parametrize("name", CHAINS)
def test_rows_that_are_made_anew_in_every_refresh_replace_those_before(name: str) -> None:
    chain, n = CHAINS[name]
    epoch = chain.start(ud.Epoch.of(images()), moment(started=False))
    synthetic = len(epoch.synthetic)
    for t in range(5):
        epoch = chain.refresh(epoch, moment(t, who=victim()))
        assert len(epoch) == n
        assert (epoch.labels == epoch.labels[epoch.origin]).all()
        assert (epoch.origin[epoch.origin] == epoch.origin).all()
        assert len(epoch.labels) == epoch.originals + epoch.altered_rows
        last = t - t % 2 if name == "within" else t
        own = [30 + last] * 3 + ([40 + last] * 4 if name == "two" else [])
        assert epoch.synthetic[synthetic:, 0, 0, 0].tolist() == own
        assert epoch.altered_rows > 0 or name == "alone"
        rare = sum(pattern(epoch, 1)) + sum(pattern(epoch, 2))
        if not t % 2 and "alter" in name and not name.startswith("after"):
            assert rare == (epoch.labels[epoch.index] > 0).sum()
        assert epoch.shown == (20, n - 20 - epoch.shown[2], epoch.shown[2])
    assert len(epoch.made) <= 4


def test_the_alterations_of_rows_that_are_gone_are_gone_too() -> None:
    chain = ud.Chain(Inventing(), ALTERING)
    even = chain.refresh(ud.Epoch.of(images()), moment(0, who=victim()))
    odd = chain.refresh(even, moment(1, who=victim()))
    assert (even.altered_rows, even.altered_examples) == (17, 17)
    assert (odd.altered_rows, odd.altered_examples) == (14, 14)
    kept = odd.index < odd.originals
    shown = odd.show(odd.index[~kept])
    before = {x.numpy().tobytes() for x in even.show(even.index[even.index >= even.originals])}
    assert {x.numpy().tobytes() for x in shown} < before


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_rows_that_are_made_anew_are_saved_with_the_rest(cut: int) -> None:
    method = ud.Method(ud.Chain(ud.SMOTE(2), Inventing(), ALTERING, ud.Perturb(ud.PGD(2), 0.1, 0.5, minority=[0])))
    check_resumed(lambda seed: training(method, net=network(seed)), cut)


# Learning rates and time


@dataclass(frozen=True)
class Growing(ud.NoResampling):
    """Epoch t shows every image t + 1 times."""

    def refresh(self, epoch: ud.Epoch, now: ud.Moment) -> ud.Epoch:
        return replace(epoch, index=np.tile(np.arange(len(epoch.images)), now.t + 1))


@pytest.mark.parametrize("warmup", [0, 1])
def test_a_schedule_ends_where_the_training_ends_however_long_its_epochs_are(warmup: int) -> None:
    run = training(ud.Method(Growing()), 4, scheduler=ud.named_scheduler("cosine", warmup))
    rates: list[float] = []
    run.learner.optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    finished(run)
    updates = [-(-34 * (t + 1) // 8) for t in range(4)]
    assert [r.updates for r in run.records] == updates
    assert len(rates) == sum(updates)
    top = warmup * updates[0]
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == pytest.approx(0.01)
    rest = (4 - warmup) * updates[-1]
    assert rates[-1] == pytest.approx(0.01 * (1 + math.cos(math.pi * (rest - 1) / rest)) / 2)
    assert rates[-1] < 0.01 * 0.002


def refuses(*_: object) -> ud.Epoch:
    raise AssertionError("a resampler was started")


@pytest.mark.parametrize("name", [*METHODS, "own"])
def test_an_estimate_of_time_starts_no_resampler(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_that_refuses.py").write_text(
        "import underdog as ud\n"
        "class Refusing(ud.NoResampling):\n"
        "    def start(self, epoch, now): raise AssertionError('a resampler was started')\n"
        "def method(): return ud.Method(Refusing())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = "mine_that_refuses:method" if name == "own" else str(parse(name).with_first_values())
    for stage in ud.method(text).stages:
        for leaf in leaves(stage.resampler):
            if type(leaf) is not ud.NoResampling:  # which the network that is timed is trained with
                monkeypatch.setattr(type(leaf), "start", refuses)
                monkeypatch.setattr(type(leaf), "refresh", refuses)
    source = ud.load_images("digits")
    spec = RunSpec(source.fingerprint, text, rho=20, mu=0.6, epochs=5, width=0.1)
    seconds = Estimate({source.fingerprint: source}, "cpu").seconds(spec)
    assert seconds is not None
    assert seconds > 0
    assert Estimate({source.fingerprint: source}).seconds(spec) is None
    assert not (tmp_path / "runs").exists()


# Amounts by row


def altered_by(amount_of: dict[str, object], t: int = 0, epochs: int | None = None, **more: object) -> ud.Epoch:
    perturb = ud.Perturb(ud.FGSM(clip=False), **{"eps": 0.1, "tau": 1} | amount_of, **more)  # type: ignore[arg-type]
    return perturb.refresh(ud.Epoch.of(images()), moment(t, who=victim(), epochs=epochs))


def distances(epoch: ud.Epoch) -> torch.Tensor:
    """How far each example is from its original."""
    return (epoch.show(epoch.index) - epoch.show(epoch.origin[epoch.index])).flatten(1).abs().amax(1)


def test_eps_and_tau_may_be_given_by_class() -> None:
    epoch = altered_by({"eps": ud.ByClass({1: 0.1, 2: 0.25})})
    labels, who = torch.from_numpy(epoch.labels[epoch.index]), victim()
    expected = torch.tensor([0, 0.1, 0.25])[labels]
    x = ud.to_unit(images().images)
    sign = gradient(who, x, images().labels).sign()
    assert torch.allclose(epoch.show(epoch.index), x + expected.view(-1, 1, 1, 1) * sign, atol=1e-6)
    assert epoch.zero_gradients == 0
    some = altered_by({"eps": ud.ByClass({1: 0.1}), "tau": ud.ByClass({0: 1}, rest=1)}, minority=[0, 1])
    assert (some.altered_examples, some.zero_gradients) == (25, 20)
    assert [sum(pattern(altered_by({"tau": ud.ByClass({2: 1})}), k)) for k in range(3)] == [0, 0, 9]


def test_an_amount_may_rise_over_the_epochs_of_its_stage() -> None:
    shares = [altered_by({"tau": ud.Ramp(0, 1)}, t, epochs=5).altered_examples / 14 for t in range(5)]
    assert shares[0] == 0
    assert shares[4] == 1
    draws = [ud.RandomStreams(0)("perturb", t).random(14) < t / 4 for t in range(5)]
    assert shares == [d.mean() for d in draws]
    lengths = [altered_by({"eps": ud.Ramp(0.1, 0.3)}, t, epochs=3).altered[0].rows()["eps"].unique() for t in range(3)]
    assert torch.cat(lengths).tolist() == pytest.approx([0.1, 0.2, 0.3])
    with pytest.raises(ud.InputError, match="needs their number"):
        altered_by({"tau": ud.Ramp(0, 1)})
    late = ud.Method(stages=[ud.Stage(share=0.4), ud.Stage(ud.Perturb(ud.FGSM(), 0.1, ud.Ramp(0, 1)), share=0.6)])
    assert [r.altered_images for r in trained(late).records][::2] == [0, 0, 14]


def test_an_amount_may_be_drawn_for_each_row_anew_in_every_refresh() -> None:
    drawn = {"eps": ud.Uniform(0.1, 0.3)}
    eps = [altered_by(drawn, t).altered[0].rows()["eps"] for t in (0, 0, 2)]
    assert torch.equal(eps[0], eps[1])
    assert not torch.equal(eps[0], eps[2])
    assert len(eps[0].unique()) == len(eps[0]) == 14
    assert 0.1 <= eps[0].min() < eps[0].max() < 0.3
    epoch = altered_by(drawn)
    assert torch.allclose(distances(epoch)[epoch.index >= epoch.originals].double(), eps[0], atol=1e-6)


def test_eps_and_tau_that_are_both_drawn_are_drawn_apart() -> None:
    found: dict[str, np.ndarray] = {}

    def kept(name: str) -> Callable[..., np.ndarray]:
        def amount(epoch: ud.Epoch, rows: np.ndarray, now: ud.Moment) -> np.ndarray:
            return found.setdefault(name, ud.Uniform(0, 1)(epoch, rows, now))

        return amount

    altered_by({"eps": kept("eps"), "tau": lambda *about: kept("tau")(*about) * 0 + 1, "select": kept("select")})
    assert len({values[:14].tobytes() for values in found.values()}) == len(found) == 3


@pytest.mark.parametrize(
    ("name", "amount", "said"),
    [
        (
            "eps",
            lambda epoch, rows, now: np.full(len(rows), 1.5),
            r"eps must give a number in \[0, 1\] for each of 14 rows",
        ),
        ("tau", lambda epoch, rows, now: np.full(len(rows), np.nan), r"tau must give a number in \[0, 1\]"),
        ("tau", lambda epoch, rows, now: np.zeros(3), r"not values from 0 to 0 of shape \(3,\)"),
        ("select", lambda epoch, rows, now: -np.ones(len(rows)), "select must give a finite number of at least 0"),
        ("select", lambda epoch, rows, now: np.full(len(rows), np.inf), "select must give a finite number"),
    ],
)
def test_amounts_that_are_none_are_refused(name: str, amount: object, said: str) -> None:
    with pytest.raises(ud.InputError, match=said):
        altered_by({name: amount})


# Selection


def test_images_are_chosen_in_proportion_to_their_loss() -> None:
    run = training(ud.Method(ROS))
    run.advance()
    with torch.no_grad():
        run.learner.model[4].weight.mul_(20)  # losses of many sizes
    perturb = ud.Perturb(ud.FGSM(), 0.1, 0.5, select=ud.ByLoss())
    epoch = perturb.refresh(run.epoch, moment(2, who=run.learner))
    positions = np.flatnonzero(run.epoch.labels[run.epoch.index] > 0)
    rows = run.epoch.index[positions]
    x, y = run.epoch.show(rows), torch.from_numpy(run.epoch.labels[rows])
    losses = functional.cross_entropy(run.learner.logits(x), y, reduction="none").double().numpy()
    chosen = ud.RandomStreams(0)("perturb", 2).random(len(rows)) < 0.5 * losses / losses.mean()
    assert np.flatnonzero(epoch.index >= epoch.originals).tolist() == positions[chosen].tolist()
    plain = ud.Perturb(ud.FGSM(), 0.1, 0.5).refresh(run.epoch, moment(2, who=run.learner))
    assert plain.index.tolist() != epoch.index.tolist()


def test_a_selection_of_ones_own_leaves_rows_without_weight_out() -> None:
    epoch = altered_by({"select": lambda epoch, rows, now: (rows % 2).astype(float)})
    altered = epoch.origin[epoch.index[epoch.index >= epoch.originals]]
    rare = np.flatnonzero(images().labels.numpy() > 0)
    assert altered.tolist() == [row for row in rare if row % 2]
    assert altered_by({"select": lambda epoch, rows, now: np.zeros(len(rows))}).altered_rows == 0


def test_a_selection_may_look_at_features() -> None:
    who = victim()

    def far(epoch: ud.Epoch, rows: np.ndarray, now: ud.Moment) -> np.ndarray:
        features = now.victim.features(epoch.unit(rows))
        assert features.shape == (len(rows), 8)
        distance = (features - features.mean(0)).norm(dim=1).numpy()
        return (distance > np.median(distance)).astype(float)

    epoch = ud.Perturb(ud.FGSM(), 0.1, 1, select=far).refresh(ud.Epoch.of(images()), moment(who=who))
    rare = np.flatnonzero(images().labels.numpy() > 0)
    inner = who.model[:-1].eval()(ud.to_unit(images().images[rare])).detach()
    distance = (inner - inner.mean(0)).norm(dim=1).numpy()
    expected = rare[distance > np.median(distance)]
    assert epoch.origin[epoch.index[epoch.index >= epoch.originals]].tolist() == expected.tolist()


# Mixtures


@dataclass(frozen=True)
class Mix(ud.NoResampling):
    """A box of another image pasted in, or images blended where there is no box, with weights of losses of their own."""

    box: bool

    def refresh(self, epoch: ud.Epoch, now: ud.Moment) -> ud.Epoch:
        n, rng = len(epoch), now.rng("mix", now.t)
        pixels, labels = rng.random((2, n)).astype(np.float32)
        top, left = rng.integers(0, 3, (2, n))
        high, wide = rng.integers(0, 3, (2, n))
        box = np.stack([top, top + high, left, left + wide], axis=1) if self.box else None
        return replace(epoch, mixture=ud.Mixture(rng.permutation(n), pixels, labels, box))


@pytest.mark.parametrize("box", [False, True], ids=["blended", "pasted"])
def test_a_mixed_update_is_the_naive_formulas(box: bool) -> None:
    method = ud.Method(ud.Chain(ROS, ud.Every(2, ud.Perturb(ud.FGSM(), 0.1, 0.5)), Mix(box)), ud.class_weighted)
    run = training(method, 2, net=network().eval(), optimizer=partial(torch.optim.SGD, momentum=0.9))
    run.learner.model[3].eval()  # Dropout would draw
    net = copy.deepcopy(run.learner.model)
    loss, optimizer = ud.class_weighted(COUNTS), torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    for t in range(2):
        run.advance()
        epoch = run.epoch
        mixed = epoch.mixture
        assert epoch.altered_rows > 0
        shown, labels = epoch.show(epoch.index), torch.from_numpy(epoch.labels[epoch.index])
        order, total = run.rng("shuffle", t).permutation(len(epoch)), 0.0
        for at in range(0, len(order), 8):
            losses = []
            optimizer.zero_grad()
            for i in order[at : at + 8]:
                j, w, v = mixed.partner[i], float(mixed.pixels[i]), float(mixed.labels[i])
                x = shown[i].clone()
                if box:
                    top, bottom, left, right = mixed.box[i]
                    x[:, top:bottom, left:right] = shown[j][:, top:bottom, left:right]
                else:
                    x = w * x + (1 - w) * shown[j]
                z = net(x[None])
                losses.append(v * loss(z, labels[i : i + 1]) + (1 - v) * loss(z, labels[j : j + 1]))
            torch.cat(losses).mean().backward()
            optimizer.step()
            total += float(torch.cat(losses).sum().detach())
        assert run.records[t].loss == pytest.approx(total / len(order), rel=1e-5)
    for k, w in net.state_dict().items():
        torch.testing.assert_close(run.learner.weights()[k], w, rtol=1e-4, atol=1e-5)


def test_where_everything_is_the_image_itself_mixing_changes_nothing() -> None:
    @dataclass(frozen=True)
    class Whole(ud.NoResampling):
        def refresh(self, epoch: ud.Epoch, now: ud.Moment) -> ud.Epoch:
            one = np.ones(len(epoch), dtype=np.float32)
            return replace(epoch, mixture=ud.Mixture(np.arange(len(epoch))[::-1].copy(), one, one))

    plain, mixed = (trained(ud.Method(resampler)) for resampler in (ROS, ud.Chain(ROS, Whole())))
    assert same(plain.learner.weights(), mixed.learner.weights())


@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_mixed_training_goes_on_as_if_it_had_not_been_interrupted(box: bool, cut: int) -> None:
    method = ud.Method(ud.Chain(ROS, ALTERING, ud.Every(2, Mix(box))))
    options = {"augment": ud.Augment(["flip", "vflip"])}
    check_resumed(lambda seed: training(method, net=network(seed), **options), cut)


def test_partners_are_changed_by_other_random_numbers_than_the_image_and_mixed_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    augment, shown = ud.Augment(["flip"]), list[torch.Tensor]()
    run = training(ud.Method(Mix(box=False)), 1, augment=augment)
    step = run.learner.step
    monkeypatch.setattr(run.learner, "step", lambda x, *more: (shown.append(x), step(x, *more))[1])
    run.advance()
    u = augment.draw(34, run.rng, 0)
    for n, batch in enumerate(run.epoch.batches(8, run.rng("shuffle", 0))):
        own = u[8 * n : 8 * n + len(batch.y)]
        partner = batch.partner._replace(x=augment(batch.partner.x, own.flip(0)))
        assert torch.equal(shown[n], partner.mixed(augment(batch.x, own)))


def test_a_mixture_that_does_not_fit_is_refused() -> None:
    epoch, one = ud.Epoch.of(images()), np.ones(3, dtype=np.float32)
    with pytest.raises(ud.InputError, match="a mixture of 3 examples does not fit an epoch that shows 34: mix after"):
        replace(epoch, mixture=ud.Mixture(np.arange(3), one, one))
    mixed = Mix(box=False).refresh(epoch, moment())
    assert Inventing().refresh(mixed, moment()).mixture is None  # of which nothing is known of the new ones


# Adjustments after training


def test_logits_are_adjusted_by_the_log_prior_in_every_evaluation_and_training_is_left_alone() -> None:
    raw, run = trained(ud.Method()), trained(ud.method("logit-adjust"))
    assert same(raw.learner.weights(), run.learner.weights())
    assert [r.loss for r in raw.records] == [r.loss for r in run.records]
    log_prior = torch.tensor(COUNTS, dtype=torch.float64).div(sum(COUNTS)).log().numpy()
    one = ud.evaluate(run.learner, run.split.test)
    history = run.finish()
    np.testing.assert_allclose(history.last_epoch_test.logits, one.logits - log_prior, rtol=1e-5, atol=1e-6)
    best = ud.evaluate(run.learner, run.split.val)
    np.testing.assert_allclose(history.val.logits, best.logits - log_prior, rtol=1e-5, atol=1e-6)
    predicted = (best.logits - log_prior).argmax(1)
    truth = ud.Metrics.of(run.split.val.labels.numpy(), predicted, 3)
    assert (truth.confusion == run.records[run.best_epoch].val.confusion).all()
    assert run.prior == pytest.approx((1, 1, 1))
    half = trained(ud.method("logit-adjust(tau=0.5)"))
    assert np.allclose(half.finish().last_epoch_test.logits, one.logits - 0.5 * log_prior, atol=1e-5)


# Sums


def sums() -> st.SearchStrategy[tuple[str, ...]]:
    """Parts of different roles, in any order."""
    roles = [[name for name, entry in TABLE.items() if entry.role == role] for role in ROLES]
    one_of_each = st.tuples(*(st.sampled_from([None, *names]) for names in roles if names))
    return one_of_each.map(lambda parts: [p for p in parts if p] or ["baseline"]).flatmap(st.permutations).map(tuple)


@settings(max_examples=60)
@given(sums(), st.sampled_from(["epochs", "updates"]))
def test_any_sum_of_different_roles_builds_has_one_text_and_shows_as_many_examples_as_expected(
    parts: tuple[str, ...], budget: str
) -> None:
    expression = parse("+".join(parts)).with_first_values()
    text = str(expression)
    assert parse(text) == expression
    assert str(parse(text)) == text
    assert parse("+".join(sorted(parts))).with_first_values() == expression
    method = build(expression, budget)
    run = trained(method)
    assert run.expected_examples == sum(r.images for r in run.records)
    assert len(run.records) == 5


@settings(max_examples=20)
@given(st.lists(st.sampled_from([name for name in TABLE if name != "baseline"]), min_size=2, max_size=2))
def test_two_parts_of_one_role_are_refused(parts: list[str]) -> None:
    one, two = (TABLE[name] for name in parts)
    text = "+".join(parts)
    if one.role != two.role:
        assert len(parse(text).parts) == 2
        return
    said = f"cannot be added: both decide on {ROLES[one.role]}" if one is not two else "is there twice"
    with pytest.raises(ud.InputError, match=said):
        parse(text)
