"""What is called from Python: train once, compare methods, report on runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import nn

from underdog import reporting
from underdog.data.sources import Source
from underdog.data.split import Split
from underdog.decision.rule import check_target
from underdog.errors import InputError, nearest
from underdog.experiments.comparison import comparison, with_searches
from underdog.experiments.experiment import Experiment
from underdog.history import History
from underdog.hyper import Hyperparameters
from underdog.methods.build import build, canonical
from underdog.methods.method import Method
from underdog.names import TARGET_PRECISION
from underdog.paths import run_folders
from underdog.reporting.terminal import printable
from underdog.reporting.text import text_table
from underdog.run.engine import Engine, Job, Serial
from underdog.run.execute import Watcher, finish
from underdog.run.files import write_json
from underdog.run.folders import occupied
from underdog.run.local import SHARED, LocalEngine
from underdog.run.network import SCRIPT, network_settings
from underdog.run.queue import steps
from underdog.run.spec import RunSpec
from underdog.train import Training
from underdog.validate import check_whole

__all__ = ["Comparison", "compare", "fit", "report"]

#: Settings that ``compare`` decides on by itself.
_OWN = {"data", "method", "seed", "data_seed", "fold", "tuning", "revision", "files", "weights", "mean", "std"}
SETTINGS = {f.name for f in fields(RunSpec)} - _OWN


@contextmanager
def _unwatched(job: Job) -> Iterator[Watcher]:
    yield Watcher()


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Compute with so many threads within."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Comparison:
    """Finished runs of several methods: print it for a table of their scores.

    Attributes:
        folders: of the runs.
        table: their scores by method, as text.
    """

    folders: tuple[Path, ...]
    table: str

    def __str__(self) -> str:
        return self.table

    def report(self, output: str | Path = "report.html") -> Path:
        """Write a page on them, and return its path."""
        reporting.write_report(self.folders, Path(output))
        return Path(output)


def _named(method: str | Callable[..., Any]) -> str:
    """A method as it is written: a text, or the name of a function of somebody's own."""
    if isinstance(method, str):
        return method
    module, name = getattr(method, "__module__", None), getattr(method, "__qualname__", "<lambda>")
    if isinstance(method, type) or not callable(method) or module in (None, "__main__") or "<" in name:
        raise InputError(
            "methods must be texts such as 'aos(eps=8/255)', or functions at the top of a module that can be imported (not of the "
            f"script or notebook itself), by whose name runs are known, not {method!r}"
        )
    return f"{module}:{name}"


def compare(
    images: Source,
    methods: Sequence[str | Callable[..., Method]],
    *,
    seeds: int = 3,
    data_seed: int | None = None,
    out: str | Path = "runs",
    device: str = "cpu",
    workers: int = 1,
    target_precision: float = TARGET_PRECISION,
    weights: str | Path | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    say: Callable[[str], object] = print,
    **settings: Any,
) -> Comparison:
    """Train with several methods and seeds on the same data, as ``underdog compare`` does.

    Runs that are finished are not done again, and interrupted ones resume. ``underdog report`` reads their folders.

    Args:
        images: what ``load_images`` returned.
        methods: texts such as "ros" and "aos(eps=8/255)+focal", or functions of one's own that return a ``Method``. Where eps
            is missing it is chosen on validation images first.
        seeds: runs of each method, with the seeds 0, 1, ...
        data_seed: one seed for the data of all runs; where None each seed draws its own validation part and imbalance.
        out: folder of runs.
        device: where to train.
        workers: runs at once: 1 makes them in this process; more have processes of their own, which a script has to allow for by
            ``if __name__ == "__main__":``. Each run has one thread, so that results do not depend on their number.
        target_precision: see ``decision_report``.
        weights, mean, std: of a pretrained network: a safetensors file, and the channel means and deviations that it expects.
        say: called with a line about each run.
        settings: others of ``RunSpec``, such as epochs, lr, batch, model, rho, mu, minority, augment and budget.

    Raises:
        InputError: anything that can be known to be wrong before the first run.

    >>> import tempfile, underdog as ud
    >>> with tempfile.TemporaryDirectory() as out:
    ...     found = compare(
    ...         ud.load_images("digits"), ["ros", "focal(gamma=1)"], seeds=1, out=out, rho=20, mu=0.6, epochs=1, width=0.2,
    ...         say=lambda line: None,
    ...     )
    >>> [folder.name[:7] for folder in found.folders]
    ['ros-s0-', 'focal-s']
    """
    check_target(target_precision)
    seeds, workers = check_whole("seeds", seeds, least=1), check_whole("workers", workers, least=1)
    try:
        torch.device(device)
    except RuntimeError:
        raise InputError(f"device must be one of torch's, such as 'cpu' or 'cuda:0', not {device!r}") from None
    if isinstance(methods, str) or not methods:
        raise InputError(f"methods must be a list of at least one, such as ['ros', 'aos(eps=8/255)'], not {methods!r}")
    if unknown := [name for name in settings if name not in SETTINGS]:
        raise InputError(
            f"compare has no setting {unknown[0]!r}{nearest(unknown[0], SETTINGS)} (it has {', '.join(sorted(SETTINGS))})"
        )
    network = network_settings(
        settings.pop("model", "paper"),
        None if weights is None else Path(weights),
        None if mean is None else tuple(mean),
        None if std is None else tuple(std),
    )
    for name in ("minority", "augment"):
        if settings.get(name) is not None:
            settings[name] = tuple(settings[name])
    base = RunSpec(images.fingerprint, "baseline", fold=settings.get("folds") and 0, **network, **settings)
    chosen = [canonical(_named(method)) for method in methods]
    specs = comparison(base, chosen, seeds, data_seed)
    folder = Path(out)
    with occupied(folder), _threads(1):
        entries = with_searches(specs)
        experiment = Experiment.of(
            steps(entries), {"": images}, folder, say, target=target_precision, apart=workers > 1
        )
        for note in experiment.notes:
            say(f"note: {printable(note)}")

        def engine(sources: Mapping[str, Source]) -> Engine:
            if workers == 1:
                return Serial(sources, device, _unwatched)
            return LocalEngine(sources, folder / SHARED, [device] * workers)

        experiment.make(engine, say)
        experiment.check(say)
        found = experiment.results()
    return Comparison(tuple(folder / spec.id for spec, _ in found), text_table([result for _, result in found]))


