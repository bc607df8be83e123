"""What the scripts here have in common: their options, and their table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from underdog.bench.report import comparison_table, environment_line
from underdog.bench.setting import environment, random_images
from underdog.bench.timing import TimePairs, Work, compare, interval

__all__ = ["TimePairs", "Work", "arguments", "compare", "environment", "interval", "random_images", "report"]


def arguments(description: str, pairs: int | None) -> argparse.ArgumentParser:
    """A parser with the options that benchmarks have, ``--pairs`` where they compare pairs; one thread from here on."""
    torch.set_num_threads(1)
    environment()
    parser = argparse.ArgumentParser(description=description)
    if pairs is not None:
        parser.add_argument("--pairs", type=int, default=pairs, help="interleaved repetitions (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    return parser


def report(rows: Sequence[TimePairs], file: Path | None, more: Mapping[str, object] | None = None) -> None:
    """Print the environment and a table in Markdown, and write both as JSON where asked."""
    machine = environment()
    print(environment_line(machine), comparison_table(rows), sep="\n\n")
    if file:
        file.write_text(
            json.dumps({"environment": machine, "rows": [asdict(r) for r in rows], **(more or {})}, indent=2) + "\n"
        )
