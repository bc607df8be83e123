"""Tables as Markdown, LaTeX and CSV; names in them may be anything."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from underdog.reporting.grid_sheets import Cell, Record, Sheet

__all__ = ["csv_text", "latex", "latex_table", "markdown", "markdown_table"]

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    **{c: f"\\{c}" for c in "_%&#${}"},
}
#: What a spreadsheet takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def plain(text: str) -> str:
    """A text on one line, without control characters.

    >>> plain("a\\n b\\x00")
    'a b '
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+\s*", " ", text)


def latex(text: str) -> str:
    r"""A text for LaTeX, where ten characters are commands.

    >>> print(latex("50% of a_b & {c}"))
    50\% of a\_b \& \{c\}
    """
    return "".join(_LATEX.get(c, c) for c in plain(text))


def latex_table(sheet: Sheet) -> str:
    """A ``table`` environment, for the packages booktabs and graphicx; what stands small below a figure gets a line of its own."""
    width = len(sheet.head) + len(sheet.columns)
    rows = [r"\midrule" if line is None else line for line in _latex_rows(sheet)]
    titles = " & ".join(map(latex, (*sheet.head, *sheet.columns)))
    return "\n".join(
        [
            "% needs \\usepackage{booktabs,graphicx}",
            r"\begin{table}",
            r"\centering",
            f"\\caption{{{latex(sheet.title)}. {' '.join(map(latex, sheet.remarks))}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            f"\\begin{{tabular}}{{{'l' * len(sheet.head)}{'r' * (width - len(sheet.head))}}}",
            r"\toprule",
            f"{titles} \\\\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _latex_rows(sheet: Sheet) -> list[str | None]:
    """Rows, and None where a rule goes."""
    found: list[str | None] = []
    for i, line in enumerate(sheet.lines):
        if i and sheet.lines[i - 1].average and not line.average:
            found.append(None)
        figures = [latex(c.text) for c in line.cells]
        figures = [rf"\textbf{{{t}}}" if c.highest else t for t, c in zip(figures, line.cells, strict=True)]
        found.append(" & ".join([*map(latex, line.head), *figures]) + r" \\")
        if any(c.beside for c in line.cells):
            small = [rf"\scriptsize {latex(c.beside)}" if c.beside else "" for c in line.cells]
            found.append(" & ".join([*([""] * len(line.head)), *small]) + r" \\")
    return found


def markdown(text: str) -> str:
    r"""A text for Markdown, on one line: characters that would be markup are escaped.

    >>> print(markdown("a|b <c> `d`"))
    a\|b \<c\> \`d\`
    """
    return re.sub(r"([\\`*_\[\]<>|#~$&])", r"\\\1", plain(text))


def markdown_table(sheet: Sheet) -> str:
    """A heading, a table, and its remarks."""
    titles = [markdown(t) for t in (*sheet.head, *sheet.columns)]
    rules = ["---"] * len(sheet.head) + ["---:"] * len(sheet.columns)
    rows = [
        [markdown(t) if not line.average else f"*{markdown(t)}*" if t else "" for t in line.head]
        + [_md(c) for c in line.cells]
        for line in sheet.lines
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (titles, rules, *rows))
    return f"### {markdown(sheet.title)}\n\n{table}\n\n{' '.join(map(markdown, sheet.remarks))}\n"


def _md(cell: Cell) -> str:
    text = markdown(cell.text)
    text = f"**{text}**" if cell.highest else text
    return f"{text}<br>{markdown(cell.beside)}" if cell.beside else text


def csv_text(records: Sequence[Record]) -> str:
    """Records with full precision; a text that a spreadsheet would take for a formula gets an apostrophe in front.

    >>> print(csv_text([{"dataset": "=1+1", "mean": -0.5}]), end="")
    dataset,mean
    '=1+1,-0.5
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _harmless(v) if isinstance(v, str) else v for k, v in r.items()} for r in records)
    return buffer.getvalue()


def _harmless(text: str) -> str:
    text = plain(text)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
