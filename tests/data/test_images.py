"""Image sets, and the one conversion from bytes to numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

import underdog as ud


def image_set(**changes: object) -> ud.ImageSet:
    options = {"images": torch.arange(60, dtype=torch.uint8).view(5, 3, 2, 2), "labels": torch.tensor([0, 1, 1, 0, 1])}
    return ud.ImageSet(**options | {"classes": ("a", "b")} | changes)  # type: ignore[arg-type]


def test_bytes_become_the_float32_nearest_to_a_255th() -> None:
    for byte, value in enumerate(ud.to_unit(torch.arange(256).to(torch.uint8)).numpy()):
        assert value.dtype == np.float32
        around = (value, np.nextafter(value, np.float32(2)), np.nextafter(value, np.float32(-2)))
        assert min(around, key=lambda x: abs(Fraction(float(x)) - Fraction(byte, 255))) == value


def test_the_conversion_is_the_same_for_every_shape_and_layout() -> None:
    x = torch.randint(0, 256, (7, 3, 9, 5), dtype=torch.uint8)
    whole = ud.to_unit(x)
    assert torch.equal(ud.to_unit(x.contiguous(memory_format=torch.channels_last)), whole)
    assert torch.equal(torch.stack([ud.to_unit(one) for one in x]), whole)
    assert torch.equal((whole * 255).round().to(torch.uint8), x)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": torch.zeros(5, 3, 2, 2)}, "images must be uint8"),
        ({"images": torch.zeros(5, 2, 2, dtype=torch.uint8)}, r"shape \(N, C, H, W\)"),
        ({"labels": torch.tensor([0, 1], dtype=torch.int64)}, r"labels must be int64 of shape \(5,\)"),
        ({"labels": torch.zeros(5, dtype=torch.int32)}, "labels must be int64"),
        ({"labels": torch.tensor([0, 1, 2, 0, 0])}, r"labels must lie in \[0, 2\)"),
        ({"labels": torch.tensor([0, 1, -1, 0, 0])}, r"labels must lie in \[0, 2\)"),
        ({"classes": ("a", "a")}, "named once each"),
        ({"groups": np.array(["g"])}, "groups must name each of the 5 images, not 1"),
        ({"items": np.array(["i"] * 6)}, "items must name each of the 5 images, not 6"),
        ({"minority": frozenset({2})}, "minority must be class numbers"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ud.InputError, match=words):
        image_set(**changes)


def test_selecting_keeps_everything_that_belongs_to_an_image() -> None:
    names = np.array(list("vwxyz"))
    some = image_set(groups=names, items=names).select([3, 0, 3])
    assert (some.groups.tolist(), some.names.tolist()) == (list("yvy"), list("yvy"))
    assert some.labels.tolist() == [0, 0, 0]
    assert torch.equal(some.images, image_set().images[[3, 0, 3]])
    assert torch.equal(image_set().select([-1]).images, image_set().images[-1:])
    assert (some.counts, some.shape, some.classes) == ((3, 0), (3, 2, 2), ("a", "b"))
    assert image_set().names.tolist() == list("01234")


CHANGES: dict[str, Callable[[ud.ImageSet], ud.ImageSet]] = {
    "a pixel": lambda s: replace(s, images=s.images.bitwise_xor(torch.eye(60, dtype=torch.uint8)[7].view(5, 3, 2, 2))),
    "a label": lambda s: replace(s, labels=torch.tensor([0, 1, 1, 0, 0])),
    "a class's name": lambda s: replace(s, classes=("a", "c")),
    "the order": lambda s: s.select([1, 0, 2, 3, 4]),
    "the shape": lambda s: replace(s, images=s.images.view(5, 3, 4, 1)),
    "groups": lambda s: replace(s, groups=np.array(list("vwxyz"))),
    "the minority": lambda s: replace(s, minority=frozenset({1})),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_fingerprint_notices(change: str) -> None:
    assert CHANGES[change](image_set()).fingerprint != image_set().fingerprint


def test_a_fingerprint_is_what_it_has_always_been_and_ignores_items_and_memory_layout() -> None:
    same = [
        image_set(),
        image_set(items=np.array(list("vwxyz"))),
        image_set(images=image_set().images.contiguous(memory_format=torch.channels_last)),
        image_set().select(range(5)),
    ]
    assert {s.fingerprint for s in same} == {"3b66c356ee90bfa2d6af1a15ae7d3218"}
