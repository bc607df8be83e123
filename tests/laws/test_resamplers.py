"""Laws that every resampler obeys."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import image_set, learner

import underdog as ud
from underdog.epoch import pack_signs, unpack_signs

RESAMPLERS: dict[str, ud.Resampler] = {
    "none": ud.NoResampling(),
    "ros": ud.RandomOverSampler(),
    "rus": ud.RandomUnderSampler(),
    "smote": ud.SMOTE(),
    "aos": ud.aos(16 / 255, 0.5),
    "aos per copy": ud.Chain(ud.RandomOverSampler(), ud.Every(2, ud.Perturb(ud.FGSM(0.1), 0.5, per_copy=True))),
    "aos without balance": ud.Perturb(ud.FGSM(0.1), 0.5),
    "aos from 2": ud.Chain(ud.RandomOverSampler(), ud.From(2, ud.Every(2, ud.Perturb(ud.FGSM(0.1), 0.5)))),
    "equal updates": ud.EqualUpdates(),
    "undersampled, equal updates": ud.Chain(ud.RandomUnderSampler(), ud.EqualUpdates()),
    "noise": ud.Chain(ud.RandomOverSampler(), ud.Every(2, ud.Perturb(ud.RandomSign(0.1), 0.5))),
    "pgd": ud.Chain(ud.RandomOverSampler(), ud.Every(2, ud.Perturb(ud.PGD(0.1, 2), 0.5))),
    "smote then perturb": ud.Chain(ud.SMOTE(), ud.Perturb(ud.FGSM(0.1), 0.5)),
    "undersampled then perturb": ud.Chain(ud.RandomUnderSampler(), ud.Perturb(ud.FGSM(0.1), 0.5)),
}
BALANCING = [
    name
    for name in RESAMPLERS
    if name not in ("none", "rus", "aos without balance", "undersampled then perturb") and "equal" not in name
]
COUNTS = (30, 3, 12, 8)
counts = st.lists(st.integers(2, 12), min_size=2, max_size=5).map(lambda n: (*n, 24))


def epochs(
    resampler: ud.Resampler, images: ud.ImageSet, n: int = 3, seed: int = 0, trains: bool = True
) -> list[ud.Epoch]:
    """The first epochs of a training."""
    rng, who = ud.RandomStreams(seed), learner(len(images.classes))
    shown = [resampler.start(ud.Epoch.of(images), rng)]
    for t in range(n):
        shown.append(resampler.refresh(shown[-1], t, who, rng))
        for x, y in shown[-1].batches(32, rng("shuffle", t)) if trains else ():
            who.step(x, y)
    return shown


@pytest.mark.parametrize("name", BALANCING)
@settings(max_examples=8, deadline=None)
@given(counts=counts)
def test_oversamplers_balance_exactly_to_the_largest_class(name: str, counts: tuple[int, ...]) -> None:
    for epoch in epochs(RESAMPLERS[name], image_set(counts), n=1):
        assert epoch.shown == (24,) * len(counts)


@settings(max_examples=20, deadline=None)
@given(counts=counts)
def test_undersampling_cuts_to_the_smallest_without_repeats(counts: tuple[int, ...]) -> None:
    epoch = epochs(ud.RandomUnderSampler(), image_set(counts))[-1]
    assert epoch.shown == (min(counts),) * len(counts)
    assert len(set(epoch.index)) == len(epoch)


@settings(max_examples=20, deadline=None)
@given(counts=counts, before=st.sampled_from([ud.NoResampling(), ud.RandomUnderSampler(), ud.SMOTE()]))
def test_equal_updates_repeats_all_examples_alike_to_the_length_of_oversampling(
    counts: tuple[int, ...], before: ud.Resampler
) -> None:
    images = image_set(counts)
    epoch = epochs(ud.Chain(before, ud.EqualUpdates()), images, n=0)[0]
    assert len(epoch) == len(epochs(ud.RandomOverSampler(), images, n=0)[0])
    times = np.unique(epoch.index, return_counts=True)[1]
    assert len(times) == len(epochs(before, images, n=0)[0])
    assert times.max() - times.min() <= 1


@pytest.mark.parametrize("name", RESAMPLERS)
def test_rows_have_the_class_of_their_origin_and_pixels_in_range(name: str) -> None:
    for epoch in epochs(RESAMPLERS[name], image_set(COUNTS)):
        assert (epoch.labels == epoch.labels[epoch.origin]).all()
        assert (epoch.origin[epoch.origin] == epoch.origin).all()
        assert len(epoch.labels) == len(epoch.origin) == epoch.originals + epoch.altered_rows
        assert 0 <= epoch.index.min() <= epoch.index.max() < len(epoch.labels)
        x = epoch.show(epoch.index)
        assert 0 <= x.min() <= x.max() <= 1


@pytest.mark.parametrize("name", RESAMPLERS)
def test_the_images_are_neither_copied_nor_changed_and_old_epochs_stay_as_they_were(name: str) -> None:
    images = image_set(COUNTS)
    before = images.images.clone()
    shown = epochs(RESAMPLERS[name], images, n=0)
    rng, who = ud.RandomStreams(0), learner(4)
    old, pixels = shown[0], shown[0].show(shown[0].index)
    new = RESAMPLERS[name].refresh(old, 0, who, rng)
    assert new.images.data_ptr() == images.images.data_ptr()
    assert torch.equal(images.images, before)
    assert torch.equal(old.show(old.index), pixels)


@pytest.mark.parametrize("name", RESAMPLERS)
def test_one_seed_gives_the_same_epochs_and_another_seed_others(name: str) -> None:
    images = image_set(COUNTS)
    first, again, other = (epochs(RESAMPLERS[name], images, seed=s) for s in (0, 0, 1))
    assert all(torch.equal(a.show(a.index), b.show(b.index)) for a, b in zip(first, again, strict=True))
    if name != "none":
        assert not all(torch.equal(a.show(a.index), b.show(b.index)) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", RESAMPLERS)
def test_an_epoch_is_rebuilt_from_its_state(name: str) -> None:
    images = image_set(COUNTS)
    epoch = epochs(RESAMPLERS[name], images)[-1]
    rebuilt = ud.Epoch.of(images).restored({k: v.clone() for k, v in epoch.state().items()}, epoch.notes)
    assert torch.equal(epoch.show(epoch.index), rebuilt.show(rebuilt.index))
    assert (rebuilt.shown, rebuilt.altered_examples, rebuilt.notes) == (
        epoch.shown,
        epoch.altered_examples,
        epoch.notes,
    )


@pytest.mark.parametrize("name", RESAMPLERS)
@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_batches_show_every_example_once_in_another_order(name: str, size: int) -> None:
    epoch = epochs(RESAMPLERS[name], image_set(COUNTS), trains=False)[-1]
    batches = list(epoch.batches(size, np.random.default_rng(0)))
    assert [len(b.y) for b in batches[:-1]] == [size] * (len(batches) - 1)
    x, y = torch.cat([b.x for b in batches]), torch.cat([b.y for b in batches])
    expected = epoch.show(epoch.index)

    def key(images: torch.Tensor, labels: torch.Tensor) -> list[tuple[float, int]]:
        return sorted((float(v), int(k)) for v, k in zip(images.double().sum((1, 2, 3)), labels, strict=True))

    assert key(x, y) == key(expected, torch.from_numpy(epoch.labels[epoch.index]))
    assert not torch.equal(x, expected)


def test_oversampling_is_shared_by_every_method_that_uses_it() -> None:
    images = image_set(COUNTS)
    ros, aos, noise = (epochs(RESAMPLERS[n], images, trains=False)[-1] for n in ("ros", "aos", "noise"))
    assert (ros.index == aos.origin[aos.index]).all()
    assert (aos.index == noise.index).all()


def test_a_class_with_one_image_is_an_error_for_smote_and_fine_for_the_others() -> None:
    images = image_set((9, 1, 5))
    with pytest.raises(ud.InputError, match="'c1' has 1"):
        epochs(ud.SMOTE(), images)
    for name in ("none", "ros", "rus", "aos", "noise"):
        assert len(epochs(RESAMPLERS[name], images)[-1])


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_signs_survive_packing_at_two_bits_each(rows: int, d: int, seed: int) -> None:
    signs = torch.from_numpy(np.random.default_rng(seed).integers(-1, 2, (rows, d)).astype(np.int8))
    packed = pack_signs(signs)
    assert packed.shape == (rows, -(-d // 4))
    assert torch.equal(unpack_signs(packed, d), signs)


@pytest.mark.parametrize("eps", [0.0, 1 / 255, 0.0371, 16 / 255, 1.0])
def test_altered_rows_are_what_the_attack_itself_returns(eps: float) -> None:
    images, who = image_set((9, 4)), learner(2)
    resampler = ud.Perturb(ud.FGSM(eps), 1)
    epoch = resampler.refresh(ud.Epoch.of(images), 0, who, ud.RandomStreams(0))
    rare = np.flatnonzero(epoch.labels[: len(images)] == 1)
    x, y = ud.to_unit(images.images[rare]), images.labels[rare]
    pad = 64 - len(rare)  # the gradient's own batch size
    x, y = torch.cat([x, x[-1:].expand(pad, -1, -1, -1)]), torch.cat([y, y[-1:].expand(pad)])
    assert torch.equal(epoch.show(epoch.index[rare]), ud.FGSM(eps)(who, x, y, np.random.default_rng(0))[: len(rare)])


class Darken:
    """An attack that is no single signed step."""

    def __call__(self, victim: object, x: torch.Tensor, y: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        return x * torch.linspace(0.1, 0.9, x.shape[-1])


def test_attacks_of_ones_own_need_not_be_signed_steps() -> None:
    images = image_set((9, 4))
    epoch = ud.Perturb(Darken(), 1).refresh(ud.Epoch.of(images), 0, learner(2), ud.RandomStreams(0))
    rare = np.flatnonzero(epoch.labels[: len(images)] == 1)
    assert torch.equal(epoch.show(epoch.index[rare]), Darken()(None, ud.to_unit(images.images[rare]), None, None))
    rebuilt = ud.Epoch.of(images).restored(epoch.state())
    assert torch.equal(rebuilt.show(rebuilt.index), epoch.show(epoch.index))
    with pytest.raises(ud.InputError, match="clip"):
        ud.Perturb(Darken(), 1, clip=False)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_eps_and_tau_outside_their_range_are_refused(value: float) -> None:
    for make in (ud.FGSM, ud.RandomSign, ud.PGD, lambda value: ud.Perturb(ud.FGSM(0.1), value)):
        with pytest.raises(ud.InputError, match=r"(eps|tau) must be"):
            make(value)
