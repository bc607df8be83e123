"""Random numbers that depend on a seed and a name, and on nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from numbers import Integral

import numpy as np

from underdog.validate import check_kind

__all__ = ["RandomStreams"]


@dataclass(frozen=True)
class RandomStreams:
    """Independent random generators, each addressed by a name and a path under one seed.

    A stream is a fresh numpy ``Philox`` generator keyed by the 128-bit BLAKE2b hash of the
    canonical JSON of ``[seed, name, *path]``. Asking twice gives the same numbers twice; no
    stream depends on which others were used, so that two methods which share a seed share
    every draw that they have in common, and epoch 7 draws the same whether or not the run
    was interrupted after epoch 6.

    Args:
        seed: any integer.
        within: where in a method these streams are drawn from, such as its second stage; it is hashed too, but for zeros
            at its end, so that what comes first draws as it would alone.

    Raises:
        InputError: the seed is none.

    >>> rng = RandomStreams(0)
    >>> bool((rng("shuffle", 7).permutation(9) == rng("shuffle", 7).permutation(9)).all())
    True
    """

    seed: int
    within: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_kind("seed", self.seed, Integral, "an integer")
        where = list(self.within)
        while where and not where[-1]:
            where.pop()
        object.__setattr__(self, "within", tuple(where))

    def __call__(self, name: str, *path: int | str) -> np.random.Generator:
        """The generator of ``name`` and ``path``, at its beginning."""
        where = [["within", *self.within]] if self.within else []
        text = json.dumps([int(self.seed), name, *path, *where], ensure_ascii=True, separators=(",", ":"))
        key = int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "big")
        return np.random.Generator(np.random.Philox(key=key))

    def torch_seed(self, name: str, *path: int | str) -> int:
        """A 32-bit seed for ``torch.manual_seed`` (torch's CPU generator uses no more bits).

        >>> RandomStreams(0).torch_seed("init") < 2**32
        True
        """
        return int(self(name, *path).integers(2**32))
