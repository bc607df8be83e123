"""The paper's four data sets in the layouts of their official distributions, with made-up pictures."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import underdog as ud

Files = dict[str, bytes]
RNG = np.random.default_rng(0)
SCENES = ("buildings", "forest", "sea")


def put(pictures: Any, folder: Path, kind: str, files: Files) -> Path:
    """The files as a folder, or as an archive of that kind."""
    if kind == "folder":
        return Path(pictures.folder(folder / "set", files))
    return Path((pictures.zip if kind == "zip" else pictures.tar)(folder / f"set.{kind}", files))


# Intel, from Kaggle


@pytest.fixture
def intel(pictures: Any) -> Callable[..., Files]:
    """Training, test and unlabelled images, each part in a folder twice of its name, as Kaggle packs them."""

    def make(
        parts: tuple[str, ...] = ("seg_pred", "seg_test", "seg_train"), twice: bool = True, top: str = ""
    ) -> Files:
        files: Files = {}
        for part in parts:
            inside = f"{top}{part}/{part}" if twice else f"{top}{part}"
            photos = {f"{n}.jpg": pictures.encode(pictures.pixels(n, (30, 30), 3), "JPEG") for n in range(6)}
            for c in ("",) if part == "seg_pred" else SCENES:
                files |= {f"{inside}/{c}/{name}".replace("//", "/"): data for name, data in photos.items()}
        return files

    return make


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("twice", [True, False])
@pytest.mark.parametrize("top", ["", "intel-image-classification/"])
def test_intel_has_its_own_test_part_and_leaves_out_what_has_no_class(
    kind: str, twice: bool, top: str, intel: Any, tmp_path: Path, pictures: Any
) -> None:
    source = ud.load_images(put(pictures, tmp_path, kind, intel(twice=twice, top=top)))
    assert source.train.classes == SCENES
    assert (source.train.counts, source.test.counts) == ((6, 6, 6), (6, 6, 6))
    assert source.notes == ("6 images in seg_pred, which have no class, were left out",)
    assert source.val is None


def test_intel_without_a_part_and_with_differing_heights(intel: Any, tmp_path: Path, pictures: Any) -> None:
    files = intel(parts=("seg_train", "seg_test"))
    files["seg_train/seg_train/sea/0.jpg"] = pictures.encode(pictures.pixels(0, (20, 30), 3), "JPEG")
    path = put(pictures, tmp_path, "zip", files)
    with pytest.raises(ud.InputError, match="--size"):
        ud.load_images(path)
    assert ud.load_images(path, ud.Reading(size=(30, 30))).train.shape == (3, 30, 30)
    only = ud.load_images(put(pictures, tmp_path, "folder", intel(parts=("seg_train",))))
    assert (only.test, only.train.counts) == (None, (6, 6, 6))


def test_intel_is_told_of_and_trained_on_by_the_commands(
    intel: Any, tmp_path: Path, pictures: Any, underdog: Any
) -> None:
    path = put(pictures, tmp_path, "zip", intel())
    told = json.loads(underdog("data info", path, "--json").out)
    assert "6 images in seg_pred, which have no class, were left out" in told["notes"]
    ran = underdog(f"train {path} --size 16 --method ros --epochs 1 --width 0.1 --batch 8 --out {tmp_path / 'runs'}")
    assert ran.code == 0, ran.err
    assert "note: 6 images in seg_pred" in ran.out


# MIT Indoor 67


@pytest.fixture
def indoor(pictures: Any) -> Files:
    """Photographs of many sizes and, whatever their names say, in many formats and modes."""
    files = {
        f"Images/{c}/{c}_{n}.jpg": pictures.encode(pictures.pixels(n, (40 + n, 50), 3), "JPEG")
        for c in ("airport_inside", "bar", "inside_bus")
        for n in range(10)
    }
    colour = Image.fromarray(np.full((40, 50, 3), (200, 100, 50), np.uint8))
    odd = {
        "bar/Buffet_Set_Up_gif.jpg": pictures.encode(colour, "GIF"),
        "bar/bar png.jpg": pictures.encode(colour, "PNG"),
        "bar/bar (2).jpg.jpg": pictures.encode(colour, "BMP"),
        "bar/CMYK.JPG": pictures.encode(colour.convert("CMYK"), "JPEG"),
        "bar/alpha.jpg": pictures.encode(colour.convert("RGBA"), "PNG"),
        "bar/grey.jpeg": pictures.encode(pictures.pixels(1, (40, 50)), "JPEG"),
    }
    return files | {f"Images/{name}": data for name, data in odd.items()}


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_indoor_is_read_by_what_files_are_and_divided_alike(
    kind: str, indoor: Files, tmp_path: Path, pictures: Any
) -> None:
    source = ud.load_images(put(pictures, tmp_path, kind, indoor), ud.Reading(size=(24, 24)))
    assert source.train.classes == ("airport_inside", "bar", "inside_bus")
    assert source.train.counts == (10, 16, 10)
    assert (source.val, source.test, source.notes) == (None, None, ())
    at = {str(name): n for n, name in enumerate(source.train.names)}
    for name in ("Buffet_Set_Up_gif.jpg", "bar png.jpg", "bar (2).jpg.jpg", "CMYK.JPG", "alpha.jpg"):
        colour = source.train.images[at[f"Images/bar/{name}"]].float().mean((1, 2))
        assert colour.tolist() == pytest.approx([200, 100, 50], abs=3), name
    grey = source.train.images[at["Images/bar/grey.jpeg"]]
    assert (grey[0] == grey[2]).all()
    split = ud.prepare(source).split
    assert split.test.counts == (2, 3, 2)


def test_indoor_with_damaged_files_is_read_without_them(indoor: Files, tmp_path: Path, pictures: Any) -> None:
    whole = indoor["Images/bar/bar_1.jpg"]
    frames = [Image.fromarray(pictures.pixels(n, (40, 50))) for n in range(2)]
    animated = pictures.encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    indoor |= {
        "Images/bar/bar_1.jpg": whole[: len(whole) // 2],
        "Images/bar/bar_2.jpg": b"<html>not found</html>",
        "Images/bar/bar_3_gif.jpg": animated,
    }
    path = put(pictures, tmp_path, "tar", indoor)
    with pytest.raises(ud.InputError, match=r"Images/bar/bar_1\.jpg cannot be decoded: .*truncated.*--skip-corrupt"):
        ud.load_images(path, ud.Reading(size=(24, 24)))
    source = ud.load_images(path, ud.Reading(size=(24, 24), skip_corrupt=True))
    assert source.train.counts == (10, 14, 10)
    assert "3 corrupt files were left out: Images/bar/bar_1.jpg, Images/bar/bar_2.jpg" in source.notes[0]


@pytest.mark.parametrize("top", ["", "indoorCVPR_09/"])
def test_indoor_lists_and_annotations_beside_the_images_change_nothing(
    top: str, indoor: Files, tmp_path: Path, pictures: Any
) -> None:
    lists = {"TrainImages.txt": b"bar/bar_1.jpg\n", "TestImages.txt": b"bar/bar_2.jpg\n"}
    annotations = {"indoorCVPR_09annotations/Annotations/bar/bar_1.xml": b"<annotation>"}
    files = {f"{top}{name}": data for name, data in indoor.items()} | lists | annotations
    reading = ud.Reading(size=(24, 24))
    source = ud.load_images(put(pictures, tmp_path, "folder", files), reading)
    assert source.notes == (
        "3 files that are no images were ignored",
        "TestImages.txt and TrainImages.txt were not used: all images are divided, not only those that are listed there",
    )
    alone = ud.load_images(put(pictures, tmp_path, "tar", indoor), reading)
    assert source.fingerprint == alone.fingerprint


# CIFAR-10


def cifar() -> Files:
    """All of the archive's files, each batch of ten images."""
    classes = b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"
    records = np.hstack([np.arange(10)[:, None], RNG.integers(0, 256, (10, 3072))]).astype(np.uint8).tobytes()
    batches = [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
    return {"batches.meta.txt": classes, "readme.html": b"<html>"} | dict.fromkeys(batches, records)


def inside(folder: str, files: Files) -> Files:
    return {f"{folder}/{name}": data for name, data in files.items()}


@pytest.mark.parametrize("kind", ["folder", "tar.gz"])
def test_cifar_is_read_as_its_archive_unpacks(kind: str, tmp_path: Path, pictures: Any) -> None:
    source = ud.load_images(put(pictures, tmp_path, kind, inside("cifar-10-batches-bin", cifar())))
    assert source.train.counts == (5,) * 10
    assert source.test.counts == (1,) * 10
    assert source.train.classes[::9] == ("airplane", "truck")


@pytest.mark.parametrize(
    ("folder", "names", "words"),
    [
        ("cifar-10-batches-py", ["data_batch_1", "batches.meta"], "Python version, whose files are pickles"),
        ("cifar-10-batches-mat", ["data_batch_1.mat", "batches.meta.mat"], "Matlab version"),
    ],
)
def test_other_versions_of_cifar_are_refused_with_the_right_one(
    folder: str, names: list[str], words: str, tmp_path: Path, pictures: Any, underdog: Any
) -> None:
    files = inside(folder, dict.fromkeys([*names, "readme.html"], pickle.dumps({b"data": b""})))
    ran = underdog("data info", put(pictures, tmp_path, "tar.gz", files))
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert words in ran.err
    assert "the binary version (cifar-10-binary.tar.gz, which 'underdog data fetch cifar10 --to DIR' gets)" in ran.err


# MNIST


def mnist() -> Files:
    def idx(array: np.ndarray) -> bytes:
        return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()

    labels = (np.arange(20) % 10).astype(np.uint8)
    images = RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    names = {"images-idx3-ubyte": images, "labels-idx1-ubyte": labels}
    return {f"{part}-{name}": idx(array) for part in ("train", "t10k") for name, array in names.items()}


def zipped(files: Files) -> Files:
    return {f"{name}.gz": gzip.compress(data) for name, data in files.items()}


DIGITS = mnist()
FORMS = {
    "downloaded": zipped(DIGITS),
    "unpacked": DIGITS,
    "both, as torchvision leaves them": inside("MNIST/raw", DIGITS | zipped(DIGITS)),
    "each in a folder, and dotted beside them, as on Kaggle": {
        **{f"{name}/{name}": data for name, data in DIGITS.items()},
        **{name.replace("-idx", ".idx"): data for name, data in DIGITS.items()},
    },
    "each in a folder": {f"{name}/{name}": data for name, data in DIGITS.items()},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_mnist_is_read_as_people_have_it(form: str, kind: str, tmp_path: Path, pictures: Any) -> None:
    source = ud.load_images(put(pictures, tmp_path, kind, FORMS[form]))
    assert (source.train.counts, source.test.counts) == ((2,) * 10, (2,) * 10)
    assert source.train.shape == (1, 28, 28)


# Several sets in one folder


def test_of_several_sets_the_one_at_the_top_is_meant(tmp_path: Path, pictures: Any) -> None:
    below = inside("cifar-10-batches-bin", cifar()) | inside("fashion", DIGITS) | inside("py", {"batches.meta": b""})
    source = ud.load_images(put(pictures, tmp_path, "folder", DIGITS | below))
    assert source.train.shape == (1, 28, 28)
    assert len(source.train) == 20


@pytest.mark.parametrize(
    ("files", "folders"),
    [
        (inside("MNIST/raw", DIGITS) | inside("FashionMNIST/raw", DIGITS), "FashionMNIST/raw, MNIST/raw"),
        (inside("cifar-10-batches-bin", cifar()) | inside("mnist", DIGITS), "cifar-10-batches-bin, mnist"),
        (inside("a", cifar()) | inside("b", cifar()), "a, b"),
    ],
)
def test_between_sets_that_lie_side_by_side_nothing_is_chosen(
    files: Files, folders: str, tmp_path: Path, pictures: Any
) -> None:
    with pytest.raises(ud.InputError, match=rf"several sets of images \(in {folders}\): name the folder of one"):
        ud.load_images(put(pictures, tmp_path, "folder", files))
