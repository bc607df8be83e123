"""A folder that is no whole run is refused by name, whatever is in it."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from trained import Trained

import underdog as ud

RESULT: list[tuple[Any, str]] = [
    ({"classes": ["ant", "bee", "ant"]}, "classes must be a list of different names"),
    ({"classes": ["ant"], "minority": []}, "classes must be at least two"),
    ({"classes": [1, 2, 3]}, "classes must be a list of different names"),
    ({"classes": "antbeeyak"}, "classes must be a list"),
    ({"classes": ["ant", "bee", "cow"], "minority": ["cow"]}, "the decision rule is for other classes"),
    ({"minority": ["cow"]}, "the rare ones among them"),
    ({"image_shape": [3, 16]}, "image_shape must be 3 whole numbers"),
    ({"image_shape": [3, 16, 10**9]}, "image_shape must be 3 whole numbers from 1 to 4096"),
    ({"image_shape": [3, 16, True]}, "image_shape must be 3 whole numbers"),
    ({"image_shape": [2, 16, 20]}, "1 or 3 channels"),
    ({"reading": {"size": [20, 16], "resize": "crop", "channels": 3}}, "the size of image_shape"),
    ({"reading": {"size": [16, 20], "resize": "shear", "channels": 3}}, "unknown resize 'shear'"),
    ({"reading": {"size": [16, 20], "channels": 3}}, "no field 'resize'"),
    ({"reading": [16, 20]}, "not a run's result"),
    ({"adjusted": "no"}, "adjusted must be true or false"),
    ({"adjusted": None}, "adjusted must be true or false"),
    ({"adjusted": True, "counts": {"train": {"ant": 24, "bee": 20}}}, "no field 'yak'"),
    (
        {"adjusted": True, "counts": {"train": {"ant": 24, "bee": 20, "yak": -8}}},
        "counts must be whole numbers of at least 0",
    ),
    ({"adjusted": True, "counts": {"train": {"ant": 24, "bee": 20, "yak": 0.5}}}, "counts must be whole numbers"),
    ({"decision": {"rule": {"temperature": 1}}}, "not a DecisionRule"),
    ({"decision": {}}, "no field 'rule'"),
    ({"spec": {"method": "ros"}}, "not a run's spec"),
    ({"spec": None}, "not a run's result"),
]


@pytest.fixture
def copy(trained: Trained, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained.run, tmp_path / "run"))


@pytest.mark.parametrize(("change", "reason"), RESULT, ids=[reason for _, reason in RESULT])
def test_a_result_is_believed_only_when_it_is_one(change: Any, reason: str, copy: Path, trained: Trained) -> None:
    (copy / "result.json").write_text(json.dumps(trained.result | change))
    with pytest.raises(ud.InputError, match=reason) as caught:
        ud.load(copy)
    assert "result.json" in str(caught.value)


@pytest.mark.parametrize("field", ["spec", "classes", "minority", "image_shape", "reading", "adjusted"])
def test_a_result_without_a_field_is_none(field: str, copy: Path, trained: Trained) -> None:
    (copy / "result.json").write_text(json.dumps({k: v for k, v in trained.result.items() if k != field}))
    with pytest.raises(ud.InputError, match=f"no field '{field}'"):
        ud.load(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "\xff", "[" * 100_000, '{"spec": NaN}'])
def test_a_file_that_is_no_result_is_refused(text: str, copy: Path) -> None:
    (copy / "result.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ud.InputError, match=r"result\.json (cannot be read|is not a run's result)"):
        ud.load(copy)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"revision": 1}, "a run of revision 1 of underdog's arithmetic, and this is revision 2"),
        ({"revision": "?"}, "a run of revision . of underdog's arithmetic"),
        ({"eps": 0.1}, "not a run's spec: keys .*eps"),
        ({"method": "magic"}, "unknown method 'magic'"),
        ({"method": "ros(k=3)"}, "ros has no parameter 'k'"),
    ],
)
def test_a_run_of_other_settings_than_there_are_is_refused(
    change: dict[str, Any], reason: str, copy: Path, trained: Trained
) -> None:
    spec = trained.result["spec"] | change
    (copy / "result.json").write_text(json.dumps(trained.result | {"spec": spec}))
    with pytest.raises(ud.InputError, match=rf"result\.json is not a run's result: {reason}"):
        ud.load(copy)


def test_a_run_without_a_test_part_has_no_rule(copy: Path, trained: Trained) -> None:
    (copy / "result.json").write_text(json.dumps({k: v for k, v in trained.result.items() if k != "decision"}))
    assert ud.load(copy).rule is None


def weights(run: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(run / "model.safetensors", framework="pt") as file:
        return load_file(run / "model.safetensors"), file.metadata()


def first(tensors: dict[str, torch.Tensor]) -> str:
    return next(name for name in sorted(tensors) if name.endswith("weight"))


Change = Callable[[dict[str, torch.Tensor]], object]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.pop(first(t)), "another network: 1.* is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "another network: extra is no layer"),
        (lambda t: t.update({first(t): torch.zeros(1)}), r"has the shape 1, not \d+x"),
        (lambda t: t.update({first(t): t[first(t)].double()}), "is of torch.float64, not torch.float32"),
        (lambda t: t[first(t)].view(-1)[:1].fill_(torch.nan), "not finite"),
        (lambda t: t[first(t)].view(-1)[:1].fill_(torch.inf), "not finite"),
        (lambda t: t.pop("1.1.num_batches_tracked"), "num_batches_tracked is missing"),
        (dict.clear, "; and [0-9]+ more"),
    ],
)
def test_weights_of_another_network_are_refused(change: Change, reason: str, copy: Path) -> None:
    tensors, about = weights(copy)
    change(tensors)
    save_file(tensors, copy / "model.safetensors", about)
    with pytest.raises(ud.InputError, match=reason):
        ud.load(copy)


@pytest.mark.parametrize(
    "about", [None, {}, {"plain": "[]"}, {"plain": "{"}, {"plain": '{"classes": ["x", "y", "z"]}'}]
)
def test_weights_for_other_classes_are_refused(about: dict[str, str] | None, copy: Path) -> None:
    save_file(weights(copy)[0], copy / "model.safetensors", about)
    with pytest.raises(ud.InputError, match=r"model\.safetensors (has the weights .* other classes|cannot be read)"):
        ud.load(copy)


def test_damaged_weights_are_refused_and_nothing_is_unpickled(copy: Path, tmp_path: Path) -> None:
    path = copy / "model.safetensors"
    whole = path.read_bytes()
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (ran,)  # type: ignore[return-value]

    hostile = pickle.dumps(Trap())
    for data in (b"", whole[:100], whole[:-1], whole + b"x", b"\xff" * 64, hostile):
        path.write_bytes(data)
        with pytest.raises(ud.InputError, match=r"model\.safetensors is no safetensors file"):
            ud.load(copy)
    assert not ran.exists()
    path.unlink()
    with pytest.raises(ud.InputError, match="is no file of weights"):
        ud.load(copy)


def test_a_folder_that_is_no_run_is_told_from_one_that_nearly_is(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ud.InputError, match=r"no finished run .*did you mean 'run'"):
        ud.load(tmp_path / "rum")
    with pytest.raises(ud.InputError, match=r"a folder of 1 runs: name one of them \(run\)"):
        ud.load(tmp_path)
    (copy / "result.json").unlink()
    with pytest.raises(ud.InputError, match="is not finished"):
        ud.load(copy)
