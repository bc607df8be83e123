"""Recorded updates are the same training: proved on the CPU, where a recording is of the kernels and their addresses."""

from __future__ import annotations

import copy
import json
import random
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from kernels import Kernels, watched
from small import METHODS as TABLE
from small import Awkward, image_set, learner
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

import underdog as ud
from underdog import train
from underdog.captured import CapturedLearner, CudaGraphs, UnfitError
from underdog.cli.grid import _devices
from underdog.data.images import to_device
from underdog.data.pixels import PixelFile
from underdog.resample.perturb import chunk_size

COUNTS, SHAPE, EPOCHS = (40, 4, 9), (1, 16, 16), 5
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def split() -> ud.Split:
    return ud.Split(*(image_set(COUNTS, SHAPE, seed) for seed in range(3)))


def capturing(monkeypatch: pytest.MonkeyPatch, recorder: Kernels) -> Kernels:
    """Let trainings on the CPU record their updates."""
    monkeypatch.setattr(ud.Training, "_kind", lambda self: partial(CapturedLearner, recorder=recorder))
    return recorder


def trained(split: ud.Split, method: ud.Method, model: nn.Module | None = None, **options: object) -> ud.Training:
    hyper = ud.Hyperparameters(**{"epochs": EPOCHS, "batch": 16} | options)  # type: ignore[arg-type]
    training = ud.Training(copy.deepcopy(model or learner(3).model), method, split, hyper, seed=3)
    while not training.finished:
        training.advance()
    return training


def state(training: ud.Training) -> dict[str, object]:
    """Weights, buffers, moments, what was shown, and the figures."""
    tensors, plain = training.state()
    plain["records"] = [r | {"seconds": None} for r in plain["records"]]
    return tensors | {"plain": json.dumps(plain, default=repr)}


def same(one: ud.Training, other: ud.Training) -> bool:
    a, b = state(one), state(other)
    return a.keys() == b.keys() and all(
        torch.equal(v, b[k]) if isinstance(v, torch.Tensor) else v == b[k] for k, v in a.items()
    )


def fade(
    victim: object, x: torch.Tensor, y: torch.Tensor, eps: torch.Tensor, rng: np.random.Generator
) -> ud.AlteredPixels:
    """An alteration that is no signed step, so that its pixels are kept."""
    return ud.AlteredPixels(x * 0.5, torch.ones(len(x), dtype=torch.bool, device=x.device))


METHODS = TABLE | {
    "rus": ud.method("rus(ratio=0.13)"),  # of which an epoch is more than a batch
    "smote": ud.method("smote(k=2)"),
    "pixels": ud.Method(ud.Chain(ud.RandomOverSampler(), ud.Every(2, ud.Perturb(fade, 0.5, 0.5)))),
    "pgd": ud.Method(ud.Chain(ud.RandomOverSampler(), ud.Every(2, ud.Perturb(ud.PGD(2), 0.1, 0.5)))),
    "eps by class": ud.Method(
        ud.Chain(ud.RandomOverSampler(), ud.Perturb(ud.FGSM(), ud.ByClass({1: 0.1, 2: 0.2}), 0.5))
    ),
}


def recordable(method: ud.Method) -> bool:
    """Whether nothing that a method shows is mixed."""
    images = ud.Epoch.of(image_set(COUNTS, SHAPE))
    moments = [ud.Moment(0, EPOCHS, ud.RandomStreams(0), learner(3), n) for n in range(len(method.stages))]
    shown = [
        s.resampler.refresh(s.resampler.start(images, now), now) for s, now in zip(method.stages, moments, strict=True)
    ]
    return not any(epoch.mixture for epoch in shown)


MIXED = "updates were not captured as a CUDA graph, which only costs time: examples are mixed"
RECORDABLE = [name for name, method in METHODS.items() if recordable(method)]


def test_what_cannot_be_recorded_of_the_methods_is_what_is_mixed() -> None:
    assert set(METHODS) - set(RECORDABLE) == {"mixup"}


