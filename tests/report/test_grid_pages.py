"""A grid's tables as files: well-formed, harmless whatever the names are, and said on the terminal."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from extras import needs
from fake_runs import write_run
from test_report_page import Page, check

from underdog.errors import InputError
from underdog.reporting import write_tables
from underdog.reporting.grid.files import csv_text, latex, latex_table, markdown, markdown_table, plain
from underdog.reporting.grid.pictures import on_scale
from underdog.reporting.grid.sheets import Cell, Line, Sheet
from underdog.reporting.summary import Spread

NAMES = (
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    r"a_b%c&d#e$f{g}h~i^j\k",
    "| x | `y` *z* [q](r)",
    "two\nlines",
    "{{ 7 * 7 }} 日本",
)


def sheet(name: str) -> Sheet:
    highest = Cell("\N{MINUS SIGN}0.1 ± 0.2", highest=True)
    lines = (
        Line((name,), {"a": Cell("0.5", "below", record={"dataset": name, "x": -0.5}), "b": highest}),
        Line(("average",), {}, average=True),
    )
    return Sheet("t", f"title {name}", (f"remark {name}",), ("data set",), {"a": "a", "b": "b"}, lines)


def folders_of(home: Path) -> list[Path]:
    return sorted(path.parent for path in home.glob("*/result.json"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of data sets with such names, one of them on six data sets' worth of runs, and a broken run."""
    needs("scikit_posthocs")
    home = tmp_path_factory.mktemp("hostile") / "<b>runs"
    known = {}
    for i, name in enumerate(NAMES):
        known[name] = {"fingerprint": f"{i}" * 32, "source": name}
        for method, seed in product(("ros", "smote", "aos"), range(2)):
            write_run(
                home,
                method,
                seed,
                rho=20,
                mu=0.4,
                data=f"{i}" * 32,
                source=name,
                classes=("<i>", "=1", "x"),
                minority=["=1"],
            )
    (home / "grid.json").write_text(json.dumps({"name": "<u>", "datasets": known}))
    broken = home / "<u>broken"
    broken.mkdir()
    (broken / "result.json").write_text('{"spec"')
    output = home.parent / "tables"
    write_tables(folders_of(home), home, output)
    return output


def test_the_page_is_whole_and_names_are_text(hostile: Path) -> None:
    text = (hostile / "tables.html").read_text(encoding="utf-8")
    page = Page(text)
    check(text, page)
    shown = "".join(page.text)
    assert all(name in shown for name in NAMES)
    assert "<u>broken: result.json: not whole JSON" in shown
    assert not {"u", "b>"} & {name for name, _ in page.tags}
    assert "http" not in re.sub(r"http-equiv", "", text)


def test_a_critical_difference_diagram_from_six_data_sets_on(hostile: Path) -> None:
    text = (hostile / "tables.html").read_text(encoding="utf-8")
    assert text.count("Critical difference: ") == 4
    assert text.count('aria-label="Mean ranks: ') == 4
    assert "Friedman&#39;s test" in text


def test_csv_files_hold_no_formula(hostile: Path) -> None:
    cells = [
        c for path in (hostile / "csv").iterdir() for row in csv.reader(io.StringIO(path.read_text())) for c in row
    ]
    texts = [c for c in cells if not re.fullmatch(r"-?[\d.]+(e-?\d+)?", c)]
    assert texts
    assert [c for c in texts if c.lstrip().startswith(("=", "+", "-", "@"))] == []
    assert "'=cmd|' /C calc'!A0" in texts


def test_every_line_of_a_table_has_as_many_cells(hostile: Path) -> None:
    for line in (hostile / "tables.md").read_text(encoding="utf-8").split("\n"):
        if line.startswith("| ---"):
            width = line.count("|")
        elif line.startswith("|"):
            following = len(re.findall(r"(?<!\\)\|", line))
            assert following >= 2
    assert width >= 2
    for path in (hostile / "latex").iterdir():
        rows = [row for row in path.read_text(encoding="utf-8").splitlines() if row.endswith(r" \\")]
        assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1


def test_nothing_but_whole_files_is_left(hostile: Path) -> None:
    names = {path.name for path in hostile.rglob("*") if path.is_file()}
    assert not [n for n in names if n.startswith(".")]
    assert {"tables.html", "tables.md", "f1-epochs-best.csv", "f1-epochs-best.tex"} <= names


