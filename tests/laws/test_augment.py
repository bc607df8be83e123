"""Random changes of training images: what each of them is, and what must hold for all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import image_set, learner

import underdog as ud
from underdog.names import AUGMENTATIONS

COUNTS = (20, 4, 8)
names = st.lists(st.sampled_from(list(AUGMENTATIONS)), unique=True)


def images(n: int = 6, channels: int = 3, size: tuple[int, int] = (16, 16), seed: int = 0) -> torch.Tensor:
    pixels = np.random.default_rng(seed).random((n, channels, *size), dtype=np.float32)
    return torch.from_numpy(pixels)


@given(names, st.integers(0, 99), st.sampled_from([1, 3]), st.sampled_from([8, 16, 33]))
def test_images_keep_their_shape_type_and_range_and_the_given_ones_stay_as_they_are(
    chosen: list[str], seed: int, channels: int, side: int
) -> None:
    augment, x = ud.Augment(chosen), images(5, channels, (side, side), seed)
    before, numbers = x.clone(), augment.draw(5, ud.RandomStreams(seed), 2)
    changed = augment(x, numbers)
    assert changed.shape == x.shape
    assert changed.dtype == torch.float32
    assert 0 <= changed.min() <= changed.max() <= 1
    assert torch.equal(x, before)
    assert torch.equal(changed, augment(x, numbers))


def test_without_changes_the_very_images_come_back_and_nothing_is_drawn() -> None:
    augment, x = ud.Augment(), images()
    numbers = augment.draw(6, ud.RandomStreams(0), 0)
    assert numbers.shape == (6, 0)
    assert augment(x, numbers) is x


@pytest.mark.parametrize(("name", "axis"), [("flip", 3), ("vflip", 2)])
def test_mirroring_is_numpys_and_undoes_itself(name: str, axis: int) -> None:
    augment, x = ud.Augment([name]), images()
    numbers = torch.tensor([0.0, 0.49, 0.5, 0.99, 0.2, 0.7])[:, None]
    changed = augment(x, numbers)
    expected = [np.flip(image, axis - 1) if u < 0.5 else image for image, (u,) in zip(x.numpy(), numbers, strict=True)]
    assert (changed.numpy() == np.stack(expected)).all()
    assert torch.equal(augment(changed, numbers), x)


def test_turning_is_numpys_and_four_quarter_turns_are_none() -> None:
    augment, x = ud.Augment(["rotate90"]), images(4)
    numbers = torch.tensor([0.0, 0.25, 0.5, 0.99])[:, None]
    expected = [np.rot90(image, k, (1, 2)) for k, image in enumerate(x.numpy())]
    assert (augment(x, numbers).numpy() == np.stack(expected)).all()
    quarter = torch.full((4, 1), 0.3)
    assert torch.equal(augment(augment(augment(augment(x, quarter), quarter), quarter), quarter), x)


@pytest.mark.parametrize("size", [(16, 16), (24, 40)])
def test_cropping_is_a_cut_from_the_image_with_a_mirrored_border(size: tuple[int, int]) -> None:
    augment, x = ud.Augment(["crop"]), images(30, size=size)
    numbers = augment.draw(30, ud.RandomStreams(0), 0)
    (h, w), reach = size, (size[0] // 8, size[1] // 8)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (reach[0],) * 2, (reach[1],) * 2), mode="reflect")
    at = [(int(a * (2 * reach[0] + 1)), int(b * (2 * reach[1] + 1))) for a, b in numbers.tolist()]
    expected = [image[:, i : i + h, j : j + w] for image, (i, j) in zip(padded, at, strict=True)]
    assert (augment(x, numbers).numpy() == np.stack(expected)).all()
    assert len(set(at)) > 10


def test_colours_change_by_the_factors_that_were_drawn() -> None:
    x = images(1, size=(8, 8)) / 2 + 0.2
    changed = ud.Augment(["color"])(x, torch.tensor([[1.0, 0.5, 0.5]]))  # brightness alone, by 1.2
    assert torch.allclose(changed, (1.2 * x).clamp(0, 1), atol=1e-6)
    changed = ud.Augment(["color"])(x, torch.tensor([[0.5, 0.0, 0.5]]))  # contrast alone, by 0.8
    assert torch.allclose(changed, 0.8 * x + 0.2 * x.mean(), atol=1e-6)
    changed = ud.Augment(["color"])(x, torch.tensor([[0.5, 0.5, 0.0]]))  # saturation alone, by 0.8
    assert torch.allclose(changed, 0.8 * x + 0.2 * x.mean(1, keepdim=True), atol=1e-6)
    grey = images(4, channels=1)
    same = ud.Augment(["color"])(grey, torch.tensor([[0.5, 0.5, 0.0]] * 4))
    assert torch.allclose(same, grey, atol=1e-6)


def test_a_change_is_drawn_the_same_whatever_others_there_are_and_differently_in_every_epoch() -> None:
    rng = ud.RandomStreams(3)
    alone, both = ud.Augment(["crop"]).draw(9, rng, 4), ud.Augment(["crop", "flip"]).draw(9, rng, 4)
    assert torch.equal(alone, both[:, 1:])
    assert not torch.equal(alone, ud.Augment(["crop"]).draw(9, rng, 5))
    assert ud.Augment(["crop", "flip"]) == ud.Augment(["flip", "crop", "flip"])


def test_no_change_asks_for_a_value_on_the_device() -> None:
    """On a GPU that would wait for it in every batch: meta tensors have no values."""
    augment = ud.Augment(list(AUGMENTATIONS))
    numbers = augment.draw(4, ud.RandomStreams(0), 0)
    x = torch.zeros(4, 3, 16, 16, device="meta")
    assert augment(x, numbers.to("meta")).shape == x.shape


def test_names_and_shapes_that_cannot_be_are_refused_before_training() -> None:
    with pytest.raises(ud.InputError, match=r"unknown augmentation 'flop'; did you mean 'flip'"):
        ud.Augment(["flop"])
    with pytest.raises(ud.InputError, match=r"names must be a list of augmentations such as \['flip'\]"):
        ud.Augment("flip")
    wide = ud.Split(*(image_set(COUNTS, (1, 16, 24), seed) for seed in range(2)))
    net = learner(3, (1, 16, 24)).model
    with pytest.raises(ud.InputError, match="rotate90 needs square images, not 24x16"):
        ud.Training(net, ud.Method(), wide, ud.Hyperparameters(augment=ud.Augment(["rotate90"])))


def test_training_shows_altered_images_changed_and_attacks_and_evaluations_see_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split = ud.Split(*(image_set(COUNTS, (1, 16, 16), seed) for seed in range(2)))
    augment, shown, plain = ud.Augment(["flip", "crop"]), list[torch.Tensor](), list[torch.Tensor]()
    hyper = ud.Hyperparameters(epochs=1, batch=16, augment=augment)
    training = ud.Training(learner(3).model, ud.Method(ud.aos(0.1, 1)), split, hyper)
    who = training.learner
    step, forward = who.step, who._forward
    monkeypatch.setattr(who, "step", lambda x, y, partner: (shown.append(x), step(x, y, partner))[1])
    monkeypatch.setattr(who, "_forward", lambda x: (plain.append(x), forward(x))[1])
    training.advance()
    epoch = training.epoch
    assert epoch.altered_rows > 0
    x = torch.cat([batch.x for batch in epoch.batches(16, training.rng("shuffle", 0))])
    expected = augment(x, augment.draw(len(epoch), training.rng, 0))
    assert torch.equal(torch.cat(shown), expected)
    originals = {image.numpy().tobytes() for image in ud.to_unit(torch.cat([split.train.images, split.val.images]))}
    seen = [x for x in plain if not any(x is s for s in shown)]
    assert sum(map(len, seen)) > epoch.altered_rows
    assert all(image.detach().numpy().tobytes() in originals for x in seen for image in x)
