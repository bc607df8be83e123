"""What a GPU would do, on the CPU: recordings of kernels, and a watch over what waits for the device."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["Kernels", "watched"]


class Kernels:
    """Records as a CUDA graph does: the kernels of the work with the memory that they read and write, and no Python.

    A replay calls the same kernels on the same memory, and puts what a kernel returned where it was returned before. Unlike
    a CUDA graph's, recording does the work as well, which who records has to undo.

    Args:
        times: how often a replay does so; but for once it is no replay.
    """

    def __init__(self, times: int = 1) -> None:
        self.recordings, self.count, self._times = 0, 0, times

    def eagerly(self, work: Callable[[], object]) -> None:
        work()

    def record(self, work: Callable[[], object]) -> Callable[[], object]:
        self.recordings += 1
        with Recorded() as recorded:
            work()

        def replay() -> None:
            self.count += 1
            for _ in range(self._times):
                recorded.again()

        return replay


class Recorded(TorchDispatchMode):
    """Remembers every kernel that is called, below autograd and autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, list[torch.Tensor]]] = []

    def __torch_dispatch__(self, kernel: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = kernel(*args, **(kwargs or {}))
        self.calls.append((kernel, where((args, kwargs or {})), tensors(where(found))))
        return found

    def again(self) -> None:
        with torch.no_grad():
            for kernel, (args, kwargs), places in self.calls:
                for found, place in zip(tensors(kernel(*args, **kwargs)), places, strict=True):
                    if found.data_ptr() != place.data_ptr():
                        place.copy_(found)


@contextmanager
def watched(device: str) -> Iterator[Watched]:
    """Refuse what a GPU would wait for, or could not run, beyond what a device without values refuses by itself: numbers of
    Python that become a tensor there, tensors of two devices in one kernel, and copies to it that do not go by ``to_device``,
    which fetches what a GPU can fetch without waiting.

    Args:
        device: what stands for the GPU, such as "meta".
    """
    with Numbers(device), Watched(device) as kernels:
        yield kernels


#: What makes a tensor of numbers.
MAKES = (torch.tensor, torch.as_tensor, torch.asarray, torch.Tensor.new_tensor)


class Numbers(TorchFunctionMode):
    """Refuses tensors that are made there of numbers."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = torch.device(device)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.device == self.device:
            assert function not in MAKES, "a tensor made of numbers waits until they are there"
        if function in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            assert not any(isinstance(leaf, list) for leaf in pair(args[1])), (
                "numbers of places wait until they are there"
            )
        return found


class Watched(TorchDispatchMode):
    """Refuses kernels, and counts what crosses to the device."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.crossed = torch.device(device), 0

    def __torch_dispatch__(self, kernel: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, name = tensors((args, kwargs or {})), kernel.overloadpacket.__name__
        masked = name.startswith("index_put") and any(t.dtype == torch.bool for t in tensors(args[1]))
        assert not masked, "places by a mask wait for how many there are"
        found = kernel(*args, **(kwargs or {}))
        devices = {t.device for t in [*given, *tensors(found)] if t.numel()}
        if len(devices) > 1:
            assert name in ("_to_copy", "copy_"), f"{name} of tensors on {devices}"
            to = found.device if name == "_to_copy" else args[0].device
            assert to == self.device, "a copy from the device waits for it"
            stack = inspect.stack()
            assert any(frame.function == "to_device" for frame in stack), f"{stack[1]} waits until it was fetched"
            self.crossed += 1
        return found


def where(tree: Any) -> Any:
    """The same with tensors that keep their memory whatever becomes of those given, such as ``p.data = other``."""
    return tree_map_only(torch.Tensor, torch.Tensor.detach, tree)


def pair(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