@pytest.mark.parametrize("name", METHODS)
def test_a_training_by_replays_is_the_eager_one_bit_for_bit(
    split: ud.Split, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = trained(split, METHODS[name])
    recorder = capturing(monkeypatch, Kernels())
    captured = trained(split, METHODS[name])
    assert same(captured, eager)
    if name not in RECORDABLE:
        assert (captured.learner.notes, recorder.recordings, recorder.count) == ((MIXED,), 0, 0)
        return
    assert captured.learner.notes == ()
    # One recording for all epochs of a stage, or of several that only show other examples; its first batch and the last,
    # smaller one of an epoch are eager, and one replay is a trial.
    assert all(r.images % 16 for r in eager.records)
    assert 1 <= recorder.recordings <= len(METHODS[name].stages)
    assert recorder.count == sum(r.images // 16 for r in eager.records)


LATE = {
    "examples are mixed": ud.method("mixup").stages[0].resampler,
    "more than one resampler alters images": ud.Chain(
        ud.Perturb(ud.FGSM(), 0.1, 0.5), ud.Perturb(ud.PGD(2), 0.1, 0.5, minority=[0])
    ),
}


@pytest.mark.parametrize("why", LATE)
def test_a_stage_that_cannot_be_recorded_is_trained_eagerly_after_one_that_is(
    split: ud.Split, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = ud.Method(stages=[ud.Stage(ud.aos(0.1, 0.5), share=0.6), ud.Stage(LATE[why], share=0.4)])
    eager = trained(split, method)
    recorder = capturing(monkeypatch, Kernels())
    captured = trained(split, method)
    assert same(captured, eager)
    assert recorder.count == 3 * (120 // 16)
    assert captured.learner.notes == (f"updates were not captured as a CUDA graph, which only costs time: {why}",)


def test_stages_are_recorded_anew_where_their_loss_or_their_weights_are_others(
    split: ud.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, found = capturing(monkeypatch, Kernels()), dict[str, int]()
    for name in ("drs", "drw", "crt"):
        trained(split, METHODS[name])
        found[name], recorder.recordings = recorder.recordings, 0
    assert found == {"drs": 1, "drw": 2, "crt": 2}


@pytest.mark.parametrize(
    "options",
    [
        {"scheduler": ud.named_scheduler("cosine", warmup=1)},
        {"scheduler": ud.named_scheduler("step"), "optimizer": ud.named_optimizer("adamw")},
        {"lr_backbone": 1e-4, "scheduler": ud.named_scheduler("linear")},
        {"augment": ud.Augment(["flip", "vflip", "rotate90", "crop", "color"])},
        {"optimizer": partial(torch.optim.SGD, momentum=0.9, fused=True), "lr": 0.01},
        {"optimizer": partial(torch.optim.SGD, fused=True), "lr": 0.01},
    ],
    ids=["cosine", "adamw", "backbone", "augment", "momentum", "sgd"],
)
def test_rates_random_changes_and_optimisers_are_those_of_the_eager_training(
    split: ud.Split, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = trained(split, METHODS["aos"], **options)
    recorder = capturing(monkeypatch, Kernels())
    captured = trained(split, METHODS["aos"], **options)
    assert recorder.recordings == 1
    assert same(captured, eager)


def test_dropout_draws_the_same_numbers(split: ud.Split, monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(nn.Dropout(0.2), learner(3).model)
    eager = trained(split, METHODS["aos"], net)
    recorder = capturing(monkeypatch, Kernels())
    assert same(trained(split, METHODS["aos"], net), eager)
    assert recorder.count > 1


@pytest.mark.parametrize("name", RECORDABLE)
def test_bfloat16_is_the_same_training_too(split: ud.Split, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hyper, weights = ud.Hyperparameters(epochs=2, batch=16), []
    for recorder in (None, Kernels()):
        if recorder:
            capturing(monkeypatch, recorder)
        training = ud.Training(learner(3).model, METHODS[name], split, hyper, precision="bfloat16")
        training.advance(), training.advance()
        weights.append(training.learner.weights())
    assert all(torch.equal(v, weights[1][k]) for k, v in weights[0].items())
    assert recorder.recordings == (2 if name in ("drw", "crt") else 1)


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize("first", [True, False], ids=["begun with replays", "begun eagerly"])
def test_a_resumed_training_goes_on_as_the_uninterrupted_one(
    split: ud.Split, cut: int, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hyper = {"scheduler": ud.named_scheduler("cosine")}
    whole = trained(split, METHODS["aos"], **hyper)
    with monkeypatch.context() as patch:
        if first:
            capturing(patch, Kernels())
        begun = ud.Training(
            learner(3).model, METHODS["aos"], split, ud.Hyperparameters(EPOCHS, 1e-3, 16, **hyper), seed=3
        )
        for _ in range(cut):
            begun.advance()
    tensors, plain = begun.state()
    recorder = capturing(monkeypatch, Kernels())
    second = ud.Training(
        learner(3, seed=1).model, METHODS["aos"], split, ud.Hyperparameters(EPOCHS, 1e-3, 16, **hyper), seed=3
    )
    second.advance()  # so that it has a recording, of tensors that are about to be replaced
    second.restore({k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(plain)))
    while not second.finished:
        second.advance()
    assert recorder.recordings == 2
    assert same(second, whole)


def test_a_loss_that_changes_is_recorded_anew_and_one_that_is_made_anew_is_not(
    split: ud.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    powers = {1: 0.4, 2: 0.4, 3: 0.2}  # with their shares of five epochs
    stages = [
        ud.Stage(ud.RandomOverSampler(), partial(ud.balanced_softmax, power=power), share)
        for power, share in powers.items()
    ]
    eager = trained(split, ud.Method(stages=stages))
    recorder = capturing(monkeypatch, Kernels())
    assert same(trained(split, ud.Method(stages=stages)), eager)
    assert recorder.recordings == 3  # epochs 0 and 1, 2 and 3, 4


def test_a_change_of_what_is_trained_or_how_is_recorded_anew(split: ud.Split, monkeypatch: pytest.MonkeyPatch) -> None:
    def epochs() -> ud.Training:
        training = ud.Training(learner(3).model, METHODS["ros"], split, ud.Hyperparameters(epochs=9, batch=16))
        training.advance()
        training.learner.model[1].eval()
        training.advance()
        training.learner.model[0].weight.requires_grad_(False)
        training.advance()
        training.learner.optimizer.param_groups[0]["lr"] = 0.01  # read anew by every update
        training.advance()
        training.learner.optimizer.param_groups[0]["weight_decay"] = 0.1
        training.advance()
        return training

    eager = epochs()
    recorder = capturing(monkeypatch, Kernels())
    assert same(epochs(), eager)
    assert recorder.recordings == 4


def with_epoch(training: ud.Training, **changes: object) -> None:
    training.epoch, training.first = (replace(e, **changes) for e in (training.epoch, training.first))


CHANGES = {
    "batch": lambda t: setattr(t, "hyper", replace(t.hyper, batch=8)),
    "augment": lambda t: setattr(t, "hyper", replace(t.hyper, augment=ud.Augment(["flip", "vflip"]))),
    "images": lambda t: with_epoch(t, images=255 - t.epoch.images),
    "synthetic": lambda t: setattr(t, "epoch", with_other_synthetic(t.epoch)),
    "clip": lambda t: setattr(t, "method", altering(ud.FGSM(clip=False))),
    "attack": lambda t: setattr(t, "method", altering(fade)),
}


def altering(attack: object) -> ud.Method:
    return ud.Method(ud.Chain(ud.SMOTE(2), ud.Every(2, ud.Perturb(attack, 0.1, 0.6))))


def with_other_synthetic(epoch: ud.Epoch) -> ud.Epoch:
    return replace(epoch, made=tuple(replace(m, rows=255 - m.rows) if m.synthetic else m for m in epoch.made))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_is_shown_is_recorded_anew(
    split: ud.Split, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def epochs() -> ud.Training:
        training = ud.Training(learner(3).model, altering(ud.FGSM()), split, ud.Hyperparameters(epochs=9, batch=16))
        training.advance(), training.advance()
        CHANGES[change](training)
        training.advance(), training.advance()
        return training

    eager = epochs()
    recorder = capturing(monkeypatch, Kernels())
    assert same(epochs(), eager)
    assert recorder.recordings == 2


def test_tensors_that_were_replaced_are_not_trained_where_they_were(
    split: ud.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = capturing(monkeypatch, Kernels())
    training = ud.Training(learner(3).model, METHODS["ros"], split, ud.Hyperparameters(epochs=9, batch=16))
    training.advance(), training.advance()
    assert recorder.recordings == 1
    moments, plain = training.learner.optimizer_state()
    training.learner.load_optimizer({k: v.clone() for k, v in moments.items()}, plain)
    training.advance()
    assert recorder.recordings == 2
    conv = training.learner.model[0]
    conv.weight.data = conv.weight.data.clone(memory_format=torch.preserve_format)
    training.advance()
    assert recorder.recordings == 3


@pytest.mark.parametrize("per_copy", [False, True])
def test_more_altered_rows_than_the_minority_has_images_are_recorded_anew_and_fewer_are_not(
    per_copy: bool, split: ud.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = ud.Perturb(ud.FGSM(), 0.1, ud.Ramp(0.2, 1), per_copy=per_copy)
    method = ud.Method(ud.Chain(ud.RandomOverSampler(), growing))
    eager = trained(split, method)
    recorder = capturing(monkeypatch, Kernels())
    assert same(trained(split, method), eager)
    assert 2 <= recorder.recordings <= EPOCHS if per_copy else recorder.recordings == 1


class Draws(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        random.random()
        return super().forward(x)


class Replaces(nn.Sequential):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls = self.calls + 1  # a graph would go on adding 1 to the first of them
        return super().forward(x)


class Waits(Kernels):
    def eagerly(self, work: Callable[[], object]) -> None:
        work()
        raise UnfitError("it waits")


class Fails(Kernels):
    def record(self, work: Callable[[], object]) -> Callable[[], object]:
        work()  # as far as it came
        raise RuntimeError("operation not permitted\nwhen stream is capturing")


class Sometimes(nn.Sequential):
    """A layer that the first update does without: its moments begin later, and not with a trial."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.rarely = nn.Conv2d(1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self[0](self.rarely(x) if random.random() < 0.5 else x)


def hooked() -> nn.Module:
    net = learner(3).model
    net[0].register_forward_hook(lambda *_: None)
    return net


UNFIT = {
    "hooks": (Kernels(), hooked(), {}, "hooks"),
    "draws": (Kernels(), Draws(learner(3).model), {}, "draws random numbers on the CPU"),
    "buffers": (Kernels(), Replaces(learner(3).model), {}, "in the place of its buffers"),
    "sometimes": (Kernels(), Sometimes(learner(3).model), {}, "draws random numbers on the CPU"),
    "momentum": (
        Kernels(),
        Sometimes(learner(3).model),
        {"optimizer": ud.named_optimizer("sgd")},
        "draws random numbers",
    ),
    "awkward": (Kernels(), Awkward(), {}, "draws random numbers on the CPU"),
    "waits": (Waits(), None, {}, "it waits"),
    "fails": (Fails(), None, {}, "RuntimeError: operation not permitted$"),
    "does nothing": (Kernels(times=0), None, {}, "a replay does not do"),
    "does it twice": (Kernels(times=2), None, {}, "a replay does not do"),
    "optimiser": (Kernels(), None, {"optimizer": torch.optim.RMSprop}, "optimiser RMSprop"),
    "tensor": (Kernels(), None, {"optimizer": lambda p, lr: torch.optim.Adam(p, torch.tensor(lr))}, "optimiser Adam"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_cannot_be_recorded_is_trained_eagerly_says_why_and_leaves_no_trace(
    split: ud.Split, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, net, options, why = UNFIT[name]
    random.seed(10)  # the first number is above a half and the second below: see ``Sometimes``
    eager, drawn = trained(split, METHODS["aos"], net, **options), random.getstate()
    capturing(monkeypatch, recorder)
    random.seed(10)
    captured = trained(split, METHODS["aos"], net, **options)
    assert same(captured, eager)
    assert random.getstate() == drawn
    (note,) = captured.finish().notes
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(note)
    assert note.startswith("updates were not captured as a CUDA graph, which only costs time: ")


def on_every_module() -> RemovableHandle:
    return nn.modules.module.register_module_forward_hook(lambda *_: None)


def on_every_optimizer() -> RemovableHandle:
    return register_optimizer_step_pre_hook(lambda *_: None)


HOOKS = {
    "module": lambda who: who.model[0].register_forward_hook(lambda *_: None),
    "weight": lambda who: who.model[0].weight.register_post_accumulate_grad_hook(lambda p: None),
    "optimiser": lambda who: who.optimizer.register_step_post_hook(lambda *_: None),
    "every module": lambda who: on_every_module(),
    "every optimiser": lambda who: on_every_optimizer(),
}


@pytest.mark.parametrize("kind", HOOKS)
def test_a_hook_that_comes_after_the_recording_ends_it(
    split: ud.Split, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = capturing(monkeypatch, Kernels())
    training = ud.Training(learner(3).model, METHODS["ros"], split, ud.Hyperparameters(epochs=9, batch=16))
    training.advance(), training.advance()
    replays = recorder.count
    assert replays
    handle = HOOKS[kind](training.learner)
    try:
        training.advance()
    finally:
        handle.remove()
    assert recorder.count == replays
    assert "hooks" in training.learner.notes[0]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("called a synchronizing CUDA operation", "waits for the GPU"),
        ("The AccumulateGrad node's stream does not match the stream of the node that produced it", "keeps what"),
        (None, "it broke"),
        ("something else", ""),
    ],
)
def test_work_is_waited_for_however_it_ends_and_what_torch_says_of_it_is_heard(
    said: str | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    class Stream:
        def __init__(self, name: str = "own") -> None:
            self.name = name

        def wait_stream(self, other: Stream) -> None:
            order.append(f"{self.name} waits for {other.name}")

    def work() -> None:
        order.append("work")
        assert torch.is_warn_always_enabled()  # other trainings of this process may have heard it before
        if said is None:
            raise ValueError("it broke")
        warnings.warn(said, stacklevel=1)

    fakes: dict[str, object] = {
        "Stream": lambda device: Stream(),
        "current_stream": lambda device: Stream("current"),
        "stream": lambda stream: nullcontext(),
        "get_sync_debug_mode": lambda: 0,
        "set_sync_debug_mode": lambda mode: None,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    with pytest.raises((UnfitError, ValueError), match=why) if why else nullcontext():
        CudaGraphs(torch.device("cuda")).eagerly(work)
    assert order == ["own waits for current", "work", "current waits for own"]
    assert not torch.is_warn_always_enabled()


def test_images_on_disk_are_trained_eagerly(split: ud.Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "images.npy", split.train.images.numpy())
    on_disk = ud.ImageSet(PixelFile.open(tmp_path / "images.npy"), split.train.labels, split.train.classes)
    eager = trained(split, METHODS["ros"])
    capturing(monkeypatch, Kernels())
    captured = trained(ud.Split(on_disk, split.val, split.test), METHODS["ros"])
    assert same(captured, eager)
    assert captured.learner.notes[0].endswith("the images are read from disk")


def test_a_network_that_breaks_is_reported_as_without_recording(
    split: ud.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    capturing(monkeypatch, Kernels())
    batchnorm = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    with pytest.raises(ud.TrainingError, match="another batch size than 52"):  # 53 images
        trained(split, ud.Method(), batchnorm, batch=52)


def test_a_training_without_a_gpu_records_nothing(split: ud.Split) -> None:
    training = ud.Training(learner(3).model, ud.Method(), split, ud.Hyperparameters(epochs=1))
    assert type(training.learner) is ud.Learner


def moved(epoch: ud.Epoch, device: str) -> ud.Epoch:
    made = tuple(
        replace(
            m,
            rows=m.rows.to(device)
            if m.synthetic
            else m.rows.with_rows({k: v.to(device) for k, v in m.rows.rows().items()}),
        )
        for m in epoch.made
    )
    return replace(epoch, images=epoch.images.to(device), made=made)


def on_stand_in(split: ud.Split, name: str, batch: int) -> ud.Training:
    """A training of two epochs whose data and network are then on a device whose tensors have no values."""
    options = {"augment": ud.Augment(["flip", "crop"]), "optimizer": partial(torch.optim.SGD, momentum=0.9)}
    training = ud.Training(learner(3).model, METHODS[name], split, ud.Hyperparameters(9, 1e-3, batch, **options))  # type: ignore[arg-type]
    training.advance(), training.advance()
    who = training.learner
    who.device, who._total = torch.device("meta"), who._total.to("meta")
    who.optimizer = torch.optim.SGD(who.model.to("meta").parameters(), lr=0.1, momentum=0.9)
    who._autocast = nullcontext  # type: ignore[method-assign]  # of which there is none for such a device
    training.epoch, training.first = moved(training.epoch, "meta"), moved(training.first, "meta")
    return training


def epoch_of(training: ud.Training, t: int) -> int:
    """The refresh and the updates of an epoch; how many updates."""
    training.epoch = training._refreshed(t)
    return sum(1 for _ in training._updates(t))


@pytest.mark.parametrize("captured", [False, True], ids=["eager", "captured"])
@pytest.mark.parametrize("name", METHODS)
def test_nothing_waits_for_a_device_within_an_epoch(
    split: ud.Split, name: str, captured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Kernels()
    if captured:
        capturing(monkeypatch, recorder)
        # A trial may wait, and this device has no fused kernels.
        monkeypatch.setattr("underdog.captured._near", lambda *_: True)
        monkeypatch.setattr(CapturedLearner, "_rates_on_device", lambda *_: nullcontext())
    crossed = []
    for batch in (16, 8):
        training = on_stand_in(split, name, batch)
        epoch_of(training, 2)
        replays, recordings = recorder.count, recorder.recordings
        with watched("meta") as seen:
            updates = epoch_of(training, 4)
        assert updates == -(-len(training.epoch) // batch)
        assert training.learner.notes == (() if name in RECORDABLE or not captured else (MIXED,))
        assert recorder.recordings == recordings
        if captured and name in RECORDABLE:
            assert recorder.count - replays == len(training.epoch) // batch
        crossed.append(seen.crossed)
    assert 0 < crossed[0] == crossed[1]  # what updates need is sent once, and not with every batch


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: torch.zeros(3).to(x.device),
        lambda x: x[torch.zeros(1, dtype=torch.int64)],
        lambda x: torch.tensor(1.0, device=x.device),
        lambda x: x.new_tensor(1.0),
        lambda x: torch.asarray(1.0, device=x.device),
        lambda x: x[[0, 1]],
        lambda x: x.__setitem__(x > 0, x[:1]),
    ],
    ids=["not sent", "index on the host", "number", "new", "array", "places", "mask"],
)
def test_what_waits_is_noticed(waits: Callable[[torch.Tensor], object]) -> None:
    x = torch.zeros(3, device="meta")
    waits(x)
    with pytest.raises(AssertionError), watched("meta"):
        waits(x)


def test_what_is_sent_to_a_gpu_is_pinned_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def pin(self: torch.Tensor) -> torch.Tensor:
        calls.append("pinned")
        return self

    def to(self: torch.Tensor, device: torch.device, **options: bool) -> torch.Tensor:
        calls.append((device.type, options))
        return self

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", to)
    to_device(torch.arange(3), torch.device("cuda"))
    assert calls == ["pinned", ("cuda", {"non_blocking": True})]


@pytest.mark.parametrize(
    ("shape", "altered", "size"),
    [
        ((3, 32, 32), 800, 448),  # two, and not one of 640 and a rest that is padded to as many
        ((3, 32, 32), 640, 640),
        ((3, 32, 32), 100, 128),
        ((1, 28, 28), 800, 832),
        ((3, 240, 240), 800, 64),
    ],
)
def test_chunks_of_a_refresh_on_a_gpu_are_large_alike_and_whole(
    shape: tuple[int, ...], altered: int, size: int
) -> None:
    images = SimpleNamespace(device=torch.device("cuda"), shape=(0, *shape))
    assert chunk_size(images, altered) == size  # type: ignore[arg-type]


def test_several_workers_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    options = Namespace(workers=4, threads=1, engine="local", device="cuda")
    assert _devices(options) == ["cuda:0"] * 4


def weights(training: ud.Training) -> torch.Tensor:
    """All that is trained, as one vector of its own."""
    return torch.cat([p.detach().flatten() for p in training.learner.model.parameters()])


@pytest.fixture
def exact() -> Iterator[None]:
    """Convolutions that do not round, in a fixed order."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = before


@CUDA
@pytest.mark.parametrize("name", RECORDABLE)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu_a_graph_trains_as_eager_updates_do(split: ud.Split, name: str, precision: str, exact: None) -> None:
    found = []
    for capture in (False, True):
        hyper = ud.Hyperparameters(epochs=3, batch=16, scheduler=ud.named_scheduler("cosine"))
        training = ud.Training(
            learner(3).model, METHODS[name], split, hyper, device="cuda", precision=precision, capture=capture
        )
        begun = weights(training)
        while not training.finished:
            training.advance()
        assert training.learner.notes == ()
        found.append((weights(training), training))
    (eager, _), (captured, training) = found
    assert training.learner._recording is not None
    assert [r.images for r in found[0][1].records] == [r.images for r in training.records]
    # Of the way that the weights have gone: buffers, such as counts of batches, would outweigh them.
    assert (eager - captured).norm() < 0.25 * (eager - begun).norm()


@CUDA
@pytest.mark.parametrize("capture", [True, False], ids=["captured", "eager"])
@pytest.mark.parametrize("name", METHODS)
def test_on_a_gpu_nothing_waits_within_an_epoch(split: ud.Split, name: str, capture: bool) -> None:
    hyper = ud.Hyperparameters(epochs=9, batch=16, augment=ud.Augment(["flip", "crop"]))
    training = ud.Training(learner(3).model, METHODS[name], split, hyper, device="cuda", capture=capture)
    training.advance(), training.advance()
    who, t = training.learner, 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        training.epoch = training._refreshed(t)
        updates = sum(1 for _ in training._updates(t))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert updates == who.flush()[2] == -(-len(training.epoch) // 16)


@CUDA
def test_on_a_gpu_dropout_draws_other_numbers_in_every_replay(split: ud.Split) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 3), nn.Dropout(0.5))
    training = ud.Training(net, ud.Method(), split, ud.Hyperparameters(epochs=3, lr=1e-9, batch=8), device="cuda")
    losses = [training.advance().loss for _ in range(3)]
    assert training.learner.notes == ()
    assert len(set(losses)) == 3


@CUDA
@pytest.mark.parametrize("wrong", ["waits", "draws"])
def test_on_a_gpu_a_network_that_cannot_be_captured_trains_on(split: ud.Split, wrong: str) -> None:
    class Unfit(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            float(x.mean()) if wrong == "waits" else random.random()
            return super().forward(x)

    net = Unfit(nn.Dropout(0.1), learner(3).model)
    history = ud.fit(net, METHODS["aos"], split, ud.Hyperparameters(epochs=2, batch=16), device="cuda")
    assert wrong in history.notes[0]


@CUDA
def test_on_a_gpu_a_capture_that_fails_leaves_the_random_state_in_use(split: ud.Split) -> None:
    def fails() -> None:
        torch.rand(3, device="cuda")
        torch.zeros(1, device="cuda").item()

    recorder = train.CapturedLearner(learner(3).model, 3, device="cuda")._recorder
    state, stream = torch.cuda.get_rng_state(), torch.cuda.current_stream()
    with pytest.raises(RuntimeError):
        recorder.record(fails)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert torch.cuda.current_stream() == stream
    assert torch.rand(3, device="cuda").sum() > 0
