"""The arguments of ``underdog bench``."""

from __future__ import annotations

from pathlib import Path

from underdog.cli.arguments.base import Commands
from underdog.cli.arguments.machine import add_device
from underdog.cli.arguments.values import whole

__all__ = ["add_bench"]


def add_bench(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "bench",
        help="how fast this machine trains, against bare loops, other libraries and its arithmetic",
        description="Measure, on random images: training of the paper's network in float32 and bfloat16 and its share of the "
        "machine's best matrix product, AOS against ROS, and time and memory to balance a set of CIFAR-10's shape. Each figure "
        "stands beside a bare loop, another library or a bound that is measured in the same run, in interleaved pairs; a library "
        "that is not installed is named. Takes some four minutes on a CPU.",
        epilog="examples:\n"
        "  underdog bench\n"
        "  underdog bench --pairs 11 --json bench.json > bench.md\n"
        "  underdog bench --device cuda --json bench-cuda.json\n\n"
        "With one thread on a CPU, times are processor time, in which other work on the machine counts less; with several, or on "
        "a GPU,\nwall time. Ratios are underdog's time or memory by the other's: less is better.",
    )
    command.add_argument(
        "--pairs",
        type=whole,
        default=5,
        metavar="N",
        help="interleaved repetitions (default: 5); short ones are made 3N times",
    )
    command.add_argument(
        "--threads",
        type=whole,
        default=1,
        metavar="N",
        help="threads of this process (default: 1, as in a grid's workers)",
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    add_device(command)
