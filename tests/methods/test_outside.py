"""Methods of somebody's own, in a module that underdog does not know: through every command, and what is said of bad ones."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extras import needs
from safetensors import safe_open

import underdog as ud
from underdog.methods.expression import parse
from underdog.run.spec import RunSpec
from underdog.run.tune import values_of

QUICK = "--rho 20 --mu 0.6 --epochs 2 --width 0.2 --batch 64"
#: A resampler in ten lines, a loss in five, and methods of both; as somebody would write them.
OWN = """
from dataclasses import dataclass, replace
from typing import Annotated, Literal
import underdog as ud

@dataclass(frozen=True)
class Halve(ud.NoResampling):
    share: float
    def start(self, epoch, now):
        keep = now.rng("halve").random(len(epoch)) < self.share
        return replace(epoch, index=epoch.index[keep])

class Brier(ud.Loss):
    def __call__(self, logits, labels):
        return ((logits.softmax(1) - ud_one_hot(logits, labels)) ** 2).sum(1)

def ud_one_hot(logits, labels):
    return logits.new_zeros(logits.shape).scatter(1, labels[:, None], 1)

class Half(ud.Adjustment):
    def forward(self, logits):
        return logits / 2

def halve(share: float = 0.5):
    '''Show some of the images.'''
    return ud.Method(Halve(share))

def searched(
    share: Annotated[float, ud.Parameter("of the images", ud.Axis((0.2, 0.4, 0.6, 0.8), first=0.6))],
    part: Annotated[int, ud.Parameter("twice", ud.Axis((1, 2), first=2))] = 2,
    kind: Literal["all", "none"] = "all",
):
    return ud.Method(Halve(share * part / 2))

def brier():
    return ud.Method(loss=lambda counts: Brier())

def halved(): return ud.Method(posthoc=lambda counts: Half())

def doubled(times: float = 2.0):
    return lambda method: replace(method, lr_factor=times)
"""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs"


_numbers = count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes a module into the current folder: its text -> a name that no other test has, since modules are imported once."""
    written: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text: str) -> str:
        name = f"outside_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


