"""Holding out a part."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import underdog as ud


def labelled(labels: list[int], groups: list[int] | None = None) -> ud.ImageSet:
    y = torch.tensor(labels, dtype=torch.int64)
    names = None if groups is None else np.array([f"g{g}" for g in groups])
    classes = tuple(f"c{k}" for k in range(max(labels) + 1))
    return ud.ImageSet(torch.zeros(len(y), 1, 1, 1, dtype=torch.uint8), y, classes, names)


def divide(images: ud.ImageSet, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``hold_out``, with everything checked that must hold whenever it returns."""
    kept, held = ud.hold_out(images, fraction, np.random.default_rng(seed))
    assert sorted([*kept, *held]) == list(range(len(images)))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held) > 0).all()
    for part in (kept, held):
        assert set(images.labels[part].tolist()) == set(range(len(images.classes)))
    if images.groups is not None:
        assert not set(images.groups[kept]) & set(images.groups[held])
    return kept, held


fractions = st.sampled_from([0.05, 0.1, 0.2, 1 / 3, 0.5])
seeds = st.integers(0, 5)


@settings(deadline=None)
@given(st.lists(st.integers(2, 60), min_size=2, max_size=6), fractions, seeds)
def test_every_class_gives_up_its_share(counts: list[int], fraction: float, seed: int) -> None:
    images = labelled(np.repeat(np.arange(len(counts)), counts).tolist())
    _, held = divide(images, fraction, seed)
    assert images.select(held).counts == tuple(max(1, round(fraction * n)) for n in counts)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=8), min_size=2, max_size=4), fractions, seeds)
def test_groups_of_one_class_never_cross_and_shares_are_met_to_within_a_group(
    sizes: list[list[int]], fraction: float, seed: int
) -> None:
    labels = [k for k, own in enumerate(sizes) for n in own for _ in range(n)]
    groups = [100 * k + g for k, own in enumerate(sizes) for g, n in enumerate(own) for _ in range(n)]
    images = labelled(labels, groups)
    if lonely := [k for k, own in enumerate(sizes) if len(own) < 2]:
        with pytest.raises(ud.InputError, match=f"class 'c[{''.join(map(str, lonely))}]' has 1 group"):
            divide(images, fraction, seed)
        return
    _, held = divide(images, fraction, seed)
    for own, n, h in zip(sizes, images.counts, images.select(held).counts, strict=True):
        assert abs(h - max(1, round(fraction * n))) < max(own)


@settings(deadline=None, max_examples=200)
@given(
    own=st.lists(st.lists(st.integers(1, 4), min_size=2, max_size=3), min_size=2, max_size=4),
    mixed=st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=6), max_size=4),
    fraction=fractions,
    seed=seeds,
)
def test_groups_of_several_classes_never_hinder_classes_with_two_groups_of_their_own(
    own: list[list[int]], mixed: list[list[int]], fraction: float, seed: int
) -> None:
    pairs = [(k, 10 * k + g) for k, sizes in enumerate(own) for g, n in enumerate(sizes) for _ in range(n)]
    pairs += [(k % len(own), 100 + g) for g, members in enumerate(mixed) for k in members]
    images = labelled(*map(list, zip(*pairs, strict=True)))
    kept, held = divide(images, fraction, seed)
    assert min(images.select(kept).counts) > 0
    assert min(images.select(held).counts) > 0


def test_groups_of_several_classes_are_seldom_refused_where_a_division_exists() -> None:
    rng, possible, refused = np.random.default_rng(0), 0, 0
    for _ in range(500):
        labels, groups = rng.integers(0, 3, 16), rng.integers(0, 5, 16)
        of_class = [set(groups[labels == k]) for k in range(3)]
        if any(
            all(own & set(held) and own - set(held) for own in of_class)
            for r in range(5)
            for held in itertools.combinations(range(5), r)
        ):
            possible += 1
            try:
                divide(labelled(labels.tolist(), groups.tolist()), 0.2, 0)
            except ud.InputError:
                refused += 1
    assert possible > 400
    assert refused / possible < 0.01


