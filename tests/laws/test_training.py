"""What a training looks at, and what it says of settings that cannot work."""

from __future__ import annotations

import pytest
import torch
from kernels import watched
from small import METHODS, image_set, learner, moment
from torch import nn

import underdog as ud
from underdog import train
from underdog.loss import loss_of

COUNTS, SHAPE = (20, 4, 8), (1, 16, 16)


def parts() -> ud.Split:
    return ud.Split(*(image_set(COUNTS, SHAPE, seed) for seed in range(3)))


def test_only_the_end_of_a_training_looks_at_the_test_part_and_only_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    split, seen, evaluate = parts(), list[bool](), train.evaluate

    def watched(who: ud.Learner, images: ud.ImageSet, *more: object) -> ud.Evaluation:
        seen.append(images.images.data_ptr() == split.test.images.data_ptr())
        return evaluate(who, images, *more)

    monkeypatch.setattr(train, "evaluate", watched)
    training = ud.Training(learner(3).model, ud.Method(ud.aos(0.1, 0.5)), split, ud.Hyperparameters(epochs=3, batch=16))
    while not training.finished:
        training.advance()
    assert seen == [False] * 3
    training.finish()
    assert sum(seen) == 2  # the best epoch and the last one


def test_the_test_part_changes_nothing_that_is_learned_or_chosen() -> None:
    split = parts()
    other = ud.Split(split.train, split.val, image_set(COUNTS, SHAPE, seed=9))
    hyper = ud.Hyperparameters(epochs=3, batch=16)
    one, two = (ud.fit(learner(3).model, ud.Method(ud.aos(0.1, 0.5)), s, hyper) for s in (split, other))
    assert one.best_epoch == two.best_epoch
    assert (one.val.logits == two.val.logits).all()
    assert not (one.test.logits == two.test.logits).all()


def test_no_step_of_training_asks_for_a_value_or_moves_a_tensor_of_the_loss() -> None:
    """On a GPU, reading a number or copying from the CPU waits for the device: meta tensors refuse the first."""
    for rule in {stage.loss for method in METHODS.values() for stage in method.stages}:
        loss = loss_of(rule, COUNTS)
        logits, y = torch.zeros(4, 3, device="meta"), torch.zeros(4, dtype=torch.int64, device="meta")
        loss(logits, y).mean()
        moved = loss._resident._at if hasattr(loss, "_resident") else {}
        before = {k: id(v) for k, v in moved.items()}
        with watched("meta") as seen:
            loss(logits, y).mean()
        assert seen.crossed == 0
        assert {k: id(v) for k, v in moved.items()} == before


def test_an_empty_part_is_refused() -> None:
    some = image_set(COUNTS, SHAPE)
    for broken in ((some.select([]), some), (some, some.select([])), (some, some, some.select([]))):
        with pytest.raises(ud.InputError, match="at least one image"):
            ud.Split(*broken)


@pytest.mark.parametrize("minority", [[7], ["c1"], [-1]])
def test_a_minority_that_is_no_class_is_refused(minority: list[object]) -> None:
    with pytest.raises(ud.InputError, match="minority must be class numbers"):
        ud.Perturb(ud.FGSM(), 0.1, 1, minority=minority).start(ud.Epoch.of(image_set(COUNTS)), moment(started=False))


def test_a_network_that_does_not_fit_the_images_is_an_error_before_training() -> None:
    with pytest.raises(ud.InputError, match="cannot take images of 1x16x16"):
        ud.Training(nn.Sequential(nn.Flatten(), nn.Linear(784, 3)), ud.Method(), parts(), ud.Hyperparameters(epochs=1))


def test_a_last_batch_of_one_that_batchnorm_cannot_take_is_explained() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    with pytest.raises(ud.TrainingError, match="another batch size than 31"):
        ud.fit(net, ud.Method(), parts(), ud.Hyperparameters(epochs=1, batch=31))  # 32 images


def test_the_callers_random_state_is_put_back_when_an_epoch_is_drawn() -> None:
    state = torch.get_rng_state()
    ud.fit(learner(3).model, ud.Method(), parts(), ud.Hyperparameters(epochs=1))
    assert torch.equal(torch.get_rng_state(), state)
