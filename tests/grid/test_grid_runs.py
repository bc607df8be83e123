"""Grids of small runs through the command line: what is made, what is made again, and what goes wrong alone."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from filelock import FileLock

from underdog.data.sources import load_images
from underdog.names import EPS_GRID
from underdog.run.engine import Outcome
from underdog.run.execute import execute
from underdog.run.folders import Runs
from underdog.run.grid import entries
from underdog.run.grid_file import parse_grid
from underdog.run.queue import Queue, steps
from underdog.run.search import FAILED, Trials, eps_search
from underdog.run.spec import RunSpec
from underdog.run.tune import study_of, tuned

#: A network that is too small to learn anything, and misbehaves in the process of some runs.
NETWORK = """
import multiprocessing, os, signal, sys
import underdog as ud

def net(channels, classes, size):
    run = multiprocessing.current_process().name
    if run.startswith("ros-s1"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if run.startswith("rus-s0"):
        print("a last word", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return (Broken if run.startswith("baseline-s0") else ud.PaperNet)(channels, classes, size, width=0.1)

class Broken(ud.PaperNet):
    def forward(self, x):
        if self.training:
            raise ZeroDivisionError("no such number")
        return super().forward(x)
"""
TINY = """\
datasets:
  digits: {{rho: 20, mu: 0.6}}
{more}
epochs: 1
batch: 64
methods: {methods}
seeds: {seeds}
"""


def write(path: Path, methods: str, seeds: int = 1, more: str = "width: 0.1") -> Path:
    path.write_text(TINY.format(methods=methods, seeds=seeds, more=more))
    return path


def results(out: Path) -> dict[str, tuple[int, dict[str, Any]]]:
    """Time of writing and content of every result."""
    return {
        str(p.parent.relative_to(out)): (p.stat().st_mtime_ns, json.loads(p.read_text()))
        for p in [*out.glob("*/result.json"), *out.glob("tuning/*/result.json")]
    }


def eps_of(result: dict[str, Any]) -> float:
    eps = RunSpec.from_json(result["spec"]).expression.number("eps")
    assert eps is not None
    return eps


def test_a_grid_is_made_once_its_searches_first_to_the_figures_of_single_runs(tmp_path: Path, underdog: Any) -> None:
    methods = "[ros, {aos: {eps: chosen, tau: 0.5}}, {noise: {eps: [8/255, chosen-for-aos], tau: 0.5}}]"
    command = f"grid {write(tmp_path / 'tiny.yaml', methods)} --out {tmp_path / 'runs'} --workers 2"
    ran = underdog(command, "--dry-run")
    assert ran.code == 0
    assert "4 runs and 6 that choose parameters, 0 of them done" in ran.out
    assert ran.out.count("waits") == 2
    assert not (tmp_path / "runs").exists()

    ran = underdog(command)
    assert ran.code == 0, ran.err
    made = results(tmp_path / "runs")
    searches = {k: v for k, (_, v) in made.items() if k.startswith("tuning/")}
    specs = {k: RunSpec.from_json(v["spec"]) for k, (_, v) in made.items() if k not in searches}
    best = max((r["val"]["macro_f1"], -eps_of(r)) for r in searches.values())
    assert (len(searches), len(specs)) == (6, 4)
    eps = [s.expression.number("eps") for s in specs.values() if s.expression.has("eps")]
    assert sorted(map(float, eps)) == sorted([8 / 255, -best[1], -best[1]])
    assert not any(name in str(p) for p in (tmp_path / "runs").rglob("*") for name in ("failed", "shared-images"))
    assert "digits, rho 20, mu 0.6" in ran.out
    told = re.search(
        r"\n10 runs in .* s, on 2 workers; training, refreshing and evaluating took (.*) % of their time\n", ran.out
    )
    assert told
    assert 0 < float(told[1]) <= 100

    name, spec = next((k, s) for k, s in specs.items() if s.expression.name == "aos")
    alone = execute(spec, load_images("digits"), tmp_path / "alone")
    assert {k: v for k, v in made[name][1].items() if k != "seconds"} == {
        k: v for k, v in alone.items() if k != "seconds"
    }

    ran = underdog(command)
    assert ran.code == 0
    assert "10 of them done; nothing to do" in ran.out
    assert results(tmp_path / "runs") == made
    record = json.loads((tmp_path / "runs" / "grid.json").read_text())
    assert record["name"] == "tiny"
    assert record["datasets"]["digits"] == {"fingerprint": spec.data, "source": "digits", "before": []}


def test_a_run_that_crashes_ends_alone_is_recorded_and_tried_again(
    tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "crashing.py").write_text(NETWORK)
    write(tmp_path / "tiny.yaml", "[baseline, rus, ros]", 2, "model: crashing:net")
    ran = underdog("grid tiny.yaml --workers 2")
    assert ran.code == 1
    assert "3 runs failed" in ran.err
    for line in (
        "failed: digits mu 0.6 ros seed 1: its process was ended by SIGSEGV",
        "failed: digits mu 0.6 rus seed 0: its process was ended by SIGKILL",
        "failed: digits mu 0.6 baseline seed 0: ZeroDivisionError: no such number",
    ):
        assert line in ran.out
    records = {p.parent.name[:6]: json.loads(p.read_text()) for p in (tmp_path / "runs").glob("*/failed.json")}
    assert "Segmentation fault" in records["ros-s1"]["details"]
    assert records["rus-s0"]["details"] == "a last word"
    assert "crashing.py" in records["baseli"]["details"]
    before = results(tmp_path / "runs")
    assert len(before) == 3
    assert "failed" in underdog("grid tiny.yaml --dry-run").out

    well = NETWORK.replace("ros-s1", "?").replace("rus-s0", "?").replace("baseline-s0", "?")
    (tmp_path / "crashing.py").write_text(well)
    ran = underdog("grid tiny.yaml --workers 2")
    assert ran.code == 0, ran.out
    assert "3 of them done" in ran.out
    after = results(tmp_path / "runs")
    assert {k: after[k] for k in before} == before
    assert len(after) == 6
    assert not [*(tmp_path / "runs").glob("*/failed.json")]


def unable(folder: Path, spec: RunSpec) -> None:
    """A run that cannot be gone on from."""
    (folder / spec.id).mkdir(parents=True)
    (folder / spec.id / "state.safetensors").write_bytes(b"no state")


def test_a_run_of_a_search_that_fails_is_not_chosen_and_tried_again(
    tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "tiny.yaml", "[ros, {aos: {eps: chosen, tau: 0.5}}]")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "runs"
    spec = RunSpec(load_images("digits").fingerprint, "aos", 0, 0, 20, 0.6, epochs=1, batch=64, width=0.1)
    searched = eps_search(spec).runs
    unable(out / "tuning", searched[-1])
    ran = underdog("grid tiny.yaml --workers 1")
    assert ran.code == 1
    assert "failed: digits mu 0.6 aos eps 64/255 tau 0.5 search: " in ran.out
    assert "not begun" not in ran.out
    (made,) = (eps_of(r) for name, (_, r) in results(out).items() if name.startswith("aos"))
    scores = {eps_of(r): r["val"]["macro_f1"] for k, (_, r) in results(out).items() if k.startswith("tuning")}
    assert len(scores) == len(EPS_GRID) - 1
    assert scores[made] == max(scores.values())
    (out / "tuning" / searched[-1].id / "state.safetensors").unlink()
    again = underdog("grid tiny.yaml --workers 1")
    assert again.code == 0, again.out
    assert f"{searched[-1].id}" in {name.removeprefix("tuning/") for name in results(out)}


def test_a_search_of_which_all_failed_holds_up_only_what_needs_it(
    tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "tiny.yaml", "[ros, {aos: {eps: chosen, tau: 0.5}}]")
    monkeypatch.chdir(tmp_path)
    spec = RunSpec(load_images("digits").fingerprint, "aos", 0, 0, 20, 0.6, epochs=1, batch=64, width=0.1)
    for run in eps_search(spec).runs:
        unable(tmp_path / "runs" / "tuning", run)
    ran = underdog("grid tiny.yaml --workers 1")
    assert ran.code == 1
    assert "remove it to start the run again" in ran.out
    assert "since every run of the search for their parameters failed: 1 runs" in ran.out
    assert [name[:6] for name in results(tmp_path / "runs")] == ["ros-s0"]


def test_runs_on_any_axis_are_told_apart(tmp_path: Path, underdog: Any) -> None:
    more = "width: [0.1, 0.15]\nlr: 0.01\ndata_seed: [0, 1]"
    grid = write(tmp_path / "tiny.yaml", "[ros, {rus: {epochs: 2}}]", more=more)
    ran = underdog(f"grid {grid} --out {tmp_path / 'runs'}", "--dry-run")
    lines = [" ".join(line.split()) for line in ran.out.splitlines() if line.startswith("digits")]
    assert [line.rsplit(" ", 2)[0] for line in lines if " ros " in line] == [
        "digits 0.6 ros epochs width 0.1 0",
        "digits 0.6 ros epochs width 0.15 0",
        "digits 0.6 ros epochs width 0.1 0 (data seed 1)",
        "digits 0.6 ros epochs width 0.15 0 (data seed 1)",
    ]
    ran = underdog(f"grid {grid} --out {tmp_path / 'runs'} --only method=ros --workers 2")
    assert ran.code == 0
    assert ran.out.count(" digits mu 0.6 ros width 0.15 seed 0 (data seed 1): macro-F1") == 1
    titles = [line for line in ran.out.splitlines() if line.startswith("digits, rho")]
    assert titles == ["digits, rho 20, mu 0.6, width 0.1", "digits, rho 20, mu 0.6, width 0.15"]
    assert {r["spec"]["data_seed"] for _, r in results(tmp_path / "runs").values()} == {0, 1}
    assert [line.split()[:2] for line in ran.out.splitlines() if line.startswith("ros")] == [["ros", "2"]] * 2


def test_nothing_is_started_where_nothing_is_left_to_do(
    tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = f"grid {write(tmp_path / 'tiny.yaml', '[ros]')} --out {tmp_path / 'runs'} --workers 1"
    assert underdog(command).code == 0

    def no_engine(*_: object) -> None:
        raise AssertionError("an engine was made")

    monkeypatch.setattr("underdog.cli.common.LocalEngine", no_engine)
    ran = underdog(command)
    assert ran.code == 0, ran.err
    assert "1 of them done; nothing to do\n" in ran.out
    assert "digits, rho 20, mu 0.6\n" in ran.out


def test_a_folder_in_use_is_refused_before_data_are_read(
    tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_reading(*_: object) -> None:
        raise AssertionError("data were read")

    monkeypatch.setattr("underdog.cli.grid.load_images", no_reading)
    (tmp_path / "runs").mkdir()
    with FileLock(tmp_path / "runs" / ".lock"):
        ran = underdog(f"grid digits --out {tmp_path / 'runs'}")
    assert "is in use by another command" in ran.err


def test_folders_that_are_no_runs_are_set_aside_and_the_runs_made_anew(tmp_path: Path, underdog: Any) -> None:
    out = tmp_path / "runs"
    command = f"grid {write(tmp_path / 'tiny.yaml', '[baseline, rus, ros]', 2)} --out {out} --workers 2"
    assert underdog(command).code == 0
    whole = {k: v for k, (_, v) in results(out).items()}
    cut, foreign, poor, *_ = folders = sorted(out.glob("*-s*"))
    (cut / "result.json").write_text((cut / "result.json").read_text()[:-100])
    shutil.copy(folders[3] / "result.json", foreign / "result.json")
    (poor / "result.json").write_text(json.dumps({"spec": whole[poor.name]["spec"]}))
    left = {f.name: (f / "result.json").read_bytes() for f in (cut, foreign, poor)}

    ran = underdog(command, "--dry-run")
    assert ran.out.count("it will be set aside") == 3
    assert ran.out.count("to be set aside") == 3
    assert {f.name: (f / "result.json").read_bytes() for f in (cut, foreign, poor)} == left

    ran = underdog(command)
    assert ran.code == 0
    assert ran.out.count("made anew") == 3
    assert ran.out.count("(belongs to another run): set aside as") == 1
    assert "--out" not in ran.out
    assert "3 of them done" in ran.out
    assert {p.parent.name: p.read_bytes() for p in (out / "set-aside").glob("*/result.json")} == left
    again = {k: v | {"seconds": 0} for k, (_, v) in results(out).items()}
    assert again == {k: v | {"seconds": 0} for k, v in whole.items()}


def test_a_folder_with_a_grid_at_work_is_refused(tmp_path: Path, underdog: Any) -> None:
    command = f"grid {write(tmp_path / 'tiny.yaml', '[ros]')} --out {tmp_path / 'runs'}"
    (tmp_path / "runs").mkdir()
    with FileLock(tmp_path / "runs" / ".lock"):
        ran = underdog(command)
    assert ran.code == 2
    assert f"{tmp_path / 'runs'} is in use by another command" in ran.err
    assert [p.name for p in (tmp_path / "runs").iterdir()] == [".lock"]


def test_data_that_changed_since_its_runs_were_made_are_said(tmp_path: Path, underdog: Any, pictures: Any) -> None:
    photos = pictures.folder(tmp_path / "photos", pictures.tree({"ant": 30, "bee": 30, "yak": 12}))
    grid = tmp_path / "mine.yaml"
    grid.write_text("datasets:\n  pets: {path: photos}\nwidth: 0.1\nepochs: 1\nmethods: [ros]\nseeds: 2\n")
    command = f"grid {grid} --data {tmp_path} --out {tmp_path / 'runs'} --workers 1"
    assert underdog(command).code == 0
    before = results(tmp_path / "runs")
    pictures.folder(photos, pictures.tree({"ant": 31, "bee": 30, "yak": 12}))
    ran = underdog(command, "--dry-run")
    assert "pets is not what it was: 2 runs of the images it had before" in ran.out
    ran = underdog(command)
    assert ran.code == 0
    assert "pets is not what it was: 2 runs of the images it had before" in ran.out
    assert "2 runs, 0 of them done" in ran.out
    after = results(tmp_path / "runs")
    assert {k: after[k] for k in before} == before
    assert len(after) == 4
    record = json.loads((tmp_path / "runs" / "grid.json").read_text())["datasets"]["pets"]
    assert record["before"] == [next(iter(before.values()))[1]["spec"]["data"]]
    assert "is not what it was" not in underdog(command).out


BAD = {
    "papr": "unknown grid 'papr'; did you mean 'paper'",
    "paper": "data set 'cifar10' lies in a folder: --data DIR",
    "paper --data .": "cifar10 is not in '.' (looked for: ",
    "paper --data nowhere": "'nowhere': no such folder",
    "digits --only method=mixup": "only: no run has method 'mixup'",
    "digits --only methods=ros": "unknown key of --only 'methods'; did you mean 'method'",
    "digits --only ros": "'ros' is not KEY=VALUE",
    "digits --workers 0": "workers must be a whole number above 0, not 0",
    "digits --threads 0": "threads must be a whole number above 0, not 0",
    "digits --seeds 0": "seeds must be a whole number above 0, not 0",
    "digits --device abacus": "unknown device 'abacus'",
    "digits --engine steam": "invalid choice: 'steam'",
    "much.yaml": "much.yaml:2: unknown key 'epoch'",
    "cut.yaml": "majority",
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_refused_before_anything_is_written(
    arguments: str, tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("much.yaml").write_text("datasets: {digits: null}\nepoch: 3\nmethods: [ros]\n")
    Path("cut.yaml").write_text("datasets: {digits: {rho: 20, mu: 0.2, majority_size: 5000}}\nmethods: [ros]\n")
    ran = underdog("grid", *arguments.split())
    assert ran.code == 2
    assert BAD[arguments] in ran.err
    assert not Path("runs").exists()


class Terminal:
    """What a terminal would get."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_for_the_whole_and_one_for_each_run(
    tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("underdog.run.engine.QUIET", 0.0)
    ran = underdog(f"grid {write(tmp_path / 'tiny.yaml', '[ros, rus]')} --out {tmp_path / 'runs'} --workers 2")
    assert ran.code == 0
    assert "2/2" in screen.text
    assert "digits mu 0.6 ros seed 0" in screen.text


def test_trials_choose_every_method_s_parameters_as_tune_does(
    tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.yaml"
    write(path, "[baseline, ros, smote]")
    path.write_text("trials: 3\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    ran = underdog("grid tiny.yaml --workers 2")
    assert ran.code == 0, ran.out
    assert "and 9 that choose parameters" in ran.out
    spec = RunSpec(load_images("digits").fingerprint, "ros", 0, 0, 20, 0.6, epochs=1, batch=64, width=0.1)
    for method in ("baseline", "ros", "smote"):
        study = study_of(replace(spec, method=method), 3).finished(tmp_path / "runs")
        assert study is not None
        assert len({tuple(trial.values.items()) for trial in study.trials}) == 3
        expected = tuned(replace(spec, method=method), tmp_path / "runs")
        assert expected is not None
        assert expected.id in results(tmp_path / "runs")
    again = underdog("grid tiny.yaml --dry-run")
    assert again.code == 0
    assert "nothing to do" in again.out


def test_a_trial_that_fails_counts_as_one_that_recognised_nothing() -> None:
    spec = RunSpec("some data", "ros")
    search = Trials(study_of(spec, 3))
    first = search.run(0, lambda run: None)
    assert first is not None
    assert search.run(1, lambda run: None) is None
    second = search.run(1, lambda run: 0.5 if run == first else None)
    assert second is not None
    assert second != first
    done = search.applied(spec, lambda run: {first.id: 0.0, second.id: FAILED}.get(run.id, FAILED))
    assert done is not None
    assert done.method == first.method
    done = search.applied(spec, lambda run: FAILED if run == first else 0.4)
    assert done is not None
    assert done.method == second.method != first.method
    assert search.applied(spec, lambda run: FAILED) is None


class Done:
    """Runs that are done as soon as they have ended."""

    out = Path("nowhere")

    def __init__(self) -> None:
        self.ids: set[str] = set()

    def result(self, spec: RunSpec) -> dict[str, Any] | None:
        return {"val": {"macro_f1": 0.5}} if spec.id in self.ids else None

    def home(self, spec: RunSpec) -> Path:
        return self.out

    def ended(self, outcome: Outcome) -> None:
        self.ids.add(outcome.job.spec.id)


def test_a_run_that_two_searches_share_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trials, "store", lambda *_: None)
    text = "trials: 3\ndatasets: {digits: {rho: 20, mu: 0.6}}\nmethods: [ros]\nbudget: [epochs, updates]\nseeds: 1\n"
    runs = Done()
    queue = Queue(steps(entries(parse_grid(text, "some", "f"), {"digits": ""})), cast("Runs", runs))
    assert (queue.settled(), queue.total()) == (0, 8)
    settled = []
    while (job := queue.take()) is not None:
        runs.ids.add(job.spec.id)
        queue.ended(Outcome(job, 1.0))
        settled.append(queue.settled())
    assert settled == list(range(1, len(runs.ids) + 1))
    assert len(runs.ids) == queue.total() < 8
