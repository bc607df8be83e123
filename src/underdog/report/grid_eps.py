"""Macro-F1 by eps, where that was swept, as a table."""

from __future__ import annotations

from underdog.report.grid_runs import Sweep, details
from underdog.report.grid_sheets import F1, Cell, Line, Record, Setup, Sheet, head_of, head_titles, row_record
from underdog.report.summary import Group, Spread, eps_text
from underdog.report.words import decimal

__all__ = ["eps_sheet"]


def eps_sheet(setup: Setup) -> Sheet:
    """What the figures of macro-F1 by eps show."""
    rows, sweeps = setup.grid.rows, setup.grid.sweeps
    sizes = sorted({_eps(g) for sweep in sweeps for own in sweep.groups.values() for g in own})
    lines, records = [], []
    for sweep in sweeps:
        for own in sweep.groups.values():
            by_eps = {_eps(g): g for g in own}
            cells = tuple(_cell(setup, by_eps[eps]) if eps in by_eps else Cell() for eps in sizes)
            lines.append(Line((*head_of(sweep.row, rows), _name(own[0])), cells))
            records += [_record(setup, sweep, g) for g in own]
    return Sheet(
        name=f"f1-by-eps-{setup.name}",
        title=f"Macro-F1 by eps: {setup.title}",
        remarks=(
            "Mean ± sample standard deviation over runs, n in each cell; test images, so the highest eps here is chosen in "
            "hindsight.",
        ),
        head=(*head_titles(rows), "method"),
        columns=tuple(map(eps_text, sizes)),
        lines=tuple(lines),
        records=tuple(records),
    )


def _eps(group: Group) -> float:
    return group.runs[0].spec.eps or 0.0


def _name(group: Group) -> str:
    return f"{group.method} {details(group.runs[0].spec.setting._replace(eps=None))}"


def _spread(setup: Setup, group: Group) -> Spread:
    return Spread(tuple(F1(run, setup.selection) for run in group.runs))


def _cell(setup: Setup, group: Group) -> Cell:
    found = _spread(setup, group)
    sd = "" if found.sd is None else f" ± {decimal(found.sd, F1.digits)}"
    return Cell(decimal(found.mean, F1.digits) + sd, f"n {found.n}")


def _record(setup: Setup, sweep: Sweep, group: Group) -> Record:
    found, spec = _spread(setup, group), group.runs[0].spec
    figures = {"n": found.n, "mean": found.mean, "sd": found.sd}
    return {**row_record(sweep.row), "method": spec.method, "eps": spec.eps, "tau": spec.tau, **figures}
