"""BalancedSampler: balanced, complete, shared among ranks, resumable."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts import Photos
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import underdog as ud
from underdog.loop.labels import find_labels

counts = st.lists(st.integers(0, 9), min_size=2, max_size=5).map(lambda n: (*n, 11))


def labels(counts: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


@settings(max_examples=30, deadline=None)
@given(counts=counts, epochs=st.integers(1, 4))
def test_balanced_and_every_image_before_any_repeats_also_across_epochs(counts: tuple[int, ...], epochs: int) -> None:
    y = labels(counts)
    sampler = ud.BalancedSampler(y)
    shown = np.array([list(sampler) for _ in range(epochs)])
    assert shown.shape[1] == len(sampler)
    for epoch in shown:
        assert set(Counter(y[epoch].tolist()).values()) == {11}
        times = Counter(epoch.tolist())
        for k, n in enumerate(counts):
            if n:
                within = [times[i] for i in np.flatnonzero(y == k)]
                assert max(within) - min(within) <= 2  # the stretch may begin and end within a round
    overall = Counter(shown.flatten().tolist())
    for k, n in enumerate(counts):
        if n:
            shares = [overall[i] for i in np.flatnonzero(y == k)]
            assert max(shares) - min(shares) <= 1
    assert len({tuple(e) for e in shown}) == epochs


@settings(max_examples=20, deadline=None)
@given(counts=counts, world=st.integers(1, 5))
def test_ranks_share_one_epoch_and_global_batches_are_those_of_one_process(counts: tuple[int, ...], world: int) -> None:
    y = labels(counts)
    whole = list(ud.BalancedSampler(y, seed=3))
    parts = [list(s) for s in (ud.BalancedSampler(y, 3, rank, world) for rank in range(world))]
    assert {len(p) for p in parts} == {len(ud.BalancedSampler(y, 3, 0, world))}
    together = [i for row in zip(*parts, strict=True) for i in row]
    repeated = -len(whole) % world
    assert together == (whole + whole * world)[: len(whole) + repeated]


def test_epochs_depend_on_seed_and_number_alone() -> None:
    y = labels((12, 3))
    one, two = ud.BalancedSampler(y, 1), ud.BalancedSampler(y, 1)
    list(one), list(one)
    two.set_epoch(2)
    assert list(one) == list(two)
    assert list(ud.BalancedSampler(y, 2)) != list(ud.BalancedSampler(y, 1))
    two.set_epoch(0)
    again = list(two)
    two.set_epoch(0)
    assert list(two) == again != list(two)


@pytest.mark.parametrize("cut", [0, 1, 13, 35, 36])
def test_it_goes_on_in_the_middle_of_an_epoch(cut: int) -> None:
    y = labels((12, 3, 5))
    whole = ud.BalancedSampler(y)
    first, second, third = (list(whole) for _ in range(3))
    part = ud.BalancedSampler(y)
    list(part)
    part.set_epoch(1)
    iterator = iter(part)
    assert [next(iterator) for _ in range(cut)] == second[:cut]
    state = json.loads(json.dumps(part.state_dict()))
    resumed = ud.BalancedSampler(y)
    resumed.load_state_dict(state)
    if cut < 36:
        resumed.set_epoch(1)  # as loops do: the offset stays
        assert list(resumed) == second[cut:]
    assert list(resumed) == third
    resumed.load_state_dict(state)
    resumed.set_epoch(0)  # another epoch is shown whole
    assert list(resumed) == first


def test_with_workers_that_draw_ahead_the_loop_says_where_it_is() -> None:
    y = labels((12, 3, 5))
    data = TensorDataset(torch.arange(20), torch.from_numpy(y))
    whole = [i for x, _ in DataLoader(data, 5, sampler=ud.BalancedSampler(y)) for i in x.tolist()]
    sampler = ud.BalancedSampler(y)
    loader = iter(DataLoader(data, 5, sampler=sampler, num_workers=1, prefetch_factor=4))
    next(loader), next(loader)
    resumed = ud.BalancedSampler(y)
    assert sampler.state_dict()["seen"] > 10
    resumed.load_state_dict(sampler.state_dict(epoch=0, seen=10))
    assert list(resumed) == whole[10:]
    with pytest.raises(ud.InputError, match="belong together"):
        sampler.state_dict(seen=10)
    del loader


def test_the_length_is_right_from_the_beginning_and_stays() -> None:
    sampler = ud.BalancedSampler(labels((12, 3, 5)), rank=1, world=5)
    before = len(sampler)
    assert before == len(list(sampler)) == len(sampler) == 8
    state = sampler.state_dict(epoch=0, seen=3)
    sampler.load_state_dict(state)
    assert len(sampler) == before


def test_there_is_no_limit_of_two_to_the_24() -> None:
    n = 2**24 + 2**22 + 3
    y = np.zeros(n, dtype=np.int64)
    y[5 : 5 + 2**22] = 1
    sampler = ud.BalancedSampler(y)
    assert len(sampler) == 2 * (n - 2**22)
    seen = np.bincount(sampler.order(0), minlength=n)
    assert (seen[y == 0] == 1).all()
    assert set(seen[y == 1].tolist()) <= {4, 5}


def test_bad_input() -> None:
    with pytest.raises(ud.InputError, match="rank must lie"):
        ud.BalancedSampler([0, 1], rank=2, world=2)
    with pytest.raises(ud.InputError, match="at least one"):
        ud.BalancedSampler([])
    state = ud.BalancedSampler([0, 1, 1]).state_dict(epoch=2, seen=1)
    with pytest.raises(ud.InputError, match="3 images, but there are 2"):
        ud.BalancedSampler([0, 1]).load_state_dict(state)
    with pytest.raises(ud.InputError, match="1 ranks, and there are 2"):
        ud.BalancedSampler([0, 1, 1], rank=0, world=2).load_state_dict(state)


# Labels


class Table:
    """Like a Hugging Face data set: columns, and a transform that fails on anything but whole rows."""

    column_names = ("image", "label")

    def __init__(self, transformed: bool = True) -> None:
        self.transformed = transformed

    def __len__(self) -> int:
        return 4

    def with_format(self, kind: None) -> Table:
        return Table(transformed=False)

    def __getitem__(self, key: object) -> object:
        if self.transformed or key != "label":
            raise KeyError("image")
        return [0, 1, 1, 2]


class Renamed(Dataset):
    """A wrapper that applies a transform to somebody else's data."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]


