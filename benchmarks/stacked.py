"""Several trainings as one: their weights stacked, so that each kernel works for all of them."""

from __future__ import annotations

import copy

import torch
from measure import Work, random_images
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from underdog import PaperNet
from underdog.captured import CudaGraphs

__all__ = ["stacked"]

BATCH = 128


def stacked(shape: tuple[int, int, int], k: int, device: str, precision: torch.dtype, updates: int) -> Work:
    """So many updates of k of the paper's networks, each by a batch of its own; captured as a CUDA graph on a GPU.

    Unlike a training it has no last, smaller batch, and nothing is evaluated.
    """
    torch.manual_seed(0)
    models: list[nn.Module] = [PaperNet(shape[0], 10, shape[1:]).to(device) for _ in range(k)]
    empty = copy.deepcopy(models[0]).to("meta")
    weights, buffers = stack_module_state(models)
    weights = {name: w.detach().requires_grad_() for name, w in weights.items()}
    images = random_images([BATCH] * 10, shape)
    pixels, labels = images.images[:].to(device), images.labels.to(device)
    rows = torch.zeros(k, BATCH, dtype=torch.int64, device=device)
    optimizer = torch.optim.Adam(weights.values(), lr=1e-4, fused=True, capturable=device == "cuda")

    def loss(own: dict[str, Tensor], kept: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(empty, (own, kept), (x,)).float(), y)

    def update() -> None:
        optimizer.zero_grad(set_to_none=True)
        x = pixels[rows].to(torch.float32).div_(255)
        with torch.autocast(device, precision, enabled=precision != torch.float32):
            losses = vmap(loss)(weights, buffers, x, labels[rows])
        losses.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    again: Work = update
    if device == "cuda":
        recorder = CudaGraphs(torch.device(device))
        recorder.eagerly(update)
        again = recorder.record(update)

    def epoch() -> None:
        for _ in range(updates):
            rows.random_(0, len(pixels))
            again()

    return epoch
