"""Random streams: pinned, addressed by name, independent of each other."""

from __future__ import annotations

import json
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import underdog as ud

addresses = st.tuples(
    st.integers(-(2**70), 2**70),
    st.text(max_size=8),
    st.lists(st.integers(-99, 99) | st.text(max_size=3), max_size=3).map(tuple),
)


def draw(seed: int, name: str, path: tuple[int | str, ...]) -> list[int]:
    return ud.RandomStreams(seed)(name, *path).integers(0, 2**32, 8).tolist()


@pytest.mark.parametrize(
    ("seed", "name", "path", "golden"),
    [
        (0, "shuffle", (0,), [2597331289, 3072506558, 3540364539]),
        (0, "shuffle", (7,), [3315901316, 2556108908, 1321208648]),
        (1, "shuffle", (7,), [3356546487, 62188317, 1236830216]),
        (-3, "a", ("b", 2), [906426066, 3188274989, 1323287585]),
        (2**70, "init", (), [3070187428, 4135121879, 151710527]),
    ],
)
def test_streams_are_what_they_have_always_been(
    seed: int, name: str, path: tuple[int | str, ...], golden: list[int]
) -> None:
    assert draw(seed, name, path)[:3] == golden


def test_the_seed_of_torch_is_what_it_has_always_been() -> None:
    assert ud.RandomStreams(0).torch_seed("init") == 1579438451


@given(addresses)
def test_a_stream_is_philox_keyed_by_the_hash_of_its_address(address: tuple) -> None:
    seed, name, path = address
    text = json.dumps([seed, name, *path], separators=(",", ":"))
    key = int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "big")
    assert draw(*address) == np.random.Generator(np.random.Philox(key=key)).integers(0, 2**32, 8).tolist()


@given(st.lists(addresses, min_size=2, max_size=8, unique_by=repr))
def test_streams_differ_and_do_not_depend_on_the_order_of_calls(several: list[tuple]) -> None:
    forward = [draw(*a) for a in several]
    assert forward[::-1] == [draw(*a) for a in reversed(several)]
    assert len({tuple(numbers) for numbers in forward}) == len(several)


@pytest.mark.parametrize(
    "other", [(1, "a", (7,)), (0, "b", (7,)), (0, "a", (8,)), (0, "a", ("7",)), (0, "a", (7, 0)), (0, "a", ())]
)
def test_every_part_of_the_address_counts(other: tuple[int, str, tuple[int | str, ...]]) -> None:
    assert draw(0, "a", (7,)) != draw(*other)


def test_global_random_states_neither_matter_nor_change() -> None:
    before = np.random.get_state()[1].tolist()
    first = draw(0, "a", ())
    assert np.random.get_state()[1].tolist() == before
    np.random.seed(5)
    assert draw(0, "a", ()) == first
