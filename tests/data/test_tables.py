"""Classes from a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import underdog as ud
from underdog.data.archive import open_members
from underdog.data.sources import find_files

CLASSES = ["nevus", "tumour", "nevus", "wart", "tumour", "wart"]


@pytest.fixture
def flat(pictures: Any) -> dict[str, bytes]:
    """Six images in no folder."""
    return {f"p{n}.png": pictures.encode(pictures.pixels(n)) for n in range(6)}


@pytest.fixture
def refused(tmp_path: Path, pictures: Any, underdog: Any, flat: dict[str, bytes]) -> Callable[..., str]:
    """Train with the table as given on the images as given, which must be refused with nothing written."""

    def run(table: str | bytes, option: str = "t.csv:image,label", files: dict[str, bytes] | None = None) -> str:
        data = table.encode() if isinstance(table, str) else table
        path = pictures.folder(tmp_path / "set", (files or flat) | {"t.csv": data})
        out = tmp_path / "runs"
        ran = underdog("train", path, "--labels", option, "--method", "ros", "--epochs", 1, "--out", out)
        assert (ran.code, ran.err.count("\n")) == (2, 1), ran
        assert [p.name for p in tmp_path.iterdir()] == ["set"]
        return ran.err

    return run


def rows(*cells: str) -> str:
    return "\n".join(["image,label", *cells])


def whole(name: Callable[[int], str] = lambda n: f"p{n}.png") -> str:
    return rows(*(f"{name(n)},{label}" for n, label in enumerate(CLASSES)))


@pytest.mark.parametrize("place", ["inside", "beside"])
@pytest.mark.parametrize("top", ["", "photos/", "a/b/"])
@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
@pytest.mark.parametrize(
    "name", [lambda n: f"p{n}", lambda n: f"p{n}.png", lambda n: f"./p{n}.png"], ids=["stem", "name", "path"]
)
def test_a_table_gives_the_classes_of_images_in_no_folder(
    name: Any, kind: str, top: str, place: str, tmp_path: Path, pictures: Any, flat: dict[str, bytes]
) -> None:
    table = whole(name).encode()
    files = {f"{top}{n}": d for n, d in flat.items()} | ({f"{top}t.csv": table} if place == "inside" else {})
    (tmp_path / "own.csv").write_bytes(table)
    if kind == "folder":
        path = pictures.folder(tmp_path / "set", files)
    else:
        path = (pictures.zip if kind == "zip" else pictures.tar)(tmp_path / f"set.{kind}", files)
    where = "t.csv" if place == "inside" else tmp_path / "own.csv"
    source = ud.load_images(path, ud.Reading(labels=f"{where}:image,label"))
    assert source.train.classes == ("nevus", "tumour", "wart")
    assert [source.train.classes[k] for k in source.train.labels] == CLASSES
    assert source.train.items.tolist() == [f"{top}p{n}.png" for n in range(6)]
    assert source.test is None


def test_labels_and_groups_go_together(tmp_path: Path, pictures: Any, flat: dict[str, bytes]) -> None:
    table = "\n".join(["id,age,dx,patient", *(f"p{n},{n},{c},{n // 2}" for n, c in enumerate(CLASSES))])
    path = pictures.folder(tmp_path, flat | {"t.csv": table.encode()})
    train = ud.load_images(path, ud.Reading(labels="t.csv:id,dx", groups="t.csv:id,patient")).train
    assert train.groups.tolist() == ["0", "0", "1", "1", "2", "2"]
    assert [train.classes[k] for k in train.labels] == CLASSES


def test_a_table_goes_before_folders_and_parts_stay_parts(
    tmp_path: Path, pictures: Any, flat: dict[str, bytes]
) -> None:
    files = {f"{'train' if n < 4 else 'test'}/x/{name}": d for n, (name, d) in enumerate(flat.items())}
    path = pictures.folder(tmp_path, files | {"t.csv": whole().encode()})
    source = ud.load_images(path, ud.Reading(labels="t.csv:image,label"))
    assert (source.train.counts, source.test.counts) == ((2, 1, 1), (0, 1, 1))
    source = ud.load_images(path, ud.Reading(labels="t.csv:image,label", layout="classes"))
    assert (source.train.counts, source.test) == ((2, 2, 2), None)


@pytest.mark.parametrize("folders", [("train", "more"), ("test", "val"), ("test", "images")])
def test_parts_are_asked_about_where_a_table_has_the_classes(
    folders: tuple[str, str], tmp_path: Path, pictures: Any, flat: dict[str, bytes]
) -> None:
    files = {f"{folders[n % 2]}/{name}": d for n, (name, d) in enumerate(flat.items())}
    path = pictures.folder(tmp_path, files | {"t.csv": whole().encode()})
    with pytest.raises(ud.InputError, match=r"--layout split .*--layout classes"):
        ud.load_images(path, ud.Reading(labels="t.csv:image,label"))
    assert len(ud.load_images(path, ud.Reading(labels="t.csv:image,label", layout="classes")).train) == 6


def test_the_end_of_a_path_tells_files_of_equal_names_apart(tmp_path: Path, pictures: Any) -> None:
    files = pictures.tree({"top/a/x": 2, "top/b/x": 2})
    table = rows("a/x/000.png,one", "x/001,two", "b\\x\\000.png,two", "b/x/001,one")
    path = pictures.folder(tmp_path, files | {"t.csv": table.encode()})
    with pytest.raises(
        ud.InputError, match=r"row 3: image 'x/001' fits several files \(top/a/x/001.png, top/b.*their paths"
    ):
        ud.load_images(path, ud.Reading(labels="t.csv:image,label"))
    (path / "t.csv").write_text(table.replace("x/001,two", "a/x/001,two", 1))
    train = ud.load_images(path, ud.Reading(labels="t.csv:image,label")).train
    assert [train.classes[k] for k in train.labels] == ["one", "two", "two", "one"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (whole().replace("image,", "imege,"), ["row 1", "no column 'image'", "did you mean 'imege'?"]),
        (whole().replace("label", "label,label", 1), ["row 1", "several columns 'label'; it has"]),
        (whole().replace(",", ";"), ["row 1", "separated by commas"]),
        (whole().replace("p2.png,nevus", "p2.png,nevus,more"), ["row 4", "3 columns"]),
        (whole().replace("p2.png,nevus", "p2.png"), ["row 4", "1 columns"]),
        (whole().replace("p3.png,wart", "p3.png, "), ["row 5", "no label"]),
        (whole().replace("p3.png,wart", ",wart"), ["row 5", "no image"]),
        (whole().replace("p3.png,wart", '"p3.png,wart'), ["row 5", "CSV"]),
        (whole().encode().replace(b"tumour", b"t\xfcmour", 1), ["row 3", "not UTF-8"]),
        (whole().encode("utf-16"), ["row 1", "not UTF-8"]),
        ("", ["row 1", "no column 'image'"]),
        (rows(), ["no row below its header"]),
        (whole() + "\np9.png,wart", ["1 image", "that the source does not have", "p9.png (row 8)"]),
        (whole().rsplit("\n", 1)[0], ["1 image", "t.csv does not name", "p5.png"]),
        (whole() + "\np0.png,wart", ["row 8", "'p0.png'", "'nevus' and 'wart'", "multi-label"]),
        (whole() + "\np0,wart", ["row 8", "'p0'", "two values", "multi-label"]),
        (whole().replace("tumour", "nevus").replace("wart", "nevus"), ["one class only"]),
        (whole().replace("wart", "Nevus"), ["two classes of one name", "'Nevus'", "'nevus'"]),
    ],
)  # fmt: skip
def test_a_table_that_is_wrong_names_the_row(table: str | bytes, words: list[str], refused: Any) -> None:
    complaint = refused(table)
    assert [w for w in words if w not in complaint] == []


@pytest.mark.parametrize("several", ["nevus|wart", "nevus; mole", "tumour, wart", "['nevus']", '{"wart", "nevus"}'])
def test_labels_that_are_lists_are_refused(several: str, refused: Any) -> None:
    quoted = several.replace('"', '""')
    complaint = refused(whole().replace("p3.png,wart", f'p3.png,"{quoted}"'))
    assert "row 5" in complaint
    assert "multi-label" in complaint


@pytest.mark.parametrize("name", ["tench, Tinca tinca", "nevus, common", "a|b", "salt;pepper", "hot dog"])
def test_classes_with_commas_and_the_like_in_their_names_are_classes(
    name: str, tmp_path: Path, pictures: Any, flat: dict[str, bytes]
) -> None:
    path = pictures.folder(tmp_path, flat | {"t.csv": whole().replace("wart", f'"{name}"').encode()})
    assert name in ud.load_images(path, ud.Reading(labels="t.csv:image,label")).train.classes


ONE_HOT = "image,mel,nv,bkl\n" + "\n".join(f"p{n},{n % 3 == 0:.1f},{n % 3 == 1:.1f},{n % 3 == 2:.1f}" for n in range(6))


@pytest.mark.parametrize(
    ("table", "option"),
    [
        (ONE_HOT, "t.csv:image,mel"),
        (ONE_HOT, "t.csv:image,mel,nv,bkl"),
        (ONE_HOT.replace("1.0", "1").replace("0.0", "0"), "t.csv:image,nv"),
        ("image,cat,dog\n" + "\n".join(f"p{n},{n % 2},{1 - n % 2}" for n in range(6)), "t.csv:image,cat"),
        ("image,a,b,c\n" + "\n".join(f"p{n},{n % 2},1,1" for n in range(6)), "t.csv:image,a"),
    ],
)
def test_tables_with_a_column_for_each_class_are_refused(table: str, option: str, refused: Any) -> None:
    assert "multi-label" in refused(table, option)


@pytest.mark.parametrize("more", [{}, {"age": range(30, 36)}, {"smoker": [0, 0, 0, 1, 1, 1]}])
def test_zeros_and_ones_may_be_two_classes(
    more: dict[str, Any], tmp_path: Path, pictures: Any, flat: dict[str, bytes]
) -> None:
    columns = {"image": [f"p{n}" for n in range(6)], "ill": [0, 1, 0, 1, 0, 1], **more}
    text = "\n".join(",".join(map(str, row)) for row in [columns, *zip(*columns.values(), strict=True)])
    path = pictures.folder(tmp_path, flat | {"t.csv": text.encode()})
    assert ud.load_images(path, ud.Reading(labels="t.csv:image,ill")).train.counts == (3, 3)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("nowhere.csv:image,label", "'nowhere.csv': no such file, on disk or in the source"),
        ("t.csv", "not of the form FILE.csv:IMAGE,VALUE"),
        ("t.csv:image", "not of the form FILE.csv:IMAGE,VALUE"),
        ("t.csv:image,", "not of the form FILE.csv:IMAGE,VALUE"),
        (":image,label", "not of the form FILE.csv:IMAGE,VALUE"),
    ],
)
def test_an_option_that_names_no_table_is_refused(option: str, words: str, refused: Any) -> None:
    assert words in refused(whole(), option)


def test_two_tables_of_one_name_in_the_source_are_told_apart_by_path(tmp_path: Path, pictures: Any, flat: Any) -> None:
    tables = {"one/t.csv": whole().encode(), "two/t.csv": b"x"}
    path = pictures.folder(tmp_path, flat | tables)
    with pytest.raises(ud.InputError, match="several files in the source are called so"):
        ud.load_images(path, ud.Reading(labels="t.csv:image,label"))
    assert len(ud.load_images(path, ud.Reading(labels="one/t.csv:image,label")).train) == 6


@pytest.mark.parametrize("option", ["labels", "groups"])
def test_a_table_has_no_say_where_images_are_no_files(option: str) -> None:
    with pytest.raises(ud.InputError, match=f"--{option} does not apply to 'digits'"):
        ud.load_images("digits", ud.Reading(**{option: "t.csv:image,value"}))


def test_a_table_of_labels_from_the_command_line(tmp_path: Path, pictures: Any, underdog: Any) -> None:
    files = {f"p{n}.png": pictures.encode(pictures.pixels(n)) for n in range(40)}
    table = rows(*(f"p{n},{'ab'[n % 2]}" for n in range(40)))
    path = pictures.zip(tmp_path / "set.zip", files | {"t.csv": table.encode()})
    out = tmp_path / "runs"
    ran = underdog(f"train {path} --labels t.csv:image,label --method ros --epochs 1 --width 0.1 --out {out}")
    assert ran.code == 0, ran.err
    assert len(list(out.glob("*/result.json"))) == 1


def test_ham10000s_own_table_says_what_its_folders_say(archive: Any) -> None:
    path, table = archive("ham10000_200x150.tar.xz"), "HAM10000_metadata.csv:image_id"
    with open_members(path) as members:
        by_folder = find_files(path, members, ud.Reading())
        by_table = find_files(path, members, ud.Reading(labels=f"{table},dx", groups=f"{table},lesion_id"))
    assert [(f.member, f.part, f.label) for f in by_table.files] == [
        (f.member, f.part, f.label) for f in by_folder.files
    ]
    assert len(by_table.files) == 10015
    assert len({f.group for f in by_table.files}) == 7470
    assert sum(f.label == "mel" and f.part == "test" for f in by_table.files) == 215
