"""``underdog export``: a run's network for programs that know neither underdog nor torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from underdog.cli.parser import Commands

__all__ = ["add_export", "export"]


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


def export(options: argparse.Namespace) -> None:
    """Carry out the command."""
    from underdog.cli.commands import say, writable  # noqa: PLC0415  (torch is imported here)
    from underdog.reporting.terminal import printable  # noqa: PLC0415
    from underdog.run.classifier import load  # noqa: PLC0415
    from underdog.run.export import export_onnx  # noqa: PLC0415

    writable(options.output)
    classifier = load(options.run)
    export_onnx(classifier, options.output)
    say(f"model: {printable(str(options.output))}")
    if classifier.precision != "float32":
        say(f"note: the run computed in {classifier.precision}, the file computes in float32: answers differ slightly")
