"""Options that say where and how exactly to compute."""

from __future__ import annotations

import argparse

from underdog.names import DEVICES, PRECISIONS

__all__ = ["add_device", "add_machine"]


def add_device(command: argparse._ActionsContainer) -> None:
    """The option that says where to compute."""
    command.add_argument(
        "--device", default="auto", help=f"{', '.join(DEVICES)} or cuda:N (default: auto, a GPU where there is one)"
    )


def add_machine(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("machine")
    add_device(group)
    group.add_argument(
        "--precision", choices=PRECISIONS, default="float32",
        help="bfloat16 is faster on GPUs and on CPUs with AVX-512 (default: float32)",
    )  # fmt: skip
