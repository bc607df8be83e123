"""Inducing and measuring imbalance."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import underdog as ud


def labelled(counts: tuple[int, ...], seed: int = 0) -> ud.ImageSet:
    """``counts[k]`` images of class k in random order; every image holds its own number."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    pixels = torch.arange(len(labels))[:, None, None, None] // torch.tensor([256, 1]) % 256
    return ud.ImageSet(pixels.to(torch.uint8), torch.from_numpy(labels), tuple(f"c{k}" for k in range(len(counts))))


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(4, 40), min_size=2, max_size=12).map(tuple),
    rho=st.fractions(1, 4, max_denominator=20),
    mu=st.fractions(0, Fraction(99, 100), max_denominator=100),
    seed=st.integers(0, 9),
)
def test_the_four_steps_of_the_paper(counts: tuple[int, ...], rho: Fraction, mu: Fraction, seed: int) -> None:
    images = labelled(counts)
    cut = ud.make_imbalance(images, rho, mu, ud.RandomStreams(seed))
    n = min(counts)
    marked = cut.images.minority
    assert marked is not None
    assert len(marked) == mu * len(counts) // 1
    assert cut.images.counts == tuple(
        n * rho.denominator // rho.numerator if k in marked else n for k in range(len(counts))
    )
    assert (np.diff(cut.kept) > 0).all()
    assert cut.images.classes == images.classes
    assert torch.equal(cut.images.images, images.images[cut.kept])
    assert torch.equal(cut.images.labels, images.labels[cut.kept])


def test_a_majority_size_says_what_is_left_and_smaller_sets_are_parts_of_larger_ones() -> None:
    images, rng = labelled((30, 41, 35, 50)), ud.RandomStreams(3)
    cuts = [ud.make_imbalance(images, 5, 0.5, rng, majority_size=n) for n in (10, 20, 30)]
    assert [sorted(cut.images.counts) for cut in cuts] == [[2, 2, 10, 10], [4, 4, 20, 20], [6, 6, 30, 30]]
    assert set(cuts[0].kept) < set(cuts[1].kept) < set(cuts[2].kept)
    assert (cuts[2].kept == ud.make_imbalance(images, 5, 0.5, rng).kept).all()
    for size in (0, 31):
        with pytest.raises(ud.InputError, match=f"majority-size must be from 1 to .* 30 training images, not {size}"):
            ud.make_imbalance(images, 5, 0.5, rng, majority_size=size)


@pytest.mark.parametrize(
    ("mu", "classes", "marked"),
    [(0.2, 6, 1), (0.29, 100, 29), (0.6, 10, 6), (0.58, 50, 29), (0.7, 10, 7), ("1/3", 3, 1), (Fraction(2, 3), 9, 6),
     (1 / 3, 3, 1), (2 / 3, 6, 4), (0, 5, 0), (0.99, 5, 4)],
)  # fmt: skip
def test_mu_is_exact(mu: float | str | Fraction, classes: int, marked: int) -> None:
    cut = ud.make_imbalance(labelled((2,) * classes), 2, mu, ud.RandomStreams(0)).images
    assert sorted(cut.counts) == [1] * marked + [2] * (classes - marked)


@pytest.mark.parametrize(
    ("rho", "n", "rare"), [(1.1, 11, 10), (0.3 / 0.1, 9, 3), (10 / 3, 10, 3), (2.5, 10, 4), (60, 61, 1)]
)
def test_rho_is_exact(rho: float, n: int, rare: int) -> None:
    assert ud.make_imbalance(labelled((n, n)), rho, 0.5, ud.RandomStreams(0)).images.counts in {(n, rare), (rare, n)}


def test_seeds_choose_other_classes_and_images_and_one_seed_the_same() -> None:
    images = labelled((30,) * 8)
    cuts = [ud.make_imbalance(images, 5, 0.5, ud.RandomStreams(s)) for s in (0, 0, 1, 2)]
    assert (cuts[0].kept == cuts[1].kept).all()
    assert len({c.kept.tobytes() for c in cuts}) == 3
    assert len({c.images.minority for c in cuts}) == 3


@given(st.integers(0, 20))
def test_minority_sets_and_images_are_nested(seed: int) -> None:
    images = labelled((20,) * 7)
    rng = ud.RandomStreams(seed)
    shares = [ud.make_imbalance(images, 4, k / 8, rng) for k in range(8)]
    for less, more in itertools.pairwise(shares):
        assert less.images.minority <= more.images.minority
        assert set(more.kept) <= set(less.kept)
    ratios = [ud.make_imbalance(images, rho, 0.5, rng) for rho in (1, 2, 4, 20)]
    for less, more in itertools.pairwise(ratios):
        assert less.images.minority == more.images.minority
        assert set(more.kept) < set(less.kept)


def test_minority_can_be_named() -> None:
    cut = ud.make_imbalance(labelled((30, 20, 40)), 10, None, ud.RandomStreams(0), ["c2", "c0"]).images
    assert (cut.counts, cut.minority) == ((2, 20, 2), {0, 2})


@pytest.mark.parametrize(
    ("rho", "mu", "minority", "words"),
    [
        (0.99, 0.5, None, "rho must be at least 1, not 0.99"),
        (-2, 0.5, None, "rho must be at least 1"),
        (11, 0.5, None, "rho must be at most 10"),
        (2, 1, None, r"mu must be in \[0, 1\), not 1"),
        (2, -0.1, None, r"mu must be in \[0, 1\), not -0.1"),
        (2, None, None, "mu must be given"),
        (2, 0.5, ["c0"], "mu and minority exclude each other"),
        (2, None, "c0", "must be a list of class names"),
        (2, None, ["c0", "c9"], "unknown class in minority 'c9'"),
        (2, None, ["c0", "c1"], "at least one class as majority"),
        (float("nan"), 0.5, None, "rho"),
        (float("inf"), 0.5, None, "rho"),
        (2, float("nan"), None, "mu"),
    ],
)
def test_what_cannot_be_induced_is_refused(
    rho: float, mu: float | None, minority: list[str] | None, words: str
) -> None:
    with pytest.raises(ud.InputError, match=words):
        ud.make_imbalance(labelled((10, 12)), rho, mu, ud.RandomStreams(0), minority)


def test_an_empty_class_is_refused() -> None:
    images = ud.ImageSet(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 0]), ("a", "b"))
    with pytest.raises(ud.InputError, match="'b' has no training image"):
        ud.make_imbalance(images, 2, 0.5, ud.RandomStreams(0))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_ratio_and_share_of_any_labels(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)) * 3, counts)  # class numbers may have gaps
    assert ud.imbalance_ratio(labels) == max(counts) / min(counts)
    assert ud.minority_share(labels) == sum(2 * n <= max(counts) for n in counts) / len(counts)
    assert ud.minority_share(labels, [0, 999]) == 1 / len(counts)


@given(rho=st.integers(1, 10), k=st.integers(0, 9))
def test_induced_imbalance_is_measured_as_it_was_asked_for(rho: int, k: int) -> None:
    cut = ud.make_imbalance(labelled((20,) * 10), rho, k / 10, ud.RandomStreams(0)).images
    assert ud.minority_share(cut.labels, cut.minority) == k / 10
    assert ud.imbalance_ratio(cut.labels) == (20 / (20 // rho) if k else 1)


@pytest.mark.parametrize("measure", [ud.imbalance_ratio, ud.minority_share])
def test_nothing_has_no_imbalance(measure: object) -> None:
    with pytest.raises(ud.InputError, match="at least one image"):
        measure([])  # type: ignore[operator]
