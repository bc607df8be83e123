"""The predictions that lie with runs, judged by the rules that their validation images choose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from underdog.decision.answers import Answers, read_predictions
from underdog.decision.bootstrap import Bootstrap, paired_bootstrap
from underdog.decision.figures import judge
from underdog.decision.replicates import Judged
from underdog.errors import InputError
from underdog.names import TARGET_PRECISION
from underdog.reporting.collect import Aside
from underdog.reporting.summary import Variant
from underdog.reporting.verdict import REFERENCES
from underdog.run.saved import Run

__all__ = ["Evidence", "Proof", "evidence", "target_of"]


@dataclass(frozen=True, eq=False)
class Proof:
    """A run, what its network said of validation images, and what it said of test images under the rule chosen there."""

    run: Run
    val: Answers
    judged: Judged


@dataclass(frozen=True, eq=False)
class Evidence:
    """The proofs of a problem by method, all on the same test images, and intervals from resampling those.

    Attributes:
        proofs: by label, ordered by seed.
        bootstrap: of all of them, against those of ros and the baseline that there are.
        target: the precision that thresholds had to reach.
    """

    proofs: Mapping[str, tuple[Proof, ...]]
    bootstrap: Bootstrap
    target: float

    @property
    def test(self) -> Answers:
        return next(iter(self.proofs.values()))[0].judged.test


def target_of(runs: Iterable[Run]) -> float:
    """The target precision that the runs have in common, or the usual one."""
    found = {run.rule.target_precision for run in runs if run.rule is not None}
    return found.pop() if len(found) == 1 else TARGET_PRECISION


def evidence(variant: Variant, target: float | None = None) -> tuple[Evidence | None, list[Aside]]:
    """Everything that the runs' ``predictions.csv`` prove; None where no run has one with a test part.

    Runs whose predictions cannot be read, or are of other test images than the first run's, are set aside.
    """
    aim = target_of(variant.runs) if target is None else target
    asides: list[Aside] = []
    proofs: dict[str, tuple[Proof, ...]] = {}
    first: Answers | None = None
    for group in variant.groups:
        found = []
        for run in group.runs:
            try:
                proof = _proof(run, aim)
                if proof is not None and not (first or proof.judged.test).same_images(proof.judged.test):
                    raise InputError("predictions.csv: other test images than the first run's")
            except InputError as error:
                asides.append(Aside(run.name, f"its decision figures only; {error}"))
                continue
            if proof is not None:
                first = first or proof.judged.test
                found.append(proof)
        if found:
            proofs[group.label] = tuple(found)
    if not proofs:
        return None, asides
    by_seed = {label: {p.run.key: p.judged for p in own} for label, own in proofs.items()}
    references = [r for r in REFERENCES if r in by_seed and len(by_seed) > 1]
    return Evidence(proofs, paired_bootstrap(by_seed, references), aim), asides


def _proof(run: Run, target: float) -> Proof | None:
    if run.folder is None or run.part != "test" or not (run.folder / "predictions.csv").exists():
        return None
    parts = read_predictions(run.folder / "predictions.csv")
    if "test" not in parts:
        raise InputError("predictions.csv: no line of the test part at the best epoch")
    val, test = parts["val"], parts["test"]
    if test.classes != run.classes:
        raise InputError("predictions.csv: other classes than result.json")
    rare = [run.classes[k] for k in sorted(run.minority)]
    return Proof(run, val, judge(val, test, run.prior, rare, target))