def results(out: Path) -> dict[str, dict[str, Any]]:
    """Every result by its method."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob("*/result.json")]
    return {result["spec"]["method"]: result for result in found}


def test_train_compare_report_predict_and_export_know_a_resampler_and_a_loss_of_one_s_own(
    out: Path, module: Any, underdog: Any, pictures: Any, tmp_path: Path
) -> None:
    own = module(OWN)
    ran = underdog(f"train digits {QUICK} --method {own}:halve(share=0.3) --out {out}")
    assert ran.code == 0, ran.err
    assert f"{own}:halve(share=0.3) seed 0: macro-F1" in ran.out
    methods = [
        f"{own}:halve",
        f"{own}:halve(share=0.3)",
        f"{own}:brier",
        f"{own}:brier+{own}:halve",
        f"{own}:brier+aos(eps=0.1)",
    ]
    ran = underdog(f"compare digits {QUICK} --seeds 1 --methods {','.join(methods)} --out {out}")
    assert ran.code == 0, ran.err
    assert "5 runs (5 methods, 1 seed), 1 of them done" in ran.out
    found = results(out)
    assert set(found) == {*methods[:4], f"aos(eps=0.1)+{own}:brier"}
    plain = underdog(f"train digits {QUICK} --method baseline --out {out}")
    assert plain.code == 0
    seen = {method: result["images_seen"] for method, result in results(out).items()}
    assert 0.2 < seen[f"{own}:halve(share=0.3)"] / seen["baseline"] < 0.4
    assert 0.4 < seen[f"{own}:halve"] / seen["baseline"] < 0.6
    assert seen[f"{own}:brier+{own}:halve"] == seen[f"{own}:halve"]
    assert seen[f"aos(eps=0.1)+{own}:brier"] > seen["baseline"]  # a loss of one's own says nothing of counts
    assert len({json.dumps(result["val"]) for result in found.values()}) == 5

    page = Path("report.html").read_text(encoding="utf-8")
    assert f"{own}:halve" in page
    assert "share 0.3" in page
    # A report is made from what is written, also by somebody who has not got the module.
    (tmp_path / f"{own}.py").unlink()
    sys.modules.pop(own)
    ran = underdog(f"report {out} -o {tmp_path / 'again.html'} --tables {tmp_path / 'tables'}")
    assert ran.code == 0, ran.err
    assert f"{own}:halve" in (tmp_path / "again.html").read_text(encoding="utf-8")
    assert any("share 0.3" in path.read_text(encoding="utf-8") for path in (tmp_path / "tables").rglob("*.csv"))
    # And so are predictions, and exported files: the method is no part of the network.
    (run,) = (
        path for path in out.iterdir() if re.match(rf"{own}_halve-s0-", path.name) and "0.3" in spec_of(path).method
    )
    (tmp_path / "new.png").write_bytes(pictures.encode(pictures.pixels(0)))
    ran = underdog("predict", run, tmp_path / "new.png")
    assert ran.code == 0, ran.err
    needs("onnx", "onnxscript", "onnxruntime")
    assert underdog("export", run, tmp_path / "model.onnx").code == 0


def spec_of(folder: Path) -> RunSpec:
    return RunSpec.from_json(json.loads((folder / "spec.json").read_text(encoding="utf-8")))


def test_what_a_method_of_one_s_own_does_to_logits_is_imported_where_they_are_needed(
    out: Path, module: Any, underdog: Any, tmp_path: Path
) -> None:
    own = module(OWN)
    for method in ("ros", f"ros+{own}:halved"):
        assert underdog(f"train digits {QUICK} --method {method} --out {out}").code == 0
    runs = {spec_of(path).method: path for path in out.iterdir()}
    assert set(runs) == {"ros", f"ros+{own}:halved"}
    images = list(np.random.default_rng(0).integers(0, 256, (5, 16, 16), dtype=np.uint8))
    plain, halved = (ud.load(run).logits(images) for run in (runs["ros"], runs[f"ros+{own}:halved"]))
    np.testing.assert_allclose(halved, plain / 2, rtol=1e-6)
    sys.modules.pop(own)
    (tmp_path / f"{own}.py").unlink()
    with pytest.raises(ud.InputError, match=rf"method '{own}:halved' cannot be imported"):
        ud.load(runs[f"ros+{own}:halved"])
    assert underdog(f"report {out}").code == 0


def test_a_function_of_one_s_own_may_change_the_rest_of_a_sum(out: Path, module: Any, underdog: Any) -> None:
    own = module(OWN)
    methods = ["ros", "baseline(lr_factor=2)+ros", f"ros+{own}:doubled", f"ros+{own}:doubled(times=1)"]
    ran = underdog(f"compare digits {QUICK} --seeds 1 --methods {','.join(methods)} --out {out}")
    assert ran.code == 0, ran.err
    values = {method: result["val"] for method, result in results(out).items()}
    assert values[f"ros+{own}:doubled"] == values["baseline(lr_factor=2)+ros"]
    assert values[f"ros+{own}:doubled(times=1.0)"] == values["ros"] != values[f"ros+{own}:doubled"]


def test_tune_searches_what_has_an_axis_and_the_learning_rate_where_nothing_has(
    out: Path, module: Any, underdog: Any
) -> None:
    own = module(OWN)
    methods = f"{own}:searched,{own}:brier,{own}:searched(kind=none)+{own}:brier,ros+{own}:doubled"
    command = f"tune digits {QUICK} --method {methods} --trials 3 --out {out}"
    ran = underdog(command)
    assert ran.code == 0, ran.err
    studies = [json.loads(path.read_text()) for path in (out / "tuning").glob("study-*.json")]
    found = {study["spec"]["method"]: study for study in studies}
    assert set(found) == {
        f"{own}:searched(part=1,share=0.2)",
        f"baseline(lr_factor=0.25)+{own}:brier",
        f"{own}:brier+{own}:searched(kind=none,part=1,share=0.2)",
        f"ros(ratio=0.05)+{own}:doubled",
    }
    searched = found[f"{own}:searched(part=1,share=0.2)"]
    assert searched["trials"][0]["values"] == {"share": 0.6, "part": 2}
    assert len({tuple(trial["values"].items()) for trial in searched["trials"]}) == 3
    assert all(set(trial["values"]) == {"share", "part"} for trial in searched["trials"])
    assert "12 of them done" in underdog(command).out
    ran = underdog(f"compare digits {QUICK} --methods {methods} --tuned --seeds 1 --out {out}")
    assert ran.code == 0, ran.err
    for result in results(out).values():
        spec = RunSpec.from_json(result["spec"])
        (best,) = (s["best"] for s in studies if parse(s["spec"]["method"]).name == spec_name(spec))
        assert values_of(spec) == best


def spec_name(spec: RunSpec) -> str:
    """The name under which its study was found, where a learning rate may be as usual."""
    name = spec.expression.name
    return f"baseline+{name}" if re.fullmatch(r"outside_\d+:brier", name) else name


def test_a_grid_has_their_parameters_as_keys_and_may_choose_them_by_trials(
    out: Path, module: Any, underdog: Any, tmp_path: Path
) -> None:
    own = module(OWN)
    grid = tmp_path / "mine.yaml"
    grid.write_text(
        "datasets: {digits: {rho: 20, mu: 0.6}}\nepochs: 1\nwidth: 0.1\nseeds: 1\nmethods:\n"
        f"  - ros\n  - {own}:halve: {{share: [0.5, 0.8]}}\n  - aos+{own}:brier: {{eps: 8/255}}\n"
    )
    ran = underdog(f"grid mine.yaml --out {out} --workers 1")
    assert ran.code == 0, ran.out + ran.err
    assert set(results(out)) == {"ros", f"{own}:halve", f"{own}:halve(share=0.8)", f"aos(eps=8/255)+{own}:brier"}
    assert "nothing to do" in underdog(f"grid mine.yaml --out {out} --workers 1").out
    grid.write_text(
        "trials: 2\ndatasets: {digits: {rho: 20, mu: 0.6}}\nepochs: 1\nwidth: 0.1\nseeds: 1\n"
        f"methods: [{own}:searched, {own}:brier]\n"
    )
    ran = underdog(f"grid mine.yaml --out {tmp_path / 'tuned'} --workers 1")
    assert ran.code == 0, ran.out + ran.err
    assert "2 runs and 4 that choose parameters" in ran.out
    assert len([*(tmp_path / "tuned" / "tuning").glob("study-*.json")]) == 2
    assert len(results(tmp_path / "tuned")) == 2


BAD = """
from dataclasses import dataclass, field, replace
import itertools
import numpy as np
import torch
import underdog as ud

