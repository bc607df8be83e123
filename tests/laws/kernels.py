"""What a GPU would do, on the CPU: recordings of kernels, and a watch over what waits for the device."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Kernels", "Watched"]


class Kernels:
    """Records as a CUDA graph does: the kernels of the work with the addresses that they read and write, and no Python.

    A replay calls the same kernels on the same tensors, and puts what a kernel returned where it was returned before.

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
        self.calls: list[tuple[Any, Any, Any, list[torch.Tensor]]] = []

    def __torch_dispatch__(self, kernel: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = kernel(*args, **(kwargs or {}))
        self.calls.append((kernel, args, kwargs or {}, tensors(found)))
        return found

    def again(self) -> None:
        with torch.no_grad():
            for kernel, args, kwargs, places in self.calls:
                for found, place in zip(tensors(kernel(*args, **kwargs)), places, strict=True):
                    if found.data_ptr() != place.data_ptr():
                        place.copy_(found)


class Watched(TorchDispatchMode):
    """Refuses kernels that a GPU would wait for, or could not run: values asked for by Python, shapes that depend on
    values, and tensors of two devices in one kernel. Only ``to`` and ``copy_`` may cross, and only to the device.

    Args:
        device: what stands for the GPU.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.crossed = torch.device(device), 0

    def __torch_dispatch__(self, kernel: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = tensors((args, kwargs or {}))
        found = kernel(*args, **(kwargs or {}))
        devices = {t.device for t in [*given, *tensors(found)] if t.numel()}
        name = kernel.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal"):
            assert self.device not in devices, f"{name} waits for the device"
        if name in ("index", "index_put", "index_put_") and self.device in devices:
            masks = [t for t in given if t.dtype == torch.bool and t.numel()]
            assert not masks, f"{name} by a mask waits for the device"
        if len(devices) > 1:
            assert name in ("_to_copy", "copy_"), f"{name} of tensors on {devices}"
            to = found.device if name == "_to_copy" else args[0].device
            assert to == self.device, "a copy from the device waits for it"
            stack = inspect.stack()
            assert any(frame.function == "sent" for frame in stack), f"{stack[1]} waits until it was fetched"
            self.crossed += 1
        return found


def tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
