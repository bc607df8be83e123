"""The arguments of the commands that make runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from underdog.cli.arguments.base import Commands
from underdog.cli.arguments.cache import cache_arguments
from underdog.cli.arguments.images import add_images
from underdog.cli.arguments.machine import add_device, add_precision, add_workers
from underdog.cli.arguments.methods import METHOD_HELP
from underdog.cli.arguments.training import add_training, add_weights
from underdog.cli.arguments.values import ALL, grid, method, methods, model, number, whole
from underdog.names import BUDGETS, DECAYS, GRIDS, LIBRARIES, PROBE_METHODS, TARGET_PRECISION, TRIALS

__all__ = [
    "DEMO", "DEMO_EPS", "DEMO_METHODS", "DEMO_SEEDS", "ENGINES", "add_compare", "add_demo", "add_grid", "add_probe", "add_train",
    "add_tune",
]  # fmt: skip

#: The demo's settings; eps is what validation chose on seeds that the demo does not report (docs/results.md).
DEMO = {"rho": 20.0, "mu": 0.6, "lr": 1e-3, "epochs": 12, "batch": 64}
DEMO_EPS = 16 / 255
DEMO_METHODS = ("baseline", "rus", "ros", "smote", "noise", "aos")
DEMO_SEEDS = 3
#: What makes the runs of a grid.
ENGINES = ("local", "ray")


def add_demo(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "demo",
        help="compare six methods on scanned digits, in a minute or two",
        description=f"Compare {', '.join(DEMO_METHODS)} with {DEMO_SEEDS} seeds each on scikit-learn's 1,797 digits, six of the "
        "ten classes cut to a twentieth, and write a report. eps was chosen on validation images of seeds that the demo "
        "does not report.",
        epilog="example:\n  underdog demo -o report.html",
    )
    _out(command, "demo-runs", report="report.html")
    machine = command.add_argument_group("machine")
    add_device(machine)
    add_precision(machine)
    add_workers(machine, time=False)
    command.set_defaults(target_precision=TARGET_PRECISION, time=None)


def add_train(commands: Commands) -> None:
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
        "A killed run resumes where it was when the same command is given again.",
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
    machine = command.add_argument_group("machine")
    add_device(machine)
    add_precision(machine)
    machine.add_argument(
        "--devices", type=whole, default=1, metavar="N",
        help="GPUs (with --device cpu: processes) that share each batch; BatchNorm sees their shares, so the results, and the "
        "run, are different from those with one (default: 1)",
    )  # fmt: skip


def add_compare(commands: Commands) -> None:
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
        "Finished runs are never done again; a killed comparison resumes when the same command is given again.",
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
    machine = command.add_argument_group("machine")
    add_device(machine)
    add_precision(machine)
    add_workers(machine)
    command.set_defaults(devices=1)


def add_probe(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "probe",
        help="all methods on the features of a frozen pretrained network, in minutes",
        description="Compute what a pretrained network makes of every image, once, and train its classifier head alone with each "
        "method and seed: the regularisation, and eps where a method has one, are chosen on validation images of a seed that is "
        f"not reported, by {len(DECAYS)} trials for each method. A step of eps is one on features here: 16/255 is a standard "
        "deviation.\n\n" + METHOD_HELP,
        epilog="examples:\n"
        "  underdog probe photos/\n"
        "  underdog probe photos/ --methods baseline,balanced-softmax,logit-adjust,aos --seeds 5 -o report.html\n"
        "  underdog probe photos/ --model hf:dinov2/ --size 224\n\n"
        "Features are kept in the cache: a second call, and one that was interrupted, computes what is missing.",
    )
    add_images(command)
    cache_arguments(command.add_argument_group("cache"))
    group = command.add_argument_group("network")
    group.add_argument(
        "--model", type=model, default="efficientnet-lite0", metavar="NAME",
        help=f"the pretrained network: efficientnet-lite0; {'; '.join(LIBRARIES.values())} (default: efficientnet-lite0)",
    )  # fmt: skip
    add_weights(group)
    group = command.add_argument_group("comparison")
    group.add_argument(
        "--methods", type=methods, default=list(PROBE_METHODS), metavar="A,B,...",
        help=f"methods to compare (default: {','.join(PROBE_METHODS)})",
    )  # fmt: skip
    group.add_argument("--seeds", type=whole, default=10, metavar="N", help="seeds 0 to N-1 (default: 10)")
    group.add_argument("--epochs", type=whole, default=20, metavar="N", help="passes over the features (default: 20)")
    group.add_argument("--lr", type=number, default=1e-3, metavar="RATE", help="learning rate (default: 0.001)")
    group.add_argument(
        "--batch", type=whole, metavar="N", help="images per update (default: an eighth of them, at most 512)"
    )
    group.add_argument(
        "--budget", choices=BUDGETS, default="updates", help="as in 'compare', here by default as many updates for each method"
    )  # fmt: skip
    group.add_argument("--data-seed", type=whole, metavar="SEED", help="one seed for the data of all runs")
    _target(command)
    _out(command, "runs", report="report.html")
    machine = command.add_argument_group("machine")
    add_device(machine)
    add_workers(machine)
    command.set_defaults(eps=None, tau=None, tuned=False)


def add_grid(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "grid",
        help="an experiment of many runs: data sets, imbalances, methods, seeds",
        description="Make all runs of a grid, several at once, in processes of their own. Finished runs are never made "
        "again; those that failed are tried again when the same command is given again.\n\ngrids:\n"
        + "\n".join(f"  {name:<12} {text}" for name, text in GRIDS.items())
        + "\n  FILE.yaml    a grid of your own (docs/grids.md)",
        epilog="examples:\n"
        "  underdog grid digits --dry-run\n"
        "  underdog grid paper --data ~/data --workers 4\n"
        "  underdog grid paper --data ~/data --only dataset=mnist,mu=0.6,method=aos,method=ros\n"
        "  underdog grid mine.yaml --data photos/ --out mine/",
    )
    command.add_argument("grid", type=grid, metavar="GRID", help="name of a grid, or a YAML file")
    command.add_argument(
        "--data", type=Path, metavar="DIR", help="where the data sets lie, each under one of its usual names"
    )
    command.add_argument(
        "--only", type=_only, default={}, metavar="KEY=VALUE,...",
        help="some of the runs: dataset, rho, mu, method, budget, seed; a key that is repeated allows several values",
    )  # fmt: skip
    command.add_argument("--seeds", type=whole, metavar="N", help="seeds 0 to N-1 (default: as many as the grid says)")
    command.add_argument("--dry-run", action="store_true", help="list the runs, what is done and the time left")
    command.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of runs (default: runs)")
    cache_arguments(command.add_argument_group("cache"))
    machine = command.add_argument_group("machine")
    machine.add_argument(
        "--engine",
        choices=ENGINES,
        default="local",
        help="what makes the runs: this machine, or the Ray cluster at RAY_ADDRESS (default: local)",
    )
    add_device(machine)
    add_precision(machine, None)
    add_workers(machine)


def _only(text: str) -> dict[str, list[str]]:
    """KEY=VALUE,KEY=VALUE: the values of each key."""
    found: dict[str, list[str]] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise argparse.ArgumentTypeError(f"{part!r} is not KEY=VALUE, such as method=aos")
        found.setdefault(key.strip(), []).append(value.strip())
    return found


def add_tune(commands: Commands) -> None:
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
        "A killed search resumes when the same command is given again; trials that are done are never done twice.",
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
    machine = command.add_argument_group("machine")
    add_device(machine)
    add_precision(machine)
    add_workers(machine, time=False)
    command.set_defaults(folds=None, fold=None, devices=1)


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
