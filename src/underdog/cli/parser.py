"""What the command line accepts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn, TypeAlias

from underdog import __version__
from underdog.cli.bench import add_bench
from underdog.cli.data import add_data
from underdog.cli.data_cache import cache_arguments
from underdog.cli.export import add_export
from underdog.cli.grid import add_grid
from underdog.cli.image_options import add_images
from underdog.cli.machine_options import add_machine
from underdog.cli.methods import METHOD_HELP, add_methods
from underdog.cli.predict import add_predict
from underdog.cli.training_options import add_training
from underdog.cli.tune import add_tune
from underdog.cli.values import method, methods, number, whole
from underdog.names import TARGET_PRECISION

__all__ = ["DEMO", "DEMO_EPS", "DEMO_METHODS", "DEMO_SEEDS", "parser"]

Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"  # the type has no public name

#: The demo's settings; eps is what validation chose on seeds that the demo does not report (docs/results.md).
DEMO = {"rho": 20.0, "mu": 0.6, "lr": 1e-3, "epochs": 20, "batch": 64}
DEMO_EPS = 16 / 255
DEMO_METHODS = ("baseline", "rus", "ros", "smote", "noise", "aos")
DEMO_SEEDS = 3


def parser() -> argparse.ArgumentParser:
    """The parser of ``underdog`` and its commands."""
    root = _Parser(
        prog="underdog",
        description="Train image classifiers when some classes are rare, and see whether it helped.",
        epilog="examples:\n"
        "  underdog demo\n"
        "  underdog train photos/ --size 64 --method aos\n"
        "  underdog compare photos/ --size 64 --methods baseline,ros,aos --seeds 5 -o report.html\n\n"
        "'underdog COMMAND --help' explains a command.",
    )
    root.add_argument("--version", action="version", version=f"underdog {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    for add in (
        _demo,
        _train,
        _compare,
        add_methods,
        add_grid,
        add_tune,
        _report,
        add_data,
        add_predict,
        add_export,
        add_bench,
    ):
        add(commands)
    return root


class _Parser(argparse.ArgumentParser):
    """Keeps the line breaks of descriptions and epilogues, understands no abbreviated option, and complains in one line."""

    def __init__(self, **options: object) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"underdog: error: {message} ('{self.prog} --help' explains)\n")


def _demo(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "demo",
        help="compare six methods on scanned digits, in a minute and a half",
        description=f"Compare {', '.join(DEMO_METHODS)} with {DEMO_SEEDS} seeds each on scikit-learn's 1,797 digits, six of the "
        "ten classes cut to a twentieth, and write a report. eps was chosen on validation images of seeds that the demo "
        "does not report.",
        epilog="example:\n  underdog demo -o report.html",
    )
    _out(command, "demo-runs", report="report.html")
    add_machine(command)


def _train(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "train",
        help="one method, one run: a saved model and its scores",
        description="Train one network with one method, choose its best epoch on validation images, and score it on test "
        "images.\n\n" + METHOD_HELP,
        epilog="examples:\n"
        "  underdog train photos/ --size 64 --method aos --eps 8/255 --tau 0.5\n"
        "  underdog train mnist.tar --method ros --rho 60 --mu 0.6 --epochs 20 --lr 1e-4\n"
        "  underdog train digits --method smote --rho 20 --mu 0.6 --batch 64\n"
        "  underdog train photos/ --size 224 --model resnet20 --batch 256 --devices 2\n\n"
        "A killed run goes on where it was when the same command is given again.",
    )
    add_images(command)
    cache_arguments(command.add_argument_group("cache"))
    command.add_argument(
        "--method", type=method, default="aos", metavar="NAME", help="a method, see above (default: aos)"
    )
    add_training(command)
    command.add_argument(
        "--folds", type=whole, metavar="K", help="divide the images into K folds, of which --fold is the test part"
    )
    command.add_argument("--fold", type=whole, metavar="I", help="the fold, 0 to K-1, to test on")
    command.add_argument("--seed", type=whole, default=0, help="seed of weights, shuffling and resampling (default: 0)")
    command.add_argument(
        "--data-seed", type=whole, default=0, help="seed of validation part and imbalance (default: 0)"
    )
    _target(command)
    _out(command, "runs")
    add_machine(command)
    command.add_argument(
        "--devices", type=whole, default=1, metavar="N",
        help="GPUs (with --device cpu: processes) that share each batch; BatchNorm sees their shares, so the figures, and the "
        "run, are others than with one (default: 1)",
    )  # fmt: skip


def _compare(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "compare",
        help="several methods, several seeds, one report",
        description="Train with several methods and seeds on the same data, and write a report on which method wins and by how "
        "much.\n\n" + METHOD_HELP,
        epilog="examples:\n"
        "  underdog compare photos/ --size 64 --methods baseline,ros,aos --seeds 5 -o report.html\n"
        "  underdog compare digits --rho 20 --mu 0.6 --eps 16/255 --methods 'aos,aos(attack=pgd),aos+balanced-softmax'\n"
        "  underdog compare mnist.tar --rho 60 --mu 0.6 --epochs 20 --lr 1e-4 --seeds 3\n\n"
        "Finished runs are never done again; a killed comparison goes on when the same command is given again.",
    )
    add_images(command)
    cache_arguments(command.add_argument_group("cache"))
    command.add_argument(
        "--methods", type=methods, default=list(DEMO_METHODS), metavar="A,B,...",
        help=f"methods to compare (default: {','.join(DEMO_METHODS)})",
    )  # fmt: skip
    add_training(command)
    command.add_argument(
        "--folds",
        type=whole,
        metavar="K",
        help="cross-validation: repeat each seed with each of K folds as the test part",
    )
    command.add_argument(
        "--seeds", type=whole, default=3, metavar="N", help="seeds 0 to N-1 for each method (default: 3)"
    )
    command.add_argument(
        "--data-seed", type=whole, metavar="SEED",
        help="one seed for the data of all runs (default: each seed draws its own validation part and imbalance)",
    )  # fmt: skip
    _target(command)
    _out(command, "runs", report="report.html")
    add_machine(command)
    command.set_defaults(devices=1)  # runs are compared one after the other


def _report(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "report",
        help="a page, or tables, on runs that are finished",
        description="Write one self-contained HTML page on the finished runs in a folder; or, with --tables, the tables of a grid: "
        "scores, wins and paired differences over data sets and methods, beside the paper's figures, as HTML, Markdown, CSV and "
        "LaTeX; or, with --json, everything that the page says as numbers (docs/tables.md).",
        epilog="examples:\n  underdog report runs/ -o report.html\n  underdog report runs/ --target-precision 0.9\n"
        "  underdog report runs/ --tables tables/\n  underdog report runs/ --json -",
    )
    command.add_argument("runs", type=Path, metavar="RUNS", help="folder of runs")
    command.add_argument(
        "--target-precision", type=number, metavar="P",
        help=f"thresholds and recalls at this precision, in (0, 1] (default: that of the runs, or {TARGET_PRECISION})",
    )  # fmt: skip
    command.add_argument(
        "--tables", type=Path, metavar="DIR", help="folder for tables; the page is then written only if -o asks for it"
    )
    command.add_argument(
        "--json", metavar="FILE",
        help="file for what the page says as numbers, or - for standard output; the page is then written only if -o asks for it",
    )  # fmt: skip
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="page to write (default: report.html)")


def _target(command: argparse.ArgumentParser) -> None:
    command.add_argument_group("decision").add_argument(
        "--target-precision", type=number, default=TARGET_PRECISION, metavar="P",
        help="precision in (0, 1] that the threshold of each class has to reach on validation images "
        f"(default: {TARGET_PRECISION}); runs that are finished keep theirs",
    )  # fmt: skip


def _out(command: argparse.ArgumentParser, folder: str, report: str | None = None) -> None:
    group = command.add_argument_group("output")
    group.add_argument(
        "--out", type=Path, default=Path(folder), metavar="DIR", help=f"folder of runs (default: {folder})"
    )
    if report:
        group.add_argument(
            "-o", "--output", type=Path, default=Path(report), metavar="FILE", help=f"page to write (default: {report})"
        )
