"""What the commands do."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from underdog.api import Runner, compare_all, finished_runs, tuned_text
from underdog.cli.bench import bench
from underdog.cli.data import data
from underdog.cli.data_cache import chosen_cache
from underdog.cli.devices import devices, on_all
from underdog.cli.export import export
from underdog.cli.grid import grid
from underdog.cli.methods import methods
from underdog.cli.parser import DEMO, DEMO_EPS, DEMO_METHODS, DEMO_SEEDS
from underdog.cli.predict import predict
from underdog.cli.progress import bar, watching
from underdog.cli.tune import tune
from underdog.data.memory import image_memory
from underdog.data.reading import Reading
from underdog.data.sources import Source, load_images
from underdog.decision.rule import check_target
from underdog.errors import InputError, unknown
from underdog.methods.build import canonical
from underdog.methods.expression import Expression, parse
from underdog.names import DEVICES
from underdog.ranks import ALONE, Ranks
from underdog.reporting.methods import eps_text
from underdog.reporting.terminal import aligned, printable
from underdog.reporting.text import ASCII
from underdog.run.compare import comparison, eps_searches, plan
from underdog.run.execute import split_of
from underdog.run.files import write_atomic
from underdog.run.network import network_settings
from underdog.run.spec import RunSpec
from underdog.run.tune import all_tuned
from underdog.validate import check_positive

__all__ = ["COMMANDS"]

Options = argparse.Namespace


def say(text: str) -> None:
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


def read(options: Options, on: str = "cpu", processes: int = 1) -> tuple[Source, float]:
    """The source that the options name, and the seconds it took to read."""
    begin = time.perf_counter()
    with bar(f"reading {options.source}", None, " images") as shown:
        cache, memory = chosen_cache(options), room(on, processes)
        source = load_images(options.source, reading_of(options), shown.update, cache, memory)
    for note in source.notes:
        say(f"note: {printable(note)}")
    return source, time.perf_counter() - begin


def room(on: str, processes: int) -> int | None:
    """Bytes that images may take in each of so many processes, and on their GPUs half of what is free."""
    host = image_memory(processes)
    if not on.startswith("cuda"):
        return host
    free = torch.cuda.mem_get_info(on)[0] // 2
    return free if host is None else min(host, free)


def methods_of(options: Options, texts: Sequence[str], searched: bool = False) -> list[Expression]:
    """The methods of these texts, with --eps and --tau where they have such a parameter and do not say it; what is searched
    for may be missing.

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
    # Which says what is missing.
    eps_searches([method.with_first_values() for method in found] if searched or options.tuned else found)
    return found


def spec_of(options: Options, method: Expression, data: str) -> RunSpec:
    """The run that the options describe."""
    return RunSpec(
        data=data,
        method=str(method),
        rho=options.rho,
        mu=options.mu,
        minority=None if options.minority is None else tuple(options.minority),
        majority_size=options.majority_size,
        val_fraction=options.val_fraction,
        test_fraction=options.test_fraction,
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
        **network_settings(options.model, options.weights, options.mean, options.std),
    )


def train(options: Options, ranks: Ranks = ALONE) -> None:
    check_positive("devices", options.devices, whole=True)
    names = devices(device(options.device), options.devices)
    on = names[ranks.rank]
    check_target(options.target_precision)
    # Before the source is read, which may take long: a wrong setting fails at once.
    early = spec_of(options, methods_of(options, [options.method])[0], "")
    early = replace(early, seed=options.seed, data_seed=options.data_seed)
    if ranks.world < len(names):
        on_all(train, options, names)  # whose processes come here again
        return
    source, seconds = read(options, on, ranks.world)
    run = Runner(on, seconds, options.target_precision, ranks, say, watching)
    spec = replace(early, data=source.fingerprint)
    for note in split_of(spec, source).notes:
        say(f"note: {printable(note)}")
    if options.tuned:
        (spec,) = all_tuned([spec], options.out, options.budget)
        say(tuned_text([spec]))
    plan([spec], source, options.out, on)  # a wrong setting shows before a search
    if spec.expression.missing:
        spec = spec.with_values({"eps": run.chosen_eps(spec, source, options.out)})
    result = run(spec, source, options.out)
    say(text_recalls(result))
    say(f"saved in {options.out / spec.id}")


def text_recalls(result: dict[str, Any]) -> str:
    """Per-class recalls, rare classes marked with a star."""
    recall, counts, rare = result["test"]["recall"], result["counts"]["train"], result["minority"]
    rows = [(c, "*" if c in rare else "", f"{r:.3f}", f"{counts[c]}") for c, r in recall.items()]
    lines = aligned([("class", "", "recall", "training images"), *rows])
    return "\n".join([*lines, "(* rare)"] if rare else lines)


