"""How the parameters of methods came about, as far as the folders tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from underdog.methods.expression import Expression
from underdog.methods.parameters import Value
from underdog.names import EPS_GRID
from underdog.reporting.methods import but_eps, eps_of, eps_text, is_own, parameters_text, stem, value_text
from underdog.reporting.summary import Group, Variant
from underdog.reporting.verdict import CONTROL
from underdog.reporting.words import enumerated, plural
from underdog.run.saved import Run
from underdog.run.spec import RunSpec
from underdog.run.tune import Study, values_of

__all__ = ["Search", "Tried", "searches"]

#: The values of eps that are searched where none is given.
GRID = {n / 255 for n in EPS_GRID}
#: What parameters are called in sentences, where that is not their name.
PARAMETER_NAMES = {"lr_factor": "factor of the learning rate"}


@dataclass(frozen=True)
class Tried:
    """Values of parameters, and their macro-F1 on validation; None where the run failed."""

    values: Mapping[str, Value]
    score: float | None


@dataclass(frozen=True)
class Search:
    """How the parameters of some methods came about: a sentence, and every trial, if these are known."""

    sentence: str
    tried: tuple[Tried, ...] = ()


def searches(variant: Variant, tuning: Iterable[Run], studies: Iterable[Study] = ()) -> tuple[Search, ...]:
    """How the parameters of the methods came about; same answers are one.

    Args:
        variant: the runs reported on.
        tuning: runs that only served a choice.
        studies: searches that gave each method as many trials.
    """
    ours = [r for r in tuning if replace(r.spec.variant(), tuning=False) == variant.spec]
    problem = replace(variant.spec, devices=1)
    known = [s for s in studies if s.trials and replace(s.spec.variant(), tuning=False) == problem]
    found: list[tuple[Search, list[str]]] = []
    for group in variant.groups:
        if (search := _search(group, ours, known)) is None:
            continue
        alike = [labels for other, labels in found if other == search]
        if alike:
            alike[0].append(group.label)
        else:
            found.append((search, [group.label]))
    return tuple(replace(s, sentence=f"{enumerated(labels)}: {s.sentence}") for s, labels in found)


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
    values |= spec.expression.stated
    return ", ".join(f"{PARAMETER_NAMES.get(name, name)} = {value_text(name, value)}" for name, value in values.items())


def _studied(spec: RunSpec, study: Study) -> Search:
    """A search by trials that were suggested one after the other."""
    best, n = study.best.values, plural(len(study.trials), "trial")
    if best == values_of(spec):
        how = f"of {n} the one with the highest validation macro-F1"
    else:
        how = f"given when the runs were started; a search of {n} would have chosen {parameters_text(best)}"
    unfinished = "" if study.complete else f"; it wants {study.wanted} and is not finished"
    where = (
        f"values suggested by Optuna's TPE sampler, runs with seed {study.spec.seed}, which is not reported here, "
        f"and without test images{unfinished}"
    )
    tried = tuple(Tried(dict(trial.values), trial.score) for trial in study.trials)
    return Search(f"{_assigned(spec)}; {how} ({where}).", tried)


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
    tried = tuple(Tried({"eps": eps_of(r.spec)}, r.best.macro_f1) for r in runs)
    return Search(f"{_assigned(spec)}; {how} ({where}).", tried)
