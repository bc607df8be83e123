"""Laws that every resampler obeys."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import METHODS, attacked, image_set, learner, moment

import underdog as ud
from underdog.altered import pack_signs, unpack_signs
from underdog.attack.base import gradient
from underdog.resample.base import expected

COUNTS = (30, 3, 12, 8)
COMPOSED: dict[str, ud.Resampler] = {
    "aos per copy": ud.Chain(ud.RandomOverSampler(), ud.Every(2, ud.Perturb(ud.FGSM(), 0.1, 0.5, per_copy=True))),
    "aos without balance": ud.Perturb(ud.FGSM(), 0.1, 0.5),
    "equal updates": ud.EqualUpdates(),
    "undersampled, equal updates": ud.Chain(ud.RandomUnderSampler(), ud.EqualUpdates()),
    "pgd": ud.Chain(ud.RandomOverSampler(), ud.Every(2, ud.Perturb(ud.PGD(2), 0.1, 0.5))),
    "smote then perturb": ud.Chain(ud.SMOTE(), ud.Perturb(ud.FGSM(), 0.1, 0.5)),
    "undersampled then perturb": ud.Chain(ud.RandomUnderSampler(), ud.Perturb(ud.FGSM(), 0.1, 0.5)),
    "two attacks": ud.Chain(
        ud.RandomOverSampler(), ud.Perturb(ud.FGSM(), 0.1, 0.5), ud.Perturb(ud.PGD(2), 0.1, 0.5, minority=[0])
    ),
}


def of_methods() -> dict[str, ud.Resampler]:
    """The resamplers of all methods' stages, each once."""
    found = dict[str, ud.Resampler]()
    for name, method in METHODS.items():
        for n, stage in enumerate(method.stages):
            if stage.resampler not in found.values():
                found[f"{name}, stage {n}" if n else name] = stage.resampler
    return found


RESAMPLERS = of_methods() | COMPOSED
BALANCING = [
    name
    for name, resampler in RESAMPLERS.items()
    if set(expected(resampler, COUNTS, ud.Epoch.of(image_set(COUNTS)))) == {max(COUNTS)} and "equal" not in name
]
counts = st.lists(st.integers(2, 12), min_size=2, max_size=5).map(lambda n: (*n, 24))


def epochs(
    resampler: ud.Resampler, images: ud.ImageSet, n: int = 3, seed: int = 0, trains: bool = True
) -> list[ud.Epoch]:
    """The first epochs of a training."""
    rng, who = ud.RandomStreams(seed), learner(len(images.classes))
    shown = [resampler.start(ud.Epoch.of(images), moment(seed=seed, started=False))]
    for t in range(n):
        shown.append(resampler.refresh(shown[-1], moment(t, seed, who)))
        for x, y, _ in shown[-1].batches(32, rng("shuffle", t)) if trains else ():
            who.step(x, y)
    return shown


def seen(epoch: ud.Epoch) -> torch.Tensor:
    """(N, C, H, W) images as the network gets them, in the epoch's order."""
    x = epoch.show(epoch.index)
    if epoch.mixture is None:
        return x
    w = torch.from_numpy(epoch.mixture.pixels).view(-1, 1, 1, 1)
    return w * x + (1 - w) * x[torch.from_numpy(epoch.mixture.partner)]


def test_the_papers_methods_balance_and_no_others_are_taken_to() -> None:
    assert {"ros", "smote", "aos", "noise"} <= set(BALANCING)
    assert not {"baseline", "rus", "mixup", "aos without balance"} & set(BALANCING)


