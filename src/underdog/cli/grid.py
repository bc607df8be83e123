"""``underdog grid``: an experiment of many runs, several at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from underdog.cli.common import Options, chosen_cache, devices_of_workers, local_engine, note_precision, say
from underdog.cli.grid_text import changes, introduction, listing
from underdog.cli.progress import bar
from underdog.data.known import find_dataset
from underdog.data.memory import image_memory
from underdog.data.sources import Source, load_images
from underdog.errors import InputError
from underdog.experiments.experiment import Experiment, Make
from underdog.experiments.text import summary
from underdog.reporting.terminal import printable
from underdog.run.folders import occupied, record_data
from underdog.run.grid import DataBlock, Grid, Value, entries, only
from underdog.run.grid_file import read_grid
from underdog.run.queue import steps
from underdog.run.ray_cluster import import_ray, probe
from underdog.run.ray_engine import RayEngine
from underdog.run.search import PlannedRun
from underdog.validate import check_positive

__all__ = ["run"]


def run(options: Options) -> None:
    """Carry out the command."""
    (grid, blocks), names = _wanted(options), _devices(options)
    make = None if options.dry_run else ENGINES[options.engine](names, options)
    torch.set_num_threads(options.threads)  # what is timed here is to take as long as in the runs
    with nullcontext() if make is None else occupied(options.out):
        say(introduction(grid))
        _grid(grid, blocks, names, make, options)


def _grid(grid: Grid, blocks: Sequence[DataBlock], names: Sequence[str], make: Make | None, options: Options) -> None:
    """Read the data, and list the runs or make them."""
    sources = {block.name: _read(block, options, len(names)) for block in blocks}
    found = _entries(grid, {name: source.fingerprint for name, source in sources.items()}, options)
    for precision in dict.fromkeys(entry.spec.precision for entry in found):
        note_precision(precision, names[0])
    here = names[0] if names[0] == "cpu" or torch.cuda.is_available() else "cpu"  # its runs may be made elsewhere
    experiment = Experiment.of(steps(found), sources, options.out, say, write=make is not None, timed_on=here)
    for note in changes(record_data(options.out, grid, sources, write=make is not None), experiment.runs):
        say(note)
    if make is None:
        say(listing(experiment, len(names)))
        return
    shorter = "--only some of the runs, fewer --seeds, more --workers, or --time 2h, which makes what fits"
    experiment.make(make, say, bars=True, limit=options.time, shorter=shorter)
    say("\n" + summary(experiment.queue, experiment.runs))
    experiment.check(say)


def _wanted(options: Options) -> tuple[Grid, list[DataBlock]]:
    """The grid, and those of its data sets that some run is wanted of: known before any is read."""
    found = read_grid(options.grid)
    if options.seeds is not None:
        check_positive("seeds", options.seeds, whole=True)
        found = replace(found, seeds=options.seeds)
    if options.precision is not None:
        found = replace(found, settings={**found.settings, "precision": Value((options.precision,))})
    names = {entry.dataset for entry in _entries(found, {d.name: d.name for d in found.datasets}, options)}
    return found, [data for data in found.datasets if data.name in names]


def _entries(grid: Grid, fingerprints: Mapping[str, str], options: Options) -> list[PlannedRun]:
    return only(entries(grid, fingerprints), options.only)


def _devices(options: Options) -> list[str]:
    """The device of each worker; a cluster may have GPUs where this machine has none."""
    if (options.engine, options.device) == ("ray", "cuda"):
        return ["cuda"] * (options.workers or torch.cuda.device_count() or 1)
    return devices_of_workers(options)


def _read(block: DataBlock, options: Options, workers: int) -> Source:
    """The images of a data set; each worker copies the part that it trains on."""
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


def _ray(names: Sequence[str], options: Options) -> Make:
    """Runs on the cluster at RAY_ADDRESS, or on one of this machine alone."""
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
ENGINES: dict[str, Callable[[Sequence[str], Options], Make]] = {
    "local": lambda names, options: partial(local_engine, names, options),
    "ray": _ray,
}
