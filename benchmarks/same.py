"""Whether the fast path is the same training: its test macro-F1 less that of eager float32, seed by seed.

AOS with the paper's network on scikit-learn's digits (rho 20, mu 0.6). The fast path is bfloat16, on a GPU captured; there eager
float32 goes without TF32. ``--device cpu`` compares the precisions alone, since nothing is captured there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import mean, stdev

import torch
from measure import arguments, environment
from scipy import stats
from tqdm import tqdm

from underdog import (
    Hyperparameters,
    Method,
    PaperNet,
    Split,
    Training,
    aos,
    load_images,
    normalized,
    prepare,
)
from underdog.bench.report import environment_line


@contextmanager
def rounding(allowed: bool) -> Iterator[None]:
    """Let convolutions on a GPU round their inputs (TF32), or not."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def score(split: Split, seed: int, epochs: int, device: str, fast: bool) -> float:
    """Test macro-F1 of the best epoch."""
    torch.manual_seed(seed)
    network = normalized(PaperNet(1, 10, split.train.shape[1:]), split.train.images)
    method, hyper = Method(aos(16 / 255, 0.5)), Hyperparameters(epochs, batch=64)
    precision = "bfloat16" if fast else "float32"
    with rounding(fast):
        training = Training(network, method, split, hyper, seed, device, precision, capture=fast)
        while not training.finished:
            training.advance()
        history = training.finish()
    for note in history.notes:
        tqdm.write(note)
    assert history.test is not None
    return history.test.metrics.macro_f1


def main() -> None:
    parser = arguments(str(__doc__), None)
    parser.add_argument("--seeds", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(default: %(default)s)"
    )
    options = parser.parse_args()
    rows = []
    for seed in tqdm(range(options.seeds), unit="seed"):
        split = prepare(load_images("digits"), data_seed=seed, rho=20, mu=0.6).split
        one, other = (score(split, seed, options.epochs, options.device, each) for each in (False, True))
        rows.append({"seed": seed, "float32": one, "fast": other, "difference": other - one})
    slow, fast, apart = ([row[key] for row in rows] for key in ("float32", "fast", "difference"))
    reach = float(stats.t.ppf(0.975, len(apart) - 1)) * stdev(apart) / len(apart) ** 0.5
    print(
        environment_line(environment()),
        "",
        "| seed | eager float32 | fast path | difference |",
        "|---|---|---|---|",
        sep="\n",
    )
    for row in rows:
        print("| {seed} | {float32:.4f} | {fast:.4f} | {difference:+.4f} |".format(**row))
    print("| mean +/- SD |", *(f"{mean(each):.4f} +/- {stdev(each):.4f} |" for each in (slow, fast, apart)))
    print(
        f"\n95% interval of the difference: {mean(apart) - reach:+.4f} to {mean(apart) + reach:+.4f} (n = {len(apart)})"
    )
    if options.json:
        options.json.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
