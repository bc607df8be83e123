"""Snapshot shows through a DataLoader what fit shows, and goes on where it was."""

from __future__ import annotations

import copy
import io
import itertools
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scripts import Darken, From, LossInside, Photos, network
from small import Awkward
from test_no_trace import same
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import underdog as ud

EPS, TAU, SEED, BATCH = 16 / 255, 0.6, 5, 16
AOS = ud.aos(EPS, TAU)
#: More workers than cores are slow, which is not what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning", "ignore:.*pin_memory")


def photos(transform: object = ud.to_unit) -> Photos:
    return Photos(transform=transform)


def image_set(data: Photos) -> ud.ImageSet:
    return ud.ImageSet(data.pixels, torch.tensor(data.targets), ("a", "b", "c"))


def fitted(
    method: ud.Resampler | ud.Method, epochs: int
) -> tuple[list[list[tuple[Tensor, Tensor]]], dict[str, Tensor]]:
    """The batches that fit shows, and the weights it comes to."""
    images = image_set(photos())
    hyper = ud.Hyperparameters(epochs=epochs, batch=BATCH)
    own = method if isinstance(method, ud.Method) else ud.Method(method)
    training = ud.Training(network(), own, ud.Split(images, images), hyper, SEED)
    shown = []
    for t in range(epochs):
        training.advance()
        shown.append([(b.x, b.y) for b in training.epoch.batches(BATCH, training.rng("shuffle", t))])
    return shown, training.learner.weights()


class Loop:
    """A plain training loop: a model, an optimiser, a loader."""

    def __init__(self, aos: ud.Snapshot, workers: int = 0, **settings: object) -> None:
        self.model = network().to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.aos = aos.bind(self.model)
        self.loader = aos.loader(BATCH, num_workers=workers, **settings)

    def epoch(self, t: int) -> Iterator[tuple[Tensor, Tensor]]:
        self.aos.set_epoch(t)
        for x, y in self.loader:
            yield x, y
            self.optimizer.zero_grad()
            F.cross_entropy(
                self.model(x.contiguous(memory_format=torch.channels_last)), y, reduction="none"
            ).mean().backward()
            self.optimizer.step()


def equal(a: list[tuple[Tensor, Tensor]], b: list[tuple[Tensor, Tensor]]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x, v) and torch.equal(y, w) for (x, y), (v, w) in zip(a, b, strict=True)
    )


WORKERS = [
    {"workers": 0},
    {"workers": 1},
    {"workers": 4},
    {"workers": 4, "persistent_workers": True, "prefetch_factor": 1},
    {"workers": 1, "pin_memory": True},
    {"workers": 1, "persistent_workers": True, "multiprocessing_context": "spawn"},
]


@pytest.mark.parametrize("settings", WORKERS, ids=str)
def test_the_loader_shows_the_very_images_that_fit_shows(settings: dict[str, object]) -> None:
    expected, weights = fitted(AOS, epochs=4)
    loop = Loop(ud.Snapshot(photos(), AOS, seed=SEED), **settings)
    for t in range(4):
        assert equal(list(loop.epoch(t)), expected[t]), t
    assert all(torch.equal(v, weights[k]) for k, v in loop.model.state_dict().items())
    assert loop.aos.current.altered_examples > 5


@pytest.mark.parametrize(
    "resampler",
    [
        ud.NoResampling(),
        ud.RandomUnderSampler(),
        ud.Chain(ud.RandomOverSampler(), ud.Perturb(ud.FGSM(clip=False), 0.9, 1)),
        ud.Chain(ud.RandomOverSampler(), ud.Perturb(ud.RandomSign(), 0.1, From(1, 0.5), per_copy=True)),
        ud.Chain(ud.RandomOverSampler(), ud.Perturb(Darken(), 0.5, 0.5)),
        ud.Chain(ud.RandomOverSampler(), ud.Perturb(ud.FGSM(), ud.Uniform(0.02, 0.2), 0.5, select=ud.ByLoss())),
        ud.Chain(
            ud.RandomOverSampler(),
            ud.Perturb(ud.FGSM(), ud.ByClass({2: 0.1}, rest=0.05), 0.5),
            ud.Perturb(Darken(), 0.5, 0.5, minority=[0]),
        ),
    ],
)
def test_so_it_does_for_other_resamplers_and_attacks(resampler: ud.Resampler) -> None:
    expected, _ = fitted(resampler, epochs=2)
    loop = Loop(ud.Snapshot(photos(), resampler, seed=SEED), workers=1)
    for t in range(2):
        assert equal(list(loop.epoch(t)), expected[t]), t


