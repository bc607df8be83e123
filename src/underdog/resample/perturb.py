"""Show altered versions of minority images."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from underdog.attack.base import Attack, SignAttack, Victim
from underdog.data.images import sent
from underdog.data.pixels import Pixels, at_a_time
from underdog.epoch import Altered, AlteredPixels, AlteredSigns, Epoch, pack_signs
from underdog.errors import InputError
from underdog.ranks import ALONE, Ranks
from underdog.rng import RandomStreams
from underdog.validate import check_tau

__all__ = ["Perturb"]

#: Images per gradient. One fixed size, the last chunk padded, so that the same image always meets
#: the same kernels: other batch sizes round differently, which turns a few signs around.
CHUNK = 64
#: Values of a chunk on a GPU, where figures are not promised to the last bit and small chunks would leave it idle; as
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
class Perturb:
    """Let each minority example, with probability tau, show its image as altered by an attack.

    Whatever was altered before is forgotten first. The attack sees the original images and the
    network as it is now.

    Args:
        attack: such as ``FGSM(8/255)``; one that is a ``SignAttack`` is stored in two bits a value.
        tau: probability in [0, 1] that an example is altered.
        copies_only: alter only examples beyond the first of each image (the copies that oversampling made).
        per_copy: attack every chosen example by itself, as the algorithm is printed, instead of every
            distinct image once. The gradient being taken in evaluation mode, the two agree bit for bit
            for FGSM; ``RandomSign`` and ``PGD``'s random start draw anew for every copy.
        clip: cut altered images to [0, 1]; False shows the formula as printed (sign attacks only).
        minority: class numbers to alter; by default the epoch's own.

    Raises:
        InputError: tau outside [0, 1]; no minority class to alter; clip=False with an attack that is no single step.

    *Source*: Algorithm 1 (lines 4-14) of the paper.
    *Deviation*: clipping, and BatchNorm in evaluation mode while the gradient is taken, both unsaid there.

    >>> from underdog import FGSM
    >>> Perturb(FGSM(8 / 255), tau=0.5).per_copy
    False
    """

    attack: Attack
    tau: float
    copies_only: bool = False
    per_copy: bool = False
    clip: bool = True
    minority: Collection[int] | None = None

    def __post_init__(self) -> None:
        check_tau(self.tau)
        if not self.clip and not isinstance(self.attack, SignAttack):
            raise InputError("clip=False needs an attack that is a single signed step, such as FGSM")

    def start(self, epoch: Epoch, rng: RandomStreams) -> Epoch:
        if self.minority is not None and not set(self.minority) <= set(range(len(epoch.classes))):
            raise InputError(f"minority must be class numbers in [0, {len(epoch.classes)}), not {list(self.minority)}")
        if not (epoch.minority if self.minority is None else self.minority):
            raise InputError(
                f"no class has at most half of the largest one's images (counts {', '.join(map(str, epoch.counts))}), so "
                "there is no minority to alter: name it with minority= (--minority on the command line)"
            )
        return epoch

    def refresh(self, epoch: Epoch, t: int, victim: Victim, rng: RandomStreams) -> Epoch:
        epoch = epoch.without_altered()
        positions = self._choose(epoch, rng("perturb", t))
        if not len(positions):
            return epoch
        shown = epoch.index[positions]
        origin, number = (shown, np.arange(len(shown))) if self.per_copy else np.unique(shown, return_inverse=True)
        return epoch.with_altered(self._alter(epoch, origin, victim, rng("attack", t)), origin, positions, number)

    def _choose(self, epoch: Epoch, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """The positions to alter: one draw for each minority example, in the epoch's order."""
        rare = list(epoch.minority if self.minority is None else self.minority)
        may = np.isin(epoch.labels[epoch.index], rare)
        if self.copies_only:
            may[np.unique(epoch.index, return_index=True)[1]] = False
        positions = np.flatnonzero(may)
        return positions[rng.random(len(positions)) < self.tau]

    def _alter(self, epoch: Epoch, origin: npt.NDArray[np.int64], victim: Victim, rng: np.random.Generator) -> Altered:
        """Attack the rows ``origin`` (A,), a padded chunk at a time; several ranks share the chunks."""
        size = chunk_size(epoch.images, len(origin))
        padded = np.concatenate([origin, np.repeat(origin[-1:], -len(origin) % size)])
        chunks = np.split(padded, len(padded) // size)

        def attacked(number: int) -> tuple[Tensor, ...]:
            return self._attacked(epoch, chunks[number], victim, rng)

        ranks: Ranks = getattr(victim, "ranks", ALONE)  # victims of one's own are alone
        begin = rng.bit_generator.state
        kept = ranks.share(len(chunks), attacked)
        drawn = str(rng.bit_generator.state) != str(begin)
        if not ranks.alone and any(ranks.gathered(drawn)):
            # The attack draws, in the order of all chunks: every rank has to walk through them by itself.
            rng.bit_generator.state = begin
            kept = ALONE.share(len(chunks), attacked)
        rows = [part.flatten(0, 1)[: len(origin)] for part in kept]
        if isinstance(self.attack, SignAttack):
            return AlteredSigns(rows[0], self.attack.eps, self.clip)
        return AlteredPixels(*rows)

    def _attacked(
        self, epoch: Epoch, rows: npt.NDArray[np.int64], victim: Victim, rng: np.random.Generator
    ) -> tuple[Tensor, ...]:
        """The packed signs of a chunk, or its pixels and which of them moved."""
        x = epoch.unit(rows)
        y = sent(epoch.labels[rows], x.device)
        if isinstance(self.attack, SignAttack):
            return (pack_signs(self.attack.signs(victim, x, y, rng).flatten(1)),)
        done = self.attack(victim, x, y, rng)
        return done, (done != x).flatten(1).any(1)
