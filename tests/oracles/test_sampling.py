"""Random over- and undersampling and SMOTE against imbalanced-learn."""

from __future__ import annotations

import math
from collections import Counter

import imblearn.over_sampling as over
import imblearn.under_sampling as under
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import moment

import underdog as ud
from underdog.resample import smote

counts = st.lists(st.integers(1, 30), min_size=2, max_size=6).map(tuple)


def labelled(counts: tuple[int, ...], seed: int = 0, shape: tuple[int, int, int] = (1, 4, 4)) -> ud.ImageSet:
    """Random images in random order, ``counts[k]`` of class k."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    pixels = rng.integers(0, 256, (len(labels), *shape), dtype=np.uint8)
    return ud.ImageSet(torch.from_numpy(pixels), torch.from_numpy(labels), tuple(f"c{k}" for k in range(len(counts))))


def start(resampler: ud.Resampler, images: ud.ImageSet, seed: int = 0) -> ud.Epoch:
    return resampler.start(ud.Epoch.of(images), moment(seed=seed, started=False))


def flat(images: ud.ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """What imbalanced-learn takes: float64 rows, since it wraps around on bytes, and labels."""
    return images.images.flatten(1).double().numpy(), images.labels.numpy()


@settings(max_examples=30, deadline=None)
@given(counts)
def test_random_oversampling_has_imbalanced_learns_counts_and_keeps_every_image(counts: tuple[int, ...]) -> None:
    images = labelled(counts)
    epoch = start(ud.RandomOverSampler(), images)
    theirs = over.RandomOverSampler(random_state=0).fit_resample(*flat(images))[1]
    assert Counter(epoch.labels[epoch.index].tolist()) == Counter(theirs.tolist())
    assert set(epoch.index) == set(range(len(images)))


@settings(max_examples=30, deadline=None)
@given(counts)
def test_random_undersampling_has_imbalanced_learns_counts_and_no_repeats(counts: tuple[int, ...]) -> None:
    images = labelled(counts)
    epoch = start(ud.RandomUnderSampler(), images)
    theirs = under.RandomUnderSampler(random_state=0).fit_resample(*flat(images))[1]
    assert Counter(epoch.labels[epoch.index].tolist()) == Counter(theirs.tolist())
    assert len(set(epoch.index)) == len(epoch)


ratios = st.integers(1, 20).map(lambda n: n / 20)


@settings(max_examples=60, deadline=None)
@given(counts, ratios)
def test_oversampling_by_a_ratio_is_imbalanced_learns_with_the_formulas_counts(
    counts: tuple[int, ...], ratio: float
) -> None:
    images = labelled(counts)
    epoch = start(ud.RandomOverSampler(ratio), images)
    wanted = {k: max(n, math.floor(ratio * max(counts))) for k, n in enumerate(counts)}
    theirs = over.RandomOverSampler(sampling_strategy=wanted, random_state=0).fit_resample(*flat(images))[1]
    assert Counter(epoch.labels[epoch.index].tolist()) == Counter(theirs.tolist())
    assert set(epoch.index) == set(range(len(images)))


@settings(max_examples=60, deadline=None)
@given(counts, ratios)
def test_undersampling_by_a_ratio_is_imbalanced_learns_with_the_formulas_counts(
    counts: tuple[int, ...], ratio: float
) -> None:
    images = labelled(counts)
    epoch = start(ud.RandomUnderSampler(ratio), images)
    wanted = {k: min(n, math.floor(min(counts) / ratio)) for k, n in enumerate(counts)}
    theirs = under.RandomUnderSampler(sampling_strategy=wanted, random_state=0).fit_resample(*flat(images))[1]
    assert Counter(epoch.labels[epoch.index].tolist()) == Counter(theirs.tolist())
    assert len(set(epoch.index)) == len(epoch)


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.85, 1.0])
def test_of_two_classes_a_ratio_is_imbalanced_learns_own(ratio: float) -> None:
    images = labelled((40, 7))
    for ours, theirs in (
        (ud.RandomOverSampler(ratio), over.RandomOverSampler(sampling_strategy=ratio, random_state=0)),
        (ud.RandomUnderSampler(ratio), under.RandomUnderSampler(sampling_strategy=ratio, random_state=0)),
    ):
        epoch = start(ours, images)
        assert Counter(epoch.labels[epoch.index].tolist()) == Counter(theirs.fit_resample(*flat(images))[1].tolist())


@pytest.mark.parametrize("ratio", [0, -0.5, 1.01, math.nan])
def test_a_ratio_outside_its_range_is_refused(ratio: float) -> None:
    for sampler in (ud.RandomOverSampler, ud.RandomUnderSampler):
        with pytest.raises(ud.InputError, match="ratio must be a number above 0 and at most 1"):
            sampler(ratio)


def chi_square(observed: np.ndarray) -> float:
    expected = observed.mean()
    return float(((observed - expected) ** 2 / expected).sum())


def test_oversampling_repeats_every_image_of_a_class_equally_often() -> None:
    images = labelled((10_010, 10))
    rare = np.flatnonzero(images.labels == 1)
    ours = start(ud.RandomOverSampler(), images).index
    sampler = over.RandomOverSampler(random_state=0)
    sampler.fit_resample(*flat(images))
    for index in (ours, sampler.sample_indices_):
        repeats = np.array([(index == i).sum() - 1 for i in rare])
        assert repeats.sum() == 10_000
        assert chi_square(repeats) < 27.9  # 9 degrees of freedom: exceeded once in a thousand draws


def test_undersampling_keeps_every_image_of_a_class_equally_often() -> None:
    images, seeds = labelled((20, 5)), 400
    often = np.flatnonzero(images.labels == 0)

    def theirs(seed: int) -> np.ndarray:
        sampler = under.RandomUnderSampler(random_state=seed)
        sampler.fit_resample(*flat(images))
        return sampler.sample_indices_

    for draw in (lambda seed: start(ud.RandomUnderSampler(), images, seed).index, theirs):
        kept = np.bincount(np.concatenate([draw(seed) for seed in range(seeds)]), minlength=25)[often]
        assert kept.sum() == 5 * seeds
        # 5 of 20 without replacement: variance p (1 - p) seeds, times 20/19; 19 degrees of freedom.
        assert chi_square(kept) / (1 - 5 / 20) * 19 / 20 < 43.8


class Draws(np.random.RandomState):
    """A RandomState for imbalanced-learn that hands out one of underdog's streams."""

    def __init__(self, stream: np.random.Generator) -> None:
        super().__init__(0)
        self.stream = stream

    def randint(self, low: int, high: int, size: int) -> np.ndarray:  # type: ignore[override]
        return self.stream.integers(low, high, size=size)

    def uniform(self, low: float = 0, high: float = 1, size: int = 1) -> np.ndarray:  # type: ignore[override]
        return self.stream.uniform(low, high, size=size)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(6, 25), min_size=2, max_size=4).map(tuple), st.integers(0, 99))
