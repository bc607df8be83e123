"""What a reader needs to judge or repeat the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace

from underdog.methods.expression import Expression
from underdog.methods.parameters import Value
from underdog.metrics import G_MEAN_CORRECTION
from underdog.names import EPS_GRID
from underdog.reporting.methods import but_eps, eps_of, eps_text, is_own, parameters_text, stem, value_text
from underdog.reporting.summary import SCORES, Group, Score, Spread, Variant
from underdog.reporting.verdict import CONTROL
from underdog.reporting.words import decimal, enumerated, plural, spread, thousands
from underdog.run.queue import stated
from underdog.run.saved import Run
from underdog.run.spec import RunSpec
from underdog.run.tune import Study, values_of

__all__ = [
    "DEFINITIONS",
    "Fact",
    "Search",
    "Table",
    "cost",
    "notes",
    "scores",
    "searches",
    "settings",
    "title",
    "updates_remark",
]

DEFINITIONS: dict[str, str] = {
    "recall": "Of a class's images, the share that the network recognised.",
    "macro-F1": "Mean over classes of F1, the harmonic mean of a class's precision and recall (0 where nothing is right).",
    "G-mean": "Geometric mean of the recalls; 0 as soon as one class is never recognised.",
    "G-mean, corrected": f"The same with {G_MEAN_CORRECTION:g} in the place of a recall of 0.",
    "zero-recall classes": "Number of classes that were never recognised, mean over seeds.",
    "balanced accuracy": "Arithmetic mean of the recalls.",
    "recall, rare classes": "Mean of the recalls of the classes that are rare with that seed; other classes likewise.",
    "best epoch": "The epoch with the highest macro-F1 on validation images, the first of equals.",
    "updates": "Steps of the optimiser over the whole training.",
    "images shown": "Training examples shown over the whole training, repeats counted.",
    "altered images": "Those of them that were shown altered.",
    "mean ± SD": "Over seeds, with the sample standard deviation (n \N{MINUS SIGN} 1).",
    "paired difference": "Macro-F1 of a method minus another's with the same seed, so with the same data and first weights.",
}  # fmt: skip

#: The values of eps that are searched where none is given.
GRID = {n / 255 for n in EPS_GRID}
#: What parameters are called in sentences, where that is not their name.
PARAMETER_NAMES = {"lr_factor": "factor of the learning rate"}


@dataclass(frozen=True)
class Fact:
    """A name and what it is."""

    name: str
    value: str


@dataclass(frozen=True)
class Table:
    """Columns, and a row of texts for each method."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Search:
    """How the parameters of a method came about: a sentence, and what each value scored on validation, if that is known.

    Attributes:
        sentence: the values, and who chose them.
        tried: the values tried and their scores.
        names: of the parameters tried.
    """

    sentence: str
    tried: tuple[Fact, ...] = ()
    names: str = "eps"


def scores(variant: Variant, last: bool = False) -> Table:
    """The scores of each method at the best epoch, or at the last."""

    def row(group: Group) -> tuple[str, ...]:
        return (str(len(group.runs)), *(spread(_column(group, score, last), score.digits) for score in SCORES))

    return Table(("n", *(s.title for s in SCORES)), tuple((g.label, row(g)) for g in variant.groups))


def _column(group: Group, score: Score, last: bool) -> Spread | None:
    return group.spread(lambda run: score.of(run, run.last if last else run.best))


def _training_seconds(run: Run) -> float:
    return sum(seconds for phase, seconds in run.seconds.items() if phase != "data")


COSTS: dict[str, Callable[[Run], float]] = {
    "updates": lambda run: float(run.updates),
    "images shown": lambda run: float(run.images_seen),
    "altered images": lambda run: float(run.altered_images),
    "best epoch": lambda run: float(run.best_epoch + 1),
    "seconds": _training_seconds,
}


def cost(variant: Variant) -> Table:
    """What each method's training took, in the mean of its runs."""

    def row(group: Group) -> tuple[str, ...]:
        means = {name: Spread(tuple(map(of, group.runs))).mean for name, of in COSTS.items()}
        return tuple(decimal(v, 1) if name in ("seconds", "best epoch") else thousands(v) for name, v in means.items())

    return Table(tuple(COSTS), tuple((g.label, row(g)) for g in variant.groups))


def updates_remark(variant: Variant) -> str:
    """Whether the methods took equally many steps."""
    means = {g.label: Spread(tuple(float(r.updates) for r in g.runs)).mean for g in variant.groups}
    low, high = min(means.values()), max(means.values())
    fewest, most = (enumerated([g for g, mean in means.items() if mean == end]) for end in (low, high))
    epochs = ("at most " if variant.spec.early_stopping else "") + plural(variant.spec.epochs, "epoch")
    if low == high:
        return f"Every method was trained for {epochs}, which took {thousands(low)} updates."
    return (
        f"The budget is equal epochs, not equal updates: each method was trained for {epochs}, which took "
        f"from {thousands(low)} updates ({fewest}) to {thousands(high)} ({most}). "
        "Part of a difference between methods may come from that."
    )


