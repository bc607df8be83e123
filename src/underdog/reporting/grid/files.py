"""The tables, figures and statistics of a folder of runs as Markdown, LaTeX, CSV and a page; names in them may be anything."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from underdog.errors import InputError
from underdog.reporting.collect import Aside, collect, tuning_runs
from underdog.reporting.grid.arrange import F1, MEASURES, REFERENCE, SELECTIONS, Arrangement, Record, arrange
from underdog.reporting.grid.pictures import Picture, pictures
from underdog.reporting.grid.sheets import Cell, Sheet, sheets, variant_sheet
from underdog.reporting.grid.verdict import paragraph
from underdog.reporting.page import environment, write_page
from underdog.reporting.statistics import OverSets, over_sets
from underdog.reporting.summary import Score
from underdog.reporting.words import plural
from underdog.run.files import read_json
from underdog.run.saved import UNREADABLE, reason

__all__ = ["csv_text", "latex", "latex_table", "markdown", "markdown_table", "plain", "write_tables"]

UNSCORED = "it has no test images; a run that chose a setting is not reported"
STRANGERS = "counted; grid.json does not know their data, so these are named after their source"
OLD = 'of the images that {} had before they changed, by grid.json\'s "before"; not counted'

_LATEX = {
    **{c: f"\\{c}" for c in "_%&#${}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", '"': r"\textquotedbl{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{"±": r"$\pm$", "\N{MINUS SIGN}": "$-$", "\N{EN DASH}": "--"},
}
#: What a spreadsheet takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class Chapter(NamedTuple):
    """Everything of one budget and selection."""

    name: str
    title: str
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
    parts = [_part(replace(grid, selection=selection)) for grid in grids for selection in SELECTIONS]
    trained = [variant_sheet(grid) for grid in grids]
    for sheet in (*trained, *(s for part in parts for s in part.sheets)):
        write_page(csv_text(sheet.records), output / "csv" / f"{sheet.name}.csv")
        write_page(latex_table(sheet), output / "latex" / f"{sheet.name}.tex")
    write_page(_markdown(parts, trained, asides), output / "tables.md")
    template = environment().get_template("tables.html.j2")
    page = template.render(parts=parts, trained=trained, asides=asides, runs=runs, plural=plural)
    write_page(page, output / "tables.html")
    return {part.title: part.verdict for part in parts}


def _read(folders: Sequence[Path], home: Path) -> tuple[tuple[Arrangement, ...], list[Aside], int]:
    """The grids, what is said of what was read, and how many runs are counted."""
    collected = collect(folders)
    now, before, unnamed = _dataset_names(home)
    tuning, tested = tuning_runs(collected.runs), [r for r in collected.runs if r.part == "test"]
    if not tested:
        raise InputError("no run with test images to make tables of: runs that chose a setting are not reported")
    known = Counter(before[r.spec.data] for r in tested if r.spec.data in before)
    old = [Aside(plural(n, "run"), OLD.format(name)) for name, n in known.items()]
    runs = [r for r in tested if r.spec.data not in before]
    if not runs:
        raise InputError(f"no run of these data to make tables of: {'; '.join(f'{a.name} {a.reason}' for a in old)}")
    unscored = [Aside(r.name, UNSCORED) for r in collected.runs if r.part != "test"]
    strangers = sum(r.spec.data not in now for r in runs) if now else 0
    foreign = [Aside(plural(strangers, "run"), STRANGERS)] if strangers else []
    asides = [*collected.asides, *unscored, *tuning.asides, *unnamed, *old, *foreign]
    return arrange(runs, tuning.runs, now), asides, len(runs)


def _dataset_names(home: Path) -> tuple[dict[str, str], dict[str, str], list[Aside]]:
    """By fingerprint, names of data sets, and of those before their images changed; none without ``grid.json``."""
    path = home / "grid.json"
    if not path.exists():
        return {}, {}, []
    try:
        known = {str(name): own for name, own in read_json(path)["datasets"].items()}
        now = {str(own["fingerprint"]): name for name, own in known.items()}
        before = {str(f): name for name, own in known.items() for f in own.get("before", []) if f not in now}
    except UNREADABLE as error:
        return {}, {}, [Aside(path.name, f"data sets are named after their sources; {reason(error)}")]
    return now, before, []


def _part(grid: Arrangement) -> Chapter:
    tested = {m: _tested(grid, m) for m in MEASURES}
    said, shown = paragraph(grid, tested[F1].said), tuple(pictures(grid, tested))
    return Chapter(*grid.names, said, tuple(sheets(grid, tested)), shown)


def _tested(grid: Arrangement, score: Score) -> OverSets:
    means = [grid.averages(score, rows) for rows in grid.datasets.values()]
    scores = {c.label: tuple(own[c] for own in means) for c in grid.columns if all(c in own for own in means)}
    return over_sets(scores, REFERENCE, len(grid.datasets), len(grid.rows))


def plain(text: str) -> str:
    """A text on one line, without control characters."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+\s*", " ", text)


