"""A report of 150 runs: what ``underdog report`` does after its imports, against reading the same files with json and csv.

Five methods are trained for two epochs on digits, in a second each, and each run is copied under 29 other seeds, so that there are
150 runs with predictions on one problem.
"""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from measure import TimePairs, arguments, compare
from measure import report as print_table

from underdog.data.sources import load_images
from underdog.reporting import report_json, write_report
from underdog.run.execute import execute
from underdog.run.spec import RunSpec

METHODS = ("baseline", "rus", "ros", "smote", "aos(eps=16/255)")
SEEDS = 30


def runs(home: Path) -> list[Path]:
    """The folders of 150 runs."""
    source = load_images("digits")
    for method in METHODS:
        spec = RunSpec(source.fingerprint, method, rho=20, mu=0.6, epochs=2, width=0.1, lr=1e-2)
        result = execute(spec, source, home)
        for seed in range(1, SEEDS):
            other = replace(spec, seed=seed)
            copy = shutil.copytree(home / spec.id, home / other.id)
            (copy / "spec.json").write_text(json.dumps(other.to_json()))
            (copy / "result.json").write_text(json.dumps(result | {"spec": other.to_json()}))
    return sorted(home.iterdir())


def read(folders: list[Path]) -> int:
    """How many lines there are in what a report reads of every run."""
    lines = 0
    for folder in folders:
        lines += len(json.loads((folder / "result.json").read_text()))
        lines += len([json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()])
        with (folder / "predictions.csv").open(newline="") as file:
            lines += len(list(csv.reader(file)))
    return lines


def reports(folders: list[Path], page: Path, pairs: int) -> list[TimePairs]:
    n, floor = len(folders), lambda: read(folders)
    return [
        compare(f"a page on {n} runs", lambda: write_report(folders, page), floor, None, 1.0, "s", pairs),
        compare(f"{n} runs as JSON, without figures", lambda: report_json(folders), floor, None, 1.0, "s", pairs),
    ]


def main() -> None:
    options = arguments(__doc__.splitlines()[0], pairs=5).parse_args()
    with tempfile.TemporaryDirectory() as home:
        print_table(reports(runs(Path(home, "runs")), Path(home, "page.html"), options.pairs), options.json)


if __name__ == "__main__":
    main()
