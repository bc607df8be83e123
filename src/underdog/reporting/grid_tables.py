"""The tables, figures and statistics of a folder of runs, in every format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from underdog.errors import InputError
from underdog.reporting.collect import Aside, collect, tuning_runs
from underdog.reporting.grid_arrange import arrange
from underdog.reporting.grid_counts import UPDATES, ZERO_RECALL, cost_sheet, wins_sheet
from underdog.reporting.grid_data import dataset_names, of_these_data, reported
from underdog.reporting.grid_differences import (
    OverSets,
    difference_sheets,
    over_sets,
    over_sets_sheets,
)
from underdog.reporting.grid_eps import eps_sheet
from underdog.reporting.grid_formats import csv_text, latex_table, markdown, markdown_table
from underdog.reporting.grid_pictures import Picture, pictures
from underdog.reporting.grid_runs import SELECTIONS, Grid
from underdog.reporting.grid_sheets import MEASURES, Setup, Sheet, score_sheet
from underdog.reporting.grid_variants import variant_sheet
from underdog.reporting.grid_verdict import paragraph
from underdog.reporting.page import environment, write_page
from underdog.reporting.words import plural
from underdog.run.files import write_atomic

__all__ = ["write_tables"]

STRANGERS = "counted; grid.json does not know their data, so these are named after their source"


@dataclass(frozen=True)
class Part:
    """Everything of one budget and selection."""

    setup: Setup
    verdict: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    pictures: tuple[Picture, ...]


def write_tables(folders: Sequence[Path], home: Path, output: Path) -> dict[str, tuple[str, ...]]:
    """Write a grid's tables: ``tables.html``, ``tables.md``, and each table in ``csv/`` and ``latex/``.

    Args:
        folders: of runs, each with ``result.json``; what cannot be read is named in the tables and not counted.
        home: folder of the runs, with the ``grid.json`` that names their data sets, if there is one.
        output: folder for the files, each of which is written whole or not at all.

    Returns:
        What the tables say, sentences for each budget and selection.

    Raises:
        InputError: no folder holds a readable run, or scikit-posthocs is missing and there are data sets enough to need it.

    *Source*: Tables 2 to 6 of the paper.
    """
    grids, asides, runs = _read(folders, home)
    parts = [_part(Setup(grid, selection)) for grid in grids for selection in SELECTIONS]
    trained = [variant_sheet(grid) for grid in grids]
    for sheet in (*trained, *(s for part in parts for s in part.sheets)):
        _write(output / "csv" / f"{sheet.name}.csv", csv_text(sheet.records))
        _write(output / "latex" / f"{sheet.name}.tex", latex_table(sheet))
    _write(output / "tables.md", _markdown(parts, trained, asides))
    templates = environment()
    templates.globals |= {"plural": plural}
    page = templates.get_template("grid.html.j2").render(parts=parts, trained=trained, asides=asides, runs=runs)
    write_page(page, output / "tables.html")
    return {part.setup.title: part.verdict for part in parts}


def _write(path: Path, text: str) -> None:
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="replace"))


def _read(folders: Sequence[Path], home: Path) -> tuple[tuple[Grid, ...], tuple[Aside, ...], int]:
    collected = collect(folders)
    runs, unscored = reported(collected.runs)
    if not runs:
        raise InputError("no run with test images to make tables of: runs that chose a setting are not reported")
    tuning = tuning_runs(collected.runs)
    names = dataset_names(home)
    runs, old = of_these_data(runs, names)
    if not runs:
        raise InputError(f"no run of these data to make tables of: {'; '.join(f'{a.name} {a.reason}' for a in old)}")
    strangers = [r for r in runs if names.now and r.spec.data not in names.now]
    foreign = [Aside(plural(len(strangers), "run"), STRANGERS)] if strangers else []
    asides = (*collected.asides, *unscored, *tuning.asides, *names.asides, *old, *foreign)
    return arrange(runs, tuning.runs, names.now), asides, len(runs)


def _part(setup: Setup) -> Part:
    tested = tuple(over_sets(setup, measure) for measure in MEASURES)
    return Part(setup, paragraph(setup, tested), tuple(_sheets(setup, tested)), tuple(pictures(setup, tested)))


def _sheets(setup: Setup, tested: Sequence[OverSets]) -> Iterable[Sheet]:
    if setup.grid.sweeps:
        yield eps_sheet(setup)
    if not setup.grid.columns:
        return
    for measure in MEASURES:
        yield score_sheet(setup, measure)
        yield wins_sheet(setup, measure)
    yield cost_sheet(setup, ZERO_RECALL)
    if setup.selection == "best":  # at the last epoch it is the same
        yield cost_sheet(setup, UPDATES)
    yield from difference_sheets(setup)
    yield from over_sets_sheets(setup, tested)


def _markdown(parts: Sequence[Part], trained: Sequence[Sheet], asides: Sequence[Aside]) -> str:
    text = ["# Tables\n"]
    for part in parts:
        text.append(f"## {markdown(part.setup.title[0].upper() + part.setup.title[1:])}\n")
        text += [f"{markdown(' '.join(part.verdict))}\n", *map(markdown_table, part.sheets)]
    text += ["## Data and training\n", *map(markdown_table, trained)]
    if asides:
        text += ["## Set aside\n", *(f"- {markdown(a.name)}: {markdown(a.reason)}" for a in asides), ""]
    return "\n".join(text)
