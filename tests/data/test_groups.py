"""Groups from a table: read, kept together, and refused where they leak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import underdog as ud

COUNTS = {"naevus": 30, "tumour": 12}


def table(files: dict[str, bytes], per_group: int = 3, key: str = "path") -> str:
    """A CSV that puts every few images of a class into one lesion."""
    rows = ["image,lesion"]
    for n, name in enumerate(sorted(files)):
        path = Path(name)
        named = {"path": name, "name": path.name, "stem": path.stem}[key]
        rows.append(f"{named},{path.parts[-2]}{n // per_group}")
    return "\n".join(rows)


def named_apart(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name.replace("/0", f"/{name[:3]}0"): data for name, data in files.items()}


@pytest.mark.parametrize("key", ["path", "name", "stem"])
@pytest.mark.parametrize("place", ["inside", "beside"])
def test_no_group_is_divided(key: str, place: str, tmp_path: Path, pictures: Any) -> None:
    files = named_apart(pictures.tree(COUNTS))
    text = table(files, key=key).encode()
    root = pictures.folder(tmp_path / "photos", files | ({"meta.csv": text} if place == "inside" else {}))
    (tmp_path / "own.csv").write_bytes(text)
    where = "meta.csv" if place == "inside" else tmp_path / "own.csv"
    source = ud.load_images(root, ud.Reading(groups=f"{where}:image,lesion"))
    assert len(set(source.train.groups)) == 14
    for seed in range(5):
        split = ud.prepare(source, seed).split
        parts = [set(p.groups) for p in (split.train, split.val, split.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 14


def test_groups_are_part_of_what_the_data_are(tmp_path: Path, pictures: Any) -> None:
    files = named_apart(pictures.tree(COUNTS))
    root = pictures.folder(tmp_path / "photos", files)
    prints = set()
    for per_group in (2, 3):
        (tmp_path / "own.csv").write_text(table(files, per_group))
        prints.add(ud.load_images(root, ud.Reading(groups=f"{tmp_path / 'own.csv'}:image,lesion")).fingerprint)
    assert len(prints | {ud.load_images(root).fingerprint}) == 3


def test_a_group_in_two_official_parts_is_an_error_unless_one_insists(
    tmp_path: Path, pictures: Any, underdog: Any
) -> None:
    files = {
        f"{p}/{n.replace('/', f'/{p}')}": d
        for i, p in enumerate(("train", "test"))
        for n, d in pictures.tree(COUNTS, seed=i).items()
    }
    rows = ["image,lesion", *(f"{name},{Path(name).stem[-2:]}" for name in files)]
    root = pictures.folder(tmp_path / "photos", files | {"meta.csv": "\n".join(rows).encode()})
    train = f"train {root} --groups meta.csv:image,lesion --method ros --epochs 1 --width 0.1 --out {tmp_path / 'runs'}"
    ran = underdog(train)
    assert ran.code == 2
    assert "30 groups in both the training and the test part (00, 01, 02, ...)" in ran.err
    assert "--allow-group-leak" in ran.err
    assert not (tmp_path / "runs").exists()
    ran = underdog(f"{train} --allow-group-leak")
    assert ran.code == 0
    assert "note: groups leak: 30 groups in both the training and the test part" in ran.out


@pytest.mark.parametrize(("fold", "folds"), [(0, 3), (2, 3)])
def test_folds_honour_groups_from_the_command_line(
    fold: int, folds: int, tmp_path: Path, pictures: Any, underdog: Any
) -> None:
    files = named_apart(pictures.tree(COUNTS))
    root = pictures.folder(tmp_path / "photos", files | {"meta.csv": table(files, 2).encode()})
    out = tmp_path / "runs"
    ran = underdog(
        f"train {root} --groups meta.csv:image,lesion --folds {folds} --fold {fold} --method ros --epochs 1 --width 0.1 --out {out}"
    )
    assert ran.code == 0
    (path,) = out.glob("*/predictions.csv")
    tested = {row.split(",")[3] for row in path.read_text().splitlines() if row.startswith("test,best")}
    source = ud.load_images(root, ud.Reading(groups="meta.csv:image,lesion"))
    split = ud.prepare(source, division=ud.Division(folds=folds, fold=fold)).split
    assert tested == set(np.unique(split.test.groups))


def test_cross_validation_tests_every_fold_with_every_method(tmp_path: Path, pictures: Any, underdog: Any) -> None:
    root = pictures.folder(tmp_path / "photos", pictures.tree(COUNTS))
    begin = f"compare {root} --folds 3 --seeds 1 --epochs 1 --width 0.1 --out {tmp_path / 'runs'} -o {tmp_path / 'page.html'}"
    ran = underdog(f"{begin} --methods baseline,ros")
    assert ran.code == 0
    assert "6 runs (2 methods, 1 seed x 3 folds)" in ran.out
    assert len(list((tmp_path / "runs").glob("*/result.json"))) == 6
    assert "every fold tests on other images" in (tmp_path / "page.html").read_text()
    ran = underdog(f"{begin} --methods ros,aos")
    assert ran.code == 2
    assert "aos with folds needs eps" in ran.err