def title(variant: Variant, everything: Iterable[Variant]) -> str:
    """The source, what is rare in it, and the settings in which the other variants differ."""
    own, others = variant.spec, [v for v in everything if v is not variant]
    plain = [f.name for f in fields(RunSpec) if f.name not in ("data", "rho", "mu")]
    differing = [n for n in plain if any(getattr(o.spec, n) != getattr(own, n) for o in others)]
    said = [f"{n} {_setting(getattr(own, n))}" for n in differing]
    if any(_source(o) == _source(variant) and o.spec.data != own.data for o in others):
        said.append(f"data {own.data[:8]}")
    return f"{_source(variant)}: {', '.join([imbalance(variant), *said])}"


def _source(variant: Variant) -> str:
    return _distinct(run.source for run in variant.runs)


def _setting(value: object) -> str:
    if isinstance(value, tuple):
        return " + ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def imbalance(variant: Variant) -> str:
    """Which share of the classes is rare, and by how much."""
    rare = sorted({len(variant.minority(key)) for key in variant.keys})
    what = f"{' or '.join(map(str, rare))} of {len(variant.classes)} classes rare"
    if variant.spec.rho is None:
        return f"{what}, natural counts"
    return f"{what}, with 1/{variant.spec.rho:g} of the others' images"


def settings(variant: Variant) -> tuple[Fact, ...]:
    """Data, settings and surroundings of the runs; where runs differ, every value."""
    spec, runs = variant.spec, variant.runs
    parts = (f"{p} {_distinct(thousands(r.sizes[p]) for r in runs if p in r.sizes)}" for p in ("train", "val", "test"))
    facts = {
        "source": _source(variant),
        "data fingerprint": spec.data,
        "images": " \N{MULTIPLICATION SIGN} ".join(map(str, runs[0].image_shape)) + " (channels, height, width)",
        "images in each part": ", ".join(p for p in parts if not p.endswith(" ")),
        "rare classes": _rare_classes(variant),
        "imbalance": _induced(spec),
        "seeds": ", ".join(map(str, variant.keys)),
        "epochs": str(spec.epochs),
        "learning rate": f"{spec.lr:g}",
        "batch": plural(spec.batch, "image") + (f", shared by {spec.devices} devices" if spec.devices > 1 else ""),
        "network": f"{spec.model}, width {spec.width:g}" + (f", depth {spec.depth}" if spec.depth else ""),
        "precision": spec.precision,
        "revision": f"{spec.revision} (runs of another revision of underdog's arithmetic are not comparable)",
    }
    surroundings = {k: _distinct(r.environment.get(k, "") for r in runs) for k in _names(runs)}
    return tuple(Fact(k, v) for k, v in (facts | surroundings).items())


def notes(variant: Variant) -> tuple[Fact, ...]:
    """What runs remarked, and how many of them did."""
    counted = Counter(note for run in variant.runs for note in dict.fromkeys(run.notes))
    found = [Fact(note, f"{n} of {plural(len(variant.runs), 'run')}") for note, n in counted.items()]
    flat, altered = (sum(getattr(r, a) for r in variant.runs) for a in ("zero_gradients", "altered_rows"))
    if altered:
        found.append(
            Fact(
                "altered images that do not differ from their originals",
                f"{thousands(flat)} of {thousands(altered)}",
            )
        )
    return tuple(found)


def _names(runs: Iterable[Run]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for run in runs for name in run.environment))


def _distinct(values: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(values))


def _rare_classes(variant: Variant) -> str:
    sets = {variant.minority(key) for key in variant.keys}
    if len(sets) > 1:
        return f"{plural(len(sets), 'choice')} over the seeds, see the recall of each class"
    names = [variant.classes[k] for k in sorted(*sets)]
    return ", ".join(names) or "none"


def _induced(spec: RunSpec) -> str:
    if spec.rho is None:
        return "none induced: natural counts"
    which = (
        f"mu = {spec.mu:g} of the classes made rare"
        if spec.minority is None and spec.mu is not None
        else "the named classes made rare"
    )
    size = "" if spec.majority_size is None else f", of {thousands(spec.majority_size)} training images each"
    return f"induced: {which}, to 1/{spec.rho:g} of the others{size} (rho = {spec.rho:g})"