def report(runs: str | Path, output: str | Path = "report.html", target_precision: float | None = None) -> Path:
    """Write one self-contained page on the finished runs in a folder, as ``underdog report`` does.

    Args:
        runs: folder of runs, or of a run.
        output: page to write; a name that ends in .json gets what the page says as numbers (docs/tables.md).
        target_precision: that thresholds have to reach; that of the runs where None.

    Returns:
        the page's path.

    Raises:
        InputError: no finished run.

    >>> report("nowhere")
    Traceback (most recent call last):
    underdog.errors.InputError: nowhere has no finished run (a folder with result.json)
    """
    if target_precision is not None:
        check_target(target_precision)
    reporting.write_report(run_folders(Path(runs)), Path(output), target_precision)
    return Path(output)


def fit(
    model: nn.Module,
    method: Method | str,
    split: Split,
    hyper: Hyperparameters | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    precision: str = "float32",
    out: str | Path | None = None,
    name: str = "method",
) -> History:
    """Train, choose the epoch with the best validation macro-F1, and evaluate it on the test part.

    The model holds the best epoch's weights afterwards.

    Args:
        model: any network from (B, C, H, W) in [0, 1] to (B, K).
        method: a ``Method``, or a text such as "aos(eps=8/255)".
        split: training, validation and test parts.
        hyper: epochs, learning rate, batch size, optimiser.
        seed: of shuffling, resampling and whatever the model draws.
        device, precision: see ``Learner``.
        out: folder of runs, in which the run's own folder is written, for ``underdog report``. The network is the script's
            own, so that ``load`` cannot build it again.
        name: what the run's method is called there, where it is no text.

    Raises:
        InputError: settings that the data do not allow.
        TrainingError: the loss or the network's answers are no longer finite.

    *Source*: section 4.1 of the paper (selection by validation F1).

    >>> import underdog as ud
    >>> split = ud.prepare(ud.load_images("digits"), rho=20, mu=0.6).split
    >>> history = ud.fit(ud.PaperNet(1, 10, (16, 16)), "aos(eps=16/255)", split, ud.Hyperparameters(epochs=2))
    >>> len(history.records), history.test.logits.shape
    (2, (359, 10))
    """
    hyper = hyper or Hyperparameters()
    if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
        raise InputError(f"name must be letters, digits, _ and ., such as 'my_method', not {name!r}")
    made = build(canonical(method)) if isinstance(method, str) else method
    training = Training(model, made, split, hyper, seed, device, precision)
    if out is None:
        while not training.finished:
            training.advance()
        return training.finish()
    source = Source("given to fit", split.train, split.val, split.test, notes=_remarks(hyper))
    spec = _spec_of(training, source, str(canonical(method)) if isinstance(method, str) else f"fit:{name}")
    folder = Path(out) / spec.id
    while not training.finished:
        training.advance()
    write_json(folder / "spec.json", spec.to_json())
    return finish(folder, spec, source, training, TARGET_PRECISION, 0.0)[1]


def _remarks(hyper: Hyperparameters) -> tuple[str, ...]:
    return (f"trained by underdog.fit with a network of the script's own and {hyper}",)


def _spec_of(training: Training, source: Source, method: str) -> RunSpec:
    """What a training that a script made is known by: its settings and method, and the network's first weights."""
    hyper, first = training.hyper, blake2b(digest_size=16)
    # What a spec has no field for, without where it lies in memory.
    first.update(re.sub(r" at 0x[0-9a-f]+", "", repr((training.method, hyper))).encode())
    for name, value in sorted(training.best_weights.items()):
        first.update(name.encode() + value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return RunSpec(
        source.fingerprint,
        method,
        seed=training.seed,
        epochs=hyper.epochs,
        lr=hyper.lr,
        batch=hyper.batch,
        lr_backbone=hyper.lr_backbone,
        early_stopping=hyper.early_stopping,
        augment=tuple(hyper.augment.names),
        model=f"{SCRIPT}{type(training.model).__name__}",
        precision=training.precision,
        weights=first.hexdigest(),
    )
