"""The paper's results beside a grid's: which of them belong to a line, and where the runs differ from the paper's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from underdog.methods.expression import parse
from underdog.reporting import published as paper
from underdog.reporting.grid.arrange import Arrangement, DataRow
from underdog.reporting.methods import but_eps, details
from underdog.reporting.summary import Score
from underdog.reporting.words import enumerated
from underdog.run.spec import RunSpec, differing, settings_text

__all__ = ["joined", "on_scores", "on_wins", "paper_variant", "printed"]

NO_FIGURES = "The paper trained for equal epochs and scored the best of them, so it has no figures to put beside these."
#: The paper's table of each score.
TABLES = {"f1": paper.F1, "g-mean": paper.G_MEAN}


def joined(values: Iterable[object], by: str = " or ") -> str:
    return by.join(map(str, values))


def paper_variant(row: DataRow) -> paper.Variant | None:
    """The variant of the paper that a row is, or None."""
    keys = () if row.spec.majority_size is not None else paper.published().settings
    return next((key for key in keys if key == (row.dataset, row.spec.rho, row.spec.mu)), None)


def _table(grid: Arrangement, score: Score) -> int | None:
    """The number of the paper's table of this kind, if it has one: it trained for equal epochs and scored the best."""
    return TABLES[score.name] if score.name in TABLES and (grid.budget, grid.last) == ("epochs", False) else None


def printed(grid: Arrangement, score: Score, rows: Sequence[DataRow], over: str = "") -> Mapping[str, float]:
    """By method the paper's scores of a row, or its averages over a data set or all; none where these are not its rows."""
    table, keys, known = _table(grid, score), list(map(paper_variant, rows)), paper.published()
    if table is None:
        return {}
    if not over:
        return {} if keys[0] is None else known.scores[table][keys[0]]
    return known.averages_of(table, over, keys)


def on_scores(grid: Arrangement, score: Score) -> list[str]:
    """To which lines the paper has figures, and what is known of these."""
    if (table := _table(grid, score)) is None:
        return [NO_FIGURES]
    wrong = [
        f"Table {table}'s average of {m.column} on {m.row} is printed as {m.printed}; its lines give {m.correct}, which is used "
        "here."
        for m in paper.published().misprints
        if m.table == table
    ]
    known = [f"Below: the paper's Table {table}, means of 3 runs, and ours minus it.", *wrong, *_departures(grid)]
    without = [grid.rows[f[0]].name for f in grid.families if not any(paper_variant(grid.rows[i]) for i in f)]
    unknown = [f"The paper has no figures for {enumerated(without)}."] if without else []
    return [*(known if any(map(paper_variant, grid.rows)) else []), *unknown]


def on_wins(grid: Arrangement, score: Score) -> list[str]:
    """What the paper's counts are, where it has any."""
    if (table := _table(grid, score)) is None or not any(map(paper_variant, grid.rows)):
        return []
    misprints = (m for m in paper.published().misprints if m.table == table + 1)
    wrong = enumerated([f"{m.row}-{m.column} {m.correct} (printed {m.printed})" for m in misprints])
    return [
        f"Below: the same count from the paper's Table {table} on the variants that correspond, and, where all do, our wins "
        f"minus its. The paper's Table {table + 1} prints wins/losses; by Table {table} it must read {wrong}.",
        *_departures(grid),
    ]


def _departures(grid: Arrangement) -> list[str]:
    """Where runs beside which the paper's figures stand were made otherwise."""
    found = [(text, f"{row.dataset} mu {row.spec.mu:g}") for row in grid.rows for text in _departures_of(row)]
    places = {text: ", ".join(place for other, place in found if other == text) for text, _ in found}
    alike = {place: [text for text in places if places[text] == place] for place in places.values()}
    each = [f"{place}: {enumerated(texts)}" for place, texts in alike.items()]
    why = "the grid paper has what the paper says, and batches of 128 and float32, of which it says nothing"
    return [f"Not as the paper, whose figures are beside ours all the same ({why}): {'; '.join(each)}."] if each else []


def _departures_of(row: DataRow) -> Iterator[str]:
    """In what the runs are not what the grid ``paper`` makes of this variant, which is Table 2 where that says it."""
    if (key := paper_variant(row)) is None:
        return
    settings, images = paper.published().settings[key], paper.published().images[row.dataset]
    spec, run = row.spec, row.variant.runs[0]
    wanted = RunSpec(spec.data, spec.method, rho=spec.rho, mu=spec.mu, epochs=settings.epochs, lr=settings.lr)
    for name in (name for name in differing([spec, wanted]) if name not in ("revision", "devices")):
        yield f"{settings_text(spec, [name])} instead of {settings_text(wanted, [name]).removeprefix(f'{name} ')}"
    if run.image_shape != images.shape:
        yield f"images of {joined(run.image_shape, ' x ')} instead of {joined(images.shape, ' x ')}"
    if len(run.classes) != images.classes:
        yield f"{len(run.classes)} classes instead of {images.classes}"
    for label, runs in ((c.label, runs) for c, runs in row.cells.items() if c.label in paper.METHODS):
        usual = parse(f"aos(tau={settings.tau})" if label == "aos" else label)
        if (own := but_eps(runs[0].spec.expression)) != usual:
            yield f"{label} {details(own) or 'as usual'} instead of {details(usual) or 'as usual'}"
