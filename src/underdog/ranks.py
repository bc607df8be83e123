"""Several processes that train one network, and what they do together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from underdog.errors import InputError, TrainingError, UnderdogError
from underdog.validate import check_kind

__all__ = ["ALONE", "Ranks"]

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is; what the processes share goes through torch's default process group.

    Its methods are collectives: every rank has to come to them, in the same order. Alone, they do nothing.

    Args:
        rank, world: the number of this process and how many there are.

    Raises:
        InputError: a rank outside [0, world).

    >>> Ranks().broadcast("what rank 0 has")
    'what rank 0 has'
    """

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        for name, number in (("rank", self.rank), ("world", self.world)):
            check_kind(name, number, Integral, "an integer")
        if not 0 <= self.rank < self.world:
            raise InputError(f"rank must lie in [0, world), not {self.rank} of {self.world}")

    @property
    def alone(self) -> bool:
        return self.world == 1

    def check(self, model: nn.Module | None = None) -> None:
        """The process group, and what of a model is distributed, must be of these processes.

        Raises:
            InputError: they are not.
        """
        modules = () if model is None else model.modules()
        groups = [m.process_group for m in modules if isinstance(m, DistributedDataParallel)]
        if other := next((g.size() for g in groups if g.size() != self.world), None):
            raise InputError(
                f"the model is distributed over {other} processes, but rank {self.rank} of {self.world} is to show its images: "
                "give rank=torch.distributed.get_rank() and world=torch.distributed.get_world_size()"
            )
        if not (distributed.is_available() and distributed.is_initialized()):
            if self.alone:
                return
            raise InputError(
                f"rank {self.rank} of {self.world} has no process group to reach the others: call "
                "torch.distributed.init_process_group first"
            )
        found = distributed.get_rank(), distributed.get_world_size()
        if found != (self.rank, self.world):
            raise InputError(
                f"rank and world must be those of the process group, {found[0]} of {found[1]}, not {self.rank} of {self.world}"
            )

    def broadcast(self, value: T) -> T:
        """Rank 0's value, which is plain data."""
        if self.alone:
            return value
        box = [value]
        distributed.broadcast_object_list(box)
        return box[0]

    def all_gather(self, value: T) -> list[T]:
        """Every rank's value, which is plain data, in the order of the ranks."""
        if self.alone:
            return [value]
        values: list[T] = [value] * self.world
        distributed.all_gather_object(values, value)
        return values

    def all_reduce(self, tensor: Tensor) -> None:
        """Replace a contiguous tensor by its sum over the ranks."""
        if not self.alone:
            there = _reachable(tensor)
            distributed.all_reduce(there)
            if there is not tensor:
                tensor.copy_(there)

    @torch.no_grad()
    def broadcast_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by rank 0's."""
        if self.alone:
            return
        for tensor in tensors:
            # As bytes: backends differ in the types that they send.
            there = _reachable(tensor.detach().contiguous().reshape(-1).view(torch.uint8).clone())
            distributed.broadcast(there, 0)
            tensor.copy_(there.to(tensor.device).view(tensor.dtype).view(tensor.shape))

    @contextmanager
    def first_buffers(self, model: nn.Module) -> Iterator[None]:
        """Within, a model's buffers hold rank 0's values; afterwards its own again, bit for bit."""
        own = [] if self.alone else [(b, b.clone()) for b in model.buffers()]
        self.broadcast_tensors(b for b, _ in own)
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, values in own:
                    buffer.copy_(values)

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """What fails within on one rank fails on all of them: no rank waits for one that has given up.

        Nothing within may be a collective.
        """
        own: Exception | None = None
        try:
            yield
        except Exception as error:  # whatever it was, the others have to hear of it
            own = error
        failed = None if own is None else (type(own).__name__, str(own), isinstance(own, InputError))
        everybody = self.all_gather(failed)
        if own is not None:
            raise own
        for rank, other in enumerate(everybody):
            if other is not None:
                name, text, input_error = other
                kind: type[UnderdogError] = InputError if input_error else TrainingError
                raise kind(f"rank {rank} failed: {text if input_error else f'{name}: {text}'}")

    def share(self, pieces: int, work: Callable[[int], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What ``work(0)``, ..., ``work(pieces - 1)`` give, stacked: each is done by one rank, and all get the results.

        Args:
            pieces: how many, at least 1.
            work: gives tensors whose shapes and types are the same for every piece.

        Raises:
            Exception: what ``work`` raised here; InputError or TrainingError where it failed on another rank.

        >>> Ranks().share(3, lambda piece: (torch.tensor([piece, 2 * piece]),))
        (tensor([[0, 0],
                [1, 2],
                [2, 4]]),)
        """
        whole: tuple[Tensor, ...] = ()
        with self.failing_together():
            for piece in range(self.rank, pieces, self.world):
                done = work(piece)
                # Filled as it goes: joining the pieces in the end would hold everything twice.
                whole = whole or tuple(one.new_zeros((pieces, *one.shape)) for one in done)
                for kept, one in zip(whole, done, strict=True):
                    kept[piece] = one
        if self.alone:
            return whole
        # Rank 0 has a piece whenever there is one; others may have none to see a shape from.
        forms = self.broadcast([(tuple(one.shape), one.dtype, one.device.type) for one in whole])
        whole = whole or tuple(torch.zeros(shape, dtype=dtype, device=device) for shape, dtype, device in forms)
        for one in whole:
            self.all_reduce(one.view(torch.uint8))  # as bytes, where one rank's is not 0: exact whatever the type
        return whole


#: The ranks of a process that trains by itself.
ALONE = Ranks()


def _reachable(tensor: Tensor) -> Tensor:
    """The tensor where the process group can send it from: NCCL only knows GPUs."""
    on_host = tensor.device.type == "cpu" and distributed.get_backend() == "nccl"
    return tensor.to(torch.device("cuda", torch.cuda.current_device())) if on_host else tensor
