"""Reading folders and archives of class folders."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_digits

import underdog as ud

COUNTS = {"cat": 5, "dog": 3, "emu": 4}
CONTAINERS = ["folder", "zip", "tar", "tar.gz", "tar.xz", "tgz", "tar.bz2"]


@pytest.fixture
def store(tmp_path: Path, pictures: Any) -> Callable[..., Path]:
    """Put files into a folder or an archive, which goes by the kind's name."""

    def put(files: dict[str, bytes], kind: str = "folder", name: str = "photos") -> Path:
        if kind == "folder":
            return pictures.folder(tmp_path / name, files)
        return (pictures.zip if kind == "zip" else pictures.tar)(tmp_path / f"{name}.{kind}", files)

    return put


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


# Layouts


@pytest.mark.parametrize("top", ["", "photos/", "a/b/"])
@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_container_gives_the_same_images(kind: str, top: str, store: Any, pictures: Any) -> None:
    files = pictures.tree(COUNTS)
    names = sorted(files)
    random.Random(kind + top).shuffle(names)
    source = ud.load_images(store({f"{top}{name}": files[name] for name in names}, kind))
    assert source.train.classes == ("cat", "dog", "emu")
    assert source.train.counts == (5, 3, 4)
    assert source.train.items.tolist() == [f"{top}{name}" for name in sorted(files)]
    expected = [np.asarray(Image.open(io.BytesIO(files[name]))) for name in sorted(files)]
    assert (source.train.images.numpy() == np.stack(expected)[:, None]).all()
    assert (source.val, source.test, source.notes) == (None, None, ())


def test_a_fingerprint_depends_on_the_images_and_not_on_their_place(tmp_path: Path, store: Any, pictures: Any) -> None:
    files = pictures.tree(COUNTS)
    backwards = dict(reversed(files.items()))
    paths = [
        store(files), store(files, name="elsewhere"), store(files, "zip"), store(backwards, "zip", "backwards"),
        store(backwards, "tar.xz"), store({f"top/{n}": d for n, d in files.items()}, "tar"),
    ]  # fmt: skip
    assert len({ud.load_images(p).fingerprint for p in paths}) == 1
    others = [files | {"cat/000.png": files["cat/001.png"]}, pictures.tree(COUNTS, seed=1)]
    others += [{n.replace("cat", "cow"): d for n, d in files.items()}, {f"train/{n}": d for n, d in files.items()} | {
        f"test/{n}": d for n, d in files.items()
    }]  # fmt: skip
    prints = {ud.load_images(store(o, "zip", f"other{i}")).fingerprint for i, o in enumerate(others)}
    assert len(prints | {ud.load_images(paths[0]).fingerprint}) == 5


@pytest.mark.parametrize("kind", ["folder", "tar.gz"])
@pytest.mark.parametrize(
    ("parts", "has"),
    [
        (("train",), ("train",)),
        (("train", "test"), ("train", "test")),
        (("Train", "valid"), ("train", "val")),
        (("training", "validation", "testing"), ("train", "val", "test")),
    ],
)
@pytest.mark.parametrize("top", ["", "top/"])
def test_parts_are_recognised(
    top: str, parts: tuple[str, ...], has: tuple[str, ...], kind: str, store: Any, pictures: Any
) -> None:
    contents = [pictures.tree({c: n + i for c, n in COUNTS.items()}, seed=i) for i in range(len(parts))]
    source = ud.load_images(
        store({f"{top}{p}/{n}": d for p, own in zip(parts, contents, strict=True) for n, d in own.items()}, kind)
    )
    for name in ("train", "val", "test"):
        part = getattr(source, name)
        if name in has:
            assert part.counts == tuple(n + has.index(name) for n in COUNTS.values())
            assert part.classes == ("cat", "dog", "emu")
        else:
            assert part is None


def test_a_folder_beside_train_is_no_class(store: Any, pictures: Any) -> None:
    files = {f"{part}/{n}": d for part in ("train", "test", "extra") for n, d in pictures.tree(COUNTS).items()}
    with pytest.raises(ud.InputError, match="extra"):
        ud.load_images(store(files))


def test_classes_named_like_parts_need_a_training_part_to_be_parts(store: Any, pictures: Any) -> None:
    assert ud.load_images(store(pictures.tree({"test": 3, "val": 3}))).train.classes == ("test", "val")


