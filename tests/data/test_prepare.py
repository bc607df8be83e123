"""From a source to the parts of an experiment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import underdog as ud


@pytest.fixture(scope="module")
def digits() -> ud.Source:
    return ud.load_images("digits")


def items(images: ud.ImageSet) -> set[bytes]:
    return {image.numpy().tobytes() for image in images.images}


def test_parts_share_no_image_and_classes_keep_their_shares(digits: ud.Source) -> None:
    parts = ud.prepare(digits).split
    every = [items(p) for p in (parts.train, parts.val, parts.test)]
    assert sum(map(len, every)) == len(set.union(*every)) == len(items(digits.train))
    for n, test, val in zip(digits.train.counts, parts.test.counts, parts.val.counts, strict=True):
        assert (test, val) == (round(0.2 * n), round(0.1 * (n - round(0.2 * n))))


def test_the_test_part_is_the_same_for_all_seeds_and_the_validation_part_is_not(digits: ud.Source) -> None:
    parts = [ud.prepare(digits, seed, rho=20, mu=0.6).split for seed in range(4)]
    assert len({p.test.fingerprint for p in parts}) == 1
    assert len({p.val.fingerprint for p in parts}) == 4
    assert len({p.train.fingerprint for p in parts}) == 4


def test_the_imbalance_is_induced_after_validation_and_test_are_held_out(digits: ud.Source) -> None:
    plain, cut = ud.prepare(digits, 1).split, ud.prepare(digits, 1, rho=20, mu=0.6).split
    assert plain.val.fingerprint == cut.val.fingerprint
    assert plain.test.fingerprint == cut.test.fingerprint
    assert items(cut.train) < items(plain.train)


@pytest.mark.parametrize("options", [{}, {"rho": 20, "mu": 0.6}, {"rho": 5, "minority": ["3"]}, {"minority": ["3"]}])
def test_the_kept_positions_give_the_training_part_again(digits: ud.Source, options: dict[str, Any]) -> None:
    prepared = ud.prepare(digits, 2, **options)
    assert (np.diff(prepared.kept) > 0).all()
    assert torch.equal(digits.train.images[prepared.kept], prepared.split.train.images)
    assert torch.equal(digits.train.labels[prepared.kept], prepared.split.train.labels)


def test_the_minority_can_be_named_with_and_without_inducing_it(digits: ud.Source) -> None:
    natural = ud.prepare(digits, minority=["3", "7"]).split.train
    assert natural.minority == {3, 7}
    assert natural.counts == ud.prepare(digits).split.train.counts
    assert ud.prepare(digits, rho=25, minority=["3"]).split.train.counts[3] == 5
    with pytest.raises(ud.InputError, match="'x'"):
        ud.prepare(digits, minority=["x"])


def test_a_sources_own_parts_are_used_as_they_are(tmp_path: Path, pictures: Any) -> None:
    counts = {"a": 20, "b": 12}
    parts = {p: pictures.tree(counts, seed=i) for i, p in enumerate(("train", "val", "test"))}

    def source(*names: str) -> ud.Source:
        return ud.load_images(
            pictures.folder(tmp_path / "-".join(names), {f"{p}/{n}": d for p in names for n, d in parts[p].items()})
        )

    whole = source("train", "val", "test")
    prepared = ud.prepare(whole)
    assert prepared.split.train.counts == (20, 12)
    assert prepared.split.val is whole.val
    assert prepared.split.test is whole.test
    some = source("train", "test")
    split = ud.prepare(some).split
    assert split.test is some.test
    assert (split.val.counts, split.train.counts) == ((2, 1), (18, 11))
    split = ud.prepare(source("train", "val")).split
    assert (split.test.counts, split.train.counts) == ((4, 2), (16, 10))


def test_fractions_say_how_large_the_parts_are(digits: ud.Source) -> None:
    split = ud.prepare(digits, division=ud.Division(val_fraction=0.25, test_fraction=0.5)).split
    assert len(split.test) == pytest.approx(len(digits.train) / 2, abs=10)
    assert len(split.val) == pytest.approx(len(digits.train) / 8, abs=10)


def test_each_image_is_tested_on_in_one_fold(digits: ud.Source) -> None:
    parts = [ud.prepare(digits, seed, division=ud.Division(folds=4, fold=seed)).split for seed in range(4)]
    every = [items(p.test) for p in parts]
    assert sum(map(len, every)) == len(set.union(*every)) == len(items(digits.train))
    assert all(not items(p.test) & (items(p.train) | items(p.val)) for p in parts)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"val_fraction": 0}, "val-fraction must be in .0, 1., not 0"),
        ({"test_fraction": 1.5}, "test-fraction must be in .0, 1., not 1.5"),
        ({"folds": 3}, "folds and fold belong together"),
        ({"folds": 3, "fold": 3}, "fold must be one of"),
        ({"folds": 1, "fold": 0}, "at least 2"),
        ({"folds": 3, "fold": 0, "test_fraction": 0.1}, "exclude each other"),
    ],
)
def test_contradictory_divisions_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ud.InputError, match=words):
        ud.Division(**settings)


def test_what_a_source_has_is_not_made_again(tmp_path: Path, pictures: Any) -> None:
    files = {
        f"{p}/{n}": d
        for i, p in enumerate(("train", "val", "test"))
        for n, d in pictures.tree({"a": 9, "b": 9}, seed=i).items()
    }
    source = ud.load_images(pictures.folder(tmp_path, files))
    for division, part in (
        (ud.Division(val_fraction=0.2), "validation"),
        (ud.Division(test_fraction=0.2), "test"),
        (ud.Division(folds=3, fold=0), "test"),
    ):
        with pytest.raises(ud.InputError, match=f"has its own {part} part"):
            ud.prepare(source, division=division)


def test_a_class_with_fewer_images_than_folds_is_named(tmp_path: Path, pictures: Any) -> None:
    source = ud.load_images(pictures.folder(tmp_path, pictures.tree({"often": 20, "rare": 4})))
    with pytest.raises(ud.InputError, match="'rare' has 4 images, too few for 5 folds"):
        ud.prepare(source, division=ud.Division(folds=5, fold=0))


@pytest.mark.parametrize(("n", "part"), [(1, "test"), (2, "validation")])
def test_a_class_with_nothing_left_for_a_part_is_named(n: int, part: str, tmp_path: Path, pictures: Any) -> None:
    source = ud.load_images(pictures.folder(tmp_path, pictures.tree({"often": 20, "rare": n})))
    with pytest.raises(ud.InputError, match=f"'rare' .*nothing would be left for {part}"):
        ud.prepare(source)


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_class_that_a_sources_own_part_lacks_is_named(part: str, tmp_path: Path, pictures: Any) -> None:
    files = pictures.tree({"ant": 9, "bee": 9})
    own = {f"{p}/{n}": d for p in ("train", "val", "test") for n, d in files.items() if (p, n[:3]) != (part, "bee")}
    with pytest.raises(ud.InputError, match="'bee'"):
        ud.prepare(ud.load_images(pictures.folder(tmp_path, own)))


def test_three_images_of_a_class_are_enough(tmp_path: Path, pictures: Any) -> None:
    split = ud.prepare(ud.load_images(pictures.folder(tmp_path, pictures.tree({"often": 20, "rare": 3})))).split
    assert [p.counts[1] for p in (split.train, split.val, split.test)] == [1, 1, 1]


# Real archives


def test_mnist_is_whole(archive: Callable[[str], Path]) -> None:
    source = ud.load_images(archive("mnist.tar"))
    assert source.train.counts == (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    assert source.test.counts == (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    assert source.train.shape == (1, 28, 28)
    split = ud.prepare(source, rho=60, mu=0.6).split
    assert sorted(split.train.counts) == [4879 // 60] * 6 + [4879] * 4
    assert split.test is source.test


def test_scene_15_is_whole_and_becomes_small(archive: Callable[[str], Path]) -> None:
    source = ud.load_images(archive("scene15_128.tar.xz"), ud.Reading(size=(32, 32)))
    assert source.train.counts == (100,) * 15
    assert source.test.counts == (116, 260, 228, 160, 211, 208, 110, 189, 274, 115, 310, 215, 192, 141, 256)
    assert source.train.shape == (1, 32, 32)
    assert source.train.classes[:3] == ("bedroom", "coast", "forest")
    assert source.notes == ()
