"""Folders that Hugging Face's datasets saved."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extras import needs
from PIL import Image as Pillow

import underdog as ud

datasets = needs("datasets")
NAMES = ["wart", "nevus"]
IMAGE, CLASS, TEXT = datasets.Image(), datasets.ClassLabel(names=NAMES), datasets.Value("string")


@pytest.fixture(autouse=True)
def quiet() -> None:
    datasets.disable_progress_bars()


def pictures_of(n: int, seed: int = 0) -> list[Pillow.Image]:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 16, 16), dtype=np.uint8)
    return [Pillow.fromarray(p) for p in pixels]


def dataset(n: int = 6, seed: int = 0, **columns: tuple[Any, list[Any]]) -> Any:
    """A dataset of images and of the columns given, each a feature and its values; a column of classes without."""
    columns = columns or {"label": (CLASS, [i % 2 for i in range(n)])}
    features = datasets.Features({"image": IMAGE, **{name: feature for name, (feature, _) in columns.items()}})
    values = {"image": pictures_of(n, seed), **{name: values for name, (_, values) in columns.items()}}
    return datasets.Dataset.from_dict(values, features=features)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def run(data: Any, **options: Any) -> Path:
        data.save_to_disk(tmp_path / "set", **options)
        return tmp_path / "set"

    return run


def test_a_dataset_of_one_split_has_no_parts(save: Any) -> None:
    source = ud.load_images(save(dataset(), num_shards=2))
    assert source.train.classes == ("nevus", "wart")  # sorted, as those of folders
    assert [source.train.classes[k] for k in source.train.labels] == ["wart", "nevus"] * 3
    assert source.train.items.tolist() == [f"00000{n}" for n in range(6)]
    assert (source.train.images[:, 0].numpy() == np.stack(pictures_of(6))).all()
    assert (source.val, source.test) == (None, None)


@pytest.mark.parametrize(
    ("splits", "has"),
    [
        (("train", "validation", "test"), {"train": 6, "val": 7, "test": 8}),
        (("train", "test"), {"train": 6, "test": 7}),
        (("train", "valid"), {"train": 6, "val": 7}),
        (("train",), {"train": 6}),
    ],
)
def test_splits_are_parts(splits: tuple[str, ...], has: dict[str, int], save: Any) -> None:
    source = ud.load_images(save(datasets.DatasetDict({s: dataset(6 + n, n) for n, s in enumerate(splits)})))
    parts = {name: part for name in ("train", "val", "test") if (part := getattr(source, name)) is not None}
    assert {name: len(part) for name, part in parts.items()} == has
    last = list(parts.values())[-1]
    assert last.items[0] == f"{splits[-1]}/000000"
    assert (last.images[:, 0].numpy() == np.stack(pictures_of(len(last), len(splits) - 1))).all()


def test_a_dataset_is_the_same_data_as_a_folder_of_its_images(save: Any, tmp_path: Path, pictures: Any) -> None:
    files = {f"{NAMES[n % 2]}/{n}.png": pictures.encode(image) for n, image in enumerate(pictures_of(6))}
    folder = ud.load_images(pictures.folder(tmp_path / "folder", files)).train
    rows = ud.load_images(save(dataset())).train.select([1, 3, 5, 0, 2, 4])
    assert rows.fingerprint == folder.fingerprint


@pytest.mark.parametrize(
    "columns",
    [
        {"name": (TEXT, ["a", "b"] * 3)},
        {"name": (datasets.Value("large_string"), ["a", "b"] * 3)},
        {"kind": (datasets.ClassLabel(names=["a", "b"]), [0, 1] * 3), "file": (TEXT, list("uvwxyz"))},
        {"age": (datasets.Value("int64"), list(range(6))), "name": (TEXT, ["a", "b"] * 3)},
    ],
)
def test_columns_are_found_by_what_they_hold(columns: Any, save: Any) -> None:
    train = ud.load_images(save(dataset(**columns))).train
    assert [train.classes[k] for k in train.labels] == ["a", "b"] * 3


LISTS = {"labels": (datasets.List(CLASS), [[0, 1]] * 6)}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"one": (CLASS, [0, 1] * 3), "two": (CLASS, [0, 1] * 3)}, "2 columns with classes (ClassLabel, or else text): one, two"),
        ({"one": (TEXT, ["a", "b"] * 3), "two": (TEXT, ["a", "b"] * 3)}, "2 columns with classes"),
        ({"age": (datasets.Value("int64"), [1] * 6)}, "no column with classes"),
        ({"other": (IMAGE, pictures_of(6)), "label": (CLASS, [0, 1] * 3)}, "2 columns with images (Image): image, other"),
        (LISTS, "multi-label"),
        ({"label": (CLASS, [0, 1, -1, 0, 1, 0])}, "row 000002: -1 in column 'label' is no class"),
        ({"label": (CLASS, [0, 1, None, 0, 1, 0])}, "row 000002: None in column 'label' is no class"),
        ({"name": (TEXT, ["a", "", "b", "a", "b", "a"])}, "row 000001: '' in column 'name' is no class"),
        ({"label": (CLASS, [1] * 6)}, "one class only ('nevus')"),
    ],
)  # fmt: skip
def test_columns_that_do_not_do_are_named(columns: Any, words: str, save: Any, tmp_path: Path, underdog: Any) -> None:
    path = save(dataset(**columns))
    ran = underdog("train", path, "--method", "ros", "--out", tmp_path / "runs")
    assert (ran.code, ran.err.count("\n")) == (2, 1), ran
    assert words in ran.err
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_groups_come_from_a_table_of_the_rows(save: Any, tmp_path: Path) -> None:
    path = save(datasets.DatasetDict({"train": dataset()}))
    (tmp_path / "t.csv").write_text("\n".join(["row,who", *(f"train/00000{n},{n // 2}" for n in range(6))]))
    train = ud.load_images(path, ud.Reading(groups=f"{tmp_path / 't.csv'}:row,who")).train
    assert train.groups.tolist() == ["0", "0", "1", "1", "2", "2"]


@pytest.mark.parametrize("option", [{"labels": "t.csv:a,b"}, {"layout": "classes"}])
def test_labels_and_layouts_do_not_apply(option: dict[str, str], save: Any) -> None:
    with pytest.raises(ud.InputError, match=f"--{next(iter(option))} does not apply"):
        ud.load_images(save(dataset()), ud.Reading(**option))


def test_images_outside_of_the_dataset_are_not_read(save: Any, tmp_path: Path, pictures: Any) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(pictures.encode(pictures.pixels(0)))
    plain = datasets.Features({"image": {"bytes": datasets.Value("binary"), "path": TEXT}, "label": CLASS})
    rows = {"image": [{"bytes": None, "path": str(secret)}] * 6, "label": [0, 1] * 3}
    path = save(datasets.Dataset.from_dict(rows, features=plain))
    about = json.loads((path / "dataset_info.json").read_text())
    about["features"]["image"] = {"_type": "Image"}
    (path / "dataset_info.json").write_text(json.dumps(about))
    with pytest.raises(ud.InputError, match=r"row 000000 has no image in itself|cannot be read"):
        ud.load_images(path)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("dataset_dict.json", lambda d: {"splits": ["train", "../../etc"]}, "splits"),
        ("dataset_dict.json", lambda d: {"splits": "train"}, "splits"),
        ("dataset_dict.json", lambda d: [], "splits"),
        ("dataset_dict.json", lambda d: {"splits": ["train", "test"]}, "cannot be read"),
        ("train/state.json", lambda d: d | {"_data_files": [{"filename": "../../x.arrow"}]}, "outside of its folder"),
        ("train/state.json", lambda d: d | {"_data_files": [{"filename": "/etc/passwd"}]}, "outside of its folder"),
        ("train/state.json", lambda d: d | {"_data_files": [{"filename": "nowhere.arrow"}]}, "cannot be read"),
        ("train/state.json", lambda d: {}, "outside of its folder, or none"),
        ("train/dataset_info.json", lambda d: d | {"features": {"image": {"_type": "Unheard"}}}, "cannot be read"),
    ],
)
def test_damaged_and_hostile_folders_are_refused(
    file: str, change: Any, words: str, save: Any, tmp_path: Path, underdog: Any
) -> None:
    path = save(datasets.DatasetDict({"train": dataset()}))
    (path / file).write_text(json.dumps(change(json.loads((path / file).read_text()))))
    before = sorted(tmp_path.rglob("*"))
    ran = underdog("train", path, "--method", "ros", "--out", tmp_path / "runs")
    assert ran.code == 2, ran
    assert words in ran.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("keep", [0, 0.3, 0.9])
def test_files_that_break_off_are_refused(keep: float, save: Any) -> None:
    path = save(dataset())
    (arrow,) = path.glob("*.arrow")
    data = arrow.read_bytes()
    arrow.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ud.InputError, match="cannot be read"):
        ud.load_images(path)


def test_reading_leaves_nothing_in_the_folder(save: Any, tmp_path: Path) -> None:
    path = save(datasets.DatasetDict({"train": dataset(), "test": dataset(6, 1)}))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    ud.load_images(path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_a_missing_extra_is_named(save: Any, monkeypatch: Any) -> None:
    path = save(dataset())
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ud.InputError, match=r"pip install 'underdog\[huggingface\]'"):
        ud.load_images(path)


def test_photographs_in_a_dataset_are_decoded_as_elsewhere(save: Any) -> None:
    buffer, exif = io.BytesIO(), Pillow.Exif()
    exif[0x0112] = 6
    pictures_of(1)[0].crop((0, 0, 16, 10)).save(buffer, "PNG", exif=exif)
    rows = {"image": [{"bytes": buffer.getvalue(), "path": None}] * 4, "label": [0, 1] * 2}
    features = datasets.Features({"image": IMAGE, "label": CLASS})
    assert ud.load_images(save(datasets.Dataset.from_dict(rows, features=features))).train.shape == (1, 16, 10)
