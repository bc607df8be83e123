"""One self-contained page on a set of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from underdog.reporting.collect import Aside, collect, tuning_runs, tuning_studies
from underdog.reporting.decision import Decision, decision
from underdog.reporting.decision_text import decision_text
from underdog.reporting.facts import (
    DEFINITIONS,
    Fact,
    Search,
    Table,
    cost,
    notes,
    scores,
    searches,
    settings,
    title,
    updates_remark,
)
from underdog.reporting.images import Pictures, pictures
from underdog.reporting.methods import about
from underdog.reporting.page import environment, write_page
from underdog.reporting.perclass import (
    Confusion,
    Mistakes,
    Recalls,
    Sizes,
    class_sizes,
    confusions,
    matrix_width,
    mistakes,
    recalls,
)
from underdog.reporting.plots import Dots, Lines, Style, curve_plot, dot_plot, styles
from underdog.reporting.summary import Difference, Group, Variant, paired, variants
from underdog.reporting.verdict import CONTROL, REFERENCES, Verdict, verdict
from underdog.reporting.words import decimal, interval, plural, signed, spread
from underdog.run.saved import Curve, Run
from underdog.run.tune import Study

__all__ = ["write_report"]


@dataclass(frozen=True)
class Versus:
    """The paired differences to one reference, as a figure and in figures."""

    reference: str
    figure: Markup
    differences: tuple[Difference, ...]

    @property
    def intervals(self) -> bool:
        return any(d.spread.interval is not None for d in self.differences)


@dataclass(frozen=True)
class Section:
    """Everything the page says of one variant."""

    name: str
    title: str
    part: str
    seeds: int
    verdict: Verdict
    styles: dict[str, Style]
    methods: tuple[Fact, ...]
    overview: Markup
    best: Table
    last: Table
    cost: Table
    updates: str
    versus: tuple[Versus, ...]
    recalls: Recalls
    classes: tuple[str, ...]
    curves: tuple[Markup, ...]
    confusions: tuple[Confusion, ...]
    matrix_width: float
    mistakes: tuple[Mistakes, ...]
    sizes: Sizes
    decision: Decision | None
    galleries: tuple[Pictures, ...]
    searches: tuple[Search, ...]
    settings: tuple[Fact, ...]
    notes: tuple[Fact, ...]


def write_report(folders: Sequence[Path], output: Path, target_precision: float | None = None) -> str:
    """Write a page that compares finished runs; it opens without a network and runs no script.

    Runs of different data or settings get a section each. Folders that hold no readable run are named on the page.

    Args:
        folders: of runs, each with ``result.json``.
        output: the page; written whole or not at all.
        target_precision: what thresholds have to reach on validation; that of the runs by default.

    Returns:
        What the page says of decisions, as text for a terminal; empty where no run has predictions of test images.

    Raises:
        InputError: no folder holds a readable run.
    """
    page, decisions = _page(folders, target_precision)
    write_page(page, output)
    return decisions


def _page(folders: Sequence[Path], target: float | None) -> tuple[str, str]:
    collected = collect(folders)
    found, tuning = variants(collected.runs), tuning_runs(collected.runs)
    studies, unread = tuning_studies(collected.runs)
    made = [_section(v, f"v{i}", found, (tuning.runs, studies), target) for i, v in enumerate(found)]
    asides = (*collected.asides, *tuning.asides, *unread, *(aside for _, own in made for aside in own))
    templates = environment()
    templates.globals |= {"interval": interval, "plural": plural, "signed": signed, "spread": spread}
    templates.globals |= {"definitions": DEFINITIONS}
    sections = [section for section, _ in made]
    page = templates.get_template("report.html.j2").render(sections=sections, asides=asides, runs=len(collected.runs))
    return page, decision_text([(s.title, s.decision) for s in sections if s.decision is not None])


def _section(
    variant: Variant,
    name: str,
    everything: Sequence[Variant],
    tuning: tuple[Sequence[Run], Sequence[Study]],
    target: float | None,
) -> tuple[Section, list[Aside]]:
    looks = styles([(g.label, g.method) for g in variant.groups])
    shown = [pictures(group) for group in variant.groups]
    decided, unread = decision(variant, looks, name, target)
    section = Section(
        name=name,
        title=title(variant, everything),
        part=variant.runs[0].part,
        seeds=len(variant.keys),
        verdict=verdict(variant),
        styles=looks,
        methods=tuple(Fact(*p) for p in dict.fromkeys(p for g in variant.groups for p in about(g.method).items())),
        overview=_overview(variant, looks, name),
        best=scores(variant),
        last=scores(variant, last=True),
        cost=cost(variant),
        updates=updates_remark(variant),
        versus=_versus(variant, looks, name),
        recalls=recalls(variant),
        classes=variant.classes,
        curves=_curves(variant, looks, name),
        confusions=confusions(variant),
        matrix_width=matrix_width(variant.classes),
        mistakes=mistakes(variant),
        sizes=class_sizes(variant),
        decision=decided,
        galleries=tuple(gallery for gallery, _ in shown if gallery is not None),
        searches=searches(variant, *tuning),
        settings=settings(variant),
        notes=notes(variant),
    )
    return section, [*unread, *(aside for _, own in shown for aside in own)]


def _overview(variant: Variant, looks: dict[str, Style], name: str) -> Markup:
    rows = [Dots(g.label, looks[g.label], g.macro_f1.values, g.macro_f1.mean) for g in variant.groups]
    alt = "Macro-F1 by method: " + "; ".join(f"{g.label} {spread(g.macro_f1)}" for g in variant.groups)
    return dot_plot(rows, f"macro-F1, {variant.runs[0].part} images", f"{name}-overview", alt)


def _versus(variant: Variant, looks: dict[str, Style], name: str) -> tuple[Versus, ...]:
    references = [g for method in (*REFERENCES, CONTROL) if (g := variant.group(method)) is not None]
    return tuple(v for g in references if (v := _against(variant, g, looks, name)) is not None)


def _against(variant: Variant, reference: Group, looks: dict[str, Style], name: str) -> Versus | None:
    found = [d for g in variant.groups if g is not reference and (d := paired(g, reference)) is not None]
    if not found:
        return None
    rows = [Dots(d.label, looks[d.label], d.spread.values, d.spread.mean, d.spread.interval) for d in found]
    alt = f"Macro-F1 minus that of {reference.label}: " + "; ".join(
        f"{d.label} {spread(d.spread, sign=True)}" for d in found
    )
    xlabel = f"macro-F1 minus that of {reference.label}, same seed"
    return Versus(reference.label, dot_plot(rows, xlabel, f"{name}-{reference.method}", alt, zero=True), tuple(found))


def _curves(variant: Variant, looks: dict[str, Style], name: str) -> tuple[Markup, ...]:
    """Two figures, or none where no run's epochs could be read."""
    known = {g.label: tuple(run.curve for run in g.runs if run.curve is not None) for g in variant.groups}
    known = {label: curves for label, curves in known.items() if curves}
    if not known:
        return ()

    def figure(of: str, ylabel: str) -> Markup:
        lines = [Lines(looks[label], tuple(getattr(curve, of) for curve in own)) for label, own in known.items()]
        last = "; ".join(f"{label} {_mean_at_end(own, of)}" for label, own in known.items())
        alt = f"{ylabel} by epoch; after the last epoch: {last}"
        return curve_plot(lines, ylabel, f"{name}-{of}", alt, log=of == "loss")

    return (figure("val_macro_f1", "macro-F1, validation images"), figure("loss", "mean training loss"))


def _mean_at_end(curves: Sequence[Curve], of: str) -> str:
    return decimal(sum(getattr(curve, of)[-1] for curve in curves) / len(curves))
