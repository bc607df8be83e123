"""What is called from Python: train once, compare methods, report on runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import nn

from underdog.data.sources import Source
from underdog.data.split import Split
from underdog.decision.rule import check_target
from underdog.errors import InputError, nearest
from underdog.hyper import Hyperparameters
from underdog.methods.build import build, canonical
from underdog.methods.expression import Expression
from underdog.methods.method import Method
from underdog.names import TARGET_PRECISION
from underdog.ranks import ALONE, Ranks
from underdog.reporting import write_report
from underdog.reporting.methods import eps_text, parameters_text
from underdog.reporting.terminal import printable
from underdog.reporting.text import text_table
from underdog.reporting.words import duration
from underdog.run.compare import comparison, eps_searches, plan
from underdog.run.execute import Watcher, execute, finish, finished
from underdog.run.files import write_json
from underdog.run.network import SCRIPT, network_settings
from underdog.run.spec import RunSpec
from underdog.run.tune import TUNING_SEED, all_tuned, choose_eps, tuning_specs, values_of
from underdog.train import History, Training
from underdog.validate import check_whole

__all__ = ["Comparison", "Runner", "compare", "compare_all", "finished_runs", "fit", "report", "tuned_text"]

#: Settings that ``compare`` decides on by itself.
_OWN = {"data", "method", "seed", "data_seed", "fold", "tuning", "revision", "files", "weights", "mean", "std"}
SETTINGS = {f.name for f in fields(RunSpec)} - _OWN


@contextmanager
def unwatched(name: str, epochs: int) -> Iterator[Watcher]:
    """A watcher that shows nothing."""
    yield Watcher()


def silent(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Runner:
    """Carries out runs, and says a line about each.

    Attributes:
        device: where to train.
        seconds: it took to read the source.
        target: precision that thresholds have to reach on validation images.
        ranks: the processes that train together.
        say: called with every line.
        watch: from a run's name and epochs to who wants to know how it goes.
    """

    device: str
    seconds: float = 0.0
    target: float = TARGET_PRECISION
    ranks: Ranks = ALONE
    say: Callable[[str], object] = print
    watch: Callable[[str, int], AbstractContextManager[Watcher]] = unwatched

    def __call__(self, spec: RunSpec, source: Source, out: Path) -> dict[str, Any]:
        """Carry out a run and return its result."""
        name = f"{spec.method} seed {spec.seed}"
        if spec.tuning:
            name = f"eps {eps_text(spec.expression.number('eps') or 0)}"
        if finished(out / spec.id, spec):
            self.say(f"{name}: finished before")
            return execute(spec, source, out, self.device, ranks=self.ranks)  # which only tidies up
        with self.watch(name, spec.epochs) as watcher:
            result = execute(spec, source, out, self.device, watcher, self.seconds, self.target, self.ranks)
        scores = result["test"] or result["val"]
        self.say(
            f"{name}: macro-F1 {scores['macro_f1']:.4f}, G-mean {scores['g_mean']:.4f} on "
            f"{'test' if result['test'] else 'validation'} images (best epoch {result['best_epoch'] + 1} of {spec.epochs}, "
            f"{result['updates']} updates, {duration(sum(result['seconds'].values()))})"
        )
        return result

    def chosen_eps(self, spec: RunSpec, source: Source, out: Path) -> float:
        """The eps that validation chooses for a method; the cost is said first."""
        name = spec.expression.name
        if spec.folds is not None:
            raise InputError(f"{name} with folds needs eps: a search for it would see images that other folds test on")
        cost = plan(tuning_specs(spec), source, out / "tuning", self.device)
        self.say(
            f"no --eps: choosing it on validation takes {cost.runs} more runs of {name} (seed {TUNING_SEED}, not reported), "
            f"{cost.done} of them done, about {duration(cost.seconds)} for the others"
        )
        eps = choose_eps(spec, source, out, self)
        self.say(f"eps = {eps_text(eps)} has the highest validation macro-F1 (the smallest eps of equals)")
        return eps


def tuned_text(specs: Sequence[RunSpec]) -> str:
    """The values that searches found, method by method."""
    each = dict.fromkeys(f"{s.expression.name} {parameters_text(values_of(s))}" for s in specs)
    return f"tuned on validation images of a seed that is not reported: {'; '.join(each)}"


def compare_all(
    run: Runner, base: RunSpec, source: Source, methods: Sequence[Expression], seeds: int, data_seed: int | None, out: Path,
    tuned: bool = False,
) -> tuple[list[Path], str]:  # fmt: skip
    """Every method with every seed: the folders of the runs, and a table of their scores."""

    def compared(methods: Sequence[Expression]) -> list[RunSpec]:
        specs = comparison(base, methods, seeds, data_seed)
        return all_tuned(specs, out, base.budget) if tuned else specs

    searches = {} if tuned else eps_searches(methods)
    eps: dict[Expression, float] = {}

    def search(only_done: bool) -> None:
        for method in dict.fromkeys(searches.values()):
            spec = replace(base, method=str(method))
            if method not in eps and (
                not only_done or all(finished(out / "tuning" / s.id, s) for s in tuning_specs(spec))
            ):
                eps[method] = run.chosen_eps(spec, source, out)

    def with_eps() -> list[Expression]:
        return [m.set({"eps": eps[searches[m]]}) if searches.get(m) in eps else m for m in methods]

    search(only_done=True)
    whole = plan(compared(with_eps()), source, out, run.device)
    replicates = f"{seeds} seed{'s' * (seeds != 1)}" + (f" x {base.folds} folds" if base.folds else "")
    more = "" if len(eps) == len(set(searches.values())) else "; and first a search for eps"
    run.say(
        f"{whole.runs} runs ({len(methods)} methods, {replicates}), {whole.done} of them done, about "
        f"{duration(whole.seconds)} for the others on {run.device}{more}"
    )
    for note in whole.notes:
        run.say(f"note: {printable(note)}")
    search(only_done=False)
    specs = compared(with_eps())
    if tuned:
        run.say(tuned_text(specs))
    results = [run(spec, source, out) for spec in specs]
    return [out / spec.id for spec in specs], text_table(results)


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
        write_report(self.folders, Path(output))
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
    seeds = check_whole("seeds", seeds, least=1)
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
    run = Runner(device, target=target_precision, say=say)
    folders, table = compare_all(run, base, images, chosen, seeds, data_seed, Path(out))
    return Comparison(tuple(folders), table)


def finished_runs(runs: Path) -> list[Path]:
    """The finished runs in a folder of runs, or the folder itself where it is one.

    Raises:
        InputError: there is none.
    """
    if (runs / "result.json").exists():
        return [runs]
    if not (found := sorted(path.parent for path in runs.glob("*/result.json"))):
        raise InputError(f"{runs} has no finished run (a folder with result.json)")
    return found


def report(runs: str | Path, output: str | Path = "report.html", target_precision: float | None = None) -> Path:
    """Write one self-contained page on the finished runs in a folder, as ``underdog report`` does.

    Args:
        runs: folder of runs, or of a run.
        output: page to write.
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
    write_report(finished_runs(Path(runs)), Path(output), target_precision)
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
