"""What the commands do."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from underdog.cli.bench import bench
from underdog.cli.data import data
from underdog.cli.data_cache import chosen_cache
from underdog.cli.devices import devices, on_all
from underdog.cli.export import export
from underdog.cli.grid import grid
from underdog.cli.parser import DEMO, DEMO_METHODS, DEMO_SEEDS
from underdog.cli.predict import predict
from underdog.cli.progress import bar, duration, watching
from underdog.cli.tune import tune
from underdog.data.memory import image_memory
from underdog.data.reading import Reading
from underdog.data.sources import Source, load_images
from underdog.decision.rule import check_target
from underdog.errors import InputError, unknown
from underdog.names import ALTERING, DEVICES, METHODS, TARGET_PRECISION, TAU
from underdog.ranks import ALONE, Ranks
from underdog.report.summary import eps_text, parameters_text
from underdog.report.tables import ASCII, text_table
from underdog.report.terminal import aligned, printable
from underdog.run.compare import comparison, plan
from underdog.run.execute import execute, finished, split_of
from underdog.run.network import network_settings
from underdog.run.spec import RunSpec
from underdog.run.tune import TUNING_SEED, all_tuned, choose_eps, tuning_specs, values_of
from underdog.validate import check_eps, check_positive, check_tau

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


def parameters_of(options: Options) -> dict[str, float]:
    """The parameters of methods that were given, but for eps and tau."""
    given = {name: getattr(options, name) for name in ("eps", "tau", "k", "ratio", "power")}
    given = {name: value for name, value in given.items() if value is not None}
    if options.tuned and given:
        raise InputError(f"--tuned reads the methods' parameters from searches, and excludes --{', --'.join(given)}")
    return {name: value for name, value in given.items() if name not in ("eps", "tau")}


def spec_of(options: Options, method: str, data: str, parameters: Mapping[str, float] | None = None) -> RunSpec:
    """The run that the options describe."""
    altering, tau = method in ALTERING, TAU if options.tau is None else options.tau
    check_tau(tau)  # also where the method has no use for it: a typing error is one
    if options.eps is not None:
        check_eps(options.eps)
    return RunSpec(
        data=data,
        method=method,
        eps=options.eps if altering else None,
        tau=tau if altering else None,
        **(parameters or {}),  # type: ignore[arg-type]
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


def one(
    spec: RunSpec,
    source: Source,
    out: Path,
    on: str,
    seconds: float,
    target: float = TARGET_PRECISION,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Carry out a run and say a line about it."""
    name = f"{spec.method} seed {spec.seed}" if not spec.tuning else f"eps {eps_text(spec.eps or 0)}"
    if finished(out / spec.id, spec):
        say(f"{name}: finished before")
        return execute(spec, source, out, on, ranks=ranks)  # which only tidies up
    with watching(name, spec.epochs) as watcher:
        result = execute(spec, source, out, on, watcher, seconds, target, ranks)
    scores = result["test"] or result["val"]
    say(
        f"{name}: macro-F1 {scores['macro_f1']:.4f}, G-mean {scores['g_mean']:.4f} on {'test' if result['test'] else 'validation'} "
        f"images (best epoch {result['best_epoch'] + 1} of {spec.epochs}, {result['updates']} updates, "
        f"{duration(sum(result['seconds'].values()))})"
    )
    return result


def with_eps(
    spec: RunSpec, source: Source, out: Path, run: Callable[[RunSpec, Source, Path], dict[str, Any]], on: str
) -> RunSpec:
    """The spec with an eps, chosen on validation where it has none; the cost is said first."""
    if spec.eps is not None or spec.method not in ALTERING:
        return spec
    if spec.folds is not None:
        raise InputError(
            f"{spec.method} with folds needs eps: a search for it would see images that other folds test on"
        )
    specs = tuning_specs(spec)
    cost = plan(specs, source, out / "tuning", on)
    say(
        f"no --eps: choosing it on validation takes {cost.runs} more runs of {spec.method} (seed {TUNING_SEED}, not reported), "
        f"{cost.done} of them done, about {duration(cost.seconds)} for the others"
    )
    eps = choose_eps(spec, source, out, run)
    say(f"eps = {eps_text(eps)} has the highest validation macro-F1 (the smallest eps of equals)")
    return replace(spec, eps=eps)


def train(options: Options, ranks: Ranks = ALONE) -> None:
    check_positive("devices", options.devices, whole=True)
    names = devices(device(options.device), options.devices)
    on = names[ranks.rank]
    check_target(options.target_precision)
    # Before the source is read, which may take long: a wrong setting fails at once.
    early = spec_of(options, options.method, "", parameters_of(options))
    early = replace(early, seed=options.seed, data_seed=options.data_seed)
    if ranks.world < len(names):
        on_all(train, options, names)  # whose processes come here again
        return
    source, seconds = read(options, on, ranks.world)
    run = partial(one, on=on, seconds=seconds, target=options.target_precision, ranks=ranks)
    spec = replace(early, data=source.fingerprint)
    for note in split_of(spec, source).notes:
        say(f"note: {printable(note)}")
    if options.tuned:
        (spec,) = all_tuned([spec], options.out, options.budget)
        say(tuned_text([spec]))
    if spec.eps is None and spec.method in ALTERING:  # a wrong setting shows before the search
        plan([replace(spec, eps=0.0)], source, options.out, on)
    spec = with_eps(spec, source, options.out, run, on)
    result = run(spec, source, options.out)
    say(text_recalls(result))
    say(f"saved in {options.out / spec.id}")


