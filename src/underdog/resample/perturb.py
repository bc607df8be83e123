"""Show altered versions of minority images."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from underdog.altered import Altered
from underdog.attack.base import Attack
from underdog.data.images import to_device
from underdog.data.pixels import Pixels, at_a_time
from underdog.epoch import Epoch, Indices
from underdog.errors import InputError
from underdog.ranks import ALONE, Ranks
from underdog.resample.amount import Amount, Select, amounts, chances, weights
from underdog.resample.base import Counts, Moment, NoResampling
from underdog.validate import check_eps, check_tau

__all__ = ["Perturb"]

#: Images per gradient. One fixed size, the last chunk padded, so that the same image always meets
#: the same kernels: other batch sizes round differently, which turns a few signs around.
CHUNK = 64
#: Values of a chunk on a GPU, where results are not promised to the last bit and small chunks would leave it idle; as
#: many as 682 images of 32x32 pixels of three colours have.
GPU_VALUES = 2**21


def chunk_size(images: Pixels, altered: int) -> int:
    """Images per gradient where so many are altered: a multiple of ``CHUNK``, the same whatever the number of ranks.

    On a GPU all chunks are as large as fit, and alike, so that few images pad the last one.

    >>> import torch
    >>> chunk_size(torch.empty(0, 3, 32, 32), altered=800)
    64
    """
    if images.device.type != "cuda":
        return CHUNK
    whole = -(-altered // CHUNK)
    chunks = -(-whole // max(1, at_a_time(images, whole * CHUNK, GPU_VALUES) // CHUNK))
    return -(-whole // chunks) * CHUNK


@dataclass(frozen=True)
class Perturb(NoResampling):
    """Let each minority example, with probability tau, show its image as altered by an attack.

    Whatever this resampler altered before is forgotten first; what another one altered stays. The attack sees the original
    images and the network as it is now.

    Args:
        attack: such as ``FGSM()``, whose signs are kept in two bits a value.
        eps: how far images are moved, in pixel units of [0, 1]; a number, or one for each row, see ``Amount``.
        tau: probability in [0, 1] that an example is altered, likewise.
        select: how much each example is wanted, see ``Select``; all alike where None.
        copies_only: alter only examples beyond the first of each image (the copies that oversampling made).
        per_copy: attack every chosen example by itself, as the algorithm is printed, instead of every
            distinct image once. The gradient being taken in evaluation mode, the two agree bit for bit
            for FGSM; ``RandomSign``, ``PGD``'s random start and a random eps draw anew for every copy.
        minority: class numbers to alter; by default the epoch's own.

    Raises:
        InputError: eps or tau outside [0, 1]; no minority class to alter.

    *Source*: Algorithm 1 (lines 4-14) of the paper.
    *Deviation*: clipping, and BatchNorm in evaluation mode while the gradient is taken, both unsaid there.

    >>> from underdog import FGSM
    >>> Perturb(FGSM(), eps=8 / 255, tau=0.5).per_copy
    False
    """

    attack: Attack
    eps: Amount
    tau: Amount
    select: Select | None = None
    copies_only: bool = False
    per_copy: bool = False
    minority: Collection[int] | None = None

    def __post_init__(self) -> None:
        for amount, check in ((self.eps, check_eps), (self.tau, check_tau)):
            if not callable(amount):
                check(amount)

    def expected(self, shown: Counts, epoch: Epoch) -> Counts:
        if self.minority is not None and not set(self.minority) <= set(range(len(epoch.classes))):
            raise InputError(f"minority must be class numbers in [0, {len(epoch.classes)}), not {list(self.minority)}")
        if not (epoch.minority if self.minority is None else self.minority):
            raise InputError(
                f"no class has at most half of the largest one's images (counts {', '.join(map(str, epoch.counts))}), so "
                "there is no minority to alter: name it with minority= (--minority on the command line)"
            )
        return shown

    def start(self, epoch: Epoch, now: Moment) -> Epoch:
        self.expected(epoch.shown, epoch)
        return epoch

    def refresh(self, epoch: Epoch, now: Moment) -> Epoch:
        epoch = epoch.without(now.place)
        positions = self._choose(epoch, now)
        if not len(positions):
            return epoch
        shown = epoch.origin[epoch.index[positions]]
        origin, number = (shown, np.arange(len(shown))) if self.per_copy else np.unique(shown, return_inverse=True)
        return epoch.with_altered(self._alter(epoch, origin, now), origin, positions, number, now.maker)

    def _choose(self, epoch: Epoch, now: Moment) -> Indices:
        """The positions to alter: one draw for each minority example, in the epoch's order."""
        rare = list(epoch.minority if self.minority is None else self.minority)
        may = np.isin(epoch.labels[epoch.index], rare)
        if self.copies_only:
            may[np.unique(epoch.origin[epoch.index], return_index=True)[1]] = False
        positions = np.flatnonzero(may)
        rows = epoch.origin[epoch.index[positions]]
        chance = amounts("tau", self.tau, epoch, rows, now)
        if self.select is not None and len(rows):
            chance = chances(chance, weights(self.select, epoch, rows, now))
        return positions[now.rng("perturb", now.t).random(len(positions)) < chance]

    def _alter(self, epoch: Epoch, origin: Indices, now: Moment) -> Altered:
        """Attack the rows ``origin`` (A,), a padded chunk at a time; several ranks share the chunks."""
        size, rng = chunk_size(epoch.images, len(origin)), now.rng("attack", now.t)
        eps = amounts("eps", self.eps, epoch, origin, now)
        padding = np.arange(-(-len(origin) // size) * size).clip(max=len(origin) - 1)
        chunks = padding.reshape(-1, size)
        like: list[Altered] = []

        def attacked(number: int) -> tuple[Tensor, ...]:
            rows = origin[chunks[number]]
            x = epoch.unit(rows)
            y, lengths = to_device(epoch.labels[rows], x.device), to_device(eps[chunks[number]], x.device)
            done = self.attack(now.victim, x, y, lengths, rng)
            like[:] = [done]
            return tuple(done.rows().values())

        ranks: Ranks = getattr(now.victim, "ranks", ALONE)  # victims of one's own are alone
        begin = rng.bit_generator.state
        kept = ranks.share(len(chunks), attacked)
        drawn = str(rng.bit_generator.state) != str(begin)
        if not ranks.alone and any(ranks.all_gather(drawn)):
            # The attack draws, in the order of all chunks: every rank has to walk through them by itself.
            rng.bit_generator.state = begin
            kept = ALONE.share(len(chunks), attacked)
        if not ranks.alone:
            # Rank 0 has a chunk whenever there is one; others may have none to know the kind of rows from.
            like = ranks.broadcast([one.with_rows({k: v[:0].cpu() for k, v in one.rows().items()}) for one in like])
        rows = (part.flatten(0, 1)[: len(origin)] for part in kept)
        return like[0].with_rows(dict(zip(like[0].rows(), rows, strict=True)))
