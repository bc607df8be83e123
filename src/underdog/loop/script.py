"""The network of a user's training script, as a victim."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.weak import WeakIdKeyDictionary

from underdog.errors import InputError
from underdog.learner import evaluating, head_input, image_gradients
from underdog.loop.losses import LossLike, class_numbers, is_cross_entropy, losses_of, per_image
from underdog.loop.units import Units
from underdog.ranks import ALONE, Ranks
from underdog.validate import check_callable, check_kind

__all__ = ["Objective", "Script", "lasting", "logits_of"]

#: (images, labels) -> losses, for a loss that lies inside the model.
Objective = Callable[[Tensor, Tensor], Tensor]

#: Networks that were looked at for what can go wrong.
_KNOWN: MutableMapping[object, bool] = WeakIdKeyDictionary()

#: Images used for that.
FEW = 8


def lasting(model: nn.Module) -> object:
    """What stays of a model that is wrapped anew for every batch: its first parameter, where it has any."""
    return next(model.parameters(), model)


def logits_of(output: object, n: int) -> Tensor:
    """The (n, K) logits in what a network returns: a tensor, ``.logits``, ``["logits"]`` or the first of a tuple.

    Raises:
        InputError: none of these, or not n rows.

    >>> logits_of({"logits": torch.zeros(3, 2), "hidden": None}, 3).shape
    torch.Size([3, 2])
    """
    found: object = output
    if isinstance(found, Mapping):
        if "logits" not in found:
            raise InputError(
                f"the model returns a dictionary of {', '.join(map(repr, found))} without 'logits': give objective=, "
                "a function of images and labels that returns each image's loss"
            )
        found = found["logits"]
    elif hasattr(found, "logits"):
        found = found.logits
    elif isinstance(found, tuple | list) and found:
        found = found[0]
    if not isinstance(found, Tensor) or found.ndim == 0 or found.shape[0] != n:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise InputError(
            f"the model must return logits of shape ({n}, classes) for {n} images, not {got}; "
            "where it returns its loss instead, give objective=, a function of images and labels"
        )
    return found


def _eagerly() -> AbstractContextManager[object]:
    """Run compiled networks as they were written: evaluation mode would compile their graph anew."""
    compilers = "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance")
    return torch.compiler.set_stance("force_eager") if compilers else nullcontext()


@contextmanager
def _bare(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let DistributedDataParallel, wherever it is in a model, pass images through and no more.

    Of its own, it would send buffers to the other ranks, which may have no image to alter just now, and
    wait for gradients that never come.
    """
    together = distributed.is_available() and distributed.is_initialized()  # without a group there is none
    found = [m for m in modules if together and isinstance(m, DistributedDataParallel) and "forward" not in m.__dict__]
    for m in found:
        m.__dict__["forward"] = m.module.__call__
    try:
        yield
    finally:
        for m in found:
            del m.__dict__["forward"]


@contextmanager
def _explained() -> Iterator[None]:
    """Say what to do about errors of autograd that are about how the network is written."""
    try:
        yield
    except RuntimeError as error:
        if "use_reentrant" in str(error) or "Checkpointing is not compatible" in str(error):
            raise InputError(
                "the model uses reentrant gradient checkpointing, which cannot give the gradient of its images: "
                "checkpoint with use_reentrant=False"
            ) from error
        if "nference tensor" in str(error):
            raise InputError(_CUT) from error
        raise


_CUT = (
    "the model's loss does not depend on its images as far as autograd can see, so there is no direction to move them in: "
    "a part of it runs under torch.no_grad(), torch.inference_mode() or .detach(). To keep a backbone fixed, set "
    "requires_grad_(False) on its parameters instead"
)


def _undivided(model: nn.Module) -> None:
    """A network that several processes hold together answers when all of them ask, which they do not.

    Raises:
        InputError: FSDP or ``fully_shard`` has divided the model.
    """
    # By name, since where these classes are depends on the version of torch.
    sharded = {"FullyShardedDataParallel", "FSDPModule"}
    if any(sharded & {kind.__name__ for kind in type(m).__mro__} for m in model.modules()):
        raise InputError(
            f"the model must not be divided among processes (FSDP, fully_shard), as {type(model).__name__} is: every process "
            "alters other images, and one that has none would leave the others waiting. Use DistributedDataParallel"
        )


