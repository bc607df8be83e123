"""Several methods on the same data and seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from underdog.errors import InputError
from underdog.methods.expression import Expression, parse
from underdog.reporting.methods import parameters_text
from underdog.run.search import GridSearch, PlannedRun, eps_search
from underdog.run.spec import RunSpec
from underdog.run.tune import values_of

__all__ = ["check_complete", "comparison", "tuned_text", "with_searches"]


def comparison(
    base: RunSpec, methods: Iterable[str | Expression], seeds: int, data_seed: int | None = None
) -> list[RunSpec]:
    """Every method with every seed 0, 1, ..., seed by seed.

    The data's seed follows the run's, so that the spread covers the choice of data too, unless
    ``data_seed`` fixes it. Within a seed all methods share data, first weights and draws. With ``folds``
    in the base, every seed is repeated with each fold as the test part.

    Raises:
        InputError: a method that is there twice.

    >>> specs = comparison(RunSpec("some data", "baseline"), ["ros", "aos(eps=0.1)"], seeds=2)
    >>> [(s.method, s.seed, s.data_seed) for s in specs]
    [('ros', 0, 0), ('aos(eps=0.1)', 0, 0), ('ros', 1, 1), ('aos(eps=0.1)', 1, 1)]
    """
    texts = [str(parse(m) if isinstance(m, str) else m) for m in methods]
    if twice := [text for n, text in enumerate(texts) if text in texts[:n]]:
        raise InputError(f"method {twice[0]!r} is there twice")
    return [
        replace(base, method=text, seed=seed, data_seed=seed if data_seed is None else data_seed, fold=fold)
        for seed in range(seeds)
        for fold in ([None] if base.folds is None else range(base.folds))
        for text in texts
    ]


def with_searches(specs: Sequence[RunSpec]) -> list[PlannedRun]:
    """The runs, and the search for eps that each still needs: the control has that of AOS, where that is compared too.

    Raises:
        InputError: a method that needs something else than eps; a search with folds.

    >>> found = with_searches([RunSpec("some data", method) for method in ("aos", "noise", "noise(tau=0.2)", "ros")])
    >>> [(entry.spec.method, entry.search and entry.search.spec.method) for entry in found]
    [('aos', 'aos'), ('noise', 'aos'), ('noise(tau=0.2)', 'noise(tau=0.2)'), ('ros', None)]
    """
    methods = {spec.expression for spec in specs}
    return [PlannedRun("", spec, _search(spec, methods)) for spec in specs]


def _search(spec: RunSpec, methods: set[Expression]) -> GridSearch | None:
    method = spec.expression
    if not method.missing:
        return None
    if method.missing != ("eps",):
        check_complete(method)
    if spec.folds is not None:
        raise InputError(
            f"{method.name} with folds needs eps: a search for it would see images that other folds test on"
        )
    other = method.renamed("noise", "aos")
    return eps_search(replace(spec, method=str(other if other in methods else method)))


def check_complete(method: Expression) -> None:
    """A method whose parameters are all known.

    Raises:
        InputError: one is not.
    """
    if method.missing:
        raise InputError(
            f"{method.name} needs {' and '.join(method.missing)}, such as {method.name}({method.missing[0]}=...)"
        )


def tuned_text(specs: Sequence[RunSpec]) -> str:
    """The values that searches found, method by method."""
    each = dict.fromkeys(f"{s.expression.name} {parameters_text(values_of(s))}" for s in specs)
    return f"tuned on validation images of a seed that is not reported: {'; '.join(each)}"
