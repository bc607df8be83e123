"""Macro-F1 by eps, where that was swept, as a table."""

from __future__ import annotations

from underdog.reporting.grid_runs import Sweep
from underdog.reporting.grid_sheets import F1, Cell, Line, Record, Setup, Sheet, head_of, head_titles, row_record
from underdog.reporting.methods import but_eps, details, eps_of, eps_text
from underdog.reporting.summary import Group, Spread
from underdog.reporting.words import decimal

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
    return eps_of(group.runs[0].spec)


def _name(group: Group) -> str:
    return f"{group.method} {details(but_eps(group.runs[0].spec.expression))}"


def _spread(setup: Setup, group: Group) -> Spread:
    return Spread(tuple(F1(run, setup.selection) for run in group.runs))


def _cell(setup: Setup, group: Group) -> Cell:
    found = _spread(setup, group)
    sd = "" if found.sd is None else f" ± {decimal(found.sd, F1.digits)}"
    return Cell(decimal(found.mean, F1.digits) + sd, f"n {found.n}")


def _record(setup: Setup, sweep: Sweep, group: Group) -> Record:
    found, tau = _spread(setup, group), group.runs[0].spec.expression.number("tau")
    figures = {"n": found.n, "mean": found.mean, "sd": found.sd}
    return {**row_record(sweep.row), "method": group.method, "eps": _eps(group), "tau": tau, **figures}