@pytest.mark.parametrize("name", RESAMPLERS)
@settings(max_examples=8, deadline=None)
@given(counts=counts)
def test_the_first_epoch_shows_what_was_expected_without_a_start(name: str, counts: tuple[int, ...]) -> None:
    images = image_set(counts)
    said = expected(RESAMPLERS[name], images.counts, ud.Epoch.of(images))
    shown = epochs(RESAMPLERS[name], images, n=1)[1]
    assert sum(said) == len(shown)
    if "equal" not in name:  # which does not know which classes it will draw
        assert said == shown.shown


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
    who = learner(4)
    old, pixels = shown[0], shown[0].show(shown[0].index)
    new = RESAMPLERS[name].refresh(old, moment(who=who))
    assert new.images.data_ptr() == images.images.data_ptr()
    assert torch.equal(images.images, before)
    assert torch.equal(old.show(old.index), pixels)


@pytest.mark.parametrize("name", RESAMPLERS)
def test_one_seed_gives_the_same_epochs_and_another_seed_others(name: str) -> None:
    images = image_set(COUNTS)
    first, again, other = (epochs(RESAMPLERS[name], images, seed=s) for s in (0, 0, 1))
    assert all(torch.equal(seen(a), seen(b)) for a, b in zip(first, again, strict=True))
    if RESAMPLERS[name] != ud.NoResampling():
        assert not all(torch.equal(seen(a), seen(b)) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", RESAMPLERS)
def test_an_epoch_is_rebuilt_from_its_state(name: str) -> None:
    images = image_set(COUNTS)
    epoch = epochs(RESAMPLERS[name], images)[-1]
    rebuilt = ud.Epoch.of(images).restored({k: v.clone() for k, v in epoch.state().items()}, epoch.notes)
    assert torch.equal(seen(epoch), seen(rebuilt))
    assert all(torch.equal(v, rebuilt.state()[k]) for k, v in epoch.state().items())
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
    for name in ("baseline", "ros", "rus", "aos", "noise"):
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
    epoch = ud.Perturb(ud.FGSM(), eps, 1).refresh(ud.Epoch.of(images), moment(who=who))
    rare = np.flatnonzero(epoch.labels[: len(images)] == 1)
    x, y = ud.to_unit(images.images[rare]), images.labels[rare]
    pad = 64 - len(rare)  # the gradient's own batch size
    x, y = torch.cat([x, x[-1:].expand(pad, -1, -1, -1)]), torch.cat([y, y[-1:].expand(pad)])
    shown = epoch.show(epoch.index[rare])
    assert torch.equal(shown, attacked(ud.FGSM(), who, x, y, eps)[: len(rare)])
    assert torch.equal(shown, (x + eps * gradient(who, x, y).sign()).clamp(0, 1)[: len(rare)])


class Darken:
    """An attack that is no single signed step."""

    def __call__(
        self, victim: object, x: torch.Tensor, y: torch.Tensor, eps: torch.Tensor, rng: np.random.Generator
    ) -> ud.AlteredPixels:
        darker = x * (1 - eps.to(x.dtype).view(-1, 1, 1, 1) * torch.linspace(0.1, 0.9, x.shape[-1]))
        return ud.AlteredPixels(darker, (darker != x).flatten(1).any(1))


def test_attacks_of_ones_own_need_not_be_signed_steps() -> None:
    images = image_set((9, 4))
    epoch = ud.Perturb(Darken(), 0.5, 1).refresh(ud.Epoch.of(images), moment(who=learner(2)))
    rare = np.flatnonzero(epoch.labels[: len(images)] == 1)
    x, y = ud.to_unit(images.images[rare]), images.labels[rare]
    assert torch.equal(epoch.show(epoch.index[rare]), attacked(Darken(), None, x, y, 0.5))
    rebuilt = ud.Epoch.of(images).restored(epoch.state())
    assert torch.equal(rebuilt.show(rebuilt.index), epoch.show(epoch.index))


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_eps_and_tau_outside_their_range_are_refused(value: float) -> None:
    for name, make in (
        ("eps", lambda v: ud.Perturb(ud.FGSM(), v, 0.5)),
        ("tau", lambda v: ud.Perturb(ud.FGSM(), 0.1, v)),
    ):
        with pytest.raises(ud.InputError, match=f"{name} must be"):
            make(value)
