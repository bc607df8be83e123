"""What the command line accepts."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

from underdog import __version__
from underdog.names import BUDGETS, DEVICES, EPS_GRID, LAYOUTS, METHODS, MODELS, PRECISIONS, RESIZES

__all__ = ["DEMO", "DEMO_METHODS", "DEMO_SEEDS", "parser"]

Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"  # the type has no public name

#: The demo's settings; eps is what validation chose on seeds that the demo does not report (docs/results.md).
DEMO = {"rho": 20.0, "mu": 0.6, "lr": 1e-3, "epochs": 20, "batch": 64, "tau": 0.5, "eps": 16 / 255}
DEMO_METHODS = ("baseline", "rus", "ros", "smote", "noise", "aos")
DEMO_SEEDS = 3

_METHODS = "\n".join(f"  {name:<17} {text}" for name, text in METHODS.items())
_GRID = ", ".join(f"{n}/255" for n in EPS_GRID)


def number(text: str) -> float:
    """A decimal or a fraction, such as 0.03 or 8/255."""
    try:
        return float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 0.03 or 8/255") from None


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def size(text: str) -> tuple[int, int]:
    """SIZE or WIDTHxHEIGHT, returned as (height, width)."""
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size in pixels such as 64 or 64x48 (width x height)")
    return int(parts[-1]), int(parts[0])


def names(text: str) -> list[str]:
    """A comma-separated list without empty or repeated names."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError("at least one name is needed")
    return list(dict.fromkeys(found))


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

    for add in (_demo, _train, _compare, _report):
        add(commands)
    return root


class _Parser(argparse.ArgumentParser):
    """Keeps the line breaks of descriptions and epilogues, and understands no abbreviated option."""

    def __init__(self, **options: object) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)  # type: ignore[arg-type]


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
    _machine(command)


def _train(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "train",
        help="one method, one run: a saved model and its scores",
        description="Train one network with one method, choose its best epoch on validation images, and score it on test "
        "images.\n\nmethods:\n" + _METHODS,
        epilog="examples:\n"
        "  underdog train photos/ --size 64 --method aos --eps 8/255 --tau 0.5\n"
        "  underdog train mnist.tar --method ros --rho 60 --mu 0.6 --epochs 20 --lr 1e-4\n"
        "  underdog train digits --method smote --rho 20 --mu 0.6 --batch 64\n\n"
        "A killed run goes on where it was when the same command is given again.",
    )
    _data(command)
    command.add_argument("--method", default="aos", metavar="NAME", help="one of the methods above (default: aos)")
    _training(command)
    command.add_argument(
        "--folds", type=whole, metavar="K", help="divide the images into K folds, of which --fold is the test part"
    )
    command.add_argument("--fold", type=whole, metavar="I", help="the fold, 0 to K-1, to test on")
    command.add_argument("--seed", type=whole, default=0, help="seed of weights, shuffling and resampling (default: 0)")
    command.add_argument(
        "--data-seed", type=whole, default=0, help="seed of validation part and imbalance (default: 0)"
    )
    _out(command, "runs")
    _machine(command)


def _compare(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "compare",
        help="several methods, several seeds, one report",
        description="Train with several methods and seeds on the same data, and write a report on which method wins and by how "
        "much.\n\nmethods:\n" + _METHODS,
        epilog="examples:\n"
        "  underdog compare photos/ --size 64 --methods baseline,ros,aos --seeds 5 -o report.html\n"
        "  underdog compare mnist.tar --rho 60 --mu 0.6 --epochs 20 --lr 1e-4 --seeds 3\n\n"
        "Finished runs are never done again; a killed comparison goes on when the same command is given again.",
    )
    _data(command)
    command.add_argument(
        "--methods", type=names, default=list(DEMO_METHODS), metavar="A,B,...",
        help=f"methods to compare (default: {','.join(DEMO_METHODS)})",
    )  # fmt: skip
    _training(command)
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
    _out(command, "runs", report="report.html")
    _machine(command)


def _report(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "report",
        help="a page on runs that are finished",
        description="Write one self-contained HTML page on the finished runs in a folder.",
        epilog="example:\n  underdog report runs/ -o report.html",
    )
    command.add_argument("runs", type=Path, metavar="RUNS", help="folder of runs")
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="page to write (default: report.html)",
    )


