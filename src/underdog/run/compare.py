"""Several methods on the same data and seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from underdog.data.sources import Source
from underdog.errors import InputError
from underdog.methods.expression import Expression, parse
from underdog.run.estimate import Estimate
from underdog.run.execute import finished
from underdog.run.spec import RunSpec

__all__ = ["Plan", "comparison", "eps_searches", "plan"]


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


def eps_searches(methods: Sequence[Expression]) -> dict[Expression, Expression]:
    """For each method whose eps is still to be chosen, the method that it is chosen for: the control has that of AOS, where
    that is compared too.

    Raises:
        InputError: a method that needs something else than eps.

    >>> found = eps_searches([parse("aos"), parse("noise"), parse("noise(tau=0.2)"), parse("ros")])
    >>> [(str(method), str(search)) for method, search in found.items()]
    [('aos', 'aos'), ('noise', 'aos'), ('noise(tau=0.2)', 'noise(tau=0.2)')]
    """
    found = {}
    for method in methods:
        if not method.missing:
            continue
        if method.missing != ("eps",):
            raise InputError(
                f"{method.name} needs {' and '.join(method.missing)}, such as {method.name}({method.missing[0]}=...)"
            )
        other = method.renamed("noise", "aos")
        found[method] = other if other in methods else method
    return found


@dataclass(frozen=True)
class Plan:
    """What is to be done: how many runs, how many of them are finished, seconds for the others (an estimate), and warnings."""

    runs: int
    done: int
    seconds: float
    notes: tuple[str, ...] = ()


def plan(specs: list[RunSpec], source: Source, out: Path, device: str) -> Plan:
    """Check every spec against the data before the first run starts, and estimate the time all will take.

    No resampler is started, and one network is made, of which a few updates are timed.

    Raises:
        InputError: anything that can be known before the first epoch to stop one of the runs.
    """
    estimate = Estimate({source.fingerprint: source}, device)
    pending = [s for s in specs if not finished(out / s.id, s)]
    seconds = sum(map(estimate.seconds, pending))
    notes = dict.fromkeys(note for spec in pending for note in estimate.split(spec).notes)
    return Plan(len(specs), len(specs) - len(pending), seconds, tuple(notes))
