"""A network in training, and the little of it that attacks may see."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from underdog.augment import Augment
from underdog.epoch import Epoch, Partner
from underdog.errors import InputError, TrainingError
from underdog.loss import CrossEntropy, Loss
from underdog.model.layers import head
from underdog.optimizer import OptimizerRule, Position, SchedulerRule, adam
from underdog.ranks import ALONE, Ranks

__all__ = ["Learner", "evaluating", "head_input", "image_gradients", "not_captured", "preserving", "seeded"]

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Let torch draw from ``seed`` on the CPU and on ``device``, and put their random states back afterwards."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        for each in cuda:
            with torch.cuda.device(each):
                torch.cuda.manual_seed(seed)
        yield


def not_captured(reason: str) -> str:
    """The remark of a training on a GPU whose updates are not replayed as a CUDA graph."""
    return f"updates were not captured as a CUDA graph, which only costs time: {reason}"


def _set_training(module: nn.Module, value: bool) -> None:
    own = vars(module)
    if "training" in own:
        own["training"] = value  # past ``nn.Module.__setattr__``, which takes ten times as long
    else:
        module.training = value  # kept elsewhere, such as a scripted module's


@contextmanager
def evaluating(model: nn.Module, device: torch.device, *more: nn.Module) -> Iterator[list[nn.Module]]:
    """Put models in evaluation mode and afterwards everything back that ``preserving`` does; yields their modules.

    *Deviation*: from ``model.eval()``; the flags alone are set, since what a method of somebody's own does beside it,
    such as merging weights, would be a trace.
    """
    with preserving(model, device, *more) as modules:
        for m in modules:
            if m.training:
                _set_training(m, False)
        yield modules


@contextmanager
def preserving(model: nn.Module, device: torch.device, *more: nn.Module) -> Iterator[list[nn.Module]]:
    """Put back what using models changes of them beside their weights, also when something raises; yields their modules.

    Restored bit for bit: every module's train/eval flag, every buffer (the very tensor and its
    values), every parameter's ``requires_grad`` and ``grad``, and the random state of torch, numpy and Python.
    """
    modules = [m for each in (model, *more) for m in each.modules()]
    training = [m for m in modules if m.training]
    buffers = [(m._buffers, k, b, None if b is None else b.clone()) for m in modules for k, b in m._buffers.items()]
    parameters = [(p, p.requires_grad, p.grad) for m in modules for p in m._parameters.values() if p is not None]
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield modules
        finally:
            for m in modules:
                if m.training:
                    _set_training(m, False)
            for m in training:
                _set_training(m, True)
            with torch.no_grad():
                for own, name, buffer, values in buffers:
                    own[name] = buffer
                    if buffer is not None and values is not None:
                        buffer.copy_(values)
            for p, requires_grad, grad in parameters:
                if p.requires_grad is not requires_grad:
                    p.requires_grad_(requires_grad)
                if p.grad is not grad:
                    p.grad = grad
            random.setstate(states[0])
            np.random.set_state(states[1])


def _copy(x: Tensor) -> Tensor:
    """Images as networks take them, which may work in place in their first layer."""
    return x.clone(memory_format=torch.channels_last)


def image_gradients(images: Tensor, values: Tensor) -> Tensor:
    """(B, m, C, H, W): the gradient of each of m values (B, m) of the images (B, C, H, W) that they were computed from.

    Only the images' gradients are asked for, which skips those of the weights.

    Raises:
        InputError: values that do not depend on the images.
    """
    m = values.shape[1]
    parts = [torch.autograd.grad(values[:, j].sum(), images, retain_graph=j + 1 < m)[0] for j in range(m)]
    return parts[0].unsqueeze(1) if m == 1 else torch.stack(parts, 1)


def head_input(model: nn.Module, forward: Callable[[], object]) -> Tensor:
    """(B, D): what a network's classifier head is given while ``forward`` runs the network.

    Raises:
        InputError: the head, which is the last module with parameters, is not run, or is not given rows of numbers.
    """
    name, seen = head(model), list[Any]()
    hook = dict(model.named_modules())[name].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        forward()
    finally:
        hook.remove()
    if not seen or not isinstance(seen[-1], Tensor) or seen[-1].ndim < 2:
        raise InputError(
            f"the network's last layer with parameters, {name!r}, is no classifier head that is given features"
        )
    return seen[-1].detach().flatten(1)


class Learner:
    """A model with its optimiser, loss, device and precision.

    Modules keep the train/eval flags they come with, so that a frozen BatchNorm stays frozen; only a
    model that is in evaluation mode as a whole is put into training mode.

    Args:
        model: any ``nn.Module`` from (B, C, H, W) in [0, 1] to logits (B, K); moved to ``device``.
        classes: K.
        lr: learning rate.
        optimizer: rule that makes the optimiser; Adam without decay by default.
        device: where to train.
        precision: "float32", or "bfloat16" for autocast with float32 weights.
        lr_backbone: learning rate of everything but the classifier head, see ``head``; ``lr`` where None.

    Raises:
        InputError: an unknown precision, or no parameter to train.

    >>> learner = Learner(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), classes=2, lr=0.1)
    >>> learner.step(torch.rand(8, 1, 2, 2), torch.zeros(8, dtype=torch.int64))
    >>> learner.logits(torch.rand(3, 1, 2, 2)).shape
    torch.Size([3, 2])
    """

    #: Who trains together; a ``DistributedLearner`` is one of several.
    ranks: Ranks = ALONE
    #: Remarks for the result.
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        model: nn.Module,
        classes: int,
        lr: float = 1e-3,
        optimizer: OptimizerRule = adam,
        device: torch.device | str = "cpu",
        precision: str = "float32",
        lr_backbone: float | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        self.device, self.precision, self.classes = torch.device(device), precision, classes
        self.model = model.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if not any(m.training for m in model.modules()):
            model.train()
        self._made = optimizer, lr, lr_backbone
        self.optimizer = self._optimizer()
        self.loss: Loss = CrossEntropy()
        self._total, self._images, self._steps = torch.zeros((), device=self.device), 0, 0
        self._course: Callable[[int], float] | None = None

    def _optimizer(self, frozen: bool = False) -> torch.optim.Optimizer:
        """The optimiser of what is trained, which is the head alone where the rest may be ``frozen``."""
        rule, lr, lr_backbone = self._made
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        if not trainable:
            raise InputError("the model has no parameter that requires a gradient, so there is nothing to train")
        return rule(trainable if lr_backbone is None else self._groups(lr_backbone, frozen), lr)

    def renew(self) -> None:
        """Begin with a new optimiser, for what is to be trained now."""
        self.optimizer = self._optimizer(frozen=True)

    def _groups(self, lr_backbone: float, frozen: bool) -> list[dict[str, Any]]:
        """The backbone's trained parameters with their own learning rate, and the classifier head's."""
        trainable = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        last = head(self.model)
        own = [p for name, p in trainable.items() if name.rpartition(".")[0] == last]
        backbone = [p for name, p in trainable.items() if name.rpartition(".")[0] != last]
        if frozen and own and not backbone:
            return [{"params": own}]
        if not own or not backbone:
            raise InputError(
                f"lr_backbone needs parameters to train both in the classifier head ({last}) and before it"
            )
        return [{"params": backbone, "lr": lr_backbone}, {"params": own}]

    def begin(self, rule: SchedulerRule | None, epoch: int, epochs: int, updates: int) -> None:
        """Say which epoch begins, and how many updates it has: the learning rate follows from these and the rule alone."""
        self._course = None if rule is None else lambda update: rule(Position(epoch, epochs, update, updates))
        self._steps = 0
        self._set_rates()

    def _set_rates(self) -> None:
        """The learning rate of the next update."""
        if self._course is None:
            return
        factor = self._course(self._steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, PRECISIONS[self.precision], enabled=self.precision != "float32")

    def _forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K) float32, in the mode and under the gradient rules of the caller."""
        with self._autocast():
            logits = self.model(x.contiguous(memory_format=torch.channels_last))
        if not isinstance(logits, Tensor) or logits.shape != (len(x), self.classes):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(f"the model must return logits of shape ({len(x)}, {self.classes}), not {got}")
        return logits.float()

    def train(self, epoch: Epoch, order: Sequence[Tensor], augment: Augment, drawn: Sequence[Tensor]) -> Iterator[None]:
        """Update by one batch after the other; yields after each of them.

        Args:
            epoch: what is shown.
            order: the numbers of each batch, see ``Epoch.order``.
            augment: random changes of the images.
            drawn: the random numbers of each batch, (B, D) on the device, see ``Augment.draw``.
        """
        for batch, u in zip(epoch.read(order), drawn, strict=True):
            x, partner = augment(batch.x, u), batch.partner
            if (
                partner is not None
            ):  # changed by the numbers of the batch's other end, since there is one row for each example
                partner = partner._replace(x=augment(partner.x, u.flip(0)))
                x = partner.mixed(x)
            self.step(x, batch.y, partner)
            yield

    def step(self, x: Tensor, y: Tensor, partner: Partner | None = None) -> None:
        """One update by the mean loss of (B, C, H, W) images in [0, 1] and (B,) labels, and of what they are mixed with."""
        self._update(x, y, partner)
        self._updated(len(y))

    def _update(self, x: Tensor, y: Tensor, partner: Partner | None = None) -> None:
        """The part of an update that the device does."""
        self.optimizer.zero_grad(set_to_none=True)
        # Summed on the device: asking for the value here would wait for it in every step.
        self._total += self._backward(x, y, partner)
        self.optimizer.step()

    def _losses(self, x: Tensor, y: Tensor, partner: Partner | None) -> Tensor:
        """(B,) training losses, with a graph."""
        logits = self._forward(x)
        losses = self.loss(logits, y)
        if losses.shape != y.shape:
            raise InputError(
                f"a loss must return one value for each of {len(y)} images, unreduced, not a tensor of shape "
                f"{tuple(losses.shape)}"
            )
        if partner is None:
            return losses
        return partner.labels * losses + (1 - partner.labels) * self.loss(logits, partner.y)

    def _updated(self, images: int) -> None:
        """The part of an update that is left for the processor."""
        self._images += images
        self._steps += 1
        self._set_rates()

    def _backward(self, x: Tensor, y: Tensor, partner: Partner | None) -> Tensor:
        """Give every parameter the gradient of the mean loss; the sum of these images' losses."""
        loss = self._losses(x, y, partner).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach() * len(y)

    def flush(self, check: bool = True) -> tuple[float, int, int]:
        """Mean loss, images and updates since the last call; waits for the device.

        Raises:
            TrainingError: the loss was not a finite number, and ``check`` asks for one.
        """
        loss, images, steps = float(self._total) / max(1, self._images), self._images, self._steps
        self._total.zero_()  # where it lies: a recorded update adds to it there
        self._images = self._steps = 0
        if check and not np.isfinite(loss):
            raise TrainingError(f"the training loss became {loss}")
        return loss, images, steps

    def objective(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The training loss of every image; under half precision its log-odds form, which has a
        gradient of the same sign and does not underflow when the network is sure."""
        return (self.loss if self.precision == "float32" else self.loss.log_odds)(logits, labels)

    def logits(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K) float32 in evaluation mode, without a graph or a trace."""
        with evaluating(self.model, self.device), torch.no_grad():
            return self._forward(_copy(x))

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D) float32: what the classifier head is given, in evaluation mode, without a trace."""
        with evaluating(self.model, self.device), torch.no_grad():
            return head_input(self.model, lambda: self._forward(_copy(x))).float()

    def gradients(self, x: Tensor, of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (B, K), and (B, m, C, H, W) gradients by x of ``of``: (B, K) -> (B, m), in evaluation mode, without a trace."""
        with evaluating(self.model, self.device), torch.enable_grad():
            leaf = x.detach().clone(memory_format=torch.channels_last).requires_grad_()
            # The network gets a copy, since its first layer may work in place.
            logits = self._forward(leaf.clone())
            return logits.detach(), image_gradients(leaf, of(logits))

    def weights(self) -> dict[str, Tensor]:
        """A copy of every parameter and buffer, by name."""
        return {k: v.detach().clone(memory_format=torch.preserve_format) for k, v in self.model.state_dict().items()}

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Copy parameters and buffers into the model, each in its own memory layout."""
        self.model.load_state_dict(weights)

    def optimizer_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The optimiser's tensors by "<parameter>.<name>", and everything else as plain data."""
        state = self.optimizer.state_dict()
        tensors: dict[str, Tensor] = {}
        plain: dict[str, Any] = {}
        for number, values in state["state"].items():
            for name, value in values.items():
                own: dict[str, Any] = tensors if isinstance(value, Tensor) else plain
                own[f"{number}.{name}"] = value
        return tensors, {"state": plain, "groups": state["param_groups"]}

    def load_optimizer(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Put back what ``optimizer_state`` returned."""
        state: dict[int, dict[str, Any]] = {}
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for key, value in (tensors | plain["state"]).items():
            number, _, name = key.partition(".")
            p = parameters[int(number)]
            # A moment must lie in memory as its parameter does: fused kernels walk both as flat arrays.
            moment = isinstance(value, Tensor) and value.ndim and value.shape == p.shape
            own = torch.empty_like(p, dtype=value.dtype).copy_(value) if moment else value
            state.setdefault(int(number), {})[name] = own
        self.optimizer.load_state_dict({"state": state, "param_groups": plain["groups"]})