@pytest.mark.parametrize("kind", CONTAINERS)
def test_hidden_files_are_ignored_and_others_that_are_no_images_counted(kind: str, store: Any, pictures: Any) -> None:
    files = pictures.tree(COUNTS)
    hidden = {".DS_Store": b"x", "cat/.thumb.png": b"x", "__MACOSX/cat/._000.png": b"x", ".git/a.png": b"x"}
    source = ud.load_images(store(files | hidden | {"README.txt": b"x", "cat/labels.csv": b"x"}, kind))
    assert source.notes == ("2 files that are no images were ignored",)
    assert source.fingerprint == ud.load_images(store(files, kind, "clean")).fingerprint


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_no_member_of_an_archive_is_ever_written(
    kind: str, tmp_path: Path, store: Any, pictures: Any, monkeypatch: Any
) -> None:
    image = pictures.encode(pictures.pixels(0))
    evil = {
        f"{prefix}{c}/{i}.png": image for prefix in ("../", "../../", f"{tmp_path}/abs/") for c in "ab" for i in "12"
    }
    path = store(pictures.tree(COUNTS) | evil, kind)
    if kind == "tar":
        with tarfile.open(path, "a") as tar:
            for name, target in (("cat/link.png", "/etc/passwd"), ("cat/up.png", "../../x")):
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, target
                tar.addfile(link)
    (tmp_path / "deep" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "here")
    before = tree(tmp_path)
    with suppress(ud.InputError):
        ud.load_images(path)
    assert tree(tmp_path) == before
    assert not any(p.is_symlink() for p in tmp_path.rglob("*"))


# Kinds of images

P = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)
WORDS = np.random.default_rng(0).integers(0, 65536, (16, 16), dtype=np.uint16)
PALETTE = Image.fromarray(P[..., :3]).quantize(16)
OPACITY = np.array([0, 99, *([255] * 254)])


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    a = alpha[..., None] if colours.ndim == 3 else alpha
    return np.rint((colours.astype(float) * a + 255.0 * (255.0 - a)) / 255).astype(np.uint8)


SEEN = on_white(np.asarray(PALETTE.convert("RGB")), OPACITY[np.asarray(PALETTE)])
KINDS: dict[str, tuple[Image.Image, str, dict[str, Any], np.ndarray]] = {
    "grey": (Image.fromarray(P[..., 0]), "PNG", {}, P[..., 0]),
    "rgb": (Image.fromarray(P[..., :3]), "PNG", {}, P[..., :3]),
    "bmp": (Image.fromarray(P[..., :3]), "BMP", {}, P[..., :3]),
    "tiff": (Image.fromarray(P[..., :3]), "TIFF", {"compression": "tiff_lzw"}, P[..., :3]),
    "pgm": (Image.fromarray(P[..., 0]), "PPM", {}, P[..., 0]),
    "lossless webp": (Image.fromarray(P[..., :3]), "WEBP", {"lossless": True}, P[..., :3]),
    "16 bits": (Image.fromarray(WORDS), "PNG", {}, (WORDS >> 8).astype(np.uint8)),
    "16 bits, tiff": (Image.fromarray(WORDS), "TIFF", {}, (WORDS >> 8).astype(np.uint8)),
    "1 bit": (Image.fromarray(P[..., 0] > 127), "PNG", {}, np.where(P[..., 0] > 127, 255, 0).astype(np.uint8)),
    "grey with alpha": (Image.fromarray(P[..., :2]), "PNG", {}, on_white(P[..., 0], P[..., 1])),
    "rgb with alpha": (Image.fromarray(P), "PNG", {}, on_white(P[..., :3], P[..., 3])),
    "palette": (PALETTE, "PNG", {}, np.asarray(PALETTE.convert("RGB"))),
    "palette with alpha": (PALETTE, "PNG", {"transparency": bytes([0, 99])}, SEEN),
    "gif": (PALETTE, "GIF", {}, np.asarray(PALETTE.convert("RGB"))),
}


