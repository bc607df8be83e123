"""What train, compare and report leave behind."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import underdog as ud
from underdog.methods.expression import parse
from underdog.names import EPS_GRID
from underdog.run.execute import split_of
from underdog.run.network import build_model
from underdog.run.space import TUNING_SEED
from underdog.run.spec import RunSpec

QUICK = "--epochs 2 --width 0.1 --batch 16"
FILES = {"spec.json", "epochs.jsonl", "model.safetensors", "predictions.csv", "result.json"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: Any, pictures: Any) -> Path:
    """Three classes told apart by brightness, one of them rare."""
    return pictures.folder(tmp_path_factory.mktemp("photos"), pictures.tree({"ant": 40, "bee": 36, "yak": 12}))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def only(out: Path) -> Path:
    (folder,) = (p for p in out.iterdir() if p.name != "tuning")
    return folder


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def eps_of(done: dict[str, Any]) -> float | None:
    return RunSpec.from_json(done["spec"]).expression.number("eps")


def times(root: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in root.rglob("*")}


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ("--method ros", set()),
        ("--method smote", set()),
        ("--method balanced-softmax --precision bfloat16", set()),
        ("--method aos --eps 8/255 --tau 0.4", {"gallery.safetensors"}),
        ("--method noise --eps 0.1", {"gallery.safetensors"}),
        ("--method aos(eps=8/255,attack=pgd,select=loss)+mixup+drs+logit-adjust", {"gallery.safetensors"}),
        ("--method smote+focal+crt", set()),
        ("--method ros --model resnet20", set()),
    ],
)
def test_a_run_leaves_its_files_and_nothing_else(
    options: str, more: set[str], photos: Path, out: Path, underdog: Any
) -> None:
    ran = underdog(f"train {photos} {QUICK} {options} --out {out}")
    assert (ran.code, ran.err) == (0, "")
    folder = only(out)
    errors = {"errors.safetensors"} if result(folder)["decision"]["errors"] else set()
    assert {p.name for p in folder.iterdir()} == FILES | more | errors
    assert f"saved in {folder}" in ran.out
    assert json.loads((folder / "spec.json").read_text()) == result(folder)["spec"]


def test_a_result_has_every_figure_that_was_promised(photos: Path, out: Path, underdog: Any) -> None:
    underdog(f"train {photos} {QUICK} --method aos --eps 8/255 --tau 0.4 --seed 3 --data-seed 4 --out {out}")
    done = result(only(out))
    spec = {
        "method": "aos(eps=8/255,tau=0.4)",
        "seed": 3,
        "data_seed": 4,
        "rho": None,
        "mu": None,
        "precision": "float32",
    }
    assert spec.items() <= done["spec"].items()
    scores = {
        "macro_f1",
        "g_mean",
        "g_mean_corrected",
        "zero_recall_classes",
        "balanced_accuracy",
        "accuracy",
        "recall",
        "confusion",
    }
    for part in ("test", "last_epoch_test", "val", "last_epoch_val"):
        assert scores <= set(done[part])
        assert list(done[part]["recall"]) == ["ant", "bee", "yak"]
    assert {"best_epoch", "updates", "images_seen", "altered_images", "environment", "notes"} <= set(done)
    assert set(done["seconds"]) == {"data", "start", "refresh", "train", "evaluate"}
    assert all(s >= 0 for s in done["seconds"].values())
    assert done["minority"] == ["yak"]
    n = done["counts"]["train"]
    assert {k: sum(done["counts"][p][k] for p in ("train", "val", "test")) for k in n} == {
        "ant": 40,
        "bee": 36,
        "yak": 12,
    }
    assert set(done["counts"]["shown"].values()) == {n["ant"]}
    assert done["images_seen"] == 2 * 3 * n["ant"]
    assert done["updates"] == 2 * -(-3 * n["ant"] // 16)
    assert 0 < done["altered_images"] < 2 * n["ant"]
    assert done["prior"] == [n["ant"]] * 3
    assert done["adjusted"] is False
    assert "torch" in done["environment"]


def test_epochs_predictions_and_model_agree_with_the_result(photos: Path, out: Path, underdog: Any) -> None:
    underdog(f"train {photos} --epochs 4 --width 0.1 --batch 16 --method ros --lr 0.01 --out {out}")
    folder = only(out)
    done = result(folder)
    epochs = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    assert [e["epoch"] for e in epochs] == [0, 1, 2, 3]
    scores = [e["val"]["macro_f1"] for e in epochs]
    assert done["best_epoch"] == scores.index(max(scores))
    assert done["val"]["macro_f1"] == max(scores)
    assert done["last_epoch_val"]["confusion"] == epochs[-1]["val"]["confusion"]

    spec, classes = RunSpec.from_json(done["spec"]), tuple(done["classes"])
    split = split_of(spec, ud.load_images(photos))
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for part, epoch, scored in (
        ("val", "best", "val"), ("val", "last", "last_epoch_val"), ("test", "best", "test"), ("test", "last", "last_epoch_test"),
    ):  # fmt: skip
        own = [r for r in rows if (r["part"], r["epoch"]) == (part, epoch)]
        images: ud.ImageSet = getattr(split, part)
        assert [r["item"] for r in own] == images.names.tolist()
        assert [r["label"] for r in own] == [classes[k] for k in images.labels]
        logits = np.array([[r[f"logit:{c}"] for c in classes] for r in own], dtype=np.float32)
        counted = ud.Metrics.of(images.labels, logits.argmax(1), 3)
        assert counted.to_json(classes) == done[scored]
        if epoch == "best":
            net, _ = build_model(spec, split.train)
            net.load_state_dict(load_file(folder / "model.safetensors"))
            with torch.no_grad():
                again = net.eval()(ud.to_unit(images.images))
            torch.testing.assert_close(torch.from_numpy(logits), again, rtol=1e-4, atol=1e-4)


def test_a_finished_run_is_not_done_again(photos: Path, out: Path, underdog: Any) -> None:
    command = f"train {photos} {QUICK} --method ros --out {out}"
    underdog(command)
    before = times(out)
    ran = underdog(command)
    assert ran.code == 0
    assert "ros seed 0: finished before" in ran.out
    assert times(out) == before
    assert "yak" in ran.out  # its recalls are shown all the same
    assert underdog(f"{command} --seed 1").code == 0
    assert len(list(out.iterdir())) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("--eps 8/255", f"--eps {8 / 255}"),
        ("--eps 8/255 --tau 0.4", "--method aos(tau=0.40,eps=16/510)"),
        ("--method focal+aos --eps 8/255", "--method aos(eps=8/255,select=random)+focal(gamma=2)+baseline"),
        ("--eps 1/2 --tau 1/4", "--eps 0.5 --tau .25"),
        ("--eps .1 --rho 5/2 --mu 2/5", "--eps 1/10 --imbalance-ratio 2.5 --minority-share 0.4"),
        ("--eps .1 --minority bee,yak", "--eps .1 --minority yak,,bee,yak"),
        ("--eps .1 --lr 1/1000 --width 0.1", "--eps .1 --lr 1e-3 --width 1/10"),
    ],
)
def test_fractions_and_decimals_name_the_same_run(one: str, other: str, photos: Path, out: Path, underdog: Any) -> None:
    assert underdog(f"train {photos} {QUICK} {one} --out {out}").code == 0
    assert "finished before" in underdog(f"train {photos} {QUICK} {other} --out {out}").out


def test_a_third_of_three_classes_is_one(photos: Path, out: Path, underdog: Any) -> None:
    assert underdog(f"train {photos} {QUICK} --method ros --rho 3 --mu 1/3 --out {out}").code == 0
    done = result(only(out))
    assert len(done["minority"]) == 1
    assert sorted(done["counts"]["train"].values()) == [3, 9, 9]


def test_a_run_has_one_identity_in_python_and_on_the_command_line(photos: Path, out: Path, underdog: Any) -> None:
    underdog(f"train {photos} {QUICK} --method ros --rho 3 --mu 0.5 --width 1 --out {out}")
    (spec,) = [RunSpec.from_json(result(p)["spec"]) for p in out.iterdir()]
    for same in (
        RunSpec(spec.data, "ros", rho=3, mu=0.5, epochs=2, batch=16),
        RunSpec(spec.data, "ros", rho=3.0, mu=0.5, epochs=2, batch=16, width=1, depth=spec.depth, lr=1e-3),
    ):
        assert same == spec
        assert same.id == spec.id == only(out).name


def test_without_eps_it_is_chosen_on_validation_and_the_cost_is_said_first(
    photos: Path, out: Path, underdog: Any
) -> None:
    command = f"train {photos} {QUICK} --lr 0.01 --method noise --out {out}"
    ran = underdog(command)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("note: fewer than 10 validation images")
    assert "choosing it on validation takes 6 more runs of noise" in lines[1]
    tried = {eps_of(r): r for r in map(result, (out / "tuning").iterdir())}
    assert sorted(tried) == [n / 255 for n in EPS_GRID]
    best = max(r["val"]["macro_f1"] for r in tried.values())
    chosen = min(e for e, r in tried.items() if r["val"]["macro_f1"] == best)
    done = result(only(out))
    assert done["spec"]["method"] == str(parse("noise").set({"eps": chosen}))
    for r in tried.values():
        assert (r["test"], r["last_epoch_test"], r["counts"]["test"]) == (None, None, None)
        assert r["spec"]["seed"] == r["spec"]["data_seed"] == TUNING_SEED != done["spec"]["seed"]
    before = times(out)
    again = underdog(command).out
    assert "6 of them done; nothing to do" in again
    assert "finished before" in again
    assert times(out) == before


def test_tuning_never_sees_the_test_part(photos: Path, out: Path, underdog: Any) -> None:
    underdog(f"train {photos} {QUICK} --method aos --out {out}")
    rows = [row for path in out.glob("tuning/*/predictions.csv") for row in path.read_text().splitlines()[1:]]
    assert {row.split(",")[0] for row in rows} == {"val"}


def test_compare_does_every_method_with_every_seed_on_the_same_data(photos: Path, out: Path, underdog: Any) -> None:
    page = out.parent / "page.html"
    command = f"compare {photos} {QUICK} --methods baseline,ros,aos --seeds 2 --eps 8/255 --out {out} -o {page}"
    ran = underdog(command)
    assert (ran.code, ran.err) == (0, "")
    assert "6 runs (3 methods, 2 seeds), 0 of them done; on " in ran.out
    assert f"report: {page}" in ran.out
    done = [result(p) for p in out.iterdir()]
    assert {(r["spec"]["method"], r["spec"]["seed"], r["spec"]["data_seed"]) for r in done} == {
        (m, s, s) for m in ("baseline", "ros", "aos(eps=8/255)") for s in (0, 1)
    }
    predictions = {p.name: (p / "predictions.csv").read_text().splitlines() for p in out.iterdir()}
    for seed in (0, 1):
        items = [[line.split(",")[:5] for line in lines] for name, lines in predictions.items() if f"-s{seed}-" in name]
        assert items[0] == items[1] == items[2]
    runs, text = times(out), page.read_text(encoding="utf-8")
    again = underdog(command)
    assert "6 runs (3 methods, 2 seeds), 6 of them done; nothing to do" in again.out
    assert times(out) == runs
    assert "<html" in text


def test_options_are_for_the_methods_that_have_them_and_do_not_say_it(photos: Path, out: Path, underdog: Any) -> None:
    methods = "ros,aos,noise(eps=0.1)+focal,aos(tau=0.2),aos(attack=pgd,steps=2)"
    page = out.parent / "page.html"
    ran = underdog(
        f"compare {photos} {QUICK} --methods {methods} --eps 8/255 --tau 0.4 --seeds 1 --out {out} -o {page}"
    )
    assert (ran.code, ran.err) == (0, "")
    assert {result(p)["spec"]["method"] for p in out.iterdir()} == {
        "ros",
        "aos(eps=8/255,tau=0.4)",
        "noise(eps=0.1,tau=0.4)+focal",
        "aos(eps=8/255,tau=0.2)",
        "aos(eps=8/255,tau=0.4,attack=pgd,steps=2)",
    }


def test_each_variant_has_the_eps_that_was_chosen_for_it_and_the_control_that_of_its_rival(
    photos: Path, out: Path, underdog: Any
) -> None:
    methods = "noise,aos,noise(tau=0.2),aos+focal"
    ran = underdog(
        f"compare {photos} {QUICK} --lr 0.01 --methods {methods} --seeds 1 --out {out} -o {out.parent / 'page.html'}"
    )
    assert (ran.code, ran.err) == (0, "")
    searched: dict[str, dict[float, float]] = {}
    for done in map(result, (out / "tuning").iterdir()):
        method = parse(done["spec"]["method"])
        searched.setdefault(str(method.set({"eps": None})), {})[method.number("eps") or 0] = done["val"]["macro_f1"]
    assert set(searched) == {"aos", "noise(tau=0.2)", "aos+focal"}
    chosen = {m: min(eps for eps, f1 in tried.items() if f1 == max(tried.values())) for m, tried in searched.items()}
    assert {result(p)["spec"]["method"] for p in out.iterdir() if p.name != "tuning"} == {
        str(parse(method).set({"eps": chosen["aos" if method == "noise" else method]})) for method in methods.split(",")
    }


def test_compare_can_keep_one_seed_for_the_data(photos: Path, out: Path, underdog: Any) -> None:
    underdog(
        f"compare {photos} {QUICK} --methods ros --seeds 2 --data-seed 7 --out {out} -o {out.parent / 'page.html'}"
    )
    assert {result(p)["spec"]["data_seed"] for p in out.iterdir()} == {7}


@pytest.mark.parametrize("one", [False, True])
def test_a_report_is_made_from_finished_runs(one: bool, photos: Path, out: Path, underdog: Any) -> None:
    underdog(f"train {photos} {QUICK} --method ros --out {out}")
    page = out.parent / "page.html"
    ran = underdog(f"report {only(out) if one else out} -o {page}")
    assert ran.code == 0
    assert ran.out.startswith(f"report: {page}\n")
    assert "recall at 80% precision" in ran.out
    assert page.stat().st_size > 1000


def test_a_model_of_ones_own_is_found_in_the_current_folder(
    photos: Path, tmp_path: Path, out: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_net.py").write_text(
        "from torch import nn\n"
        "def linear(channels, classes, size):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert underdog(f"train {photos} --epochs 1 --method ros --model my_own_net:linear --out {out}").code == 0
    assert result(only(out))["spec"]["model"] == "my_own_net:linear"


def test_remarks_on_the_data_are_said_and_kept(
    photos: Path, tmp_path: Path, out: Path, underdog: Any, pictures: Any
) -> None:
    files = pictures.tree({"ant": 40, "bee": 36, "yak": 8})
    source = pictures.folder(tmp_path / "more", files | {"notes.txt": b"x", "ant/000.png": b""})
    ran = underdog(f"train {source} {QUICK} --method smote --skip-corrupt --out {out}")
    notes = result(only(out))["notes"]
    assert notes[:2] == ["1 files that are no images were ignored", "1 corrupt files were left out: ant/000.png"]
    assert notes[2].startswith("fewer than 10 validation images of ant (3)")
    assert notes[3].startswith("SMOTE: class 'yak' has 5 images")
    assert all(f"note: {n}" in ran.out for n in notes[:2])


def test_notes_hold_no_escape_sequences_of_class_names(tmp_path: Path, out: Path, underdog: Any, pictures: Any) -> None:
    source = pictures.folder(tmp_path / "photos", pictures.tree({"\x1b[31mred": 12, "blue": 12}))
    ran = underdog(f"train {source} {QUICK} --method ros --out {out}")
    assert "\x1b" not in ran.out + ran.err
    assert "validation images of \\x1b[31mred" in ran.out + ran.err
