"""A learner that is one of several, each on its own device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from underdog.epoch import Partner
from underdog.learner import Learner, not_captured
from underdog.ranks import Ranks

__all__ = ["DistributedLearner"]


class DistributedLearner(Learner):
    """One of several learners with equal weights, which train on their shares of each batch.

    Where a ``Learner`` takes the mean of a batch's losses, here the gradients of the losses' sums are added up over the
    ranks and divided by the number of images: shares of any size weigh as much as their images, and an empty one nothing.

    Args:
        model, classes, options: as ``Learner``.
        ranks: this process and how many there are; the process group must be there.

    *Deviation*: from DistributedDataParallel, which averages the ranks' means and cannot do without images on a rank.
    BatchNorm sees local shares as it does there, so weights are not those of one process.

    >>> learner = DistributedLearner(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 2, ranks=Ranks())
    >>> learner.step(torch.rand(8, 1, 2, 2), torch.zeros(8, dtype=torch.int64))
    >>> learner.flush()[1:]
    (8, 1)
    """

    def __init__(self, model: nn.Module, classes: int, *options: Any, ranks: Ranks, **more: Any) -> None:
        ranks.check()
        super().__init__(model, classes, *options, **more)
        self.ranks = ranks
        if self.device.type == "cuda":
            self.notes = (not_captured("several devices train together"),)
        ranks.broadcast_tensors(
            [*self.model.parameters(), *self.model.buffers()]
        )  # somebody's factory may not obey the seed

    def _backward(self, x: Tensor, y: Tensor, partner: Partner | None) -> Tensor:
        """Give every parameter the gradient of the mean loss of the ranks' images together.

        ``x`` is (0, C, H, W) where this rank's share of the batch is empty, which joins all the same.
        """
        total = self._total.new_zeros(())
        if len(y):
            loss = self._losses(x, y, partner).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            total = loss.detach()
        self._average(len(y))
        return total

    def _average(self, images: int) -> None:
        """From the gradient of the sum over this rank's images to that of the mean over all ranks' images."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for p in parameters:
            # An empty share has no gradients; nor have layers that the network did not use, here or elsewhere.
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        grads = [p.grad for p in parameters]
        # Their number travels along, so that nothing has to wait for it.
        count = torch.full((1,), images, dtype=grads[0].dtype, device=self.device)
        flat = torch.cat([*(g.reshape(-1) for g in grads), count])
        self.ranks.all_reduce(flat)
        sums = torch.split(flat[:-1].div_(flat[-1]), [g.numel() for g in grads])
        for g, own in zip(grads, sums, strict=True):
            g.copy_(own.view(g.shape))  # in the gradient's own memory layout

    def flush(self, check: bool = True) -> tuple[float, int, int]:
        """Mean loss, images and updates of all ranks since the last call; every rank then has rank 0's buffers.

        What follows an epoch, its evaluation and the next refresh, so comes out the same on every rank.
        """
        totals, images = zip(*self.ranks.all_gather((float(self._total), self._images)), strict=True)
        self._total, self._images = self._total.new_tensor(sum(totals)), sum(images)
        self.ranks.broadcast_tensors(self.model.buffers())
        return super().flush(check)
