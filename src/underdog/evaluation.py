"""What a network says of a set of images, and how right it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from underdog.data.images import ImageSet, to_unit
from underdog.data.pixels import at_a_time, in_parts
from underdog.errors import TrainingError
from underdog.learner import Learner
from underdog.methods.method import Adjustment
from underdog.metrics import Metrics

__all__ = ["EVALUATION_BATCH", "Evaluation", "evaluate"]

#: Images per batch where no gradient is needed, and their values, at most: as many as 64x64 pixels of three colours have.
#: On a GPU the values alone count: small batches leave it idle, and results are not promised to the last bit there.
EVALUATION_BATCH, EVALUATION_VALUES = 512, 512 * 64 * 64 * 3


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network said of a set: (N, K) float32 logits, and the scores against the labels."""

    logits: npt.NDArray[np.float32]
    metrics: Metrics


def evaluate(learner: Learner, images: ImageSet, adjustment: Adjustment | None = None) -> Evaluation:
    """Score a learner on a set; distributed learners share its images, and all come to the same answers.

    Args:
        learner: the network.
        images: the set.
        adjustment: what a method does to the logits after training.

    Raises:
        TrainingError: the network's answers are not finite numbers.

    >>> import underdog as ud
    >>> learner = Learner(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 10)), classes=10)
    >>> evaluate(learner, ud.load_images("digits").train).logits.shape
    (1797, 10)
    """
    ranks, device = learner.ranks, learner.device
    most = EVALUATION_VALUES if device.type == "cuda" else EVALUATION_BATCH
    size = min(at_a_time(images.images, most, EVALUATION_VALUES), len(images))
    parts = -(-len(images) // size)
    # In one piece: small answers, made one by one, would settle in the gaps that large batches leave, into which the next
    # batch then does not fit, so that memory would grow with every batch.
    own = torch.empty(len(range(ranks.rank, parts, ranks.world)), size, len(images.classes), device=device)
    for answers, part in zip(own, in_parts(images.images, size, ranks.rank, ranks.world), strict=True):
        answers[: len(part)] = learner.logits(to_unit(part.to(device)))
    every = ranks.all_gather(own.cpu())  # all are under way before one is waited for
    logits = torch.cat([every[n % ranks.world][n // ranks.world] for n in range(parts)])[: len(images)]
    if adjustment is not None:
        with torch.no_grad():
            logits = adjustment(logits)
    if not logits.isfinite().all():
        raise TrainingError("the network's answers are no longer finite numbers")
    predicted = logits.argmax(1).numpy()
    return Evaluation(logits.numpy(), Metrics.of(images.labels.numpy(), predicted, len(images.classes)))
