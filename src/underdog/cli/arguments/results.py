"""The arguments of the commands that use finished runs."""

from __future__ import annotations

from pathlib import Path

from underdog.cli.arguments.base import Commands
from underdog.cli.arguments.machine import add_device
from underdog.cli.arguments.values import number, whole
from underdog.names import TARGET_PRECISION

__all__ = ["add_export", "add_predict", "add_report"]


def add_report(commands: Commands) -> None:
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


def add_predict(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "predict",
        help="a run's network on new images: class, probabilities, flagged rare classes",
        description="Judge images by the network of a finished run, at its best epoch, with the run's preparation of images, "
        "class names and decision rule. Files that cannot be read are reported and do not stop the others.",
        epilog="examples:\n"
        "  underdog predict runs/aos-s0-0123456789ab new/\n"
        "  underdog predict runs/aos-s0-0123456789ab a.jpg b.png more.zip --csv predictions.csv\n\n"
        "In the CSV file a text that a spreadsheet would take for a formula (it begins with =, +, -, @ or the like), or that "
        "begins\nwith an apostrophe, has an apostrophe before it: take off one to have the text.",
    )
    command.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    command.add_argument(
        "files", type=Path, nargs="+", metavar="FILES-OR-FOLDERS",
        help="images; folders, which are searched for images; archives (.zip, .tar, .tar.xz, ...)",
    )  # fmt: skip
    command.add_argument(
        "--csv", type=Path, metavar="OUT", help="write a table with all probabilities instead of showing one"
    )
    command.add_argument("--json", action="store_true", help="a JSON object a line instead of a table")
    command.add_argument("--batch", type=whole, default=128, metavar="N", help="images at a time (default: 128)")
    add_device(command)


def add_export(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "export",
        help="a run's network as an ONNX file",
        description="Write the network of a finished run, at its best epoch, as an ONNX file: normalisation inside, any batch "
        "size, and class names, preparation of images and decision rule in the metadata. onnxruntime's answers are compared "
        "with torch's first. Needs pip install 'underdog[onnx]'.",
        epilog="example:\n  underdog export runs/aos-s0-0123456789ab model.onnx",
    )
    command.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    command.add_argument("output", type=Path, metavar="FILE", help="file to write, such as model.onnx")
