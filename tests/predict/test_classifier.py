"""A run's classifier prepares and judges images exactly as the run did."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from extras import needs
from PIL import Image
from scipy.special import softmax
from trained import CLASSES, Trained, mixed_files, train

import underdog as ud
from underdog.evaluation import EVALUATION_BATCH
from underdog.run.execute import execute
from underdog.run.network import network_settings
from underdog.run.spec import RunSpec


def streamed(run: Path, paths: list[Path], batch: int) -> dict[str, np.ndarray]:
    return {p.file: p.logits for p in ud.load(run).stream(paths, batch)}


@pytest.mark.parametrize(("resize", "settings"), [
    ("crop", {}), ("pad", {}), ("squash", {"model": "resnet20"}), ("crop", {"precision": "bfloat16"}),
    ("crop", {"method": "logit-adjust(tau=1.5)"}), ("pad", {"method": "smote+crt(start=0.5)+logit-adjust", "epochs": 2}),
])  # fmt: skip
@pytest.mark.parametrize("archive", [False, True])
def test_the_runs_own_test_files_get_the_very_logits_of_the_run(
    resize: str, settings: dict[str, Any], archive: bool, tmp_path: Path, pictures: Any
) -> None:
    files = mixed_files(pictures)
    source = pictures.tar(tmp_path / "p.tar.xz", files) if archive else pictures.folder(tmp_path / "p", files)
    reading = ud.Reading(size=(16, 20), resize=resize)
    own = train(source, tmp_path / "runs", reading, **{"epochs": 1} | settings)
    found = streamed(own.run, [source if archive else source / "test"], EVALUATION_BATCH)
    expected = own.answers()
    assert len(expected) == 24
    got = {item: found[str(source / item)] for item in expected}
    if archive:  # where batches also hold the other parts, and kernels may round differently
        tolerance = 0.05 if settings.get("precision") else 1e-5
        assert max(np.abs(got[item] - expected[item]).max() for item in expected) < tolerance
    else:
        assert all(np.array_equal(got[item], expected[item]) for item in expected)


def test_logits_are_adjusted_for_the_classes_as_the_run_s_were(trained: Trained, tmp_path: Path) -> None:
    reading = ud.Reading(size=(16, 20))
    plain, adjusted = (
        train(trained.source, tmp_path, reading, method=method, epochs=1)
        for method in ("baseline", "logit-adjust(tau=2)")
    )
    assert (plain.result["adjusted"], adjusted.result["adjusted"]) == (False, True)
    counts = np.array(list(adjusted.result["counts"]["train"].values()))
    shift = 2 * np.log(counts / counts.sum())
    assert np.ptp(shift) > 1
    images = [trained.source / item for item in plain.answers()]
    found = ud.load(adjusted.run).logits(images)
    np.testing.assert_allclose(found, ud.load(plain.run).logits(images) - shift, rtol=0, atol=1e-5)
    # What logits speak for: those of a network that saw n_k of each class, of n_k^2 fewer.
    assert adjusted.result["prior"] == pytest.approx((counts.min() / counts).tolist(), rel=1e-5)


@pytest.mark.parametrize("batch", [1, 7, 512])
def test_the_size_of_the_batches_does_not_matter(batch: int, trained: Trained) -> None:
    found, expected = streamed(trained.run, [trained.source / "test"], batch), trained.answers()
    for item, logits in expected.items():
        np.testing.assert_allclose(found[str(trained.source / item)], logits, rtol=0, atol=1e-5)


def test_a_result_records_how_images_were_prepared(trained: Trained, tmp_path: Path, pictures: Any) -> None:
    assert trained.result["reading"] == {"size": [16, 20], "resize": "crop", "channels": 3}
    grey = pictures.folder(tmp_path / "grey", pictures.tree({"a": 20, "b": 20}))
    own = train(grey, tmp_path / "runs", ud.Reading(resize="pad"), epochs=1)
    assert own.result["reading"] == {"size": [16, 16], "resize": "pad", "channels": 1}
    loaded = ud.load(own.run)
    assert (loaded.shape, loaded.reading, loaded.channels) == ((1, 16, 16), ud.Reading(size=(16, 16), resize="pad"), 1)


def test_paths_pillow_images_and_arrays_are_judged_alike(trained: Trained) -> None:
    classifier = ud.load(trained.run)
    path = trained.source / "test/ant/01.png"
    image = Image.open(path)
    rgb = np.asarray(image.convert("RGB"))
    assert image.mode == "P"
    together = classifier.logits([path, str(path), image, rgb])
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, np.tile(trained.answers()["test/ant/01.png"], (4, 1)), rtol=0, atol=1e-5)
    grey = trained.source / "test/ant/00.png"
    pixels = np.asarray(Image.open(grey))
    assert pixels.ndim == 2
    np.testing.assert_allclose(
        classifier.logits([pixels, pixels[:, :, None]]),
        np.tile(trained.answers()["test/ant/00.png"], (2, 1)),
        atol=1e-5,
    )


def test_colour_is_made_grey_for_a_network_that_was_trained_on_grey(tmp_path: Path, pictures: Any) -> None:
    own = train(pictures.folder(tmp_path / "grey", pictures.tree({"a": 20, "b": 20})), tmp_path / "runs", ud.Reading())
    classifier = ud.load(own.run)
    colour = pictures.pixels(1, (16, 16), 3)
    grey = np.asarray(Image.fromarray(colour).convert("L"))
    assert np.array_equal(classifier.logits([colour]), classifier.logits([grey]))
    same = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(classifier.logits([same]), classifier.logits([grey]))


def test_probabilities_and_classes_follow_the_runs_decision_rule(trained: Trained) -> None:
    classifier = ud.load(trained.run)
    assert classifier.rule is not None
    assert classifier.rule.to_json() == trained.result["decision"]["rule"]
    paths = sorted((trained.source / "test").rglob("*.*"))
    logits = classifier.logits(paths)
    np.testing.assert_allclose(classifier.probabilities(paths), classifier.rule.probabilities(logits), atol=1e-6)
    assert classifier.predict(paths) == [CLASSES[k] for k in classifier.rule.decide(logits)]
    flags = [
        tuple(c for c, f in zip(CLASSES, row, strict=True) if f and c in classifier.rare)
        for row in classifier.rule.flags(logits)
    ]
    assert [p.flags for p in classifier.stream(paths)] == flags
    assert classifier.rare == ("yak",)
    assert len(set(flags)) > 1


def test_without_a_rule_it_is_softmax_and_its_largest_value() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    plain = ud.Classifier("x", CLASSES, ("yak",), ud.Reading(size=(8, 8)), 1, network)
    images = list(np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8))
    logits = network(ud.to_unit(torch.from_numpy(np.stack(images)))).detach().numpy()
    np.testing.assert_allclose(plain.probabilities(images), softmax(logits, axis=1), rtol=1e-5)
    assert plain.predict(images) == [CLASSES[k] for k in logits.argmax(1)]
    assert plain.flagged(logits) == [()] * 5


def idx_file(array: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


def test_a_run_on_idx_files_judges_ordinary_files(tmp_path: Path, pictures: Any) -> None:
    draw = np.random.default_rng(0)
    folder = tmp_path / "idx"
    folder.mkdir()
    new = {}
    for part, n in (("train", 60), ("t10k", 20)):
        labels = (np.arange(n) % 2).astype(np.uint8)
        images = draw.integers(0, 100, (n, 16, 18), dtype=np.uint8) + 100 * labels[:, None, None]
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx_file(images))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx_file(labels))
        new = {f"{i:02}.png": pictures.encode(image) for i, image in enumerate(images)}
    own = train(folder, tmp_path / "runs", ud.Reading(), epochs=1)
    found = streamed(own.run, [pictures.folder(tmp_path / "new", new)], EVALUATION_BATCH)
    assert list(found.values()) == [pytest.approx(logits, abs=1e-6) for logits in own.answers().values()]
    large = np.zeros((300, 200, 3), np.uint8)
    assert ud.load(own.run).predict([large])[0] in ("0", "1")


def test_a_run_on_digits_judges_arrays(tmp_path: Path) -> None:
    digits = ud.load_images("digits", ud.Reading(size=(20, 16)))
    spec = RunSpec(digits.fingerprint, "baseline", epochs=1, width=0.1)
    execute(spec, digits, tmp_path)
    test = ud.prepare(digits).split.test
    assert test is not None
    own = np.stack(list(Trained(tmp_path / spec.id, tmp_path).answers().values()))
    found = ud.load(tmp_path / spec.id).logits(test.images.permute(0, 2, 3, 1).numpy(), EVALUATION_BATCH)
    assert found.shape == (359, 10)
    assert np.array_equal(found, own)


def test_a_transformers_model_needs_only_the_folder_of_the_run(tmp_path: Path, pictures: Any) -> None:
    transformers = needs("transformers")
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    config.save_pretrained(tmp_path / "config")
    source = pictures.folder(tmp_path / "p", mixed_files(pictures))
    settings = network_settings(f"hf:{tmp_path / 'config'}")
    own = train(source, tmp_path / "runs", ud.Reading(size=(32, 32)), epochs=1, **{"width": 1} | settings)
    shutil.rmtree(tmp_path / "config")
    found = streamed(own.run, [source / "test"], EVALUATION_BATCH)
    for item, logits in own.answers().items():
        np.testing.assert_allclose(found[str(source / item)], logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ("photo.png", "must be a list"),
        (np.zeros((8, 8), np.uint8), "must be a list"),
        ([np.zeros((8, 8), np.float32)], "uint8"),
        ([np.zeros((8, 8, 4), np.uint8)], r"\(8, 8, 4\)"),
        ([np.zeros((0, 8), np.uint8)], r"\(0, 8\)"),
        ([3], "uint8"),
        (["absent.png"], "absent.png cannot be read: No such file"),
        ([Image.new("F", (8, 8))], "32-bit pixels"),
    ],
)
def test_what_is_no_image_is_refused_by_name(images: Any, reason: str, trained: Trained) -> None:
    with pytest.raises(ud.InputError, match=reason):
        ud.load(trained.run).predict(images)


@pytest.mark.parametrize("batch", [0, -1, 2.5])
def test_a_batch_is_a_whole_number_above_0(batch: float, trained: Trained) -> None:
    with pytest.raises(ud.InputError, match="batch must be a whole number above 0"):
        ud.load(trained.run).stream([trained.source], batch)  # type: ignore[arg-type]


def test_no_image_has_no_answer(trained: Trained) -> None:
    classifier = ud.load(trained.run)
    assert classifier.logits([]).shape == (0, 3)
    assert classifier.predict([]) == []


def test_answers_that_are_no_numbers_are_an_error(trained: Trained) -> None:
    classifier = ud.load(trained.run)
    with torch.no_grad():
        next(classifier.model.parameters()).fill_(torch.inf)
    with pytest.raises(ud.InputError, match="not finite"):
        classifier.predict([np.zeros((8, 8), np.uint8)])


def test_loading_and_predicting_leave_the_random_state_alone(trained: Trained) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    ud.load(trained.run).predict([np.zeros((8, 8), np.uint8)])
    assert torch.equal(torch.get_rng_state(), before)
