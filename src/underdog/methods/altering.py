"""Methods that alter rare images: AOS, and its control."""

from __future__ import annotations

from typing import Annotated, Literal

from underdog.attack.base import Attack
from underdog.attack.fgsm import FGSM
from underdog.attack.pgd import PGD
from underdog.attack.random_sign import RandomSign
from underdog.errors import InputError
from underdog.methods.method import Method
from underdog.methods.parameters import Axis, Parameter
from underdog.resample.amount import ByLoss
from underdog.resample.base import Chain, Every, Resampler
from underdog.resample.perturb import Perturb
from underdog.resample.random import RandomOverSampler

__all__ = ["aos", "noise"]

#: From the smallest change of a byte to a quarter of its range, where pictures hardly stay recognisable; equal factors are
#: equal steps, since each of published attacks' sizes (1, 2, 4, 8, 16 / 255) doubles the one before.
EPS = Parameter(
    "length of an alteration in pixel units of [0, 1], such as 8/255",
    Axis(tuple(n / 255 for n in range(1, 65)), first=16 / 255, log=True),
    unit=255,
)
STEPS = 10
TAU = Parameter("probability that a rare image is altered", Axis((0.2, 0.4, 0.6, 0.8, 1.0), first=0.6))
SELECT = Parameter("rare images all alike, or the likelier the larger their training loss")
BALANCE = Parameter(
    "ros: the classes are balanced by random oversampling; none: they are left as they are (default: ros, or none where "
    "another part of the sum balances them, a sampler or a loss)"
)


def aos(
    eps: Annotated[float, EPS],
    tau: Annotated[float, TAU] = 0.5,
    attack: Annotated[
        Literal["fgsm", "pgd"], Parameter("fgsm: one step along the gradient's sign; pgd: several")
    ] = "fgsm",
    steps: Annotated[int, Parameter("gradients that pgd follows")] = STEPS,
    select: Annotated[Literal["random", "loss"], SELECT] = "random",
    balance: Annotated[Literal["ros", "none"] | None, BALANCE] = None,
) -> Method:
    """Adversarial OverSampling: balance by random oversampling; then, before every second epoch, each rare image is replaced
    with probability tau by x' = clip(x + eps * sign(grad_x J(NN, x, y)), 0, 1), J being the training loss and NN the network
    as it is now.

    Added to a loss that corrects for class counts, such as balanced-softmax, it alters the rare images of the natural
    distribution against that loss.

    *Source*: Algorithm 1 of the paper; PGD: Madry et al. 2018; selection: the paper's outlook.
    *Deviation*: see ``Perturb`` and docs/design.md, section 4.

    >>> import underdog as ud
    >>> aos(8 / 255) == Method(ud.aos(8 / 255, tau=0.5))
    True
    """
    if steps != STEPS and attack != "pgd":
        raise InputError(f"steps belong to attack=pgd, not to attack={attack}")
    chosen: Attack = FGSM() if attack == "fgsm" else PGD(steps=steps)
    return _altering(Perturb(chosen, eps, tau, ByLoss() if select == "loss" else None), balance)


def noise(
    eps: Annotated[float, EPS],
    tau: Annotated[float, TAU] = 0.5,
    balance: Annotated[Literal["ros", "none"] | None, BALANCE] = None,
) -> Method:
    """AOS with a random sign in the place of the gradient's: x' = clip(x + eps * s, 0, 1). The control: what AOS gains over it
    is due to the direction, and not to noise as such.

    *Source*: underdog's own; the paper has none.

    >>> noise(8 / 255).stages[0].resampler.resamplers[1].resampler.attack
    RandomSign(clip=True)
    """
    return _altering(Perturb(RandomSign(), eps, tau), balance)


def _altering(perturb: Perturb, balance: str | None) -> Method:
    altered: Resampler = Every(2, perturb)
    return Method(altered if balance == "none" else Chain(RandomOverSampler(), altered))