def test_a_class_with_one_image_is_named() -> None:
    with pytest.raises(ud.InputError, match="class 'c1' has 1 image: nothing would be left for validation"):
        divide(labelled([0, 0, 0, 1]), 0.1, 0)


def test_the_choice_follows_the_generator() -> None:
    images = labelled([0, 1] * 50)
    held = [divide(images, 0.2, seed)[1].tobytes() for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


@settings(deadline=None, max_examples=200)
@given(
    sizes=st.lists(st.lists(st.integers(1, 40), min_size=3, max_size=8), min_size=2, max_size=4),
    fractions=st.tuples(fractions, fractions),
    seed=seeds,
)
def test_a_class_with_three_groups_has_one_in_each_of_three_parts(
    sizes: list[list[int]], fractions: tuple[float, float], seed: int
) -> None:
    labels = [k for k, own in enumerate(sizes) for n in own for _ in range(n)]
    groups = [100 * k + g for k, own in enumerate(sizes) for g, n in enumerate(own) for _ in range(n)]
    images, rng = labelled(labels, groups), np.random.default_rng(seed)
    rest, test = ud.hold_out(images, fractions[0], rng, "test", leave=2)
    kept, val = ud.hold_out(images.select(rest), fractions[1], rng)
    parts = [images.select(test), images.select(rest).select(kept), images.select(rest).select(val)]
    assert all(min(part.counts) > 0 for part in parts)
    assert sum(len(set(part.groups)) for part in parts) == len(set(groups))


@settings(deadline=None, max_examples=100)
@given(
    sizes=st.lists(st.lists(st.integers(1, 9), min_size=5, max_size=9), min_size=2, max_size=3),
    k=st.integers(2, 5),
    seed=seeds,
)
def test_folds_share_no_group_and_each_has_every_class(sizes: list[list[int]], k: int, seed: int) -> None:
    labels = [c for c, own in enumerate(sizes) for n in own for _ in range(n)]
    groups = [100 * c + g for c, own in enumerate(sizes) for g, n in enumerate(own) for _ in range(n)]
    images = labelled(labels, groups)
    parts = ud.folds(images, k, lambda i: np.random.default_rng([seed, i]))
    assert sorted(np.concatenate(parts)) == list(range(len(images)))
    names = [set(images.groups[part]) for part in parts]
    assert sum(map(len, names)) == len(set.union(*names))
    assert all(set(images.labels[part].tolist()) == set(range(len(sizes))) for part in parts)


def test_folds_without_groups_differ_by_one_image_of_a_class() -> None:
    images = labelled([0] * 23 + [1] * 11)
    parts = ud.folds(images, 5, np.random.default_rng)
    counts = np.array([images.select(part).counts for part in parts])
    assert (counts.max(0) - counts.min(0) <= 1).all()
    with pytest.raises(ud.InputError, match="folds must be at least 2"):
        ud.folds(images, 1, np.random.default_rng)


def test_few_validation_images_are_warned_about() -> None:
    train = labelled([0, 1, 2] * 20)
    split = ud.Split(train, labelled([0] * 9 + [1] * 10 + [2] * 3))
    assert split.notes == (
        "fewer than 10 validation images of c0 (9), c2 (3): what is chosen by them is chosen by chance",
    )
    assert ud.Split(train, train).notes == ()


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_fractions_that_leave_nothing_are_refused(fraction: float) -> None:
    with pytest.raises(ud.InputError, match="fraction must be"):
        ud.hold_out(labelled([0, 1] * 5), fraction, np.random.default_rng(0))


def test_parts_must_fit_together() -> None:
    a, b = labelled([0, 1]), labelled([0, 1, 2])
    for parts in ((a, b), (a, a, b)):
        with pytest.raises(ud.InputError, match="must have the classes and the image shape of train"):
            ud.Split(*parts)