def compare(options: Options) -> None:
    on = device(options.device)
    check_positive("seeds", options.seeds, whole=True)
    check_target(options.target_precision)
    options.fold = None if options.folds is None else 0  # of the first run; the others get theirs
    chosen = methods_of(options, options.methods)
    early = spec_of(options, parse("baseline"), "")
    comparison(early, chosen, 1)  # which checks them
    writable(options.output)
    source, seconds = read(options, on)
    run = Runner(on, seconds, options.target_precision, say=say, watch=watching)
    base = replace(early, data=source.fingerprint)
    _compare(run, base, source, chosen, options, options.data_seed, options.tuned)


def _compare(
    run: Runner, base: RunSpec, source: Source, methods: Sequence[Expression], options: Options, data_seed: int | None = None,
    tuned: bool = False,
) -> None:  # fmt: skip
    """Every method with every seed, a table, and a report."""
    folders, table = compare_all(run, base, source, methods, options.seeds, data_seed, options.out, tuned)
    say(f"\n{table}\n")
    page(folders, options.output, run.target)


def demo(options: Options) -> None:
    on = device(options.device)
    writable(options.output)
    # The figures are then the same whatever the number of cores, and small networks need no more.
    torch.set_num_threads(1)
    begin = time.perf_counter()
    chosen = f"eps = {eps_text(DEMO_EPS)} was chosen on validation images of a seed that is not among these (docs/results.md)"
    source = replace(load_images("digits"), notes=(chosen,))
    base = RunSpec(source.fingerprint, "baseline", precision=options.precision, **DEMO)  # type: ignore[arg-type]
    compared = [parse(name) for name in DEMO_METHODS]
    compared = [method.set({"eps": DEMO_EPS}) if method.missing else method for method in compared]
    say(chosen)
    seconds = time.perf_counter() - begin
    options.seeds = DEMO_SEEDS
    _compare(Runner(on, seconds, say=say, watch=watching), base, source, compared, options)


def report(options: Options) -> None:
    if options.target_precision is not None:
        check_target(options.target_precision)
    output = options.output or (None if options.tables or options.json else Path("report.html"))
    if options.json == "-" and (output or options.tables):
        raise InputError("--json - fills standard output, so it goes without -o and --tables: give it a file")
    for path in filter(None, (output, options.json)):
        if path != "-":
            writable(Path(path))
    folders = finished_runs(options.runs)
    if options.json is not None:
        numbers(folders, options.json, options.target_precision)
    if options.tables is not None:
        tables(folders, options.runs, options.tables)
    if output is not None and (decisions := page(folders, output, options.target_precision)):
        say("\n" + decisions)


def tables(folders: Sequence[Path], runs: Path, output: Path) -> None:
    """Write a grid's tables, and say what they say."""
    from underdog.reporting import write_tables  # noqa: PLC0415  (matplotlib takes a while to import)

    if output.exists() and not output.is_dir():
        raise InputError(f"--tables {output} must be a folder, and is a file")
    for title, sentences in write_tables(folders, runs, output).items():
        say("\n  ".join(printable(text).translate(ASCII) for text in (f"{title}:", *sentences)) + "\n")
    say(f"tables: {output / 'tables.html'}")


def numbers(folders: Sequence[Path], output: str, target: float | None) -> None:
    """Write what a report says as JSON, to a file or standard output."""
    from underdog.reporting import report_json  # noqa: PLC0415

    text = report_json(folders, target)
    if output == "-":
        print(text, end="", flush=True)
    else:
        write_atomic(Path(output), lambda path: path.write_text(text, encoding="utf-8"))
        say(f"numbers: {output}")


def page(folders: Sequence[Path], output: Path, target: float | None = None) -> str:
    """Write a report; what it says of a decision, as text."""
    from underdog.reporting import write_report  # noqa: PLC0415  (matplotlib takes a while to import)

    decisions = write_report(folders, output, target)
    say(f"report: {output}")
    return decisions


def writable(output: Path) -> None:
    """Learn now, not after hours of training, that a page cannot be written."""
    folder = output.parent
    if output.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(
            f"{output} cannot be written: {'it is a folder' if output.is_dir() else f'no writable folder {folder}'}"
        )


COMMANDS: dict[str, Callable[[Options], None]] = {
    "demo": demo,
    "train": train,
    "compare": compare,
    "methods": methods,
    "grid": grid,
    "tune": tune,
    "report": report,
    "predict": predict,
    "export": export,
    "data": data,
    "bench": bench,
}
