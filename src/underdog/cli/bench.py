"""``underdog bench``: how fast this machine is at what underdog does, and what underdog adds to it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from underdog.cli.machine_options import add_device
from underdog.cli.values import whole
from underdog.validate import check_positive

if TYPE_CHECKING:
    from underdog.cli.parser import Commands

__all__ = ["add_bench", "bench"]


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
    command.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    add_device(command)


def bench(options: argparse.Namespace) -> None:
    """Carry out the command."""
    import torch  # noqa: PLC0415

    from underdog.bench.report import Report, measurements  # noqa: PLC0415  (torch is imported here)
    from underdog.bench.setting import Setting, environment, sizes_for  # noqa: PLC0415
    from underdog.cli.commands import device, say, writable  # noqa: PLC0415
    from underdog.cli.progress import bar  # noqa: PLC0415
    from underdog.run.files import write_json  # noqa: PLC0415

    check_positive("pairs", options.pairs, whole=True)
    check_positive("threads", options.threads, whole=True)
    if options.json:
        writable(options.json)
    on = torch.device(device(options.device))
    torch.set_num_threads(options.threads)
    environment(str(on))  # whose load is that before all of this
    setting = Setting(on, options.threads, options.pairs, sizes_for(on))
    figures, work = [], measurements(setting)
    with bar("measuring", len(work), "") as shown:
        for name, measure in work:
            shown.set_description(name)
            figures += list(measure())
            shown.update()
    report = Report.of(setting, figures)
    say(report.markdown())
    if options.json:
        write_json(options.json, report.to_json())