def _data(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("data")
    group.add_argument(
        "source", metavar="SOURCE",
        help="a folder or archive (.zip, .tar, .tar.xz, ...) of class folders, with or without train/, val/ and test/; one of "
        "any images, with --labels; one of MNIST-style idx files or CIFAR's binary files; a folder saved by Hugging Face's "
        "datasets; or 'digits'",
    )  # fmt: skip
    group.add_argument("--size", type=size, metavar="S|WxH", help="bring images to this size")
    group.add_argument(
        "--resize", choices=RESIZES, default="crop",
        help="where its shape differs: " + "; ".join(f"{name}: {text}" for name, text in RESIZES.items()) + " (default: crop)",
    )  # fmt: skip
    group.add_argument(
        "--layout", choices=LAYOUTS, default="auto",
        help="; ".join(f"{name}: {text}" for name, text in LAYOUTS.items()) + " (default: auto, which asks where it is in doubt)",
    )  # fmt: skip
    group.add_argument(
        "--labels", metavar="FILE.csv:IMAGE,LABEL",
        help="a table, on disk or in the source, and its columns that name images and their classes, for images that lie in "
        "no class folders",
    )  # fmt: skip
    group.add_argument(
        "--groups", metavar="FILE.csv:IMAGE,GROUP",
        help="a table, on disk or in the source, and its columns that name images and what belongs together (a patient, a "
        "lesion): no group is divided between training, validation and test",
    )  # fmt: skip
    group.add_argument(
        "--allow-group-leak", action="store_true", help="accept groups that are in several of the source's own parts"
    )
    group.add_argument(
        "--skip-corrupt", action="store_true", help="leave out files that cannot be decoded, and count them"
    )
    group.add_argument(
        "--val-fraction",
        type=number,
        metavar="F",
        help="share of the training images to hold out for validation (default: 0.1)",
    )
    group.add_argument(
        "--test-fraction", type=number, metavar="F", help="share of all images to hold out for the test (default: 0.2)"
    )
    group.add_argument(
        "--rho", "--imbalance-ratio", type=number, metavar="R",
        help="induce this ratio of the largest to the smallest class (default: classes as they are)",
    )  # fmt: skip
    group.add_argument(
        "--mu", "--minority-share", type=number, metavar="M", help="share of classes that --rho makes rare, in [0, 1)"
    )
    group.add_argument(
        "--minority", type=names, metavar="A,B,...",
        help="the rare classes (default: with --rho chosen at random, otherwise those with at most half the largest's images)",
    )  # fmt: skip


def _training(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("training")
    group.add_argument(
        "--eps", type=number, metavar="E",
        help=f"length of an alteration in pixel units, such as 8/255 (default: chosen on validation from {_GRID})",
    )  # fmt: skip
    group.add_argument(
        "--tau", type=number, default=0.5, metavar="T", help="probability that a rare image is altered (default: 0.5)"
    )
    group.add_argument(
        "--epochs", type=whole, default=20, metavar="N", help="passes over the resampled data (default: 20)"
    )
    group.add_argument(
        "--budget", choices=BUDGETS, default="epochs",
        help="; ".join(f"{name}: {text}" for name, text in BUDGETS.items()) + " (default: epochs)",
    )  # fmt: skip
    group.add_argument("--lr", type=number, default=1e-3, metavar="RATE", help="Adam's learning rate (default: 0.001)")
    group.add_argument("--batch", type=whole, default=128, metavar="N", help="images per update (default: 128)")
    group.add_argument(
        "--model", default="paper", metavar="NAME",
        help=f"{', '.join(MODELS)}, or package.module:factory of your own, a function (channels, classes, (height, width)) -> "
        "torch.nn.Module, known by its name: after a change of its code use a new --out (default: paper)",
    )  # fmt: skip
    group.add_argument(
        "--width", type=number, default=1.0, metavar="W", help="multiplies the network's channels (default: 1)"
    )
    group.add_argument("--depth", type=whole, metavar="D", help="blocks of the paper's network (default: 2)")


def _machine(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("machine")
    group.add_argument(
        "--device", default="auto", help=f"{', '.join(DEVICES)} or cuda:N (default: auto, a GPU where there is one)"
    )
    group.add_argument(
        "--precision", choices=PRECISIONS, default="float32",
        help="bfloat16 is faster on GPUs and on CPUs with AVX-512 (default: float32)",
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