class Start(ud.NoResampling):
    def start(self, epoch, now): return self.made(epoch, now)

class Relabels(Start):
    def made(self, epoch, now): return replace(epoch, labels=epoch.labels[::-1].copy())

class Beyond(Start):
    def made(self, epoch, now): return replace(epoch, index=epoch.index + 1)

class Below(Start):
    def made(self, epoch, now): return replace(epoch, index=epoch.index - 1)

class Nothing(Start):
    def made(self, epoch, now): return replace(epoch, index=epoch.index[:0])

class NoEpoch(Start):
    def made(self, epoch, now): return None

class NewClass(Start):
    def made(self, epoch, now): return epoch.with_synthetic(epoch.images[:2], np.array([0, 10]), now.maker)

class Counts(Start):
    drawn = itertools.count(1)
    def made(self, epoch, now): return replace(epoch, index=epoch.index[next(self.drawn):])

class Draws(Start):
    def made(self, epoch, now): return replace(epoch, index=np.random.default_rng().permutation(epoch.index))

class Raises(Start):
    def made(self, epoch, now): raise ud.InputError("too few images of it")

class Later(ud.NoResampling):
    def refresh(self, epoch, now): return replace(epoch, index=epoch.index + 1)

class CountsLater(ud.NoResampling):
    drawn = itertools.count(1)
    def refresh(self, epoch, now): return replace(epoch, index=np.roll(epoch.index, next(self.drawn)))

class Unsized(ud.NoResampling):
    def expected(self, shown, epoch): raise ud.InputError("no such class")

class NanLoss(ud.Loss):
    def __call__(self, logits, labels): return logits.sum(1) * float("nan")

class MeanLoss(ud.Loss):
    def __call__(self, logits, labels): return torch.nn.functional.cross_entropy(logits, labels)

class RaisingLoss(ud.Loss):
    def __call__(self, logits, labels): return logits @ labels

def minus_infinite(logits, labels): return logits.sum(1) - float("inf")

class NoCall(ud.Loss): pass

