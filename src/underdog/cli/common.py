"""What several commands do."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from underdog.cli.progress import bar
from underdog.data.cache import check_writable, default_cache
from underdog.data.memory import image_memory
from underdog.data.reading import Reading
from underdog.data.sources import Source, load_images
from underdog.errors import InputError, unknown
from underdog.methods.build import canonical
from underdog.methods.expression import Expression
from underdog.names import DEVICES
from underdog.reporting.terminal import printable
from underdog.run.engine import Engine
from underdog.run.local import SHARED, LocalEngine
from underdog.run.network import network_settings
from underdog.run.spec import RunSpec
from underdog.validate import check_positive

__all__ = [
    "Options", "chosen_cache", "data_settings", "device", "devices_of_workers", "local_engine", "methods_of", "note_precision",
    "read", "reading_of", "room", "say", "spec_of", "writable",
]  # fmt: skip

Options = argparse.Namespace


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def device(name: str) -> str:
    """The device called ``name``, checked."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in DEVICES or (number and not (kind == "cuda" and number.isdigit())):
        raise unknown("device", name, [*DEVICES, "cuda:N"])
    if kind == "cuda" and (not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count()):
        raise InputError(f"device {name!r} is not there: torch sees {torch.cuda.device_count()} GPUs")
    return name


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def devices_of_workers(options: Options) -> list[str]:
    """The device of each worker: GPUs in turn, or the processor.

    Raises:
        InputError: no such device, or numbers that are none.
    """
    for name in ("workers", "threads"):
        if getattr(options, name) is not None:
            check_positive(name, getattr(options, name), whole=True)
    name = device(options.device)
    places = [f"cuda:{n}" for n in range(torch.cuda.device_count())] if name == "cuda" else [name]
    fit = max(1, cores() // options.threads) if name == "cpu" else len(places)
    return [places[n % len(places)] for n in range(options.workers or fit)]


def local_engine(names: Sequence[str], options: Options, sources: dict[str, Source]) -> Engine:
    """An engine of this machine's processes."""
    return LocalEngine(sources, options.out / SHARED, names, options.threads)


def note_precision(precision: str, on: str) -> None:
    """Say where bfloat16 is slow, before anything starts."""
    slow = platform.machine().lower() in ("x86_64", "amd64") and "AVX512" not in torch.backends.cpu.get_cpu_capability()
    if precision == "bfloat16" and on == "cpu" and slow:
        say(
            "note: this processor has neither AVX-512 nor AMX, and is many times slower in bfloat16 than in float32: "
            "--precision float32 is the fast one here"
        )


def reading_of(options: Options) -> Reading:
    """How the options say that images are to be read."""
    return Reading(
        size=options.size,
        resize=options.resize,
        skip_corrupt=options.skip_corrupt,
        layout=options.layout,
        labels=options.labels,
        groups=options.groups,
        allow_group_leak=options.allow_group_leak,
    )


def read(options: Options, on: str = "cpu", processes: int = 1) -> Source:
    """The source that the options name."""
    with bar(f"reading {options.source}", None, " images") as shown:
        cache, memory = chosen_cache(options), room(on, processes)
        source = load_images(options.source, reading_of(options), shown.update, cache, memory)
    for note in source.notes:
        say(f"note: {printable(note)}")
    return source


def room(on: str, processes: int) -> int | None:
    """Bytes that images may take in each of so many processes, and on their GPUs half of what is free."""
    host = image_memory(processes)
    if not on.startswith("cuda"):
        return host
    free = torch.cuda.mem_get_info(on)[0] // 2
    return free if host is None else min(host, free)


def chosen_cache(options: Options) -> Path | None:
    """The cache that the options name, or None.

    Raises:
        InputError: it was named, and cannot be written.
    """
    if options.no_cache:
        return None
    if options.cache is not None:
        return Path(options.cache)
    try:
        folder = default_cache()
        check_writable(folder)
        return folder
    except InputError as error:
        if os.environ.get("UNDERDOG_CACHE"):
            raise
        say(f"note: {error}; images are decoded every time")
        return None


def methods_of(options: Options, texts: Sequence[str]) -> list[Expression]:
    """The methods of these texts, with --eps and --tau where they have such a parameter and do not say it.

    Raises:
        InputError: something is wrong with one of them, or none has the parameter.
    """
    found = [canonical(text) for text in texts]
    given = {name: value for name in ("eps", "tau") if (value := getattr(options, name)) is not None}
    if options.tuned and given:
        raise InputError(f"--tuned reads the methods' parameters from searches, and excludes --{', --'.join(given)}")
    for name, value in given.items():
        if not any(method.has(name) for method in found):
            raise InputError(f"none of the methods {', '.join(method.name for method in found)} has {name}")
        found = [m.set({name: value}) if m.has(name) and name not in m.values else m for m in found]
    for method in found:
        canonical(str(method))
    return found


def data_settings(options: Options) -> dict[str, Any]:
    """How the options say that the images are divided and cut."""
    names = ("rho", "mu", "majority_size", "val_fraction", "test_fraction")
    minority = None if options.minority is None else tuple(options.minority)
    return {name: getattr(options, name) for name in names} | {"minority": minority}


def spec_of(options: Options, method: Expression, data: str) -> RunSpec:
    """The run that the options describe."""
    return RunSpec(
        data=data,
        method=str(method),
        **data_settings(options),
        folds=options.folds,
        fold=options.fold,
        epochs=options.epochs,
        lr=options.lr,
        batch=options.batch,
        optimizer=options.optimizer,
        weight_decay=options.weight_decay,
        lr_backbone=options.lr_backbone,
        scheduler=options.scheduler,
        warmup=options.warmup,
        early_stopping=options.early_stopping,
        augment=tuple(options.augment),
        freeze_until=options.freeze_until,
        width=options.width,
        depth=options.depth,
        precision=options.precision,
        budget=options.budget,
        devices=options.devices,
        **network_settings(options.model, options.weights, options.mean, options.std, options.size),
    )


def writable(output: Path) -> None:
    """Learn now, not after hours of training, that a page cannot be written."""
    folder = output.parent
    if output.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(
            f"{output} cannot be written: {'it is a folder' if output.is_dir() else f'no writable folder {folder}'}"
        )
