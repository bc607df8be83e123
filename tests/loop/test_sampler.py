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


def epochs_of(sampler: ud.BalancedSampler, *numbers: int) -> list[list[int]]:
    """What is shown in epochs of these numbers."""
    shown = []
    for t in numbers:
        sampler.set_epoch(t)
        shown.append(list(sampler))
    return shown


@settings(max_examples=30, deadline=None)
@given(counts=counts, epochs=st.integers(1, 4))
def test_balanced_and_every_image_before_any_repeats_also_across_epochs(counts: tuple[int, ...], epochs: int) -> None:
    y = labels(counts)
    sampler = ud.BalancedSampler(y)
    shown = np.array(epochs_of(sampler, *range(epochs)))
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
    assert epochs_of(one, 0, 1, 2)[2:] == epochs_of(two, 2)
    assert list(ud.BalancedSampler(y, 2)) != list(ud.BalancedSampler(y, 1))
    first, again, other = epochs_of(two, 0, 0, 1)
    assert first == again != other


@pytest.mark.parametrize("workers", [0, 2])
def test_iterations_that_are_no_training_change_nothing(workers: int) -> None:
    y = labels((12, 3, 5))
    whole = epochs_of(ud.BalancedSampler(y), 0, 1, 2)
    data = TensorDataset(torch.arange(20), torch.from_numpy(y))
    loader = DataLoader(data, 5, sampler=(sampler := ud.BalancedSampler(y)), num_workers=workers)
    next(iter(loader))  # to see a shape; workers draw all of it ahead
    for t in range(3):
        sampler.set_epoch(t)
        shown = []
        for n, (rows, _) in enumerate(loader):
            shown += rows.tolist()
            if n == 1:
                assert [i for x, _ in loader for i in x.tolist()] == whole[t]  # metrics in the middle of the epoch
        assert shown == whole[t]
        assert len(list(loader)) == len(loader)  # and at its end


def test_an_epoch_that_was_never_announced_is_warned_about() -> None:
    sampler = ud.BalancedSampler(labels((12, 3, 5)))
    assert list(sampler) == list(sampler)
    with pytest.warns(UserWarning, match="set_epoch"):
        list(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == list(sampler) == list(sampler)


@pytest.mark.parametrize("cut", [0, 1, 13, 35, 36])
def test_it_goes_on_in_the_middle_of_an_epoch(cut: int) -> None:
    y = labels((12, 3, 5))
    first, second, third = epochs_of(ud.BalancedSampler(y), 0, 1, 2)
    part = ud.BalancedSampler(y)
    part.set_epoch(1)
    iterator = iter(part)
    assert [next(iterator) for _ in range(cut)] == second[:cut]
    state = json.loads(json.dumps(part.state_dict()))
    resumed = ud.BalancedSampler(y)
    resumed.load_state_dict(state)
    if cut < 36:
        assert list(resumed) == second[cut:]  # a look before training goes on
        assert epochs_of(resumed, 1) == [second[cut:]]  # as loops do: the offset stays
    assert epochs_of(resumed, 2, 1) == [third, second]
    resumed.load_state_dict(state)
    assert epochs_of(resumed, 0) == [first]  # another epoch is shown whole


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
    with pytest.raises(ud.InputError, match="same images, but was saved with 3, and here it is 2"):
        ud.BalancedSampler([0, 1]).load_state_dict(state)
    with pytest.raises(ud.InputError, match="same labels"):
        ud.BalancedSampler([1, 1, 0]).load_state_dict(state)
    with pytest.raises(ud.InputError, match="same seed, but was saved with 0, and here it is 1"):
        ud.BalancedSampler([0, 1, 1], 1).load_state_dict(state)
    for wrong in ({}, {"weight": 1}, None, [1]):
        with pytest.raises(ud.InputError, match=r"state must be what state_dict\(\) returned"):
            ud.BalancedSampler([0, 1, 1]).load_state_dict(wrong)  # type: ignore[arg-type]
    for wrong in (-1, 0.5, "1", None):
        with pytest.raises(ud.InputError, match=r"epoch must be a (whole )?number"):
            ud.BalancedSampler([0, 1, 1]).set_epoch(wrong)  # type: ignore[arg-type]
    with pytest.raises(ud.InputError, match="seen must be a whole number of at least 0 and at most 4, not 5"):
        ud.BalancedSampler([0, 1, 1]).state_dict(epoch=0, seen=5)
    with pytest.raises(ud.InputError, match="seed must be an integer, not 'a'"):
        ud.BalancedSampler([0, 1, 1], seed="a")  # type: ignore[arg-type]
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


def test_labels_of_lists_of_items_and_by_a_function() -> None:
    photos = Photos()
    pairs = [photos[i] for i in range(44)]
    forms = (pairs, [{"label": torch.tensor(y), "image": x} for x, y in pairs], [[x, y, "name"] for x, y in pairs])
    for form in (*forms, [(x, torch.eye(3)[y]) for x, y in pairs], Subset(pairs, range(44))):
        assert find_labels(form).tolist() == photos.targets
    assert find_labels([[0, 1], [1, 0]]).tolist() == [1, 0]  # one-hot
    sampler = ud.BalancedSampler(Bare(), labels=lambda i: i // 2)
    assert sorted(sampler) == [0, 1, 2, 2]
    assert sorted(ud.BalancedSampler(Bare(), labels=[0, 1, 1])) == [0, 0, 1, 2]


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
        (TooMany(), "one for each of the 3 images, not 4"),
        (["cat", "dog"], "whole numbers"),
        ([0.5, 1.0], "whole numbers"),
        ([-1, 0], "from 0"),
        ([[1], [0, 1]], "whole numbers"),
        ([("image",), ("image",)], "whole numbers"),
        ([("image", "cat"), ("image", "dog")], "the items' labels must be whole numbers"),
        ([{"image": 0}, {"image": 1}], "cannot be found"),
    ],
)
def test_labels_that_are_not_there_or_are_no_numbers(source: object, said: str) -> None:
    with pytest.raises(ud.InputError, match=said):
        ud.BalancedSampler(source)
