"""How long and how fast to train."""

from __future__ import annotations

from dataclasses import dataclass, field

from underdog.augment import Augment
from underdog.optimizer import OptimizerRule, SchedulerRule, adam
from underdog.validate import check_callable, check_positive

__all__ = ["Hyperparameters"]


@dataclass(frozen=True)
class Hyperparameters:
    """How long and how fast to train.

    Args:
        epochs: passes over what the resampler shows.
        lr: learning rate, at its height where it has a course.
        batch: images per update; the last batch of an epoch may be smaller.
        optimizer: rule from trainable parameters and learning rate to the optimiser; Adam by default.
        lr_backbone: learning rate of everything but the classifier head, see ``head``; ``lr`` where None.
        scheduler: the course of the learning rates, such as ``named_scheduler("cosine")``, or any function from how far
            the training has come to a factor, such as ``lambda now: 1 - now.share``; constant where None.
        early_stopping: end after so many epochs without a better validation macro-F1; never where None.
        augment: random changes of the images shown.

    Raises:
        InputError: a number not above 0, a scheduler that is no function.

    *Source*: section 4.1 of the paper (Adam, no decay); its batch size is unsaid.

    >>> Hyperparameters(epochs=20, lr=1e-4).batch
    128
    """

    epochs: int = 20
    lr: float = 1e-3
    batch: int = 128
    optimizer: OptimizerRule = adam
    lr_backbone: float | None = None
    scheduler: SchedulerRule | None = None
    early_stopping: int | None = None
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        for name, whole in (
            ("epochs", True),
            ("batch", True),
            ("early_stopping", True),
            ("lr", False),
            ("lr_backbone", False),
        ):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name), whole)
        check_callable("scheduler", self.scheduler, "a function of Position")
        for name in ("epochs", "batch"):  # 20.0 is 20
            object.__setattr__(self, name, int(getattr(self, name)))