def relabels(): return ud.Method(Relabels())
def beyond(): return ud.Method(Beyond())
def below(): return ud.Method(Below())
def nothing(): return ud.Method(Nothing())
def no_epoch(): return ud.Method(NoEpoch())
def new_class(): return ud.Method(NewClass())
def counts(): return ud.Method(Counts())
def draws(): return ud.Method(Draws())
def raises(): return ud.Method(Raises())
def later(): return ud.Method(Later())
def counts_later(): return ud.Method(CountsLater())
def chained(): return ud.Method(ud.Chain(ud.RandomOverSampler(), ud.Every(2, Beyond())))
def unsized(): return ud.Method(Unsized())
def nan_loss(): return ud.Method(loss=lambda counts: NanLoss())
def mean_loss(): return ud.Method(loss=lambda counts: MeanLoss())
def raising_loss(): return ud.Method(loss=lambda counts: RaisingLoss())
def infinite_loss(): return ud.Method(loss=lambda counts: minus_infinite)
def no_call(): return ud.Method(loss=lambda counts: NoCall())
def no_loss(): return ud.Method(loss=lambda counts: 3)
def nine_weights(): return ud.Method(loss=lambda counts: ud.ClassWeighted(torch.ones(9)))
def ten_weights(): return ud.Method(loss=lambda counts: ud.ClassWeighted(torch.arange(1.0, 11)))
def short_prior():
    class Short(ud.Loss):
        def __call__(self, logits, labels): return logits.sum(1)
        def prior(self, shown): return shown[:3]
    return ud.Method(loss=lambda counts: Short())
def weighted_nan(): return ud.Method(loss=lambda counts: ud.ClassWeighted(torch.full((10,), float("nan"))))
def no_resampler(): return ud.Method(3)
def a_class(): return ud.Method(Beyond)
def no_posthoc(): return ud.Method(posthoc=lambda counts: 3)
def wrong_stages(): return ud.Method(stages=[ud.Stage(share=0.5), ud.Stage(share=0.4)])
def no_prepare(): return ud.Method(stages=[ud.Stage(prepare=3)])
def needs_epochs(): return ud.Method(stages=[ud.Stage(share=1/3)] * 3)
"""


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("relabels", ["resampler Relabels returned other labels than the images have", "Epoch.with_synthetic"]),
        ("beyond", ["resampler Beyond shows rows from 1 to ", "; there are rows 0 to "]),
        ("below", ["resampler Below shows rows from -1 to "]),
        ("nothing", ["resampler Nothing shows no example at all"]),
        ("no_epoch", ["resampler NoEpoch must return an Epoch, not NoneType"]),
        ("new_class", ["resampler NewClass made rows of classes up to 10; there are classes 0 to 9"]),
        ("counts", ["resampler Counts gives two different epochs", "must keep no state", "now.rng"]),
        ("draws", ["resampler Draws gives two different epochs"]),
        ("raises", ["too few images of it"]),
        ("later", ["resampler Later shows rows from 1 to "]),
        ("counts_later", ["resampler CountsLater gives two different epochs"]),
        ("chained", ["resampler Beyond shows rows from 1 to "]),
        ("unsized", ["no such class"]),
        ("nan_loss", ["loss NanLoss is [nan, nan] for two images of an untrained network"]),
        ("mean_loss", ["loss MeanLoss must return one value for each of 2 images, unreduced, not ()"]),
        ("raising_loss", ["loss RaisingLoss failed on logits (2, 10) and labels (2,): "]),
        ("infinite_loss", ["loss minus_infinite is [-inf, -inf] for two images"]),
        (
            "no_call",
            ["loss NoCall failed on logits (2, 10) and labels (2,): NoCall must define __call__(logits, labels)"],
        ),
        ("no_loss", ["loss must be a function from class counts to a loss of logits and labels, not 3"]),
        ("weighted_nan", ["loss ClassWeighted is [nan, nan]"]),
        ("nine_weights", ["loss ClassWeighted failed"]),
        (
            "short_prior",
            ["loss Short must have a prior of one number of at least 0 for each of 10 classes, not (1.0, 1.0, 1.0)"],
        ),
        ("no_resampler", ["resampler must have the functions start and refresh", "3"]),
        ("a_class", ["resampler must have the functions start and refresh", "Beyond"]),
        ("no_posthoc", ["posthoc must be a function that returns an Adjustment, not 3"]),
        ("wrong_stages", ["the shares of the stages must add up to 1, not 0.9"]),
        ("no_prepare", ["prepare must be a function of a network, not 3"]),
        ("needs_epochs", ["a method of 3 stages needs at least 3 epochs, not 2"]),
        ("needs_epochs+aos(eps=0.1)", ["needs_epochs has stages of its own, and cannot be added to others"]),
    ],
)
@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_method_that_breaks_a_rule_is_named_and_no_run_is_written(
    command: str, method: str, said: list[str], out: Path, module: Any, underdog: Any
) -> None:
    own = module(BAD)
    which = f"--method {own}:{method}" if command == "train" else f"--methods {own}:{method} --seeds 1"
    ran = underdog(f"{command} digits {QUICK} {which} --out {out}")
    assert ran.code == 2, ran
    assert [part for part in said if part not in ran.err] == [], ran.err
    assert ran.err.count("\n") == 1
    assert not out.exists() or not [*out.iterdir()]
    assert not Path("report.html").exists()


def test_a_loss_that_has_numbers_for_each_class_corrects_so_that_altered_images_are_not_balanced_too(
    out: Path, module: Any, underdog: Any
) -> None:
    own = module(BAD)
    assert underdog(f"train digits {QUICK} --method aos(eps=0.1)+{own}:ten_weights --out {out}").code == 0
    (result,) = results(out).values()
    assert result["counts"]["shown"] == result["counts"]["train"]
    assert underdog(f"train digits {QUICK} --budget updates --method {own}:ten_weights --out {out}").code == 0


KEEPS = """
from dataclasses import replace
from pathlib import Path
import torch
import underdog as ud

