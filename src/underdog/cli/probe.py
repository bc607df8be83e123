"""``underdog probe``: all methods on the features of a frozen pretrained network."""

from __future__ import annotations

from dataclasses import replace

from underdog.cli.common import (
    Options,
    chosen_cache,
    data_settings,
    devices_of_workers,
    methods_of,
    read,
    say,
    writable,
)
from underdog.cli.compare import compare_runs
from underdog.cli.progress import bar
from underdog.data.sources import Source
from underdog.decision.rule import check_target
from underdog.experiments.comparison import check_complete, comparison
from underdog.run.codes import feature_source
from underdog.run.features import extractor, pretrained_settings
from underdog.run.folders import occupied
from underdog.run.search import PlannedRun, decay_search
from underdog.run.spec import RunSpec
from underdog.validate import check_positive

__all__ = ["run"]

#: Images an update.
SMALLEST, LARGEST = 16, 512
#: Pixels of images that nobody gave another size.
SIZE = (224, 224)


def run(options: Options) -> None:
    """Carry out the command."""
    names = devices_of_workers(options)
    check_positive("seeds", options.seeds, whole=True)
    check_target(options.target_precision)
    methods = methods_of(options, options.methods)
    for method in methods:
        check_complete(method.with_first_values())
    early = comparison(_base(options), methods, options.seeds, options.data_seed)
    writable(options.output)
    options.size = options.size or SIZE
    with occupied(options.out):
        # Before images are read, what is wrong with the network or the size.
        pretrained_settings(options.model, options.weights, options.mean, options.std, options.size)
        images = read(options, names[0])
        source = _features(images, names[0], options)
        batch = options.batch or fitting_batch(len(source.train))
        specs = [replace(spec, data=source.fingerprint, batch=batch) for spec in early]
        compare_runs([PlannedRun("", spec, decay_search(spec)) for spec in specs], source, names, options)


def fitting_batch(images: int) -> int:
    """Images an update, a power of 2: so few that an epoch has some eight updates at least.

    >>> fitting_batch(10_000), fitting_batch(400), fitting_batch(30)
    (512, 32, 16)
    """
    return max(SMALLEST, min(LARGEST, 1 << (max(images, 8) // 8).bit_length() - 1))


def _base(options: Options) -> RunSpec:
    """The run of a linear head that the options describe, of data that are still to be read."""
    return RunSpec(
        "",
        "baseline",
        **data_settings(options),
        epochs=options.epochs,
        lr=options.lr,
        batch=options.batch or LARGEST,
        optimizer="adamw",
        scheduler="cosine",
        budget=options.budget,
        model="linear",
    )


def _features(images: Source, on: str, options: Options) -> Source:
    """The source of features of the images."""
    cache, total = chosen_cache(options), sum(map(len, images.parts.values()))
    frozen = extractor(options.model, images.train.shape, on, options.weights, options.mean, options.std)
    with bar(f"features of {images.name} by {options.model}", total, " images") as shown:
        found = {name: frozen.features(part, shown.update, cache) for name, part in images.parts.items()}
    say(f"features of {total:,} images by {options.model}: {found['train'].shape[1]:,} of each")
    source = feature_source(replace(images, notes=(*images.notes, *frozen.notes)), found, frozen.network)
    for note in source.notes[len(images.notes) :]:
        say(f"note: {note}")
    return source