def test_labels_are_found_without_reading_an_image() -> None:
    photos = Photos()
    y = np.array(photos.targets)
    indices = [5, 1, 1, 40]
    nested = ConcatDataset([Subset(photos, indices), Subset(Subset(photos, range(10)), [3, 2])])
    assert find_labels(photos).tolist() == y.tolist()
    assert find_labels(nested).tolist() == [*y[indices], *y[[3, 2]]]
    assert find_labels(Subset(Renamed(photos), [7])).tolist() == [y[7]]
    assert photos.reads == 0
    assert find_labels(Table()).tolist() == [0, 1, 1, 2]
    assert find_labels(TensorDataset(torch.rand(3, 2), torch.tensor([1, 0, 1]))).tolist() == [1, 0, 1]
    assert find_labels(torch.eye(3)[[2, 0]]).tolist() == [2, 0]


class Bare(Dataset):
    def __len__(self) -> int:
        return 3


class TooMany(Bare):
    targets = (0, 1, 1, 0)


class Stream(IterableDataset):
    def __iter__(self) -> object:
        return iter(())


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Bare(), r"cannot be found .* give labels="),
        (Subset(Bare(), [0]), "cannot be found"),
        (ConcatDataset([Bare(), Photos()]), "cannot be found"),
        (Stream(), "perturb_batch"),
        (TooMany(), "3 images but 4 labels"),
        (["cat", "dog"], "whole numbers"),
        ([0.5, 1.0], "whole numbers"),
        ([-1, 0], "from 0"),
    ],
)
def test_labels_that_are_not_there_or_are_no_numbers(source: object, said: str) -> None:
    with pytest.raises(ud.InputError, match=said):
        ud.BalancedSampler(source)