def tuned_text(specs: Sequence[RunSpec]) -> str:
    """The values that searches found, method by method."""
    each = dict.fromkeys(f"{s.method} {parameters_text(values_of(s))}" for s in specs)
    return f"tuned on validation images of a seed that is not reported: {'; '.join(each)}"


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
    for method in options.methods:
        if method not in METHODS:
            raise unknown("method", method, METHODS)
    altering = [m for m in options.methods if m in ALTERING]
    options.fold = None if options.folds is None else 0  # of the first run; the others get theirs
    early = spec_of(options, "aos" if "aos" in altering else (altering or options.methods)[0], "")
    parameters = parameters_of(options)
    comparison(early, options.methods, 1, budget=options.budget, parameters=parameters)  # which checks them
    writable(options.output)
    source, seconds = read(options, on)
    base = replace(early, data=source.fingerprint)
    run_all(
        base,
        source,
        seconds,
        options.methods,
        options.seeds,
        options.data_seed,
        options.budget,
        options.out,
        options.output,
        on,
        options.target_precision,
        parameters,
        options.tuned,
    )


def run_all(
    base: RunSpec, source: Source, seconds: float, methods: Sequence[str], seeds: int, data_seed: int | None, budget: str,
    out: Path, output: Path, on: str, target: float = TARGET_PRECISION, parameters: Mapping[str, float] | None = None,
    tuned: bool = False,
) -> None:  # fmt: skip
    """Every method with every seed, a table, and a report."""

    def compared(base: RunSpec) -> list[RunSpec]:
        specs = comparison(base, methods, seeds, data_seed, budget, parameters)
        return all_tuned(specs, out, budget) if tuned else specs

    run = partial(one, on=on, seconds=seconds, target=target)
    searched = base.eps is None and base.method in ALTERING and not tuned
    if searched and all(finished(out / "tuning" / s.id, s) for s in tuning_specs(base)):
        base, searched = with_eps(base, source, out, run, on), False
    assumed = replace(base, eps=0.0) if searched else base  # any eps takes the same time
    whole = plan(compared(assumed), source, out, on)
    replicates = f"{seeds} seed{'s' * (seeds != 1)}" + (f" x {base.folds} folds" if base.folds else "")
    say(
        f"{whole.runs} runs ({len(methods)} methods, {replicates}), {whole.done} of them done, about "
        f"{duration(whole.seconds)} for the others on {on}{'; and first a search for eps' if searched else ''}"
    )
    for note in whole.notes:
        say(f"note: {printable(note)}")
    specs = compared(with_eps(base, source, out, run, on) if searched else base)
    if tuned:
        say(tuned_text(specs))
    results = [run(spec, source, out) for spec in specs]
    say("\n" + text_table(results) + "\n")
    page([out / spec.id for spec in specs], output, target)


def demo(options: Options) -> None:
    on = device(options.device)
    writable(options.output)
    # The figures are then the same whatever the number of cores, and small networks need no more.
    torch.set_num_threads(1)
    begin = time.perf_counter()
    chosen = f"eps = {eps_text(DEMO['eps'])} was chosen on validation images of a seed that is not among these (docs/results.md)"
    source = replace(load_images("digits"), notes=(chosen,))
    base = RunSpec(source.fingerprint, "aos", precision=options.precision, **DEMO)  # type: ignore[arg-type]
    say(chosen)
    seconds = time.perf_counter() - begin
    run_all(base, source, seconds, DEMO_METHODS, DEMO_SEEDS, None, "epochs", options.out, options.output, on)


def report(options: Options) -> None:
    if options.target_precision is not None:
        check_target(options.target_precision)
    output = options.output or (None if options.tables else Path("report.html"))
    if output is not None:
        writable(output)
    folders = sorted(path.parent for path in options.runs.glob("*/result.json"))
    if (options.runs / "result.json").exists():
        folders = [options.runs]
    if not folders:
        raise InputError(f"{options.runs} has no finished run (a folder with result.json)")
    if options.tables is not None:
        tables(folders, options.runs, options.tables)
    if output is not None and (decisions := page(folders, output, options.target_precision)):
        say("\n" + decisions)


def tables(folders: Sequence[Path], runs: Path, output: Path) -> None:
    """Write a grid's tables, and say what they say."""
    from underdog.report import write_tables  # noqa: PLC0415  (matplotlib takes a while to import)

    if output.exists() and not output.is_dir():
        raise InputError(f"--tables {output} must be a folder, and is a file")
    for title, sentences in write_tables(folders, runs, output).items():
        say("\n  ".join(printable(text).translate(ASCII) for text in (f"{title}:", *sentences)) + "\n")
    say(f"tables: {output / 'tables.html'}")


def page(folders: Sequence[Path], output: Path, target: float | None = None) -> str:
    """Write a report; what it says of a decision, as text."""
    from underdog.report import write_report  # noqa: PLC0415  (matplotlib takes a while to import)

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
    "grid": grid,
    "tune": tune,
    "report": report,
    "predict": predict,
    "export": export,
    "data": data,
    "bench": bench,
}
