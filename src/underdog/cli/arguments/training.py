"""The options that say which network is trained, and how."""

from __future__ import annotations

import argparse
from pathlib import Path

from underdog.cli.arguments.values import model, names, number, numbers, whole
from underdog.names import (
    AUGMENTATIONS,
    BUDGETS,
    EPS_GRID,
    LIBRARIES,
    MODELS,
    OPTIMIZERS,
    PRETRAINED,
    SCHEDULERS,
    WEIGHTS,
)

__all__ = ["add_training", "add_weights"]

_GRID = ", ".join(f"{n}/255" for n in EPS_GRID)


def told(table: dict[str, str]) -> str:
    """A table in a help text."""
    return "; ".join(f"{name}: {text}" for name, text in table.items())


def add_training(command: argparse.ArgumentParser, parameters: bool = True) -> None:
    """The options of training, with or without the parameters of methods."""
    if parameters:
        _parameters(command.add_argument_group("parameters of methods"))
    else:
        command.set_defaults(eps=None, tau=None, tuned=False)
    _training(command.add_argument_group("training"))
    _optimization(command.add_argument_group("optimisation"))
    _network(command.add_argument_group("network"))


def _parameters(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--eps", type=number, metavar="E",
        help="for --method aos(eps=E): length of an alteration in pixel units, such as 8/255 (default: chosen on validation, for "
        f"the tau given, from {_GRID}; a search that only methods with an eps get, see --tuned)",
    )  # fmt: skip
    group.add_argument(
        "--tau", type=number, metavar="T",
        help="for --method aos(tau=T): probability that a rare image is altered (default: 0.5)",
    )  # fmt: skip
    group.add_argument(
        "--tuned", action="store_true",
        help="take parameters, and the baseline's learning rate, from the searches of 'underdog tune', which gives every method "
        "as many trials",
    )  # fmt: skip


def _training(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--epochs", type=whole, default=20, metavar="N", help="passes over the resampled data (default: 20)"
    )
    group.add_argument(
        "--budget", choices=BUDGETS, default="epochs", help=f"{told(BUDGETS)} (default: epochs)"
    )  # fmt: skip
    group.add_argument("--batch", type=whole, default=128, metavar="N", help="images per update (default: 128)")
    group.add_argument(
        "--augment", type=names, default=[], metavar="A,B,...",
        help=f"random changes of the training images, after any alteration. {told(AUGMENTATIONS)} (default: none)",
    )  # fmt: skip
    group.add_argument(
        "--early-stopping", type=whole, metavar="N",
        help="end a run after N epochs without a better validation macro-F1 (default: never)",
    )  # fmt: skip


def _optimization(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--lr", type=number, default=1e-3, metavar="RATE", help="learning rate (default: 0.001)")
    group.add_argument(
        "--lr-backbone", type=number, metavar="RATE",
        help="learning rate of everything but the classifier head (default: that of --lr)",
    )  # fmt: skip
    group.add_argument(
        "--optimizer", default="adam", metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)}, the last with a momentum of 0.9 (default: adam)",
    )  # fmt: skip
    group.add_argument(
        "--weight-decay", type=number, metavar="D",
        help=f"of all parameters (default: {OPTIMIZERS['adamw']} for adamw, 0 for the others)",
    )  # fmt: skip
    group.add_argument(
        "--scheduler", default="constant", metavar="NAME",
        help=f"course of the learning rate over the run. {told(SCHEDULERS)} (default: constant)",
    )  # fmt: skip
    group.add_argument(
        "--warmup", type=whole, default=0, metavar="N",
        help="epochs in which the learning rate first rises to its height (default: 0)",
    )  # fmt: skip


def add_weights(group: argparse._ActionsContainer) -> None:
    """The options that say which pretrained weights a network gets, and what they expect."""
    group.add_argument(
        "--weights", type=Path, metavar="FILE.safetensors",
        help=f"pretrained weights for the network, or a word. {told(WEIGHTS)}. A classifier head for another number of classes "
        f"starts anew (default: those of {', '.join(PRETRAINED)} and of an hf: model's folder, otherwise random ones)",
    )  # fmt: skip
    group.add_argument(
        "--mean", type=numbers, metavar="R,G,B",
        help="channel means that the pretrained network expects, in pixel units from 0 to 1, such as 0.485,0.456,0.406 "
        "(default: those that the weights were trained with, where it is known, otherwise the training part's)",
    )  # fmt: skip
    group.add_argument("--std", type=numbers, metavar="R,G,B", help="channel deviations, likewise")


def _network(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model", type=model, default="paper", metavar="NAME",
        help=f"{', '.join(MODELS)}; {'; '.join(LIBRARIES.values())}; or package.module:factory of your own, a function "
        "(channels, classes, (height, width)) -> torch.nn.Module, known by its name: after a change of its code use a new "
        "--out (default: paper)",
    )  # fmt: skip
    group.add_argument(
        "--width", type=number, default=1.0, metavar="W", help="multiplies the network's channels (default: 1)"
    )
    group.add_argument("--depth", type=whole, metavar="D", help="blocks of the paper's network (default: 2)")
    add_weights(group)
    group.add_argument(
        "--freeze-until", metavar="LAYER",
        help="train this layer and what is defined after it; what comes before keeps its weights and BatchNorm statistics",
    )  # fmt: skip
