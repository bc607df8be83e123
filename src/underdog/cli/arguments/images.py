"""Options that say which images to use, and how."""

from __future__ import annotations

import argparse

from underdog.cli.arguments.values import names, number, size, whole
from underdog.names import LAYOUTS, RESIZES

__all__ = ["add_images"]


def add_images(command: argparse.ArgumentParser) -> None:
    """Source, reading, division and imbalance."""
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
        "--majority-size", type=whole, metavar="N",
        help="training images that --rho leaves in a class that is not rare (default: as many as the smallest class has)",
    )  # fmt: skip
    group.add_argument(
        "--minority", type=names, metavar="A,B,...",
        help="the rare classes (default: with --rho chosen at random, otherwise those with at most half the largest's images)",
    )  # fmt: skip
