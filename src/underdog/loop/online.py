"""Alter minority images batch by batch, in a loop of one's own."""

from __future__ import annotations

from collections.abc import Collection, MutableMapping
from types import NoneType

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.utils.weak import WeakIdKeyDictionary

from underdog.attack.base import Attack
from underdog.errors import InputError
from underdog.loop.losses import LossLike, class_numbers
from underdog.loop.script import Objective, Script, lasting
from underdog.loop.units import Channels, Units
from underdog.validate import check_classes, check_eps, check_kind, check_tau

__all__ = ["Tally", "perturb_batch"]

#: The generators of networks whose script gives none.
_OWN: MutableMapping[object, torch.Generator] = WeakIdKeyDictionary()


class Tally:
    """Counts what ``perturb_batch`` did, without waiting for the device until asked.

    Attributes:
        images: images seen.
        altered: images that were attacked.

    >>> tally = Tally()
    >>> tally.images, tally.altered, tally.zero_gradients
    (0, 0, 0)
    """

    def __init__(self) -> None:
        self.images, self.altered, self._zero = 0, 0, torch.zeros((), dtype=torch.int64)

    @property
    def zero_gradients(self) -> int:
        """How many of the attacked images had a gradient that is zero everywhere, and so stayed as they were."""
        return int(self._zero)

    def add(self, images: int, signs: Tensor | None = None) -> None:
        """Count a batch of ``images``, of which those with ``signs`` (m, C, ...) were attacked."""
        self.images += images
        if signs is not None:
            self.altered += len(signs)
            self._zero = self._zero.to(signs.device) + (~signs.flatten(1).any(1)).sum()


def _generator(model: nn.Module) -> torch.Generator:
    """The generator of a network, seeded as the script was; the script's own state neither moves nor matters."""
    if (own := lasting(model)) not in _OWN:
        # Ranks are mostly seeded alike, which would make the same positions of their batches altered ones.
        rank = distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
        _OWN[own] = torch.Generator().manual_seed((torch.initial_seed() + rank) % 2**63)
    return _OWN[own]


def perturb_batch(
    x: Tensor,
    y: Tensor,
    model: nn.Module,
    *,
    eps: float,
    tau: float = 0.5,
    minority: Collection[int],
    attack: Attack | None = None,
    loss: LossLike = None,
    objective: Objective | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
    low: float = 0.0,
    high: float = 1.0,
    generator: torch.Generator | None = None,
    tally: Tally | None = None,
) -> Tensor:
    """Return the batch with each minority image, with probability tau, moved against the network as it is now.

    x' = clip(x + eps * sign(grad_x J(NN, x, y)), low, high) in pixels, whatever the network sees of them. The gradient
    is taken in evaluation mode and leaves no trace on the model, the optimiser or the random state.

    Args:
        x: (B, C, H, W) floating point, as the network gets them; it stays as it is.
        y: (B,) class numbers, or (B, K) one-hot or soft labels, whose largest entry is their class.
        model: the network in training; compiled, parallel, autocast or half precision as the script has it. It may
            return logits (B, K), a tuple that begins with them, or a dictionary or object with ``logits``.
        eps: length of the move as a share of the pixel range, in [0, 1]; 8/255 moves a byte by 8.
        tau: probability in [0, 1].
        minority: class numbers that may be altered, such as ``BalancedSampler.minority``.
        attack: such as ``PGD(steps=5)``; one gradient step where None.
        loss: the script's own, J(logits, labels); cross-entropy where None. Its mean is undone.
        objective: J(x, y) -> (B,) in the place of ``loss``, for a loss that lies inside the model.
        mean, std: per channel, where x is normalised as (pixels - mean) / std.
        low, high: what the darkest and the brightest pixel are before normalisation, such as 0 and 255.
        generator: draws which images are altered, B numbers a batch; keep its state to resume. By default each model has
            one of its own, however it is wrapped, seeded with ``torch.initial_seed()`` plus the rank of this process.
        tally: counts the altered images, and those whose gradient was zero.

    Returns:
        (B, C, H, W) in the type, memory format and on the device of x; x itself where nothing is altered.

    Raises:
        InputError: values outside [low, high], labels or logits of a wrong shape, a loss reduced in a way that cannot be
            undone, a network that autograd cannot look through or that FSDP divides. The first call for a model checks all of
            it, also when the batch has no minority image.

    *Source*: Algorithm 1 (lines 5-14) of the paper, for one batch.
    *Deviation*: the images are altered in every epoch, by the network of the moment, and not kept for the next.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> x, y = torch.rand(8, 1, 2, 2), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    >>> altered = perturb_batch(x, y, net, eps=8 / 255, tau=1, minority=[1])
    >>> (altered != x).flatten(1).any(1).tolist()
    [False, False, False, False, False, False, True, True]
    """
    check_eps(eps)
    check_tau(tau)
    check_kind("x", x, Tensor, "a tensor")
    check_kind("y", y, Tensor, "a tensor")
    check_kind("generator", generator, torch.Generator | NoneType, "a torch.Generator")
    check_kind("tally", tally, Tally | NoneType, "a Tally")
    rare = check_classes("minority", minority)
    if not rare:
        raise InputError("minority must name at least one class number, such as minority=sampler.minority; it is empty")
    classes, script = class_numbers(y), Script(model, loss, objective, Units.of(mean, std, low, high), rare=rare)
    if len(classes) != len(x):
        raise InputError(f"x and y must be of one length, not {len(x)} and {len(classes)}")
    if script.is_new and len(x):
        script.units.check(x)
        script.first_look(x, y)
    generator = _generator(model) if generator is None else generator
    draws = torch.rand(len(x), generator=generator, device=generator.device).tolist()
    # In Python, on the host: the size of what is to be altered must be known here anyway.
    picked = [n for n, (k, u) in enumerate(zip(classes.tolist(), draws, strict=True)) if k in rare and u < tau]
    if not picked or not eps:
        if tally:
            tally.add(len(x))
        return x
    everything, chosen = len(picked) == len(x), torch.tensor(picked, device=x.device)
    some, labels = (x.detach(), y) if everything else (x.detach()[chosen], y[chosen.to(y.device)])
    if attack is None:
        signs = script.slope_of(some, labels).sign()
        moved = script.units.move(some, signs.to(x.dtype), eps)
    else:
        moved = _attacked(attack, script, some, labels, eps, generator)
        signs = (moved - some).sign()
    if tally:
        tally.add(len(x), signs)
    return moved if everything else x.detach().clone().index_copy_(0, chosen, moved)


def _attacked(
    attack: Attack, script: Script, x: Tensor, labels: Tensor, eps: float, generator: torch.Generator
) -> Tensor:
    """Images (B, C, H, W), as the network gets them, as an attack alters them."""
    seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
    pixels = script.units.to_pixels(x).clamp(0, 1)
    lengths = torch.full((len(x),), eps, dtype=torch.float64, device=x.device)
    altered = attack(script, pixels, labels, lengths, np.random.default_rng(seed))
    return script.units.to_input(altered.show(pixels, torch.arange(len(x), device=x.device))).to(x.dtype)
