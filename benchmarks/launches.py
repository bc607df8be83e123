"""How many operations of torch an update is: what a device launches at least, counted on the CPU.

One update of the paper's network for CIFAR-10 by 128 images, for each method's kind of loss and images: gathering, conversion,
forward and backward pass, fused Adam. Views and allocations, which launch nothing, are not counted; a few operations are more than
one kernel, such as a convolution's backward pass, which is up to three.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import torch
from measure import arguments, environment
from torch.utils._python_dispatch import TorchDispatchMode

from underdog import (
    Hyperparameters,
    Method,
    PaperNet,
    RandomOverSampler,
    Split,
    Training,
    aos,
    method,
    normalized,
)
from underdog.bench.report import environment_line
from underdog.bench.setting import random_images
from underdog.names import PRECISIONS

SHAPE, BATCH = (3, 32, 32), 128
METHODS = {
    "ROS": Method(RandomOverSampler()),
    "AOS": Method(aos(8 / 255, 0.9)),
    "balanced softmax": method("balanced-softmax"),
}
#: What launches nothing beside marks for a profiler, and views, which are known by their schema.
NOTHING = {
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "_unsafe_view",
    "lift_fresh",
    "detach",
}


class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is called, below autograd and autocast."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = Counter[str]()

    def __torch_dispatch__(self, kernel: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = kernel.overloadpacket.__name__
        if not kernel.is_view and name not in NOTHING and not name.startswith("_record_function"):
            self.found[name] += 1
        return kernel(*args, **(kwargs or {}))


def counted(own: Method, precision: str) -> Counter[str]:
    """The operations of one update."""
    train, val = random_images([30] * 8 + [6] * 2, SHAPE), random_images([1] * 10, SHAPE)
    torch.manual_seed(0)
    model = normalized(PaperNet(*SHAPE[:1], 10, SHAPE[1:]), train.images)
    training = Training(model, own, Split(train, val), Hyperparameters(2, 1e-4, batch=BATCH), precision=precision)
    training.advance()  # makes the optimiser's state and the altered rows
    updates = training._updates(1)
    counting = Counting()
    with counting:
        next(updates)
    return counting.found


def main() -> None:
    options = arguments(str(__doc__), None).parse_args()
    found = {(p, m): counted(method, p) for p in PRECISIONS for m, method in METHODS.items()}
    print(environment_line(environment()), "", "| | " + " | ".join(f"{m}, {p}" for p, m in found) + " |", sep="\n")
    print("|---|" + "---|" * len(found))
    for name in dict.fromkeys(n for each in found.values() for n in each):
        print(f"| {name} | " + " | ".join(str(each[name]) for each in found.values()) + " |")
    print("| all | " + " | ".join(str(sum(each.values())) for each in found.values()) + " |")
    if options.json:
        counts = {f"{m}, {p}": each for (p, m), each in found.items()}
        options.json.write_text(json.dumps({"environment": environment(), "operations": counts}, indent=2) + "\n")


if __name__ == "__main__":
    main()
