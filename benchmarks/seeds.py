"""Test macro-F1 of ways to train, seed by seed, and their differences from the first way with 95% intervals.

precision   whether the fast path is the same training: bfloat16, on a GPU captured, against eager float32, there without TF32
attacks     AOS by FGSM against no attack, the random sign, and ten steps of PGD, of the same eps

The paper's network on scikit-learn's digits (rho 20, mu 0.6), divided by the seed; tau 0.5.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from measure import arguments, environment
from tqdm import tqdm

from underdog import (
    FGSM,
    PGD,
    Attack,
    Chain,
    Every,
    Hyperparameters,
    Method,
    PaperNet,
    Perturb,
    RandomOverSampler,
    RandomSign,
    Training,
    load_images,
    normalized,
    prepare,
)
from underdog.bench.report import environment_line
from underdog.reporting.summary import ENOUGH_SEEDS, Spread


@dataclass(frozen=True)
class Way:
    """How to train: what alters rare images, None for nothing, how far, and whether by the fast path."""

    attack: Attack | None
    eps: float
    fast: bool = False

    @property
    def method(self) -> Method:
        balance = RandomOverSampler()
        return Method(Chain(balance, Every(2, Perturb(self.attack, self.eps, 0.5))) if self.attack else balance)


WAYS: dict[str, Callable[[float], dict[str, Way]]] = {
    "precision": lambda eps: {"eager float32": Way(FGSM(), eps), "fast path": Way(FGSM(), eps, fast=True)},
    "attacks": lambda eps: {
        "FGSM": Way(FGSM(), eps),
        "none": Way(None, eps),
        "random sign": Way(RandomSign(), eps),
        "PGD": Way(PGD(), eps),
    },
}


@contextmanager
def rounding(allowed: bool) -> Iterator[None]:
    """Let convolutions on a GPU round their inputs (TF32), or not."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def score(way: Way, seed: int, epochs: int, device: str) -> float:
    """Test macro-F1 of the best epoch."""
    split = prepare(load_images("digits"), data_seed=seed, rho=20, mu=0.6).split
    torch.manual_seed(seed)
    network = normalized(PaperNet(1, 10, split.train.shape[1:]), split.train.images)
    hyper, precision = Hyperparameters(epochs, batch=64), "bfloat16" if way.fast else "float32"
    with rounding(way.fast):
        training = Training(network, way.method, split, hyper, seed, device, precision, capture=way.fast)
        while not training.finished:
            training.advance()
        history = training.finish()
    for note in history.notes:
        tqdm.write(note)
    assert history.test is not None
    return history.test.metrics.macro_f1


def shown(spread: Spread) -> str:
    return f"{spread.mean:.4f} +/- {spread.sd:.4f}"


def difference(scores: Sequence[float], reference: Sequence[float]) -> str:
    """The mean of paired differences, and its interval."""
    apart = Spread(tuple(a - b for a, b in zip(scores, reference, strict=True)))
    assert apart.interval is not None
    return "{:+.4f} ({:+.4f} to {:+.4f})".format(apart.mean, *apart.interval)


def main() -> None:
    parser = arguments(str(__doc__), None)
    parser.add_argument("what", choices=tuple(WAYS))
    parser.add_argument("--seeds", type=int, default=10, help=f"at least {ENOUGH_SEEDS} (default: %(default)s)")
    parser.add_argument("--eps", type=float, default=16, help="in 255ths (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="(default: %(default)s)")
    found = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=found, help="(default: %(default)s)")
    options = parser.parse_args()
    if options.seeds < ENOUGH_SEEDS:
        parser.error(f"--seeds must be at least {ENOUGH_SEEDS}, of which there is an interval, not {options.seeds}")
    ways, seeds = WAYS[options.what](options.eps / 255), range(options.seeds)
    scores: dict[str, list[float]] = {name: [] for name in ways}
    for seed in tqdm(seeds, unit="seed"):
        for name, way in ways.items():
            scores[name].append(score(way, seed, options.epochs, options.device))
    columns = list(scores.values())
    rows = [[str(seed), *(f"{each[seed]:.4f}" for each in columns)] for seed in seeds]
    rows.append(["mean +/- SD", *(shown(Spread(tuple(each))) for each in columns)])
    rows.append([f"less {next(iter(ways))}", "", *(difference(each, columns[0]) for each in columns[1:])])
    print(environment_line(environment()), "", sep="\n")
    for row in (["seed", *ways], ["---"] * (1 + len(ways)), *rows):
        print("|", " | ".join(row), "|")
    if options.json:
        options.json.write_text(json.dumps({"environment": environment(), "scores": scores}, indent=2) + "\n")


if __name__ == "__main__":
    main()