def test_smote_gives_imbalanced_learns_images_for_the_same_draws(counts: tuple[int, ...], seed: int) -> None:
    images, rng = labelled(counts, seed), ud.RandomStreams(seed)
    epoch = start(ud.SMOTE(), images, seed)
    x, y = flat(images)
    expected = [np.empty((0, x.shape[1]))]
    for k, n in enumerate(counts):
        if n < max(counts):
            theirs = over.SMOTE(sampling_strategy={k: max(counts)}, random_state=Draws(rng("smote", k)))
            expected.append(theirs.fit_resample(x, y)[0][len(x) :])
    assert (epoch.synthetic.flatten(1).numpy() == np.rint(np.concatenate(expected))).all()
    assert epoch.shown == (max(counts),) * len(counts)


@pytest.mark.parametrize(("counts", "k"), [((60, 20, 9), 5), ((40, 3), 5), ((40, 2), 5), ((40, 12), 1)])
def test_every_smote_image_lies_between_an_image_and_a_near_one_of_its_class(counts: tuple[int, ...], k: int) -> None:
    images = labelled(counts)
    epoch = start(ud.SMOTE(k), images)
    x, y = flat(images)
    made = epoch.labels[len(images) :]
    assert np.bincount(made, minlength=len(counts)).tolist() == [max(counts) - n for n in counts]
    for image, label in zip(epoch.synthetic.flatten(1).numpy().astype(float), made, strict=True):
        own = x[y == label]
        distance = ((own[:, None] - own[None]) ** 2).sum(2)
        np.fill_diagonal(distance, np.inf)
        near = distance.argsort(1)[:, : min(k, len(own) - 1)]
        a = np.repeat(own, near.shape[1], axis=0)
        d = own[near.ravel()] - a
        # u with |a + u d - image| <= 1/2 in every pixel, for some pair
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.stack([(image - a - 0.5) / d, (image - a + 0.5) / d])
        low = np.where(d == 0, 0, ends.min(0)).max(1)
        high = np.where(d == 0, 1, ends.max(0)).min(1)
        still = (np.abs(image - a) <= 0.5) | (d != 0)
        assert (still.all(1) & (np.maximum(low, 0) <= np.minimum(high, 1))).any()