class Dear(ud.NoResampling):
    def start(self, epoch, now):
        def make():
            with Path("made").open("a") as file:
                print(now.stage, file=file)
            now.progress(0.5)
            return torch.from_numpy(now.rng("dear").permutation(len(epoch)))

        order = now.kept("order of/images", make).numpy()
        return replace(epoch, index=epoch.index[order[: len(order) // 2]])

def method(): return ud.Method(Dear())
def late(): return ud.Method(stages=[ud.Stage(share=0.5), ud.Stage(Dear(), share=0.5)])
def wrong():
    class Wrong(Dear):
        def start(self, epoch, now):
            return replace(super().start(epoch, now), index=epoch.index + 1)
    return ud.Method(Wrong())
"""


def stopped(monkeypatch: pytest.MonkeyPatch, epochs: int) -> Any:
    """In which trainings are interrupted after so many epochs."""
    advance, left = ud.Training.advance, [epochs]

    def stops(self: ud.Training) -> object:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return advance(self)

    monkeypatch.setattr(ud.Training, "advance", stops)


@pytest.mark.parametrize(
    ("method", "epochs", "made"), [("method", 0, 1), ("method", 1, 1), ("late", 1, 1), ("late", 4, 1)]
)
def test_what_is_dear_is_made_once_however_often_a_run_is_interrupted(
    method: str, epochs: int, made: int, out: Path, module: Any, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = module(KEEPS)
    command = f"train digits {QUICK} --epochs 6 --method {own}:{method} --out"
    with monkeypatch.context() as patch:
        stopped(patch, epochs)
        assert underdog(command, out).code == 130
    if method == "method" or epochs > 3:
        (kept,) = out.glob("*/kept-*.safetensors")
        assert kept.name == f"kept-{int(method == 'late')}-order_of_images.safetensors"
        with safe_open(kept, framework="np") as file:
            assert set(file.keys()) == {"kept"}
    with monkeypatch.context() as patch:
        stopped(patch, 1)
        assert underdog(command, out).code == 130
    ran = underdog(command, out)
    assert ran.code == 0, ran.err
    assert "resuming" in ran.out
    assert len(Path("made").read_text().splitlines()) == made
    assert not [*out.glob("*/kept-*")]
    assert [*out.glob("*/result.json")]
    assert underdog(command, out.with_name("whole")).code == 0
    names = ("model.safetensors", "predictions.csv")
    figures = [
        (folder / name).read_bytes()
        for where in (out, out.with_name("whole"))
        for folder in where.iterdir()
        for name in names
    ]
    assert figures[:2] == figures[2:]


def test_what_was_kept_and_is_damaged_is_made_again(
    out: Path, module: Any, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = module(KEEPS)
    command = f"train digits {QUICK} --method {own}:method --out {out}"
    with monkeypatch.context() as patch:
        stopped(patch, 1)
        assert underdog(command).code == 130
    (kept,) = out.glob("*/kept-*")
    kept.write_bytes(kept.read_bytes()[:-9])
    assert underdog(command).code == 0
    assert len(Path("made").read_text().splitlines()) == 2
    assert not kept.exists()


def test_what_is_kept_is_not_a_run(out: Path, module: Any, underdog: Any) -> None:
    own = module(KEEPS)
    ran = underdog(f"train digits {QUICK} --method {own}:wrong --out {out}")
    assert ran.code == 2
    assert "resampler Wrong shows rows from 1 to" in ran.err
    assert not [*out.glob("*/spec.json")]
    assert not [*out.glob("*/state.safetensors")]