def latex(text: str) -> str:
    """A text for LaTeX, where ten characters are commands."""
    return "".join(_LATEX.get(c, c) for c in plain(text))


def latex_table(sheet: Sheet) -> str:
    """A ``table`` environment, for the packages booktabs and graphicx; what stands small below a figure gets a line of its own."""
    lines = [
        "% needs \\usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{latex(sheet.title)}. {' '.join(map(latex, sheet.remarks))}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"\\begin{{tabular}}{{{'l' * len(sheet.head)}{'r' * len(sheet.titles)}}}",
        r"\toprule",
        " & ".join(map(latex, sheet.columns)) + r" \\",
        r"\midrule",
        *_latex_rows(sheet),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_rows(sheet: Sheet) -> Iterator[str]:
    after_average = False
    for line in sheet.lines:
        if after_average and not line.average:
            yield r"\midrule"
        after_average = line.average
        cells = sheet.cells(line)
        figures = (rf"\textbf{{{latex(c.text)}}}" if c.highest else latex(c.text) for c in cells)
        yield " & ".join((*map(latex, line.head), *figures)) + r" \\"
        if any(c.beside for c in cells):
            small = (rf"\scriptsize {latex(c.beside)}" if c.beside else "" for c in cells)
            yield " & ".join((*("" for _ in line.head), *small)) + r" \\"


def markdown(text: str) -> str:
    """A text for Markdown, on one line: characters that would be markup are escaped."""
    return re.sub(r"([\\`*_\[\]<>|#~$&])", r"\\\1", plain(text))


def markdown_table(sheet: Sheet) -> str:
    """A heading, a table, and its remarks."""
    rows = [list(map(markdown, sheet.columns)), ["---"] * len(sheet.head) + ["---:"] * len(sheet.titles)]
    for line in sheet.lines:
        mark = "*" if line.average else ""
        heads = (f"{mark}{markdown(t)}{mark}" if t else "" for t in line.head)
        rows.append([*heads, *map(_in_markdown, sheet.cells(line))])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"### {markdown(sheet.title)}\n\n{table}\n\n{' '.join(map(markdown, sheet.remarks))}\n"


def _in_markdown(cell: Cell) -> str:
    small = f"<br>{markdown(cell.beside)}" if cell.beside else ""
    return (f"**{markdown(cell.text)}**" if cell.highest else markdown(cell.text)) + small


def _markdown(parts: Iterable[Chapter], trained: Iterable[Sheet], asides: Sequence[Aside]) -> str:
    text = ["# Tables\n"]
    for part in parts:
        text.append(f"## {markdown(part.title[0].upper() + part.title[1:])}\n")
        text += [f"{markdown(' '.join(part.verdict))}\n", *map(markdown_table, part.sheets)]
    text += ["## Data and training\n", *map(markdown_table, trained)]
    if asides:
        text += ["## Set aside\n", *(f"- {markdown(a.name)}: {markdown(a.reason)}" for a in asides), ""]
    return "\n".join(text)


def csv_text(records: Iterable[Record]) -> str:
    """Records with full precision; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    # As objects, so that counts stay whole beside cells without one.
    frame = pd.DataFrame([{k: _harmless(v) for k, v in r.items()} for r in records], dtype=object)
    return str(frame.to_csv(index=False, lineterminator="\n"))


def _harmless(value: Any) -> Any:
    if not isinstance(value, str):
        return json.dumps(value) if isinstance(value, tuple) else value
    text = plain(value)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