def nearest(images: np.ndarray, among: np.ndarray, k: int) -> list[set[int]]:
    """The distances of each image's k nearest others among some rows, by the definition."""
    distance = ((images[:, None].astype(float) - images[among][None]) ** 2).sum(2)
    distance[np.arange(len(images))[:, None] == among[None]] = np.inf
    return [set(row) for row in np.sort(distance, axis=1)[:, :k].tolist()]


@pytest.mark.parametrize("m", [7, 40, 41, 90])
@pytest.mark.parametrize("duplicates", [False, True])
def test_neighbours_are_the_nearest_others_among_at_most_so_many(
    m: int, duplicates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smote, "AMONG", 40)
    monkeypatch.setattr(smote, "ASKED", 16)  # the search goes through parts of uneven size
    images = np.random.default_rng(0).integers(0, 256, (m, 9), dtype=np.uint8)
    if duplicates:
        images[3] = images[5]
    k = 4
    near = smote.neighbours(images, k, np.random.default_rng(1))
    among = np.arange(m)
    if m > 40:
        among = np.sort(np.random.default_rng(1).choice(m, size=40, replace=False))
    assert near.shape == (m, k)
    assert set(near.ravel()) <= set(among)
    if m > 40 or not duplicates:  # of equal images either stands for both, as in imbalanced-learn
        assert (near != np.arange(m)[:, None]).all()
    assert all(len(set(row)) == k for row in near.tolist())
    found = ((images[:, None].astype(float) - images[near]) ** 2).sum(2)
    assert [set(row) for row in found.tolist()] == nearest(images, among, k)


def test_smote_searches_all_of_a_class_unless_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    images = labelled((60, 20))
    whole = start(ud.SMOTE(), images).synthetic
    monkeypatch.setattr(smote, "AMONG", 20)
    assert torch.equal(start(ud.SMOTE(), images).synthetic, whole)
    monkeypatch.setattr(smote, "AMONG", 19)
    assert not torch.equal(start(ud.SMOTE(), images).synthetic, whole)


def test_smote_images_are_distributed_as_imbalanced_learns() -> None:
    n = 12_000
    images = labelled((n + 8, 8))
    x, y = flat(images)
    ours = start(ud.SMOTE(), images).synthetic.flatten(1).double().numpy()
    theirs = over.SMOTE(random_state=0).fit_resample(x, y)[0][len(x) :]
    own = x[y == 1]
    distance = ((own[:, None] - own[None]) ** 2).sum(2)
    near = distance.argsort(1)[:, 1:6]
    a = np.repeat(own, 5, axis=0)
    d = own[near.ravel()] - a
    mean = (a + d / 2).mean(0)
    spread = np.sqrt((a**2 + a * d + d**2 / 3).mean(0) - mean**2)
    for drawn in (ours, theirs):
        assert len(drawn) == n
        # Standard errors of a mean and (for at most these tails) of a deviation; 32 comparisons each.
        assert (np.abs(drawn.mean(0) - mean) < 4.5 * spread / np.sqrt(n)).all()
        assert (np.abs(drawn.std(0) - spread) < 4.5 * spread / np.sqrt(n)).all()


def test_smote_does_not_wrap_around_at_the_ends_of_a_byte() -> None:
    pixels = torch.zeros(302, 1, 4, 4, dtype=torch.uint8)
    pixels[301] = 255
    images = ud.ImageSet(pixels, torch.tensor([0] * 300 + [1] * 2), ("often", "rare"))
    made = start(ud.SMOTE(), images).synthetic.flatten(1).numpy()
    stream = ud.RandomStreams(0)("smote", 1)
    parent, u = stream.integers(0, 2, size=298), stream.uniform(size=298)
    expected = np.rint(np.where(parent == 0, 255 * u, 255 - 255 * u))
    assert (made == expected[:, None]).all()
    assert made.min() < 5
    assert made.max() > 250


def test_smote_with_few_images_is_noted_and_with_one_refused() -> None:
    epoch = start(ud.SMOTE(), labelled((20, 6, 5, 2)))
    assert epoch.notes == (
        "SMOTE: class 'c2' has 5 images, so k = 4 instead of 5",
        "SMOTE: class 'c3' has 2 images, so k = 1 instead of 5",
    )
    with pytest.raises(ud.InputError, match="'c1' has 1"):
        start(ud.SMOTE(), labelled((20, 1)))
