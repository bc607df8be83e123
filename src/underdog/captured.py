"""Whole updates, recorded once as a CUDA graph and replayed with the numbers of each batch."""

from __future__ import annotations

import pickle
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules import module
from torch.optim import SGD, Adam, AdamW
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from underdog.altered import Altered
from underdog.augment import Augment
from underdog.data.pixels import PixelFile
from underdog.epoch import Epoch
from underdog.learner import Learner, not_captured, preserving
from underdog.loss import Loss

__all__ = ["CapturedLearner", "CudaGraphs", "Recorder", "UnfitError"]

Work = Callable[[], object]

#: Optimisers whose fused kernels read the learning rate from the device.
FUSED = (Adam, AdamW, SGD)
#: What torch says of an update that cannot be captured, and what that means.
SAID = {
    "called a synchronizing": "the network or the loss waits for the GPU within an update",
    "AccumulateGrad node's stream does not match": "the network or the loss keeps what an earlier update computed",
}
#: How far the change that a replay makes may be from an eager update's, as a part of that change: kernels that add in no
#: fixed order differ by far less, and a replay that shows other images, or forgets a part, by far more.
TOLERANCE = 0.25


class UnfitError(Exception):
    """Why updates cannot be recorded."""


class Recorder(Protocol):
    """Records work of the device, which can then be done again without Python."""

    def eagerly(self, work: Work) -> None:
        """Do work as always, where it would be recorded.

        Raises:
            UnfitError: it cannot be recorded.
        """

    def record(self, work: Work) -> Callable[[], object]:
        """Record work without doing it; what is returned does it, on the same tensors."""


