"""Sources in files that processes share, and estimates of time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from underdog.data.images import ImageSet
from underdog.data.pixels import PixelFile
from underdog.data.prepare import prepare
from underdog.data.reading import Reading
from underdog.data.sources import Source, load_images
from underdog.errors import InputError
from underdog.experiments.comparison import comparison, with_searches
from underdog.experiments.experiment import Experiment
from underdog.resample.perturb import Perturb
from underdog.resample.random import RandomOverSampler
from underdog.resample.smote import SMOTE
from underdog.run.estimate import Estimate, outline
from underdog.run.local import TUNABLES, _large_pages
from underdog.run.queue import steps
from underdog.run.shared import map_source, save_source
from underdog.run.spec import RunSpec


def source() -> Source:
    def part(n: int) -> ImageSet:
        rng = np.random.default_rng(n)
        pixels = torch.from_numpy(rng.integers(0, 256, (n, 3, 5, 4), dtype=np.uint8))
        labels = torch.from_numpy(np.arange(n) % 2)
        groups, items = np.array([f"g{i // 2}" for i in range(n)]), np.array([f"日{i}.png" for i in range(n)])
        return ImageSet(pixels, labels, ("a", "<b>"), groups, items, frozenset({1}))

    return Source("toy", part(9), None, part(4), ("a note",), Reading(size=(5, 4), resize="pad"))


def test_a_mapped_source_is_the_source(tmp_path: Path) -> None:
    whole = source()
    mapped = map_source(save_source(whole, tmp_path / "toy"))
    assert mapped.fingerprint == whole.fingerprint
    assert (mapped.name, mapped.notes, mapped.reading) == (whole.name, whole.notes, whole.reading)
    assert mapped.val is None
    assert mapped.test is not None
    assert mapped.test.names.tolist() == ["日0.png", "日1.png", "日2.png", "日3.png"]
    assert mapped.train.minority == {1}


def test_images_that_stay_on_disk_are_mapped_so(tmp_path: Path) -> None:
    whole = source()
    pixels = tmp_path / "pixels.npy"
    np.save(pixels, whole.train.images.numpy())
    rows = np.array([5, 2, 7])
    filed = replace(whole, train=replace(whole.train, images=PixelFile.open(pixels)).select(rows))
    mapped = map_source(save_source(filed, tmp_path / "toy"))
    assert isinstance(mapped.train.images, PixelFile)
    assert mapped.fingerprint == replace(whole, train=whole.train.select(rows)).fingerprint


def test_what_a_process_writes_into_mapped_images_is_seen_by_nobody_else(tmp_path: Path) -> None:
    folder = save_source(source(), tmp_path / "toy")
    one, other = map_source(folder), map_source(folder)
    one.train.images[:] = 0
    assert other.fingerprint == source().fingerprint


def test_an_outline_is_divided_as_the_source_is() -> None:
    digits = load_images("digits")
    whole, small = (prepare(s, 3, rho=20, mu=0.6) for s in (digits, outline(digits)))
    assert whole.kept.tolist() == small.kept.tolist()
    assert whole.split.train.counts == small.split.train.counts
    assert whole.split.test is not None
    assert small.split.test is not None
    assert whole.split.test.names.tolist() == small.split.test.names.tolist()


def test_an_estimate_counts_the_images_of_each_method_and_learns_from_runs_that_are_done() -> None:
    digits = load_images("digits")
    estimate = Estimate({digits.fingerprint: digits}, "cpu")
    spec = RunSpec(digits.fingerprint, "baseline", rho=20, mu=0.6, epochs=10)
    counts = prepare(digits, rho=20, mu=0.6).split.train.counts
    evaluated = 10 * 143 / 3 + 2 * 359 / 3

    def images(method: str, budget: str = "epochs") -> float:
        return estimate.images(RunSpec(digits.fingerprint, method, rho=20, mu=0.6, epochs=10, budget=budget))

    assert images("baseline") == pytest.approx(10 * sum(counts) + evaluated)
    assert images("ros") == images("baseline", "updates") == pytest.approx(10 * 10 * max(counts) + evaluated)
    assert images("rus") == pytest.approx(10 * 10 * min(counts) + evaluated)
    estimate.learn(spec, {"seconds": {"train": 3.0, "evaluate": 1.0}})
    assert estimate.seconds(spec) == pytest.approx(4.0)
    assert estimate.seconds(RunSpec(digits.fingerprint, "rus", rho=20, mu=0.6, epochs=10)) < 4.0


def test_a_plan_starts_no_resampler_and_yet_knows_what_one_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object) -> None:
        raise AssertionError("a resampler was started")

    for resampler in (SMOTE, RandomOverSampler, Perturb):
        monkeypatch.setattr(resampler, "start", started)
    digits = load_images("digits")
    base = RunSpec(digits.fingerprint, "baseline", rho=20, mu=0.6, epochs=2, width=0.1)
    specs = comparison(base, ["smote", "ros", "aos", "aos(eps=0.1)", "crt"], 2)
    planned = Experiment.of(steps(with_searches(specs)), {"": digits}, tmp_path / "runs", print)
    assert planned.state(workers=2) == "10 runs and 6 that choose parameters, 0 of them done; on 2 workers"
    few = RunSpec(digits.fingerprint, "smote", rho=100, mu=0.6, epochs=2, width=0.1)
    with pytest.raises(InputError, match="SMOTE needs at least 2 images"):
        Experiment.of(steps(with_searches([few])), {"": digits}, tmp_path / "runs", print)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("own", [None, "glibc.malloc.check=0"], ids=["unset", "set"])
def test_processes_of_an_engine_have_large_pages_unless_somebody_said_otherwise(
    own: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TUNABLES, raising=False)
    if own:
        monkeypatch.setenv(TUNABLES, own)
    before = dict(os.environ)
    with _large_pages():
        code = f"import os; print(os.environ['{TUNABLES}'])"
        told = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    assert told == (own or "glibc.malloc.hugetlb=1")
    assert dict(os.environ) == before
