"""AOS is Algorithm 1 of the paper: compared with a literal, naive reading of it."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import attacked, image_set, learner, moment
from torch.nn.functional import cross_entropy

import underdog as ud
from underdog import altered
from underdog.attack.base import gradient

EPS, TAU, SEED, BATCH = 12 / 255, 0.6, 5, 16
COUNTS = (40, 40, 3, 5)


def literal_epochs(images: ud.ImageSet, epochs: int, net: torch.nn.Module, dtype: torch.dtype, batch: int):
    """Algorithm 1, line by line, on lists of float images; yields each epoch's images before it trains on them.

    Only the random draws are shared with the library, by name. The gradient is taken for every chosen copy.
    """
    rng = ud.RandomStreams(SEED)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    own = [ud.to_unit(image).to(dtype) for image in images.images]
    classes = images.labels.tolist()
    # line 1: X <- RandomOversampling(X)
    shown = list(range(len(own)))
    for k in range(len(images.classes)):
        members = [i for i in range(len(own)) if classes[i] == k]
        shown += rng("oversample", k).choice(members, size=max(images.counts) - len(members)).tolist()
    X, C = [own[i] for i in shown], [classes[i] for i in shown]
    aos_X = X
    for epoch in range(epochs):  # line 2
        if epoch % 2 == 0:  # line 3
            aos_X = list(X)  # line 4
            decisions = rng("perturb", epoch)
            minority = [n for n in range(len(X)) if C[n] in (2, 3)]  # lines 5-6
            chosen = [n for n, u in zip(minority, decisions.random(len(minority)), strict=True) if u < TAU]  # lines 7-8
            net.eval()
            for at in range(0, len(chosen), batch):
                some = chosen[at : at + batch]
                some += some[-1:] * (batch - len(some)) if dtype == torch.float32 else []
                x = torch.stack([X[n] for n in some]).requires_grad_()
                y = torch.tensor([C[n] for n in some])
                J = cross_entropy(net(x.contiguous(memory_format=torch.channels_last)), y, reduction="sum")
                mask = torch.autograd.grad(J, x)[0].sign()  # line 9
                for n, m in zip(some, mask, strict=True):
                    aos_X[n] = (X[n] + EPS * m).clamp(0, 1)  # line 10
            net.train()
        yield torch.stack(aos_X), torch.tensor(C)
        order = rng("shuffle", epoch).permutation(len(X))
        for at in range(0, len(X), BATCH):  # lines 15-17
            some = order[at : at + BATCH]
            x = torch.stack([aos_X[n] for n in some]).contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            cross_entropy(net(x), torch.tensor([C[n] for n in some]), reduction="none").mean().backward()
            optimizer.step()


def library_epochs(images: ud.ImageSet, epochs: int, resampler: ud.Resampler, who: ud.Learner):
    """The same epochs as the library makes them."""
    epoch = resampler.start(ud.Epoch.of(images), moment(seed=SEED, started=False))
    for t in range(epochs):
        epoch = resampler.refresh(epoch, moment(t, SEED, who))
        yield epoch
        for x, y, _ in epoch.batches(BATCH, ud.RandomStreams(SEED)("shuffle", t)):
            who.step(x, y)


@pytest.fixture
def images() -> ud.ImageSet:
    return image_set(COUNTS, (3, 17, 16))


@pytest.mark.parametrize("per_copy", [False, True])
@pytest.mark.parametrize("batch", [16, 64])
def test_four_epochs_are_bit_equal_to_the_literal_algorithm(images: ud.ImageSet, per_copy: bool, batch: int) -> None:
    who = learner(4, images.shape)
    literal = literal_epochs(images, 4, copy.deepcopy(who.model), torch.float32, batch)
    resampler = ud.Chain(ud.RandomOverSampler(), ud.Every(2, ud.Perturb(ud.FGSM(), EPS, TAU, per_copy=per_copy)))
    altered = 0
    for epoch, (x, y) in zip(library_epochs(images, 4, resampler, who), literal, strict=True):
        assert torch.equal(epoch.show(epoch.index), x)
        assert torch.equal(torch.from_numpy(epoch.labels[epoch.index]), y)
        altered += epoch.altered_examples
    assert altered > 100


def test_in_float64_it_holds_for_any_batch_size(images: ud.ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    who = learner(4, images.shape)
    net = copy.deepcopy(who.model).double()
    x, _ = next(literal_epochs(images, 1, net, torch.float64, batch=1))
    who.model.double()
    monkeypatch.setattr(ud.Epoch, "unit", lambda epoch, rows: ud.to_unit(epoch.pixels(rows)).double())
    epoch = next(library_epochs(images, 1, ud.aos(EPS, TAU), who))
    assert torch.equal((epoch.show(epoch.index) - ud.to_unit(epoch.pixels(epoch.origin[epoch.index]))).sign(),
                       (x - ud.to_unit(epoch.pixels(epoch.origin[epoch.index]))).sign())  # fmt: skip


def test_odd_epochs_show_the_altered_images_again_and_even_ones_new_ones(images: ud.ImageSet) -> None:
    shown = [epoch.show(epoch.index) for epoch in library_epochs(images, 5, ud.aos(EPS, TAU), learner(4, images.shape))]
    assert torch.equal(shown[0], shown[1])
    assert torch.equal(shown[2], shown[3])
    assert not torch.equal(shown[1], shown[2])
    assert not torch.equal(shown[3], shown[4])


def test_only_minority_examples_are_altered_with_probability_tau(images: ud.ImageSet) -> None:
    epoch = next(library_epochs(images, 1, ud.aos(EPS, TAU), learner(4, images.shape)))
    altered = epoch.index >= epoch.originals
    assert set(epoch.labels[epoch.index[altered]]) == {2, 3}
    assert abs(altered.sum() - 80 * TAU) < 4 * np.sqrt(80 * TAU * (1 - TAU))


@pytest.mark.parametrize(("tau", "share"), [(0, 0.0), (1, 1.0)])
def test_tau_0_alters_nothing_and_tau_1_everything(images: ud.ImageSet, tau: float, share: float) -> None:
    epoch = next(library_epochs(images, 1, ud.aos(EPS, tau), learner(4, images.shape)))
    assert epoch.altered_examples == 80 * share


def test_with_tau_0_training_is_random_oversampling_bit_for_bit(images: ud.ImageSet) -> None:
    weights = []
    for resampler in (ud.RandomOverSampler(), ud.aos(EPS, 0), ud.aos(0, TAU)):
        who = learner(4, images.shape)
        list(library_epochs(images, 2, resampler, who))
        weights.append(who.weights())
    assert all(torch.equal(weights[0][k], w[k]) for w in weights[1:] for k in w)


def test_copies_only_leaves_the_first_of_each_image_alone(images: ud.ImageSet) -> None:
    resampler = ud.Chain(ud.RandomOverSampler(), ud.Perturb(ud.FGSM(), EPS, 1, copies_only=True))
    epoch = next(library_epochs(images, 1, resampler, learner(4, images.shape)))
    assert (epoch.index[: len(images)] == np.arange(len(images))).all()
    assert epoch.altered_examples == 80 - 8


def test_without_clipping_the_formula_is_as_printed(images: ud.ImageSet) -> None:
    resampler = ud.Chain(ud.RandomOverSampler(), ud.Perturb(ud.FGSM(clip=False), 0.5, 1))
    epoch = next(library_epochs(images, 1, resampler, learner(4, images.shape)))
    x = epoch.show(epoch.index)
    assert x.min() < 0
    assert x.max() > 1


def test_the_minority_can_be_named(images: ud.ImageSet) -> None:
    resampler = ud.Chain(ud.RandomOverSampler(), ud.Perturb(ud.FGSM(), EPS, 1, minority=[0]))
    epoch = next(library_epochs(images, 1, resampler, learner(4, images.shape)))
    assert set(epoch.labels[epoch.index[epoch.index >= epoch.originals]]) == {0}


def test_without_a_minority_the_error_names_the_option() -> None:
    with pytest.raises(ud.InputError, match="--minority"):
        ud.aos(EPS, TAU).start(ud.Epoch.of(image_set((9, 9))), moment(started=False))


def test_a_gradient_that_is_zero_everywhere_moves_nothing_and_is_counted(images: ud.ImageSet) -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 17 * 16, 4))
    torch.nn.init.zeros_(net[1].weight)
    epoch = next(library_epochs(images, 1, ud.aos(EPS, 1), ud.Learner(net, 4)))
    assert epoch.zero_gradients == epoch.altered_rows == 8
    assert torch.equal(epoch.show(epoch.index), ud.to_unit(epoch.pixels(epoch.origin[epoch.index])))


@pytest.mark.parametrize("together", [1, 3, 7, 1024])
def test_rows_without_a_direction_are_counted_in_parts_of_any_size(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(altered, "COUNTED", together)
    signs = torch.zeros(7, 12, dtype=torch.int8)
    signs[[1, 2, 6], [0, 11, 5]] = torch.tensor([1, -1, 1], dtype=torch.int8)
    packed = altered.pack_signs(signs)
    assert ud.AlteredSigns(packed, torch.full((7,), EPS, dtype=torch.float64)).unmoved() == 4
    assert ud.AlteredSigns(packed, torch.zeros(7, dtype=torch.float64)).unmoved() == 7
    assert ud.AlteredSigns(packed, torch.tensor([0, 0, EPS, EPS, EPS, EPS, EPS], dtype=torch.float64)).unmoved() == 5


def test_the_random_sign_is_one_for_each_origin_or_one_for_each_copy(images: ud.ImageSet) -> None:
    once, per_copy = (
        next(library_epochs(images, 1, ud.Chain(ud.RandomOverSampler(), ud.Perturb(ud.RandomSign(), EPS, 1, per_copy=c)),
                            learner(4, images.shape)))
        for c in (False, True)
    )  # fmt: skip
    same = [n for n in range(len(once)) if once.origin[once.index[n]] == once.origin[once.index[-1]]]
    assert len(same) > 2
    assert torch.equal(once.show(once.index[same[:1]]), once.show(once.index[same[1:2]]))
    assert not torch.equal(per_copy.show(per_copy.index[same[:1]]), per_copy.show(per_copy.index[same[1:2]]))


def test_under_half_precision_a_saturated_network_still_has_a_direction(images: ud.ImageSet) -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 17 * 16, 4))
    with torch.no_grad():
        net[1].weight.normal_(generator=torch.Generator().manual_seed(0))
        net[1].bias.copy_(torch.tensor([0.0, 0, 1e4, 1e4 - 300]))
    sure = replace(images, labels=torch.full_like(images.labels, 2)).select(range(32))
    x, y = ud.to_unit(sure.images), sure.labels
    full, half = (ud.Learner(copy.deepcopy(net), 4, precision=p) for p in ("float32", "bfloat16"))
    assert torch.equal(attacked(ud.FGSM(), full, x, y, EPS), x)  # cross-entropy has underflowed
    assert not gradient(full, x, y).any()
    assert gradient(half, x, y).flatten(1).any(1).all()
    assert (attacked(ud.FGSM(), half, x, y, EPS) != x).flatten(1).any(1).all()