def test_a_lone_surrogate_in_a_name_does_not_cost_the_tables(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    for method, seed in product(("ros", "mine.halve:method(a=\ud801)", "mine.halve:method(a=b)"), range(2)):
        write_run(home, method, seed, rho=20, mu=0.4, source="\ud800x")
    for n in (4, 8, 16):
        write_run(home, f"aos(eps={n}/255)+mine.halve:method(a=\ud802)", rho=20, mu=0.8, source="\ud800x")
    write_tables(folders_of(home), home, tmp_path / "tables")
    rows = csv.DictReader((tmp_path / "tables" / "csv" / "f1-epochs-best.csv").read_text().splitlines())
    assert {(r["dataset"], r["column"]) for r in rows if r["line"] == "variant"} == {
        (" x", "ros"), (" x", "mine.halve:method a  "), (" x", "mine.halve:method a b"),
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_markdown_tables_keep_their_columns(name: str) -> None:
    rows = [line for line in markdown_table(sheet(name)).splitlines() if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [4] * 4
    assert "<script" not in markdown(name).replace(r"\<", "")


@pytest.mark.parametrize("name", NAMES)
def test_latex_has_no_command_of_a_name(name: str) -> None:
    text = latex_table(sheet(name))
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert not re.search(r"(?<!\\)[#%$^~_]", re.sub(r"\$(-|\\pm)\$|\{%$|^%.*$", "", latex(name)))
    assert r"$-$0.1 $\pm$ 0.2" in text
    assert text.count(r"\midrule") == 1


def test_texts_are_those_of_their_format() -> None:
    assert plain("a\n b\x00") == "a b "
    assert latex("50% of a_b & {c}") == r"50\% of a\_b \& \{c\}"
    assert markdown("a|b <c> `d`") == r"a\|b \<c\> \`d\`"
    assert csv_text([{"dataset": "=1+1", "mean": -0.5}]) == "dataset,mean\n'=1+1,-0.5\n"


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", " =1", "\t=1", "\r\n-x"])
def test_formulas_get_an_apostrophe(text: str) -> None:
    assert next(csv.reader(io.StringIO(csv_text([{"a": text}]).split("\n", 1)[1])))[0] == "'" + plain(text)


def test_numbers_keep_their_full_precision() -> None:
    row = next(csv.DictReader(io.StringIO(csv_text([{"a": -1 / 3, "b": None, "c": 2}]))))
    assert (float(row["a"]), row["b"], row["c"]) == (-1 / 3, "", "2")


def methods(**values: tuple[float, ...]) -> pd.DataFrame:
    return pd.DataFrame({label: [Spread((v,)) for v in own] for label, own in values.items()})


def test_a_method_far_below_does_not_flatten_the_others() -> None:
    near = methods(aos=(0.02, 0.01), smote=(-0.01, 0.0), baseline=(-0.03, -0.02))
    kept, far = on_scale(near.assign(rus=methods(rus=(-0.5, -0.4))))
    assert kept.equals(near)
    assert list(far) == ["rus"]
    assert [list(own) for own in on_scale(near)] == [list(near), []]
    below = methods(aos=(-0.5, math.nan), smote=(-0.01, 0.0), baseline=(-0.03, -0.02), ros=(0.0, math.nan))
    below = below.map(lambda s: s if s.mean == s.mean else math.nan)
    assert [list(own) for own in on_scale(below, keep={"aos"})] == [list(below), []]
    assert list(on_scale(below)[1]) == ["aos"]


def test_the_command_writes_tables_and_no_page(tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for method in ("ros", "aos"):
        write_run(tmp_path / "runs", method, rho=20, mu=0.4)
    ran = underdog("report", "runs", "--tables", "out/tables")
    assert ran.code == 0, ran.err
    assert "equal epochs, the best epoch by validation macro-F1:\n  On 1 data variant of 1 data set" in ran.out
    assert (tmp_path / "out" / "tables" / "tables.html").exists()
    assert not (tmp_path / "report.html").exists()
    assert underdog("report", "runs", "--tables", "out/tables", "-o", "page.html").code == 0
    assert (tmp_path / "page.html").exists()


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path, underdog: Any) -> None:
    write_run(tmp_path / "runs", "ros")
    (tmp_path / "file").write_text("mine")
    ran = underdog("report", tmp_path / "runs", "--tables", tmp_path / "file")
    assert (ran.code, (tmp_path / "file").read_text()) == (2, "mine")
    assert "must be a folder, and is a file" in ran.err


def test_nothing_is_written_where_nothing_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished run"):
        write_tables([tmp_path], tmp_path, tmp_path / "tables")
    write_run(tmp_path / "runs", "aos", rho=20, mu=0.4, tuning=True)
    with pytest.raises(InputError, match="no run with test images"):
        write_tables(folders_of(tmp_path / "runs"), tmp_path, tmp_path / "tables")
    assert not (tmp_path / "tables").exists()


def test_six_data_sets_without_the_extra_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i, method in product(range(6), ("ros", "smote", "aos")):
        write_run(tmp_path / "runs", method, rho=20, mu=0.4, data=f"{i}" * 32, source=f"set{i}")
    monkeypatch.setitem(sys.modules, "scikit_posthocs", None)
    with pytest.raises(InputError, match=r"underdog\[statistics\]"):
        write_tables(folders_of(tmp_path / "runs"), tmp_path / "runs", tmp_path / "tables")
    assert not (tmp_path / "tables").exists()