class CudaGraphs:
    """Records on a stream of its own.

    Args:
        device: a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def eagerly(self, work: Work) -> None:
        """Do work on the stream of the recordings, where handles and workspaces are then made.

        What cannot be recorded is found here by torch's warnings: within a recording it would be an error that leaves
        torch's random state and allocator broken.
        """
        current, mode = torch.cuda.current_stream(self._device), torch.cuda.get_sync_debug_mode()
        again = torch.is_warn_always_enabled()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                torch.cuda.set_sync_debug_mode("warn")
                torch.set_warn_always(True)  # also what another training of this process was told once
                work()
            finally:
                torch.set_warn_always(again)
                torch.cuda.set_sync_debug_mode(mode)
                # Also where work broke: what it changed until then is about to be put back.
                current.wait_stream(self._stream)
        for text, why in SAID.items():
            if any(text in str(warning.message) for warning in said):
                raise UnfitError(why)

    def record(self, work: Work) -> Callable[[], object]:
        """Capture work; what fails leaves the stream and the random state as they were."""
        graph = torch.cuda.CUDAGraph()
        index = torch.cuda.current_device() if self._device.index is None else self._device.index
        generator = torch.cuda.default_generators[index]
        before = generator.clone_state()
        # The outer block puts the stream back, which that of a capture that fails does not.
        with torch.cuda.stream(self._stream):
            try:
                # Other threads may go on using the GPU.
                with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                    work()
            except BaseException:
                generator.graphsafe_set_state(before)  # its own state believes that it is still being captured
                raise
        return graph.replay


@dataclass(frozen=True, eq=False)
class _Recording:
    """A recorded update, and what it reads: as long as it can be replayed, that has to stay where it is.

    Attributes:
        loss, key: what it was recorded for.
        epoch: where the images and altered rows lie.
        numbers, drawn: of the batch, see ``Learner.train``.
        rates: the learning rate of each group of parameters.
        replay: makes an update by the batch.
    """

    loss: Loss
    key: tuple[Any, ...]
    epoch: Epoch
    numbers: Tensor
    drawn: Tensor
    rates: tuple[Tensor, ...]
    replay: Callable[[], object]


class CapturedLearner(Learner):
    """A learner whose updates are recorded once and replayed.

    A recording is an update by a whole batch: gathering its images, their alteration, conversion and random changes, the
    network, the loss, the optimiser's fused kernel and the sum of the losses. Its inputs are the batch's numbers and the
    learning rates. The first batch of an epoch that begins without a recording, and the smaller last one of every epoch,
    are updates as a ``Learner`` makes them. Before it is used a recording is tried: its change of the weights, the buffers
    and the loss has to be that of an eager update by the same batch, and both are undone.

    What cannot be recorded is trained eagerly, and ``notes`` say why: images on disk; examples that are mixed; alterations by
    more than one resampler; an optimiser other than Adam, AdamW
    and SGD, or with its state elsewhere; hooks; a network that draws random numbers on the CPU, replaces its buffers, waits
    for the device, fails while it is recorded, or of which a replay does something else.

    Args:
        model, classes, options: as ``Learner``.
        recorder: what records; CUDA graphs where None, so that ``device`` must be a GPU.

    *Deviation*: from the eager update; SGD is its fused kernel, and the learning rate is rounded to float32 on a GPU.
    A network or loss whose path depends on something in Python that changes later, such as a counter, keeps the recorded
    path.
    """

    def __init__(self, *args: Any, recorder: Recorder | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._recorder: Recorder | None = recorder or CudaGraphs(self.device)
        self._recording: _Recording | None = None

    def train(self, epoch: Epoch, order: Sequence[Tensor], augment: Augment, drawn: Sequence[Tensor]) -> Iterator[None]:
        """Update by one batch after the other, as ``Learner.train``."""
        if isinstance(epoch.images, PixelFile):
            self._give_up("the images are read from disk")
        elif epoch.mixture is not None:
            self._give_up("examples are mixed")
        elif len(epoch.altered) > 1:
            self._give_up("more than one resampler alters images")
        if self._recorder is None:
            yield from super().train(epoch, order, augment, drawn)
            return
        whole = order[0].shape
        if self._recording is not None and not self._holds(self._recording, epoch, whole, augment):
            self._recording = None
        for numbers, u in zip(order, drawn, strict=True):
            if numbers.shape == whole and self._recording is None and self._steps:
                self._recording = self._recorded(epoch, numbers, augment, u)
            if numbers.shape == whole and self._recording is not None:
                self._replay(self._recording, numbers, u)
            else:
                x, y, _ = epoch.batch(numbers)
                self.step(augment(x, u), y)
            yield

    def _replay(self, recording: _Recording, numbers: Tensor, drawn: Tensor) -> None:
        """One update; nothing here waits for the device."""
        recording.numbers.copy_(numbers)
        recording.drawn.copy_(drawn)
        for rate, group in zip(recording.rates, self.optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])
        recording.replay()
        self._updated(numbers.shape[1])

    def _holds(self, recording: _Recording, epoch: Epoch, whole: torch.Size, augment: Augment) -> bool:
        """Whether a recording is still an update of this learner, for an epoch whose altered rows are put where it reads."""
        same = _equal(recording.loss, self.loss) and recording.key == self._key(epoch, whole, augment)
        return same and not self._hooked() and _put(epoch.altered, recording.epoch.altered)

    def _key(self, epoch: Epoch, whole: torch.Size, augment: Augment) -> tuple[Any, ...]:
        """All but the loss that a recording depends on and does not read anew: kinds, settings and addresses."""
        settings = [{k: v for k, v in g.items() if k not in ("params", "lr")} for g in self.optimizer.param_groups]
        return (
            whole,
            augment.names,
            _kind(epoch.altered),
            _address(epoch.images),
            _address(epoch.synthetic),
            repr(settings),
            tuple(m.training for m in self.model.modules()),
            tuple(p.requires_grad for p in self.model.parameters()),
            self._addresses(),
        )

    def _tensors(self) -> list[Tensor]:
        """What updates change beside the buffers."""
        moments = [v for state in self.optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]
        return [*self.model.parameters(), *moments, self._total]

    def _addresses(self) -> tuple[Any, ...]:
        return tuple(_address(t) for t in (*self._tensors(), *self.model.buffers()))

    def _recorded(self, epoch: Epoch, numbers: Tensor, augment: Augment, drawn: Tensor) -> _Recording | None:
        """An update by any batch like this one, recorded and tried; None, and a note, where that fails. Nothing is changed."""
        if self._recorder is None:
            return None
        try:
            self._check()
            return self._tried(self._recorder, epoch, numbers, augment, drawn)
        except UnfitError as error:
            self._give_up(str(error))
        except Exception as error:  # it is anybody's code
            self._give_up(f"{type(error).__name__}: {error}".splitlines()[0])
        return None

    def _give_up(self, reason: str) -> None:
        """Train eagerly from here on."""
        if self._recorder is not None:
            self._recorder, self._recording = None, None
            self.notes = (*self.notes, not_captured(reason))

    def _check(self) -> None:
        """What can be known without trying.

        Raises:
            UnfitError: updates cannot be recorded.
        """
        optimizer, name = self.optimizer, type(self.optimizer).__name__
        if type(optimizer) not in FUSED or any(isinstance(g["lr"], Tensor) for g in optimizer.param_groups):
            raise UnfitError(f"of the optimiser {name} with a learning rate of its own kind torch has no fused kernel")
        if any(t.device.type != self.device.type for t in self._tensors()):
            raise UnfitError(f"the state of the optimiser {name} is not on the device: make it with fused=True")
        if self._hooked():
            raise UnfitError("hooks of the network or the optimiser would not run")

    def _hooked(self) -> bool:
        """Whether somebody's Python is to run within an update: of a replay it is no part."""
        of_modules = [
            hooks
            for m in self.model.modules()
            for hooks in (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks, m._backward_pre_hooks)
        ]
        of_weights = [h for p in self.model.parameters() for h in (p._backward_hooks, p._post_accumulate_grad_hooks)]
        of_steps = [self.optimizer._optimizer_step_pre_hooks, self.optimizer._optimizer_step_post_hooks]
        return any((*of_modules, *of_weights, *of_steps, *_of_all()))

    def _tried(self, recorder: Recorder, epoch: Epoch, numbers: Tensor, augment: Augment, drawn: Tensor) -> _Recording:
        """The recording, after its change has been compared with that of an eager update.

        Raises:
            UnfitError: see above.
        """
        own, numbers, drawn = _with_room(epoch), numbers.clone(), drawn.clone()
        # What the fused kernels read: those of a GPU float32, those of the CPU float64.
        kind = torch.float32 if self.device.type == "cuda" else torch.float64
        rates = [torch.full((), g["lr"], dtype=kind, device=self.device) for g in self.optimizer.param_groups]

        def update() -> None:
            x, y, _ = own.batch(numbers)
            self._update(augment(x, drawn), y)

        before, addresses, draws = self._looks(), self._addresses(), self._draws()
        with self._undone():
            recorder.eagerly(update)
            expected = self._looks()
            if self._draws() != draws:
                raise UnfitError("the network draws random numbers on the CPU")
            if self._addresses() != addresses:
                raise UnfitError("the network puts other tensors in the place of its buffers")
        with self._undone(), self._rates_on_device(rates):
            replay = recorder.record(update)
        with self._undone():
            replay()
            found = self._looks()
        if not all(map(_near, before, expected, found)):
            raise UnfitError("a replay does not do what an eager update does")
        key = self._key(epoch, numbers.shape, augment)
        return _Recording(self.loss, key, own, numbers, drawn, tuple(rates), replay)

    def _looks(self) -> list[Tensor]:
        """The weights, the buffers and the sum of the losses, each as one vector."""
        parts = ([*self.model.parameters()], [*self.model.buffers()], [self._total])
        return [torch.cat([t.detach().reshape(-1).float() for t in part]) for part in parts if part]

    def _draws(self) -> bytes:
        """The random states of the CPU, of which a replay draws nothing; torch's is the device's own where that is the CPU."""
        of_torch = torch.get_rng_state().numpy().tobytes() if self.device.type == "cuda" else b""
        return pickle.dumps((random.getstate(), np.random.get_state(), of_torch))

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Put back whatever updates change, and forget the state of weights that only now had a gradient."""
        state = self.optimizer.state
        with preserving(self.model, self.device):
            before = [(t, t.detach().clone()) for t in self._tensors()]
            held = {p: dict(values) for p, values in state.items()}
            try:
                yield
            finally:
                for p in [p for p in state if p not in held]:
                    del state[p]
                for p, own in held.items():
                    state[p].clear()
                    state[p].update(own)
                with torch.no_grad():
                    for t, values in before:
                        t.copy_(values)

    @contextmanager
    def _rates_on_device(self, rates: Sequence[Tensor]) -> Iterator[None]:
        """The optimiser's fused kernels, with learning rates that can change after they were recorded.

        Outside, rates stay plain numbers: a scheduler that changes a tensor reads its value first, which would wait.
        """
        groups = self.optimizer.param_groups
        before = [dict(group) for group in groups]
        try:
            for group, rate in zip(groups, rates, strict=True):
                group.update(lr=rate, fused=True, foreach=False, capturable=True)
            yield
        finally:
            for group, values in zip(groups, before, strict=True):
                group.clear()
                group.update(values)


def _of_all() -> tuple[object, ...]:
    """The hooks of every network and optimiser of this process."""
    return (
        module._global_forward_hooks,
        module._global_forward_pre_hooks,
        module._global_backward_hooks,
        module._global_backward_pre_hooks,
        _global_optimizer_pre_hooks,
        _global_optimizer_post_hooks,
    )


def _equal(a: object, b: object) -> bool:
    try:
        return bool(a == b)
    except Exception:  # values of somebody's own class that cannot be compared, such as tensors
        return False


def _near(before: Tensor, expected: Tensor, found: Tensor) -> bool:
    """Whether values have changed as they were to."""
    return bool((found - expected).norm() <= TOLERANCE * (expected - before).norm())


def _address(tensor: Any) -> tuple[Any, ...]:
    return tensor.data_ptr(), tuple(tensor.shape), tensor.dtype


def _rows(altered: Sequence[Altered]) -> dict[str, Tensor]:
    """The tensors of an epoch's altered rows, by name; they can be replaced by those of others of the kind."""
    return {k: v for one in altered for k, v in one.rows().items()}


