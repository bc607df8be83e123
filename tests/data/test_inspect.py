"""What is found in a source: the same that loading and dividing it would give, and what they would refuse."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import underdog as ud
from underdog.inspect import survey

COUNTS = {"cat": 40, "dog": 24, "emu": 12}


def in_parts(pictures: Any) -> dict[str, bytes]:
    """Three classes in a training and a test part."""
    parts = {"train": pictures.tree(COUNTS), "test": pictures.tree(dict.fromkeys(COUNTS, 3), seed=1)}
    return {f"{part}/{name}": data for part, own in parts.items() for name, data in own.items()}


@pytest.fixture
def damaged(pictures: Any) -> dict[str, bytes]:
    """The same with three files that are no images, and sizes that differ."""
    files = in_parts(pictures)
    files["train/cat/003.png"] = b"no picture"
    files["train/cat/004.png"] = files["train/cat/005.png"][:120]
    files["test/emu/000.png"] = b""
    return files | {"train/dog/001.png": pictures.encode(pictures.pixels(7, (30, 20), 3))}


# As loading and dividing


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.xz"])
@pytest.mark.parametrize("wish", [{}, {"rho": 5, "mu": 0.4}, {"rho": 3, "minority": ["cat"]}, {"minority": ["dog"]}])
def test_what_remains_is_what_a_run_would_have(
    kind: str, wish: dict[str, Any], damaged: Any, tmp_path: Path, pictures: Any
) -> None:
    backwards = dict(reversed(damaged.items()))
    path = (
        pictures.folder(tmp_path / "a", damaged)
        if kind == "folder"
        else (pictures.zip if kind == "zip" else pictures.tar)(tmp_path / f"a.{kind}", backwards)
    )
    source = ud.load_images(path, ud.Reading(size=(16, 16), skip_corrupt=True))
    split = ud.prepare(source, data_seed=4, **wish).split
    found = ud.inspect_images(path, data_seed=4, **wish)
    assert found.balance.counts == {"train": source.train.counts, "test": source.test.counts}
    assert found.remaining.counts == {"train": split.train.counts, "val": split.val.counts, "test": split.test.counts}
    epoch = ud.Epoch.of(split.train)
    assert found.remaining.minority == tuple(found.classes[k] for k in sorted(epoch.minority))
    assert found.remaining.rho == max(split.train.counts) / min(split.train.counts)
    assert found.remaining.mu == len(epoch.minority) / 3


def test_a_source_without_parts_is_one_part(tmp_path: Path, pictures: Any) -> None:
    found = ud.inspect_images(pictures.folder(tmp_path, pictures.tree(COUNTS)))
    assert found.balance.counts == {"all": (40, 24, 12)}
    assert (found.balance.rho, found.balance.mu) == (40 / 12, 1 / 3)
    assert found.balance.minority == ("emu",)
    assert found.balance.why == "they have at most half of the 40 images of cat, the largest class"
    assert list(found.remaining.counts) == ["train", "val", "test"]
    assert any("fewer than 10 validation images" in w for w in found.warnings)


def test_what_makes_a_class_rare_is_said(tmp_path: Path, pictures: Any) -> None:
    path = pictures.folder(tmp_path, pictures.tree({"cat": 40, "dog": 24}))
    assert (
        ud.inspect_images(path, rho=2, mu=0.5, data_seed=3).remaining.why
        == "they were drawn at random, with data seed 3"
    )
    assert ud.inspect_images(path, minority=["cat"]).remaining.why == "they were named"
    assert ud.inspect_images(path).remaining.why.startswith("no class has at most half of the 29 images of cat")


def test_idx_files_and_digits_are_seen_as_stored(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 9, 7)).astype(np.uint8)
    pixels[31] = pixels[2]
    files = {"train-images-idx3-ubyte": pixels, "train-labels-idx1-ubyte": np.arange(40, dtype=np.uint8) % 2}
    for name, own in files.items():
        head = struct.pack(f">HBB{own.ndim}I", 0, 8, own.ndim, *own.shape)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(head + own.tobytes()))
    found = ud.inspect_images(tmp_path, ud.Reading(size=(16, 16)))
    assert found.sizes == {(9, 7): 40}
    assert [[p.path for p in e.places] for e in found.equal] == [["2", "31"]]
    assert found.equal[0].labels_differ
    assert (found.equal[0].pixels == pixels[2]).all()
    digits = ud.inspect_images("digits")
    assert (digits.sizes, digits.modes, digits.equal) == ({(8, 8): 1797}, {"L": 1797}, ())


# What loading would refuse


def test_files_that_are_no_images_are_named_with_a_reason(damaged: Any, tmp_path: Path, pictures: Any) -> None:
    found = ud.inspect_images(pictures.folder(tmp_path, damaged))
    assert {(c.place.path, c.place.part, c.place.label): c.reason for c in found.corrupt} == {
        ("test/emu/000.png", "test", "emu"): "the file is empty",
        ("train/cat/003.png", "train", "cat"): "no image in a format that is known",
        ("train/cat/004.png", "train", "cat"): "image file is truncated",
    }
    assert found.images == len(damaged) - 3
    assert any(w.startswith("3 files cannot be decoded: --skip-corrupt") for w in found.warnings)


def test_one_damaged_file_of_a_zip_costs_no_other(tmp_path: Path, pictures: Any) -> None:
    files = pictures.tree(COUNTS)
    path = pictures.zip(tmp_path / "a.zip", files)
    data = path.read_bytes()
    at = data.index(b"dog/002.png") + len("dog/002.png") + 40
    path.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    found = ud.inspect_images(path)
    assert [c.place.path for c in found.corrupt] == ["dog/002.png"]
    assert found.corrupt[0].reason.startswith("damaged in the archive: ")
    assert found.images == 75


def test_nothing_but_damaged_files_is_an_error(tmp_path: Path, pictures: Any) -> None:
    path = pictures.folder(tmp_path, {"a/0.png": b"x", "b/0.png": b"y"})
    with pytest.raises(ud.InputError, match=r"none of the 2 images .* a/0\.png: no image"):
        ud.inspect_images(path)


def test_a_source_too_small_to_be_divided_is_shown_all_the_same(tmp_path: Path, pictures: Any) -> None:
    found = ud.inspect_images(pictures.folder(tmp_path, pictures.tree({"cat": 9, "dog": 2})))
    assert found.balance.counts == {"all": (9, 2)}
    assert found.remaining is None
    assert found.to_json()["remaining"] is None
    assert any(w.startswith("no run can be made of this source: class 'dog' has 2 images") for w in found.warnings)


@pytest.mark.parametrize(
    ("wish", "message"),
    [({"minority": ["cow"]}, "'cow'"), ({"rho": 1000, "mu": 0.5}, "at most 9"), ({"rho": 2, "mu": 3}, r"\[0, 1\)")],
)
def test_wishes_that_cannot_be_met_are_refused_before_anything_is_decoded(
    wish: dict[str, Any], message: str, tmp_path: Path, pictures: Any
) -> None:
    path = pictures.folder(tmp_path, pictures.tree(COUNTS))
    decoded: list[int] = []
    with pytest.raises(ud.InputError, match=message):
        ud.inspect_images(path, progress=decoded.append, **wish)
    assert decoded == []
    ud.inspect_images(path, progress=decoded.append)
    assert sum(decoded) == 76


# Sizes and modes


def test_modes_and_formats_are_those_of_the_files_and_sizes_upright(tmp_path: Path, pictures: Any) -> None:
    noise = Image.fromarray(pictures.pixels(0, (20, 30), 3))
    turned = Image.Exif()
    turned[274] = 6  # a quarter turn
    kinds = {
        "a/0.png": pictures.encode(noise.convert("P")),
        "a/1.png": pictures.encode(Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100)),
        "a/2.jpg": pictures.encode(noise.convert("CMYK"), "JPEG"),
        "b/0.jpg": pictures.encode(noise, "JPEG", exif=turned),
        "b/1.png": pictures.encode(noise.convert("RGBA")),
        "b/2.bmp": pictures.encode(noise.convert("1"), "BMP"),
    }
    found = ud.inspect_images(pictures.folder(tmp_path, kinds))
    assert found.modes == dict.fromkeys(["P", "I;16", "CMYK", "RGB", "RGBA", "1"], 1)
    assert found.formats == {"PNG": 3, "JPEG": 2, "BMP": 1}
    assert found.sizes == {(20, 30): 5, (30, 20): 1}


@pytest.mark.parametrize(
    ("sizes", "suggested"),
    [
        ([(40, 60)] * 4, None),  # one size
        ([(40, 60)] * 3 + [(41, 60)], (40, 60)),  # nearly one
        ([(300, 400)] * 4, (48, 64)),  # too large
        ([(400, 300), (300, 400)] * 2, (64, 64)),  # upright and lying ones
        ([(20, 30), (10, 30), (22, 32), (9, 31)], (15, 30)),  # small ones are not enlarged
    ],
)
def test_a_size_is_suggested_where_one_is_needed(
    sizes: list[tuple[int, int]], suggested: tuple[int, int] | None, tmp_path: Path, pictures: Any
) -> None:
    files = {f"{'ab'[i % 2]}/{i}.png": pictures.encode(pictures.pixels(i, s)) for i, s in enumerate(sizes)}
    path = pictures.folder(tmp_path, files)
    found = ud.inspect_images(path)
    assert found.suggested_size == suggested
    assert any("--size" in w for w in found.warnings) is (suggested is not None)
    assert ud.inspect_images(path, ud.Reading(size=(8, 8))).suggested_size is None
    if suggested is not None:
        assert ud.load_images(path, ud.Reading(size=suggested)).train.shape == (1, *suggested)


# Equal images


def test_equal_images_are_those_whose_pixels_are_equal(tmp_path: Path, pictures: Any) -> None:
    files = in_parts(pictures)
    grey = Image.open(io.BytesIO(files["train/cat/000.png"]))
    again = {
        "test/dog/002.bmp": pictures.encode(grey.convert("RGB"), "BMP"),  # another format, and no colour
        "train/emu/999.png": files["train/dog/000.png"],
        "train/cat/998.png": files["train/cat/010.png"],
        "train/cat/999.png": files["train/cat/010.png"],
        "train/cat/997.png": pictures.encode(Image.open(io.BytesIO(files["train/cat/011.png"])).rotate(180)),
    }
    found = ud.inspect_images(pictures.folder(tmp_path, files | again))
    decoded = {n: np.asarray(Image.open(io.BytesIO(d)).convert("RGB")).tobytes() for n, d in (files | again).items()}
    expected = {frozenset(n for n in decoded if decoded[n] == decoded[m]) for m in decoded}
    assert {frozenset(p.path for p in e.places) for e in found.equal} == {s for s in expected if len(s) > 1}
    assert [(e.places[0].path, e.labels_differ, e.across_parts) for e in found.equal] == [
        ("test/dog/002.bmp", True, True),
        ("train/dog/000.png", True, False),
        ("train/cat/010.png", False, False),
    ]
    assert all(e.pixels is not None for e in found.equal)
    for warned in (
        "2 sets of equal images with different",
        "1 set of equal images in several",
        "2 sets .* may be divided",
    ):
        assert any(re.match(warned, w) for w in found.warnings)


def test_images_of_equal_bytes_and_other_shape_are_not_equal(tmp_path: Path, pictures: Any) -> None:
    flat = {"a/0.png": (8, 12), "b/0.png": (12, 8)}
    files = {n: pictures.encode(np.full(shape, 9, np.uint8)) for n, shape in flat.items()}
    assert ud.inspect_images(pictures.folder(tmp_path, files)).equal == ()


def test_pictures_of_repeated_images_are_limited(
    tmp_path: Path, pictures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "REPEATS", 2)
    monkeypatch.setattr("underdog.inspect.images.SAMPLES", 0)
    own = pictures.tree({"a": 6})
    found = ud.inspect_images(pictures.folder(tmp_path, own | {n.replace("a/", "b/"): d for n, d in own.items()}))
    assert len(found.equal) == 6
    assert sum(e.pixels is not None for e in found.equal) == 2


# Groups and samples


def test_groups_are_counted_and_those_in_several_parts_or_classes_named(tmp_path: Path, pictures: Any) -> None:
    files = in_parts(pictures)
    group = {name: f"g{n // 4}" for n, name in enumerate(sorted(files))}
    group |= {"test/cat/000.png": "both", "train/cat/000.png": "both", "train/emu/000.png": "both"}
    table = "\n".join(["file,who", *(f"{name},{g}" for name, g in group.items())])
    path = pictures.folder(tmp_path, files | {"who.csv": table.encode()})
    with pytest.raises(ud.InputError, match="allow-group-leak"):
        ud.load_images(path, ud.Reading(groups="who.csv:file,who"))
    found = ud.inspect_images(path, ud.Reading(groups="who.csv:file,who"))
    members = {g: [n.split("/") for n, own in group.items() if own == g] for g in group.values()}
    assert found.groups.count == len(members)
    assert found.groups.largest == max(map(len, members.values()))
    assert found.groups.per_class == tuple(
        sum(any(c == k for _, c, _ in own) for own in members.values()) for k in COUNTS
    )
    crossing = {g: ("train", "test") for g, own in members.items() if len({part for part, _, _ in own}) == 2}
    assert found.groups.across_parts == crossing
    assert set(found.groups.of_several_classes) == {g for g, own in members.items() if len({c for _, c, _ in own}) > 1}
    assert "both" in crossing
    assert any("--allow-group-leak" in w for w in found.warnings)


def test_equal_images_of_one_group_are_not_divided(tmp_path: Path, pictures: Any) -> None:
    files = pictures.tree(COUNTS)
    files["cat/999.png"] = files["cat/000.png"]
    path = pictures.folder(tmp_path, files | {"g.csv": "\n".join(["i,g", *(f"{n},{n[:7]}" for n in files)]).encode()})
    (path / "g.csv").write_text((path / "g.csv").read_text().replace("999.png,cat/999", "999.png,cat/000"))
    assert any("may be divided" in w for w in ud.inspect_images(path).warnings)
    assert not any("may be divided" in w for w in ud.inspect_images(path, ud.Reading(groups="g.csv:i,g")).warnings)


def test_samples_are_training_images_made_small(tmp_path: Path, pictures: Any) -> None:
    files = in_parts(pictures) | {"train/cat/500.png": pictures.encode(pictures.pixels(1, (200, 400), 3))}
    found = ud.inspect_images(pictures.folder(tmp_path, files))
    assert {c: len(own) for c, own in found.samples.items()} == {"cat": 8, "dog": 8, "emu": 8}
    every = [s for own in found.samples.values() for s in own]
    assert {s.place.part for s in every} == {"train"}
    assert [s.place.path for s in found.samples["cat"]][::7] == ["train/cat/000.png", "train/cat/500.png"]
    assert found.samples["cat"][-1].pixels.shape == (64, 128, 3)
    small = found.samples["dog"][0]
    assert (small.pixels == np.asarray(Image.open(io.BytesIO(files[small.place.path])))).all()


def test_the_plain_data_say_everything(damaged: Any, tmp_path: Path, pictures: Any) -> None:
    damaged["train/emu/011.png"] = damaged["test/cat/000.png"]
    found = ud.inspect_images(pictures.folder(tmp_path, damaged), rho=4, mu=0.4)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["classes"][0] == {
        "name": "cat", "images": {"train": 38, "test": 3}, "minority": False, "groups": None,
        "remaining": {part: own[0] for part, own in found.remaining.counts.items()},
    }  # fmt: skip
    assert data["parts"] == {"train": 74, "test": 8}
    assert {"height": 30, "width": 20, "images": 1} in data["sizes"]
    assert data["suggested_size"] == {"height": 16, "width": 16}
    assert [c["path"] for c in data["corrupt"]] == ["test/emu/000.png", "train/cat/003.png", "train/cat/004.png"]
    places = [{"path": f"{part}/{c}/{n}.png", "part": part, "class": c} for part, c, n in
              (("test", "cat", "000"), ("train", "emu", "011"))]  # fmt: skip
    assert data["equal_images"] == [{"images": places, "across_parts": True, "labels_differ": True}]
    assert data["remaining"]["minority_because"] == "they were drawn at random, with data seed 0"
    assert data["warnings"] == list(found.warnings)


# Real images


def test_mnist_has_no_equal_images(archive: Callable[[str], Path]) -> None:
    found = ud.inspect_images(archive("mnist.tar"))
    assert (found.images, found.sizes, found.equal) == (70000, {(28, 28): 70000}, ())
    assert found.balance.counts["test"] == (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)


def test_the_equal_images_of_scene_15_are_found(archive: Callable[[str], Path]) -> None:
    found = ud.inspect_images(archive("scene15_128.tar.xz"))
    assert [len(e.places) for e in found.equal] == [2] * 18
    across = [e for e in found.equal if e.across_parts]
    assert sorted(e.places[0].label for e in across) == ["livingroom"] * 9 + ["mountain", "tallbuilding"]
    assert [[p.path for p in e.places] for e in found.equal if e.labels_differ] == [
        ["test/tallbuilding/image_0300.jpg", "train/insidecity/image_0305.jpg"]
    ]
