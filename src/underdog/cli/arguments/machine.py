"""Options that say where and how exactly to compute."""

from __future__ import annotations

import argparse

from underdog.cli.arguments.values import duration, whole
from underdog.names import DEVICES, PRECISIONS

__all__ = ["add_device", "add_precision", "add_workers"]


def add_device(group: argparse._ActionsContainer) -> None:
    """The option that says where to compute."""
    group.add_argument(
        "--device", default="auto", help=f"{', '.join(DEVICES)} or cuda:N (default: auto, a GPU where there is one)"
    )


def add_precision(group: argparse._ActionsContainer, default: str | None = "float32") -> None:
    """The option that says how exactly to compute; by default as a grid says where that is None."""
    group.add_argument(
        "--precision", choices=PRECISIONS, default=default,
        help="bfloat16 is faster on GPUs and on CPUs with AVX-512 or AMX, and many times slower on others (default: "
        f"{default or 'what the grid says, or else float32'})",
    )  # fmt: skip


def add_workers(group: argparse._ActionsContainer, time: bool = True) -> None:
    """The options of commands that make several runs at once, with or without a limit on the time."""
    group.add_argument(
        "--workers", type=whole, metavar="N", help="runs at once (default: one for each GPU, or else as many as cores allow)"
    )  # fmt: skip
    group.add_argument(
        "--threads", type=whole, default=1, metavar="N",
        help="of each run, whatever the number of workers: results depend on it in their last digits (default: 1)",
    )  # fmt: skip
    if time:
        group.add_argument(
            "--time", type=duration, metavar="TIME",
            help="make the runs that fit into this time, such as 30m or 1h30m, whole seeds first; the same command makes the "
            "others later (default: all)",
        )  # fmt: skip