def _kind(altered: Sequence[Altered]) -> object:
    """What altered rows have in common that can take each other's place."""
    about = [{k: v for k, v in vars(one).items() if not isinstance(v, Tensor)} for one in altered]
    return [type(one) for one in altered], about, [(k, v.shape[1:], v.dtype) for k, v in _rows(altered).items()]


def _put(altered: Sequence[Altered], place: Sequence[Altered]) -> bool:
    """Copy altered rows over others of their kind; False where there is no room for so many."""
    own, room = _rows(altered), _rows(place)
    if any(len(values) > len(room[name]) for name, values in own.items()):
        return False
    for name, values in own.items():
        room[name][: len(values)].copy_(values)
    return True


def _with_room(epoch: Epoch) -> Epoch:
    """The same epoch, its altered rows copied to where there is room for one of every image of the minority."""
    if not epoch.altered:
        return epoch
    minority = int(np.isin(epoch.labels[: epoch.originals], list(epoch.minority)).sum())
    rows = {k: v.new_zeros((max(len(v), minority), *v.shape[1:])) for k, v in _rows(epoch.altered).items()}
    made = [one if isinstance(one.rows, Tensor) else replace(one, rows=one.rows.with_rows(rows)) for one in epoch.made]
    own = replace(epoch, made=tuple(made))
    _put(epoch.altered, own.altered)
    return own