STAGES = ud.Method(stages=[ud.Stage(ud.RandomOverSampler(), share=0.4), ud.Stage(AOS, share=0.6)])


def test_the_stages_of_a_method_are_shown_as_fit_shows_them() -> None:
    expected, weights = fitted(STAGES, epochs=5)
    loop = Loop(ud.Snapshot(photos(), STAGES, epochs=5, seed=SEED))
    altered = []
    for t in range(5):
        assert equal(list(loop.epoch(t)), expected[t]), t
        altered.append(loop.aos.current.altered_examples)
    assert all(torch.equal(v, weights[k]) for k, v in loop.model.state_dict().items())
    assert altered[:2] == [0, 0]
    assert min(altered[2:]) > 5


def test_a_run_goes_on_within_a_stage() -> None:
    whole, part = (Loop(ud.Snapshot(photos(), STAGES, epochs=5, seed=SEED)) for _ in range(2))
    shown = [list(whole.epoch(t)) for t in range(5)]
    for t in range(4):
        list(part.epoch(t))
    resumed = Loop(ud.Snapshot(photos(), STAGES, epochs=5, seed=SEED))
    resumed.model.load_state_dict(part.model.state_dict())
    resumed.optimizer.load_state_dict(part.optimizer.state_dict())
    resumed.aos.load_state_dict(part.aos.state_dict())
    assert equal(list(resumed.epoch(4)), shown[4])
    with pytest.raises(ud.InputError, match="same resampler"):
        ud.Snapshot(photos(), AOS, seed=SEED).load_state_dict(part.aos.state_dict())


def test_what_needs_the_number_of_epochs_or_mixes_images_is_told_so() -> None:
    with pytest.raises(
        ud.InputError, match=r"several stages needs the number of epochs: Snapshot\(\.\.\., epochs=20\)"
    ):
        ud.Snapshot(photos(), STAGES)
    with pytest.raises(ud.InputError, match="epochs must be a whole number of at least 1, not 0"):
        ud.Snapshot(photos(), STAGES, epochs=0)
    ramp = ud.Snapshot(photos(), ud.Perturb(ud.FGSM(), EPS, ud.Ramp(0, 1))).bind(network())
    ramp.set_epoch(0)
    with pytest.raises(ud.InputError, match=r"needs their number: Snapshot\(\.\.\., epochs=20\)"):
        next(iter(ramp.loader(8)))
    mixed = ud.Snapshot(photos(), ud.method("mixup")).bind(network())
    mixed.set_epoch(0)
    with pytest.raises(ud.InputError, match="mixes images"):
        next(iter(mixed.loader(8)))


