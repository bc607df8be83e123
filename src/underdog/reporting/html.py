"""One self-contained page, or JSON, on a set of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from underdog.reporting import facts, words
from underdog.reporting.collect import Aside, collect, tuning_runs, tuning_studies
from underdog.reporting.images import PIXELATED, png, signs_png
from underdog.reporting.methods import eps_text
from underdog.reporting.page import environment, write_page
from underdog.reporting.plain import json_text
from underdog.reporting.plots import Style, curve_plot, dot_plot, recall_plot, styles
from underdog.reporting.problem import Problem, problem_of
from underdog.reporting.summary import COSTS, SCORES, Difference, variants
from underdog.reporting.text import decision_text
from underdog.reporting.words import decimal, estimate, spread

__all__ = ["Findings", "read_report", "report_json", "write_report"]


@dataclass(frozen=True)
class Findings:
    """What a set of runs says: a problem for each data and settings, and what could not be used."""

    runs: int
    problems: tuple[Problem, ...]
    set_aside: tuple[Aside, ...]


def write_report(folders: Sequence[Path], output: Path, target_precision: float | None = None) -> str:
    """Write a page that compares finished runs; it opens without a network and runs no script.

    Runs of different data or settings get a section each. Folders that hold no readable run are named on the page.

    Args:
        folders: of runs, each with ``result.json``.
        output: the page; written whole or not at all. A name that ends with ``.json`` gets what the page says as numbers.
        target_precision: what thresholds have to reach on validation; that of the runs by default.

    Returns:
        What the page says of decisions, as text for a terminal; empty where no run has predictions of test images.

    Raises:
        InputError: no folder holds a readable run.
    """
    report = read_report(folders, target_precision)
    write_page(json_text(report) if output.suffix == ".json" else page(report), output)
    return decision_text([(p.title, p.decision) for p in report.problems if p.decision is not None])


def report_json(folders: Sequence[Path], target_precision: float | None = None) -> str:
    """Everything that a page says, as JSON; arguments and errors as ``write_report``."""
    return json_text(read_report(folders, target_precision))


def read_report(folders: Sequence[Path], target_precision: float | None = None) -> Findings:
    """Everything that a report on finished runs says; arguments and errors as ``write_report``."""
    collected = collect(folders)
    found, tuning = variants(collected.runs), tuning_runs(collected.runs)
    studies, unread = tuning_studies(collected.runs)
    made = [problem_of(v, found, tuning.runs, studies, target_precision) for v in found]
    asides = (*collected.asides, *tuning.asides, *unread, *(aside for _, own in made for aside in own))
    return Findings(len(collected.runs), tuple(problem for problem, _ in made), asides)


@dataclass(frozen=True)
class Section:
    """A problem, the prefix of its ids on the page, how its methods look, and its figures."""

    id: str
    problem: Problem
    styles: dict[str, Style]
    overview: Markup
    versus: dict[str, tuple[Markup, list[Difference]]]
    curves: tuple[Markup, ...]
    multiples: dict[str, Markup]


def page(report: Findings) -> str:
    """The page."""
    templates = environment()
    templates.globals |= {name: getattr(words, name) for name in words.__all__}
    templates.globals |= {f.__name__: f for f in (eps_text, png, signs_png, matrix_width)}
    templates.globals |= {"SCORES": SCORES, "COSTS": COSTS, "PIXELATED": PIXELATED}
    sections = [_section(problem, f"v{i}") for i, problem in enumerate(report.problems)]
    return templates.get_template("report.html.j2").render(report=report, sections=sections, facts_of=facts)


def matrix_width(classes: tuple[str, ...]) -> float:
    """About how wide a matrix with its row names is on the page, in rem."""
    return round(1.5 + 1.95 * len(classes) + 0.45 * min(max(map(len, classes)), 17), 1)


def _section(problem: Problem, name: str) -> Section:
    looks = styles([(label, m.method) for label, m in problem.methods.items()])
    return Section(
        id=name,
        problem=problem,
        styles=looks,
        overview=_overview(problem, looks, name),
        versus=_versus(problem, looks, name),
        curves=_curves(problem, looks, name),
        multiples=_multiples(problem, looks, name),
    )


def _overview(problem: Problem, looks: dict[str, Style], name: str) -> Markup:
    rows = {label: own for label, m in problem.methods.items() if (own := m.best["macro_f1"]) is not None}
    alt = "Macro-F1 by method: " + "; ".join(f"{label} {spread(own)}" for label, own in rows.items())
    return dot_plot(rows, looks, f"macro-F1, {problem.part} images", f"{name}-overview", alt)


def _versus(problem: Problem, looks: dict[str, Style], name: str) -> dict[str, tuple[Markup, list[Difference]]]:
    """A figure and the paired differences by reference."""
    found: dict[str, list[Difference]] = {}
    for d in problem.differences:
        found.setdefault(d.reference, []).append(d)
    made = {}
    for reference, own in found.items():
        rows, title = {d.label: d.spread for d in own}, f"acro-F1 minus that of {reference}"
        alt = f"M{title}: " + "; ".join(f"{label} {spread(s, sign=True)}" for label, s in rows.items())
        figure = dot_plot(
            rows, looks, f"m{title}, same seed", f"{name}-{problem.methods[reference].method}", alt, differences=True
        )
        made[reference] = figure, own
    return made


def _curves(problem: Problem, looks: dict[str, Style], name: str) -> tuple[Markup, ...]:
    """Two figures, or none where no run's epochs could be read."""
    known = {label: m.curves for label, m in problem.methods.items() if m.curves}

    def figure(of: str, ylabel: str) -> Markup:
        lines = {label: [getattr(curve, of) for curve in own] for label, own in known.items()}
        last = "; ".join(f"{label} {decimal(sum(v[-1] for v in own) / len(own))}" for label, own in lines.items())
        alt = f"{ylabel} by epoch; after the last epoch: {last}"
        return curve_plot(lines, looks, ylabel, f"{name}-{of}", alt, log=of == "loss")

    named = {"val_macro_f1": "macro-F1, validation images", "loss": "mean training loss"}
    return tuple(figure(of, ylabel) for of, ylabel in named.items()) if known else ()


def _multiples(problem: Problem, looks: dict[str, Style], name: str) -> dict[str, Markup]:
    """Precision against recall, a figure for each rare class."""
    if (found := problem.decision) is None:
        return {}
    figures = {}
    for i, c in enumerate(found.classes):
        said = (f"{label} {estimate(own.average_precision)}" for label, own in c.methods.items())
        alt = f"Precision against recall of class {c.name}; average precision: {'; '.join(said)}"
        lines = {label: own.precision for label, own in c.methods.items()}
        figures[c.name] = recall_plot(lines, looks, c.share, found.target, f"{name}-pr{i}", alt)
    return figures