def searches(variant: Variant, tuning: Iterable[Run], studies: Iterable[Study] = ()) -> tuple[Search, ...]:
    """How the parameters of the methods came about, as far as the folders tell; same answers are one.

    Args:
        variant: the runs reported on.
        tuning: runs that only served a choice.
        studies: searches that gave each method as many trials.
    """
    ours = [r for r in tuning if replace(r.spec.variant(), tuning=False) == variant.spec]
    problem = replace(variant.spec, devices=1)
    known = [s for s in studies if s.trials and replace(s.spec.variant(), tuning=False) == problem]
    found: dict[Search, list[str]] = {}
    for group in variant.groups:
        if (search := _search(group, ours, known)) is not None:
            found.setdefault(search, []).append(group.label)
    return tuple(replace(s, sentence=f"{enumerated(labels)}: {s.sentence}") for s, labels in found.items())


def _search(group: Group, tuning: Sequence[Run], studies: Sequence[Study]) -> Search | None:
    spec = group.runs[0].spec
    expression = spec.expression
    if is_own(expression):  # what is searched over only its function knows, which is not imported here
        return Search(f"{_assigned(spec)}.") if expression.values else None
    budgets = {spec.budget, _shared(spec)}
    own = [s for s in studies if stem(s.spec.expression) == stem(expression) and s.spec.budget in budgets]
    study = max(own, key=lambda s: s.best.values == values_of(spec), default=None)
    altering = expression.number("eps") is not None
    grid = [r for r in tuning if altering and _serves(r.spec.expression, expression) and eps_of(r.spec) in GRID]
    if study and (study.best.values == values_of(spec) or {eps_of(r.spec) for r in grid} < GRID):
        return _studied(spec, study)
    if altering:
        return _gridded(spec, grid if study else tuning)
    return Search(f"{_assigned(spec)}; given when the runs were started.") if expression.values else None


def _shared(spec: RunSpec) -> str:
    """The other budget that a run may be of: what has epochs of oversampling's length is the same under both."""
    return "updates" if replace(spec, budget="updates") == spec else spec.budget


def _serves(search: Expression, method: Expression) -> bool:
    """Whether a choice of eps may be a method's: of itself, or of AOS for its control and the other way round."""
    alike = but_eps(search.renamed("aos", CONTROL)) == but_eps(method.renamed("aos", CONTROL))
    return alike and (search.name != method.name or but_eps(search) == but_eps(method))


def _assigned(spec: RunSpec) -> str:
    values: dict[str, Value] = {} if is_own(spec.expression) else {**values_of(spec)}
    values |= stated(spec.expression)
    return ", ".join(f"{PARAMETER_NAMES.get(name, name)} = {value_text(name, value)}" for name, value in values.items())


def _studied(spec: RunSpec, study: Study) -> Search:
    """A search by trials that were suggested one after the other."""
    best, n = study.best.values, plural(len(study.trials), "trial")
    names = {name: PARAMETER_NAMES.get(name, name) for name in best}
    if best == values_of(spec):
        how = f"of {n} the one with the highest validation macro-F1"
    else:
        how = f"given when the runs were started; a search of {n} would have chosen {parameters_text(best)}"
    unfinished = "" if study.complete else f"; it wants {study.wanted} and is not finished"
    where = (
        f"values suggested by Optuna's TPE sampler, runs with seed {study.spec.seed}, which is not reported here, "
        f"and without test images{unfinished}"
    )
    tried = tuple(
        Fact(
            ", ".join(value_text(name, value) for name, value in trial.values.items()),
            "failed" if trial.score is None else decimal(trial.score),
        )
        for trial in study.trials
    )
    return Search(f"{_assigned(spec)}; {how} ({where}).", tried, ", ".join(names.values()))


def _gridded(spec: RunSpec, tuning: Iterable[Run]) -> Search:
    """A search for eps alone, over a grid."""
    runs = sorted((r for r in tuning if _serves(r.spec.expression, spec.expression)), key=lambda r: eps_of(r.spec))
    name = spec.expression.name
    runs = [r for r in runs if r.spec.expression.name == name] or runs  # one search may serve both methods
    if not runs:
        return Search(
            f"{_assigned(spec)}; eps was given when the runs were started, and no search for it lies beside them."
        )
    best = max(runs, key=lambda r: r.best.macro_f1).spec
    how = (
        "eps is the one with the highest validation macro-F1"
        if eps_of(best) == eps_of(spec)
        else f"eps was given, a search would have chosen {eps_text(eps_of(best))} by validation macro-F1"
    )
    where = f"runs of {best.expression.name} with seed {best.seed}, which is not reported here, and without test images"
    tried = tuple(Fact(eps_text(eps_of(r.spec)), decimal(r.best.macro_f1)) for r in runs)
    return Search(f"{_assigned(spec)}; {how} ({where}).", tried)
