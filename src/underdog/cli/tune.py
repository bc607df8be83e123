"""``underdog tune``: as many trials for every method, on validation images of a seed that is not reported."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from underdog.cli.data_cache import cache_arguments
from underdog.cli.image_options import add_images
from underdog.cli.machine_options import add_machine
from underdog.cli.methods import METHOD_HELP
from underdog.cli.training_options import add_training
from underdog.cli.values import ALL, methods, whole
from underdog.methods.table import METHODS
from underdog.names import TRIALS

__all__ = ["add_tune", "chosen", "tune"]


def add_tune(commands: Any) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "tune",
        help="choose the methods' parameters, with as many trials for each",
        description="Search for the parameters of methods by validation macro-F1 at the best epoch, with the same number of trials "
        "for each method, in runs that never see test images and whose seed is never reported. What is found is kept "
        "with the runs, and 'train' and 'compare' read it with --tuned.\n\n"
        "'underdog methods NAME' says what is searched for. The baseline has no parameter of its own, and gets a factor of --lr "
        "instead, which can only favour it.\n\n" + METHOD_HELP,
        epilog="examples:\n"
        "  underdog tune photos/ --size 64 --method ros,smote,aos\n"
        "  underdog compare photos/ --size 64 --methods ros,smote,aos --tuned\n\n"
        "A killed search goes on when the same command is given again; trials that are done are never done twice.",
    )
    add_images(command)
    cache_arguments(command.add_argument_group("cache"))
    group = command.add_argument_group("search")
    group.add_argument(
        "--method",
        type=methods,
        default=[ALL],
        metavar="A,B,...",
        help=f"methods to tune (default: {ALL} of the above)",
    )
    group.add_argument("--trials", type=whole, default=TRIALS, metavar="N", help=f"for each method (default: {TRIALS})")
    add_training(command, parameters=False)
    command.add_argument_group("output").add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR",
        help="folder of runs, in whose folder 'tuning' the trials are kept (default: runs)",
    )  # fmt: skip
    add_machine(command)
    command.set_defaults(folds=None, fold=None, devices=1)


def tune(options: argparse.Namespace) -> None:
    """Carry out the command."""
    from underdog.cli.tuning import search  # noqa: PLC0415  (torch is imported there)

    search(options, chosen(options.method))


def chosen(methods: Sequence[str]) -> list[str]:
    """The methods that were named, "all" of them being a name too.

    >>> chosen(["ros", "aos"]), chosen(["all"])[:2]
    (['ros', 'aos'], ['baseline', 'class-weighted'])
    """
    return list(METHODS) if ALL in methods else list(methods)
