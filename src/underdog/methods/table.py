"""The methods by name. A line here and a function there is all that a method is (CONTRIBUTING.md).

Nothing heavy is imported: the command line prints this before it knows what it is asked for.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["METHODS", "ROLES", "Entry"]


class Entry(NamedTuple):
    """A method: which part it plays in a sum, where its function is, and what it does, in a line."""

    role: str
    home: str
    about: str


#: The parts that methods play in a sum, in the order in which sums are written; of each there is one at most.
ROLES: dict[str, str] = {
    "rate": "the learning rate",
    "sampler": "how often images are shown",
    "alteration": "altered images",
    "mixing": "mixed images",
    "loss": "the loss",
    "schedule": "when",
    "posthoc": "what is done to logits after training",
    "own": "somebody's own",
}

METHODS: dict[str, Entry] = {
    "baseline": Entry("rate", "simple:baseline", "the images as they are"),
    "class-weighted": Entry("loss", "simple:class_weighted", "loss weighted by inverse class frequency"),
    "balanced-softmax": Entry(
        "loss", "simple:balanced_softmax", "cross-entropy with logits shifted by log class counts"
    ),
    "focal": Entry("loss", "focal:focal", "cross-entropy that counts images less the surer the network is of them"),
    "rus": Entry("sampler", "simple:rus", "random undersampling to the smallest class"),
    "ros": Entry("sampler", "simple:ros", "random oversampling to the largest class"),
    "smote": Entry("sampler", "simple:smote", "interpolated images up to the largest class"),
    "noise": Entry("alteration", "altering:noise", "AOS with a random sign instead of the gradient's (the control)"),
    "aos": Entry("alteration", "altering:aos", "Adversarial OverSampling"),
    "mixup": Entry("mixing", "mixup:mixup", "every image blended with another one, and the losses of both"),
    "drw": Entry("schedule", "deferred:drw", "deferred re-weighting: the loss of the rest of the sum, weighted late"),
    "drs": Entry("schedule", "deferred:drs", "deferred re-sampling: plain epochs first, then the sampler of the sum"),
    "crt": Entry("schedule", "crt:crt", "classifier re-training: plain epochs, then a new head on balanced ones"),
    "logit-adjust": Entry(
        "posthoc", "adjust:logit_adjust", "logits of the trained network minus log class frequencies"
    ),
}