@pytest.mark.parametrize(("epoch", "seen"), [(2, 0), (1, 0), (3, 32), (0, 48)])
def test_a_run_goes_on_from_a_state_dict_as_if_nothing_had_happened(epoch: int, seen: int) -> None:
    whole, part = (Loop(ud.Snapshot(photos(), AOS, seed=SEED)) for _ in range(2))
    shown = [list(whole.epoch(t)) for t in range(5)]
    for t in range(epoch if seen else epoch + 1):
        list(part.epoch(t))
    if seen:
        iterator = part.epoch(epoch)
        for _ in range(seen // BATCH + 1):  # the next batch is taken, but not trained on
            next(iterator)
    saved = io.BytesIO()
    parts = {
        "aos": part.aos.state_dict(seen),
        "model": part.model.state_dict(),
        "optimizer": part.optimizer.state_dict(),
    }
    torch.save(parts, saved)
    saved.seek(0)
    state = torch.load(saved, weights_only=True)
    resumed = Loop(ud.Snapshot(photos(), AOS, seed=SEED), workers=1)
    resumed.model.load_state_dict(state["model"])
    resumed.optimizer.load_state_dict(state["optimizer"])
    resumed.aos.load_state_dict(state["aos"])
    assert len(resumed.loader) == len(whole.loader)
    assert len(list(resumed.loader)) == len(whole.loader)  # a look at it all, before it goes on
    for t in range(epoch if seen else epoch + 1, 5):
        assert equal(list(resumed.epoch(t)), shown[t][seen // BATCH if t == epoch else 0 :]), t
    assert all(torch.equal(v, whole.model.state_dict()[k]) for k, v in resumed.model.state_dict().items())


def test_another_data_set_or_seed_on_resuming_is_an_error() -> None:
    state = ud.Snapshot(photos(), AOS).state_dict()
    with pytest.raises(ud.InputError, match="same images, but was saved with 44, and here it is 45"):
        ud.Snapshot(Photos((20, 20, 5), ud.to_unit), AOS).load_state_dict(state)
    with pytest.raises(ud.InputError, match="same labels"):
        ud.Snapshot(Photos((20, 20, 4), ud.to_unit, seed=1), AOS).load_state_dict(state)
    with pytest.raises(ud.InputError, match="same seed, but was saved with 0, and here it is 1"):
        ud.Snapshot(photos(), AOS, seed=1).load_state_dict(state)
    with pytest.raises(ud.InputError, match="same resampler"):
        ud.Snapshot(photos(), ud.aos(EPS, 0.1)).load_state_dict(state)
    with pytest.raises(ud.InputError, match=r"same minority, but was saved with \[2\], and here it is \[0, 2\]"):
        ud.Snapshot(photos(), AOS, minority=[0, 2]).load_state_dict(state)
    with pytest.raises(ud.InputError, match="same units"):
        ud.Snapshot(photos(), AOS, low=-1).load_state_dict(state)
    for wrong in ({}, network().state_dict(), None):
        with pytest.raises(ud.InputError, match=r"state must be what state_dict\(\) returned"):
            ud.Snapshot(photos(), AOS).load_state_dict(wrong)  # type: ignore[arg-type]


def test_a_resampler_of_ones_own_is_known_again() -> None:
    one, two = (
        ud.Snapshot(photos(), ud.Chain(ud.RandomOverSampler(), ud.Perturb(Darken(), 0.5, 0.5))) for _ in range(2)
    )
    two.load_state_dict(one.state_dict())
    assert two.state_dict()["resampler"] == one.state_dict()["resampler"]


def test_with_tau_0_or_eps_0_a_scripts_figures_are_those_of_plain_oversampling() -> None:
    weights = []
    normalised = photos(lambda x: (ud.to_unit(x) - 0.4) / 0.3)
    for resampler in (ud.RandomOverSampler(), ud.aos(EPS, 0), ud.aos(0, TAU), AOS):
        loop = Loop(ud.Snapshot(normalised, resampler, mean=0.4, std=0.3))
        for t in range(3):
            list(loop.epoch(t))
        weights.append(torch.cat([p.detach().flatten() for p in loop.model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


# Iterations for other reasons


def test_iterations_that_were_not_announced_show_the_same_epoch_and_refresh_nothing() -> None:
    quiet, nosy = (Loop(ud.Snapshot(photos(), AOS, seed=SEED)) for _ in range(2))
    assert len(next(iter(nosy.loader))[0]) == BATCH  # before training, to see a shape
    for t in range(4):
        expected = list(quiet.epoch(t))
        shown = []
        for n, batch in enumerate(nosy.epoch(t)):
            shown.append(batch)
            if n == 1:
                assert equal(list(nosy.loader), expected)  # metrics in the middle of the epoch
                torch.optim.swa_utils.update_bn(nosy.loader, copy.deepcopy(nosy.model))
        assert equal(shown, expected)
        assert equal(list(nosy.loader), list(nosy.loader))  # and twice after it
    assert same(list(quiet.model.state_dict().values()), list(nosy.model.state_dict().values()))


def test_training_on_an_epoch_that_was_not_announced_is_an_error() -> None:
    loop = Loop(ud.Snapshot(photos(), AOS))

    def train() -> None:
        for x, y in loop.loader:
            F.cross_entropy(loop.model(x), y).backward()
            loop.optimizer.step()

    with pytest.raises(ud.InputError, match="set_epoch"):
        train()  # set_epoch was never called
    loop.aos.set_epoch(0)
    list(loop.loader)  # a look first is allowed
    train()
    with pytest.raises(ud.InputError, match="set_epoch"):
        train()  # and not again


def test_a_snapshot_whose_epochs_were_never_announced_is_warned_about() -> None:
    loop = Loop(ud.Snapshot(photos(), AOS))
    look = [list(loop.loader) for _ in range(2)]
    with pytest.warns(UserWarning, match=r"Snapshot shows the same epoch .* set_epoch\(t\)"):
        assert equal(list(loop.loader), look[0])
    altered(loop, 0)
    for _ in range(3):
        list(loop.loader)  # for metrics


def test_epochs_go_forward_and_0_begins_again() -> None:
    loop = Loop(ud.Snapshot(photos(), AOS))
    first = [list(loop.epoch(t)) for t in range(3)]
    with pytest.raises(ud.InputError, match="forward"):
        loop.aos.set_epoch(1)
    again = Loop(loop.aos)
    assert equal(list(again.epoch(0)), first[0])
    for wrong in ("1", 0.5, -1, None):
        with pytest.raises(ud.InputError, match=r"epoch must be a (whole )?number"):
            loop.aos.set_epoch(wrong)  # type: ignore[arg-type]
    for wrong in (-3, 10**6):
        with pytest.raises(ud.InputError, match="seen must be a whole number of at least 0 and at most 60"):
            loop.aos.state_dict(wrong)


def altered(loop: Loop, t: int) -> list[tuple[Tensor, Tensor]]:
    """Epoch t, of which nothing is trained on."""
    loop.aos.set_epoch(t)
    return list(loop.loader)


def test_to_begin_in_the_middle_takes_a_state_or_a_word() -> None:
    loop, whole = Loop(ud.Snapshot(photos(), AOS, seed=SEED)), Loop(ud.Snapshot(photos(), AOS, seed=SEED))
    with pytest.raises(ud.InputError, match=r"(?s)load_state_dict.*set_epoch\(5, anew=True\)"):
        loop.aos.set_epoch(5)
    with pytest.raises(ud.InputError, match="cannot be the first"):
        loop.loader.set_epoch(1)
    loop.aos.set_epoch(5, anew=True)
    shown, expected = list(loop.loader), [altered(whole, t) for t in range(6)][5]
    assert equal(shown, expected)  # the network being the same all along: what was due at 4, in the order of 5
    assert loop.aos.current.altered_examples > 5
    assert loop.aos.state_dict()["epoch"] == 5
    never = ud.Chain(ud.RandomOverSampler(), ud.Every(2, ud.Perturb(ud.FGSM(), EPS, From(9))))
    later = ud.Snapshot(photos(), never, seed=SEED).bind(network())
    later.set_epoch(5, anew=True)
    assert not any(index.change for index in later.loader().sampler)  # none was due


def test_epochs_that_are_left_out_are_made_up_for() -> None:
    jumping, whole = (Loop(ud.Snapshot(photos(), AOS, seed=SEED)) for _ in range(2))
    expected = [altered(whole, t) for t in range(6)]
    for t in (0, 3, 5):
        assert equal(altered(jumping, t), expected[t]), t


def test_loaders_can_be_wrapped_and_told_the_epoch_through_the_sampler() -> None:
    one, two = (ud.Snapshot(photos(), AOS, seed=SEED).bind(network()) for _ in range(2))
    plain = torch.utils.data.DataLoader(one.loader().dataset, batch_sampler=one.loader(8).batch_sampler)
    plain.batch_sampler.sampler.set_epoch(0)
    loader = two.loader(8)
    loader.set_epoch(0)
    assert equal([tuple(b) for b in plain], [tuple(b) for b in loader])
    assert one.current.altered_examples > 0


# Settings of the loader


def test_the_length_is_right_from_the_beginning_and_stays() -> None:
    aos = ud.Snapshot(photos(), AOS)
    loader, dropping = aos.loader(16), aos.loader(16, drop_last=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(torch.optim.SGD(network().parameters(), 0.1), 1, len(loader) * 3)
    assert (len(aos), len(loader), len(dropping), schedule.total_steps) == (60, 4, 3, 12)
    aos.bind(network())
    for t in range(3):
        aos.set_epoch(t)
        assert (len(list(loader)), len(list(dropping))) == (4, 3)
    assert (len(aos), len(loader)) == (60, 4)


def test_repeated_and_altered_images_do_not_come_as_a_block() -> None:
    aos = ud.Snapshot(Photos((200, 20), ud.to_unit), ud.aos(EPS, 1)).bind(network())
    aos.set_epoch(0)
    altered = [shown.change is not None for shown in aos.loader().sampler]
    assert sum(altered) == 200
    runs = 1 + sum(a != b for a, b in itertools.pairwise(altered))
    assert runs > 150  # 201 are expected of a random order
    assert aos.loader(shuffle=True).sampler is not None


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_follows_the_alteration_and_depends_on_epoch_and_position_alone(workers: int) -> None:
    def augment(x: Tensor) -> Tensor:
        return x * torch.rand(()) + np.random.rand() + random.random()

    loops = [Loop(ud.Snapshot(photos(), ud.aos(EPS, 1), augment=augment, seed=SEED), w) for w in (0, workers)]
    for t in range(2):
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        loops[0].aos.set_epoch(t)
        first = list(loops[0].loader.sampler), [loops[0].loader.dataset[i] for i in loops[0].loader.sampler]
        after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
        assert same(list(before), list(after))
        loops[1].aos.set_epoch(t)
        shown = torch.cat([x for x, _ in loops[1].loader])
        assert torch.equal(shown, torch.stack([x for x, _ in first[1]]))
        by_row = {}
        for index, x in zip(first[0], shown, strict=True):
            by_row.setdefault((index.row, index.change is None), []).append(x)
        repeated = [v for v in by_row.values() if len(v) > 1]
        assert repeated
        assert not any(torch.equal(v[0], v[1]) for v in repeated)


def test_a_look_at_no_image_is_needed_to_find_labels_and_few_to_check_the_rest() -> None:
    data = Photos((900, 80), ud.to_unit)
    ud.Snapshot(data, AOS)
    assert data.reads == 2 * 64


def test_images_of_rare_classes_are_compared_with_their_last_reading() -> None:
    data = Photos((200, 20), ud.to_unit)
    loop = Loop(ud.Snapshot(data, ud.aos(EPS, 1)))
    assert len(altered(loop, 0)) == len(altered(loop, 2)) == 25
    rare = data.targets.index(1)
    data.pixels[rare] = data.pixels[rare].flip(-1)
    with pytest.raises(ud.InputError, match=rf"two readings of image {rare} differ.*augment="):
        altered(loop, 4)
    data.transform = lambda x: x.float()
    with pytest.raises(ud.InputError, match="high=255"):
        altered(loop, 6)


def test_a_loss_that_is_bound_again_before_an_epoch_is_the_one_attacked() -> None:
    loops = [Loop(ud.Snapshot(photos(), AOS, seed=SEED)) for _ in range(2)]
    before, after = [], []
    for sign, loop in zip((1, -1), loops, strict=True):
        before.append(altered(loop, 0))
        loop.aos.bind(loop.model, lambda z, y, sign=sign: sign * F.cross_entropy(z, y, reduction="none"))
        after.append(altered(loop, 2))
    assert equal(*before)
    assert not equal(*after)


@pytest.mark.parametrize("fails", [False, True])
def test_a_refresh_leaves_no_trace(fails: bool) -> None:
    data = TensorDataset(torch.rand(30, 1, 16, 16), torch.tensor([0] * 20 + [1] * 6 + [2] * 4))
    net = Awkward(3)
    F.cross_entropy(net(torch.rand(4, 1, 16, 16)), torch.tensor([0, 1, 2, 0])).backward()
    aos = ud.Snapshot(data, ud.aos(EPS, 1)).bind(net)

    def state() -> list[object]:
        return [
            [v.clone() for v in net.state_dict().values()],
            [id(v) for v in net.buffers()],
            [m.training for m in net.modules()],
            [None if p.grad is None else p.grad.clone() for p in net.parameters()],
            torch.get_rng_state(),
            np.random.get_state()[1].copy(),
            random.getstate(),
        ]

    def break_(z: Tensor, y: Tensor) -> Tensor:
        raise RuntimeError("the loss broke")

    if fails:
        list(aos.loader().sampler)  # a look, so that it is the refresh that fails
        aos.bind(net, break_)
    before = state()
    aos.set_epoch(0)
    if fails:
        with pytest.raises(RuntimeError, match="broke"):
            list(aos.loader().sampler)
    else:
        assert len(list(aos.loader().sampler)) == 60
        assert aos.current.altered_rows == 10
    assert same(before, state())


def test_a_refresh_is_in_float32_though_the_loop_trains_under_autocast() -> None:
    loop, types = Loop(ud.Snapshot(photos(), AOS)), set[tuple[bool, torch.dtype]]()
    loop.model.register_forward_hook(lambda net, x, z: types.add((net.training, z.dtype)))
    loop.aos.set_epoch(0)
    for x, _ in loop.loader:
        with torch.autocast("cpu", torch.bfloat16):
            loop.model(x)
    assert types == {(False, torch.float32), (True, torch.bfloat16)}


def test_altered_rows_take_a_quarter_byte_a_value() -> None:
    data = TensorDataset(torch.rand(700, 3, 32, 32), torch.arange(700) // 400)
    aos = ud.Snapshot(data, ud.aos(EPS, 1), minority=[1]).bind(nn.Sequential(nn.Flatten(), nn.Linear(3072, 2)))
    aos.set_epoch(0)
    next(iter(aos.loader().sampler))
    packed = aos.current.altered[0].packed
    assert len(packed) == 300
    assert packed.untyped_storage().nbytes() <= 1.05 * 320 * 3072 / 4  # of whole chunks of 64


@pytest.mark.parametrize("how", ["inside", "loss"])
def test_the_scripts_own_loss_is_attacked(how: str) -> None:
    shown = []
    for kind in ("plain", how):
        net = network()
        model = LossInside(net, "none")
        if kind == "plain":
            aos = ud.Snapshot(photos(), AOS).bind(net)
        elif kind == "inside":
            aos = ud.Snapshot(photos(), AOS).bind(model, objective=lambda x, y, model=model: model(x, y))
        else:
            aos = ud.Snapshot(photos(), AOS).bind(net, lambda z, y: -F.cross_entropy(z, y))
        aos.set_epoch(0)
        shown.append(torch.cat([x for x, _ in aos.loader(8)]))
    if how == "inside":
        assert torch.equal(*shown)
    else:  # the other way
        assert (shown[0] != shown[1]).float().mean() > 0.1