def one_each(image: bytes, suffix: str = ".png") -> dict[str, bytes]:
    return {f"{c}/{i}{suffix}": image for c in "ab" for i in "12"}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_come_as_they_are_meant(kind: str, store: Any, pictures: Any) -> None:
    image, encoding, options, expected = KINDS[kind]
    data = pictures.encode(image, encoding, **options)
    images = ud.load_images(store(one_each(data))).train.images
    expected = expected[None] if expected.ndim == 2 else np.moveaxis(expected, 2, 0)
    assert images.shape == (4, *expected.shape)
    assert (images.numpy() == expected).all()


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda p: p), (2, np.fliplr), (3, lambda p: np.rot90(p, 2)), (4, np.flipud), (5, np.transpose),
        (6, lambda p: np.rot90(p, -1)), (7, lambda p: np.rot90(p, 2).T), (8, np.rot90),
    ],
)  # fmt: skip
def test_photographs_are_turned_upright(
    orientation: int, upright: Callable[[np.ndarray], np.ndarray], store: Any, pictures: Any
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    images = ud.load_images(store(one_each(pictures.encode(P[:12, :, 0], exif=exif)))).train.images
    assert (images.numpy() == upright(P[:12, :, 0])).all()


def test_grey_images_among_colours_become_colours(store: Any, pictures: Any) -> None:
    files = pictures.tree({"grey": 3}) | pictures.tree({"red": 2}, bands=3)
    images = ud.load_images(store(files)).train
    assert images.shape == (3, 16, 16)
    grey = images.images[images.labels == 0]
    assert torch.equal(grey, grey[:, :1].expand(-1, 3, -1, -1))
    assert (grey[0, 0].numpy() == pictures.pixels(0, level=60)).all()


def test_sizes_that_differ_need_a_size(store: Any, pictures: Any) -> None:
    path = store(pictures.tree({"a": 2}, (16, 20)) | pictures.tree({"b": 3}, (18, 20)))
    with pytest.raises(ud.InputError, match=r"differ in size .*20x18 \(3\), 20x16 \(2\): .* --size"):
        ud.load_images(path)
    assert ud.load_images(path, ud.Reading(size=(17, 19))).train.shape == (1, 17, 19)


def test_large_images_need_a_size_too(store: Any, pictures: Any) -> None:
    path = store(one_each(pictures.encode(pictures.pixels(0, (20, 300)))))
    with pytest.raises(ud.InputError, match="300x20"):
        ud.load_images(path)
    assert ud.load_images(path, ud.Reading(size=(20, 20))).train.shape == (1, 20, 20)


def test_a_size_is_filled_and_the_overhang_cut_off_evenly(store: Any, pictures: Any) -> None:
    wide = np.zeros((16, 32), dtype=np.uint8)
    wide[:, 8:24] = P[..., 0]
    images = ud.load_images(store(one_each(pictures.encode(wide))), ud.Reading(size=(16, 16))).train.images
    assert (images.numpy() == P[..., 0]).all()


def test_jpegs_decoded_at_a_fraction_look_like_those_decoded_whole(store: Any, pictures: Any) -> None:
    image = Image.fromarray(P[..., :3]).resize((128, 128), Image.Resampling.BICUBIC)
    data = pictures.encode(image, "JPEG", quality=95, subsampling=0)
    small = ud.load_images(store(one_each(data, ".jpg")), ud.Reading(size=(16, 16))).train.images[0].numpy().astype(int)
    whole = ImageOps.fit(Image.open(io.BytesIO(data)), (16, 16), Image.Resampling.BICUBIC)
    # Decoding at the very size that is wanted, instead of twice that, would be 4.7 off.
    assert np.abs(small - np.moveaxis(np.asarray(whole), 2, 0)).mean() < 3.5


# What cannot be read


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
@pytest.mark.parametrize("damage", ["empty", "cut short", "no image at all"])
def test_a_corrupt_image_is_named_or_left_out_and_counted(damage: str, kind: str, store: Any, pictures: Any) -> None:
    files = pictures.tree(COUNTS)
    whole = files["dog/001.png"]
    broken = {"empty": b"", "cut short": whole[: len(whole) // 2], "no image at all": b"hello" * 99}[damage]
    path = store(files | {"dog/001.png": broken}, kind)
    with pytest.raises(ud.InputError, match=r"dog/001.png cannot be decoded: .*--skip-corrupt"):
        ud.load_images(path)
    source = ud.load_images(path, ud.Reading(skip_corrupt=True))
    assert source.train.counts == (5, 2, 4)
    assert "dog/001.png" not in source.train.items
    assert source.notes == ("1 corrupt files were left out: dog/001.png",)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_unknown_range_are_refused_and_not_turned_black(kind: type, store: Any, pictures: Any) -> None:
    image = np.linspace(0, 1 if kind is np.float32 else 200, 256).reshape(16, 16).astype(kind)
    with pytest.raises(ud.InputError, match=r"a/1.tif cannot be decoded"):
        ud.load_images(store(one_each(pictures.encode(image, "TIFF"), ".tif")))


def test_an_archive_within_an_archive_is_not_opened(store: Any, pictures: Any) -> None:
    inner = store(pictures.tree({"x": 3, "y": 3}), "zip", "inner").read_bytes()
    assert ud.load_images(store(pictures.tree(COUNTS) | {"inner.zip": inner}, "tar")).train.classes == (
        "cat",
        "dog",
        "emu",
    )


def test_many_corrupt_images_are_counted_and_a_few_named(store: Any, pictures: Any) -> None:
    files = pictures.tree({"a": 9, "b": 9})
    source = ud.load_images(store(files | {f"a/{i:03}.png": b"" for i in range(8)}), ud.Reading(skip_corrupt=True))
    assert source.train.counts == (1, 9)
    assert source.notes[0].startswith("8 corrupt files were left out: a/000.png")
    assert source.notes[0].endswith(" ...")


@pytest.mark.parametrize("corrupt", [["a"], ["a", "b"]])
def test_a_class_of_nothing_but_corrupt_images_is_an_error(corrupt: list[str], store: Any, pictures: Any) -> None:
    files = pictures.tree({"a": 2, "b": 2})
    with pytest.raises(ud.InputError, match=r"'a' has no training image|none of the 4 images"):
        ud.load_images(store(files | {n: b"" for n in files if n[0] in corrupt}), ud.Reading(skip_corrupt=True))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_a_damaged_archive_is_refused_and_never_loses_images_silently(kind: str, store: Any, pictures: Any) -> None:
    path = store(pictures.tree({"a": 30, "b": 30}), kind)
    whole, data = ud.load_images(path).fingerprint, path.read_bytes()
    rng = random.Random(0)
    damaged = [data[: int(len(data) * f)] for f in (0, 0.1, 0.5, 0.77, 0.99)]
    for _ in range(12):
        at = rng.randrange(len(data))
        damaged.append(data[:at] + bytes(b ^ 0x5A for b in data[at : at + 20]) + data[at + 20 :])
    refused = 0
    for bad in damaged:
        path.write_bytes(bad)
        try:
            assert ud.load_images(path).fingerprint == whole
        except ud.InputError:
            refused += 1
    assert refused >= 5


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "has no images"),
        ({"notes.txt": b"x"}, "has no images"),
        ({"a/1.png": b"x"}, "one class only|at least two"),
        ({"1.png": b"x", "a/1.png": b"x"}, "1.png lies in no class folder"),
        ({"test/a/1.png": b"x", "val/b/1.png": b"x", "train/1.png": b"x"}, "train/1.png lies in no class folder"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_sources_without_two_classes_are_refused(
    kind: str, files: dict[str, bytes], words: str, tmp_path: Path, store: Any
) -> None:
    (tmp_path / "photos").mkdir(exist_ok=True)
    with pytest.raises(ud.InputError, match=words):
        ud.load_images(store(files, kind))


def test_a_class_that_only_the_test_part_has_is_named(store: Any, pictures: Any) -> None:
    files = {f"train/{n}": d for n, d in pictures.tree({"a": 2, "b": 2}).items()}
    with pytest.raises(ud.InputError, match="class 'c' has no training image"):
        ud.load_images(store(files | {f"test/{n}": d for n, d in pictures.tree({"a": 2, "c": 2}).items()}))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digit", "did you mean 'digits'"),
        ("no/such/folder", "'no/such/folder': no such folder or file"),
        ("photos.zip", "no such folder or file"),
    ],
)
def test_a_source_that_is_not_there_is_named(name: str, words: str) -> None:
    with pytest.raises(ud.InputError, match=words):
        ud.load_images(name)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"not a zip")
    with pytest.raises(ud.InputError, match="neither a folder nor an archive"):
        ud.load_images(tmp_path / "photos.zip")


def test_digits_are_scikit_learns() -> None:
    bunch = load_digits()
    small = ud.load_images("digits", ud.Reading(size=(8, 8))).train
    assert (small.images[:, 0].numpy() == np.rint(bunch.images * 255 / 16)).all()
    assert (small.labels.numpy() == bunch.target).all()
    assert ud.load_images("digits").train.shape == (1, 16, 16)


def test_progress_counts_every_image(store: Any, pictures: Any) -> None:
    seen: list[int] = []
    ud.load_images(store(pictures.tree({"a": 600, "b": 40}, (2, 2)), "tar"), progress=seen.append)
    assert sum(seen) == 640
    assert len(seen) > 1


def test_damaged_exif_data_is_a_corrupt_file_or_is_ignored_but_never_breaks(store: Any, pictures: Any) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    good = pictures.encode(pictures.pixels(0), "JPEG", exif=exif)
    broken = {f"a/{at:03}.jpg": good[:at] + b"\0" + good[at + 1 :] for at in range(20, 90)}
    source = ud.load_images(
        store(pictures.tree({"a": 1, "b": 2}) | broken), ud.Reading(size=(16, 16), skip_corrupt=True)
    )
    assert source.train.counts[1] == 2
