"""``underdog grid``: an experiment of many runs, several at once."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from underdog.cli.data_cache import cache_arguments, chosen_cache
from underdog.cli.machine_options import add_device
from underdog.cli.values import whole
from underdog.errors import InputError, TrainingError
from underdog.validate import check_positive

if TYPE_CHECKING:
    from underdog.cli.parser import Commands
    from underdog.data.sources import Source
    from underdog.run.engine import Engine
    from underdog.run.estimate import Estimate
    from underdog.run.folders import Runs
    from underdog.run.grid import DataBlock, Entry, Grid
    from underdog.run.queue import Queue

    Make = Callable[[Mapping[str, Source]], Engine]

__all__ = ["add_grid", "grid"]

#: Grids that come with underdog (``run/grids``); known here before YAML is imported.
_KNOWN = {
    "paper": "Table 2 of the paper: four data sets, five methods, three seeds, 240 runs",
    "full": "the same with the control as a sixth method, both budgets, new data in each replicate",
    "digits": "scikit-learn's digits, six methods, both budgets, ten seeds, in minutes",
    "digits-tuned": "digits at mu 0.6, eight methods, each with its parameters chosen by twelve trials",
    "small": "MNIST and CIFAR-10 with 1,000 images in a majority class, both budgets, in hours",
    "small-eps": "macro-F1 against eps, for aos and noise, on the data of small",
    "scene15": "Scene-15 at 32 pixels with the paper's settings for MIT Indoor 67",
}


def add_grid(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "grid",
        help="an experiment of many runs: data sets, imbalances, methods, seeds",
        description="Make all runs of a grid, several at once, in processes of their own. Finished runs are never made "
        "again; those that failed are tried again when the same command is given again.\n\ngrids:\n"
        + "\n".join(f"  {name:<12} {text}" for name, text in _KNOWN.items())
        + "\n  FILE.yaml    a grid of your own (docs/grids.md)",
        epilog="examples:\n"
        "  underdog grid digits --dry-run\n"
        "  underdog grid paper --data ~/data --workers 4\n"
        "  underdog grid paper --data ~/data --only dataset=mnist,mu=0.6,method=aos,method=ros\n"
        "  underdog grid mine.yaml --data photos/ --out mine/",
    )
    command.add_argument("grid", metavar="GRID", help="name of a grid, or a YAML file")
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
        choices=tuple(ENGINES),
        default="local",
        help="what makes the runs: this machine, or the Ray cluster at RAY_ADDRESS (default: local)",
    )
    machine.add_argument(
        "--workers", type=whole, metavar="N", help="runs at once (default: one for each GPU, or else as many as cores allow)"
    )  # fmt: skip
    machine.add_argument(
        "--threads", type=whole, default=1, metavar="N",
        help="of each run, whatever the number of workers: figures depend on it in their last digits (default: 1)",
    )  # fmt: skip
    add_device(machine)


def _only(text: str) -> dict[str, list[str]]:
    """KEY=VALUE,KEY=VALUE: the values of each key."""
    found: dict[str, list[str]] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise argparse.ArgumentTypeError(f"{part!r} is not KEY=VALUE, such as method=aos")
        found.setdefault(key.strip(), []).append(value.strip())
    return found


def grid(options: argparse.Namespace) -> None:
    """Carry out the command."""
    import torch  # noqa: PLC0415  (this and what follows only when it is needed)

    from underdog.cli.commands import say  # noqa: PLC0415
    from underdog.cli.grid_text import introduction  # noqa: PLC0415
    from underdog.run.folders import occupied  # noqa: PLC0415

    chosen, blocks, names = *_wanted(options), _devices(options)
    make = None if options.dry_run else ENGINES[options.engine](names, options)
    torch.set_num_threads(options.threads)  # what is timed here is to take as long as in the runs
    with nullcontext() if make is None else occupied(options.out):
        say(introduction(chosen))
        _grid(chosen, blocks, names, make, options)


def _grid(
    chosen: Grid, blocks: Sequence[DataBlock], names: Sequence[str], make: Make | None, options: argparse.Namespace
) -> None:
    """Read the data, and list the runs or make them."""
    import torch  # noqa: PLC0415

    from underdog.cli.commands import say  # noqa: PLC0415
    from underdog.cli.grid_text import changes, listing  # noqa: PLC0415
    from underdog.reporting.terminal import printable  # noqa: PLC0415
    from underdog.run.estimate import Estimate  # noqa: PLC0415
    from underdog.run.folders import Runs, record_data  # noqa: PLC0415
    from underdog.run.queue import Queue  # noqa: PLC0415
    from underdog.run.saved import run_of  # noqa: PLC0415

    sources = {block.name: _read(block, options, len(names)) for block in blocks}
    found = _entries(chosen, {name: s.fingerprint for name, s in sources.items()}, options)
    here = names[0] if names[0] == "cpu" or torch.cuda.is_available() else "cpu"  # its runs may be made elsewhere
    estimate = Estimate({s.fingerprint: s for s in sources.values()}, here)
    for entry in found:  # what the data do not allow shows here
        for spec in [entry.spec, *([entry.search.spec] if entry.search else ())]:
            estimate.split(spec)
    runs = Runs(options.out, run_of, not options.dry_run, lambda text: say(f"note: {printable(text)}"))
    for note in changes(record_data(options.out, chosen, sources, write=make is not None), runs):
        say(note)
    queue = Queue(found, runs)
    if make is None:
        say(listing(queue, runs, estimate, len(names)))
    elif queue.waiting():
        _work(queue, runs, estimate, make(sources))
    else:
        _say_done(queue, runs, estimate, len(names))


def _work(queue: Queue, runs: Runs, estimate: Estimate, engine: Engine) -> None:
    """Make the runs and say what came of them."""
    from underdog.cli.commands import say  # noqa: PLC0415
    from underdog.cli.grid_progress import Display  # noqa: PLC0415
    from underdog.cli.grid_text import failures, share, state, summary  # noqa: PLC0415
    from underdog.run.queue import work_off  # noqa: PLC0415

    begin = time.monotonic()
    with engine:
        workers = engine.workers
        say(state(queue, runs, estimate, workers))
        with Display(queue, runs, estimate, workers) as display:
            outcomes = work_off(queue, engine, display.tell)
    say("\n" + share(outcomes, runs, time.monotonic() - begin, workers))
    say("\n" + summary(queue, runs))
    if text := failures(queue):
        say("\n" + text)
        raise TrainingError(
            f"{len(queue.failures)} runs failed, listed above; the same command tries them again, from their last finished epoch"
        )


def _say_done(queue: Queue, runs: Runs, estimate: Estimate, workers: int) -> None:
    """What there is where every run is done."""
    from underdog.cli.commands import say  # noqa: PLC0415
    from underdog.cli.grid_text import state, summary  # noqa: PLC0415

    say(f"{state(queue, runs, estimate, workers)}\n\n{summary(queue, runs)}")


def _wanted(options: argparse.Namespace) -> tuple[Grid, list[DataBlock]]:
    """The grid, and those of its data sets that some run is wanted of: known before any is read."""
    from dataclasses import replace  # noqa: PLC0415

    from underdog.run.grid_file import read_grid  # noqa: PLC0415

    found = read_grid(options.grid)
    if options.seeds is not None:
        check_positive("seeds", options.seeds, whole=True)
        found = replace(found, seeds=options.seeds)
    names = {entry.dataset for entry in _entries(found, {d.name: d.name for d in found.datasets}, options)}
    return found, [data for data in found.datasets if data.name in names]


def _entries(found: Grid, fingerprints: Mapping[str, str], options: argparse.Namespace) -> list[Entry]:
    from underdog.run.grid import entries, only  # noqa: PLC0415

    return only(entries(found, fingerprints), options.only)


def _devices(options: argparse.Namespace) -> list[str]:
    """The device of each worker: GPUs in turn, or the processor."""
    import torch  # noqa: PLC0415

    from underdog.cli.commands import device  # noqa: PLC0415

    for name in ("workers", "threads"):
        if getattr(options, name) is not None:
            check_positive(name, getattr(options, name), whole=True)
    if (options.engine, options.device) == ("ray", "cuda"):  # the cluster may have GPUs where this machine has none
        return ["cuda"] * (options.workers or torch.cuda.device_count() or 1)
    name = device(options.device)
    places = [f"cuda:{n}" for n in range(torch.cuda.device_count())] if name == "cuda" else [name]
    room = max(1, cores() // options.threads) if name == "cpu" else len(places)
    return [places[n % len(places)] for n in range(options.workers or room)]


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(block: DataBlock, options: argparse.Namespace, workers: int) -> Source:
    """The images of a data set; each worker copies the part that it trains on."""
    from underdog.cli.commands import say  # noqa: PLC0415
    from underdog.cli.progress import bar  # noqa: PLC0415
    from underdog.data.known import find_dataset  # noqa: PLC0415
    from underdog.data.memory import image_memory  # noqa: PLC0415
    from underdog.data.sources import load_images  # noqa: PLC0415
    from underdog.reporting.terminal import printable  # noqa: PLC0415

    place: str | Path = "digits"
    if block.name != "digits" or block.path:
        if options.data is None:
            raise InputError(f"data set {block.name!r} lies in a folder: --data DIR")
        place = options.data / block.path if block.path else find_dataset(block.name, options.data)
    with bar(f"reading {block.name}", None, " images") as shown:
        source = load_images(place, block.reading, shown.update, chosen_cache(options), image_memory(workers))
    for note in source.notes:
        say(f"note: {printable(f'{block.name}: {note}')}")
    return source


def _local(names: Sequence[str], options: argparse.Namespace) -> Make:
    """Runs on this machine."""
    from underdog.run.local import LocalEngine  # noqa: PLC0415

    return lambda sources: LocalEngine(sources, options.out / ".grid-images", names, options.threads)


def _ray(names: Sequence[str], options: argparse.Namespace) -> Make:
    """Runs on the cluster at RAY_ADDRESS, or on one of this machine alone."""
    from underdog.cli.commands import say  # noqa: PLC0415
    from underdog.reporting.terminal import printable  # noqa: PLC0415
    from underdog.run.ray_cluster import import_ray, probe  # noqa: PLC0415
    from underdog.run.ray_engine import RayEngine  # noqa: PLC0415

    import_ray()
    address = os.environ.get("RAY_ADDRESS")
    address = None if address in ("", "local") else address  # as Ray reads it
    if address:
        probe(address)
    workers = options.workers if address else len(names)

    def tell(text: str) -> None:
        say(f"note: {printable(text)}")

    return lambda sources: RayEngine(sources, address, names[0], options.threads, workers, tell)


#: What makes runs, by name: from the workers' devices and the options, which are checked at once, to what makes an engine.
ENGINES: dict[str, Callable[[Sequence[str], argparse.Namespace], Make]] = {"local": _local, "ray": _ray}