def _memory_format(model: nn.Module) -> torch.memory_format:
    """The format a network's convolutions are in: the gradient is to come from the kernels that train it."""
    for p in model.parameters():
        if p.ndim == 4 and not p.is_contiguous() and p.is_contiguous(memory_format=torch.channels_last):
            return torch.channels_last
    return torch.contiguous_format


@dataclass(frozen=True, eq=False)
class Script:
    """A victim made of a script's model and loss; images are pixels in [0, 1], of any device.

    Args:
        model: any network; compiled and DistributedDataParallel ones too.
        loss: the script's own loss of logits and labels; None is cross-entropy.
        inside: losses from what the network sees and labels, in the place of model and loss.
        units: what the network sees of pixels.
        targets: from class numbers to labels as the script has them.
        ranks: the processes that alter images together.
        rare: class numbers that may be altered, where these are not known to occur.

    Raises:
        InputError: a model that is no module, a loss or objective that is no function.
    """

    model: nn.Module
    loss: LossLike = None
    inside: Objective | None = None
    units: Units = field(default_factory=Units)
    targets: Callable[[Tensor], Tensor] = field(default=lambda y: y)
    ranks: Ranks = ALONE
    rare: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        check_kind("model", self.model, nn.Module, "a torch.nn.Module, as which a function can be written too")
        check_callable("loss", self.loss, "a function of logits and labels")
        check_callable("objective", self.inside, "a function of images and labels")

    @property
    def is_new(self) -> bool:
        """Whether ``first_look`` has still to find nothing wrong with this model."""
        return lasting(self.model) not in _KNOWN

    @contextmanager
    def _looking(self, device: torch.device) -> Iterator[None]:
        """Nothing that happens within leaves a trace on the model, the loss or the random state."""
        own = (self.loss,) if isinstance(self.loss, nn.Module) else ()
        with (
            _explained(),
            evaluating(self.model, device, *own) as modules,
            _bare(modules),
            _eagerly(),
            torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext(),
        ):
            yield

    def _losses(self, x: Tensor, y: Tensor) -> Tensor:
        """(B,) losses, with a graph, of what the network sees."""
        if self.inside is not None:
            inside = self.inside
            return losses_of(inside(x, y), len(x), lambda at: inside(x.detach()[at], y[at]))
        output = logits_of(self.model(x), len(x))
        if self.is_new and is_cross_entropy(self.loss):
            self._check_columns(output, y)
        return per_image(self.loss, output, y)

    def _check_columns(self, output: Tensor, y: Tensor) -> None:
        """The logits must have a column for every class."""
        named = {*class_numbers(y).tolist(), *self.rare} - {getattr(self.loss, "ignore_index", -100)}
        if output.ndim != 2 or not named <= set(range(output.shape[1])):
            raise InputError(
                f"the model must return logits of shape ({len(y)}, classes) with a column for each class from 0, but returns "
                f"{tuple(output.shape)} where labels or minority name the classes {sorted(named)}"
            )

    def _slopes(self, x: Tensor, of: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """What ``of`` returns first, without its graph, and the gradients by x of the m sums of what it returns second.

        Args:
            x: what the network sees, (B, C, ...).
            of: from what the network sees to anything, and (B, m).

        Returns:
            the former, and (B, m, C, ...) in float32 or wider, without a trace.
        """
        with self._looking(x.device), torch.enable_grad():
            # Tensors made under inference mode take no gradient; copies made here do.
            own = x.clone() if x.is_inference() else x.detach()
            leaf = own.to(torch.promote_types(x.dtype, torch.float32)).requires_grad_()
            # A copy, since the first layer may work in place; the sum, since a mean would underflow.
            first, values = of(leaf.to(x.dtype, copy=True))
            if not values.requires_grad:
                raise InputError(_CUT)
            try:
                found = image_gradients(leaf, values)
            except RuntimeError as error:
                if "not have been used in the graph" in str(error):
                    raise InputError(_CUT) from error
                raise
        return first.detach(), found

    def slope_of(self, x: Tensor, y: Tensor) -> Tensor:
        """The gradient of the summed training losses by what the network sees, (B, C, ...) in float32 or wider, without a trace.

        Errors as ``perturb_batch``.
        """

        def losses(v: Tensor) -> tuple[Tensor, Tensor]:
            values = self._losses(v, y.clone() if y.is_inference() else y)
            return values, values[:, None]

        return self._slopes(x, losses)[1][:, 0]

    def first_look(self, x: Tensor, y: Tensor) -> None:
        """At the first call for a network: all that can be wrong with it shows now, not within an epoch.

        Warns when two gradients of the same images differ.

        Raises:
            InputError: as ``perturb_batch``.
        """
        _undivided(self.model)
        order = class_numbers(y).argsort(stable=True)  # of as many classes as there are
        few = order[torch.linspace(0, len(y) - 1, min(FEW, len(y)), device=y.device).long()]
        x, y = x[few.to(x.device)], y[few]
        with self._looking(x.device):
            one = self.slope_of(x, y)
            torch.rand(1), torch.rand(1, device=x.device)  # what draws in evaluation mode draws other numbers now
            two = self.slope_of(x, y)
        if bool((one - two).abs().max() > 1e-3 * one.abs().max()):
            warnings.warn(
                "two gradients of the same images differ although the model is in evaluation mode: something in it draws "
                "random numbers all the same, such as functional dropout without training=self.training",
                UserWarning,
                stacklevel=3,
            )
        _KNOWN[lasting(self.model)] = True

    def look_at(self, pixels: Tensor, y: Tensor) -> None:
        """``first_look`` at images given as pixels."""
        seen = self._seen(pixels)
        self.first_look(seen, y.to(seen.device))

    # What resamplers and attacks ask of a victim, in pixels.

    def _seen(self, pixels: Tensor) -> Tensor:
        """What the network sees of pixels, on its device, in its type and memory format."""
        x = self.units.to_input(pixels)
        if (p := next(self.model.parameters(), None)) is not None:
            half = p.dtype in (torch.float16, torch.bfloat16)
            x = x.to(p.device, p.dtype if half else x.dtype)
        return x.contiguous(memory_format=_memory_format(self.model)) if x.ndim == 4 else x

    def objective(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(B,) training losses; where the loss lies inside the model, ``logits`` are the images, see ``gradients``."""
        y = self.targets(labels.to(logits.device))
        if self.inside is not None:
            return self._losses(logits, y)
        return per_image(self.loss, logits, y)

    def logits(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, K) float32, in evaluation mode, without a graph or a trace."""
        if self.inside is not None:
            raise InputError("an attack that looks at logits cannot be used with objective=, which has none")
        seen = self._seen(x)
        with self._looking(seen.device), torch.no_grad():
            return logits_of(self.model(seen.clone()), len(x)).float().to(x.device)

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, D) float32: what the last layer with parameters is given, without a trace."""
        seen = self._seen(x)
        with self._looking(seen.device), torch.no_grad():
            return head_input(self.model, lambda: self.model(seen.clone())).float().to(x.device)

    def gradients(self, x: Tensor, of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (B, K), and (B, m, C, H, W) gradients by pixels of ``of``: (B, K) -> (B, m), without a trace.

        A loss inside the model has no logits to give to ``of``, which then gets the images, and passes them on to
        ``objective``.

        Raises:
            InputError: an attack that looks at logits where there are none.
        """

        def seen_by(v: Tensor) -> tuple[Tensor, Tensor]:
            logits = v if self.inside is not None else self._logits(v)
            values = of(logits)
            if self.inside is not None and (values.ndim != 2 or values.shape[1] != 1):
                raise InputError("an attack that looks at logits cannot be used with objective=, which has none")
            return logits, values

        logits, slopes = self._slopes(self._seen(x), seen_by)
        slopes = slopes.to(x.device, x.dtype)
        return logits.to(x.device), slopes if self.units.plain else slopes / self.units.step(x, 1.0)

    def _logits(self, v: Tensor) -> Tensor:
        return logits_of(self.model(v), len(v))
