"""The trained network of a run, with everything it needs to judge new images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy.special import softmax
from torch import Tensor, nn

from underdog.data.archive import Member
from underdog.data.decode import prepared, workers
from underdog.data.images import to_unit
from underdog.data.reading import Progress, Reading
from underdog.data.stream import decode_some, find_images, in_channels
from underdog.decision.rule import DecisionRule
from underdog.errors import InputError
from underdog.learner import PRECISIONS
from underdog.methods.build import build
from underdog.run.codes import codes_of_network
from underdog.run.features import frozen_network
from underdog.run.network import untrained
from underdog.run.saved import Run, open_run
from underdog.run.spec import NetworkFiles
from underdog.run.weights import load_saved
from underdog.validate import check_positive

__all__ = ["BATCH", "Classifier", "Prediction", "load"]

#: Images that a network sees at a time.
BATCH = 128
CPU = torch.device("cpu")

Floats = npt.NDArray[np.floating[Any]]
#: A path, a Pillow image, or uint8 of shape (H, W) or (H, W, 3).
Picture = str | Path | Image.Image | npt.NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a classifier says of a file, or why it cannot.

    Attributes:
        file: its path; of a file in an archive, the archive's path and the path inside.
        label: the class named, or None for a file that cannot be read.
        logits, probabilities: (K,), or None.
        flags: the rare classes whose probability reaches their threshold.
        error: why the file cannot be read, or None.
    """

    file: str
    label: str | None = None
    logits: Floats | None = None
    probabilities: Floats | None = None
    flags: tuple[str, ...] = ()
    error: str | None = None


class Adjusted(nn.Module):
    """A network, and what its method does to the logits, (B, K) to (B, K)."""

    def __init__(self, network: nn.Module, adjustment: nn.Module) -> None:
        super().__init__()
        self.network, self.adjustment = network, adjustment

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.adjustment(self.network(x).float())
        return logits


@dataclass(frozen=True, eq=False)
class Classifier:
    """A run's network at its best epoch, with the run's preparation of images, class names and decision rule.

    Images may be paths, Pillow images or uint8 arrays of shape (H, W) or (H, W, 3), of any size. A file is prepared
    exactly as the run's own files were. A Pillow image is too, but resized from the pixels it has, where a large JPEG
    file is decoded at a reduced size.

    Attributes:
        name: of the run.
        classes: (K,) names.
        rare: the rare classes of the training.
        reading: the size that images are brought to, and how.
        channels: 1 where images are made grey, 3 where they are made RGB.
        model: the network, in evaluation mode, from (B, C, H, W) in [0, 1] to logits (B, K), adjusted where the method does.
        rule: how logits become probabilities, classes and flags; None for softmax, its largest value, and no flags.
        precision: what the run computed with.
        device: where the network is.

    >>> from underdog import Normalize
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    >>> classifier = Classifier("example", ("cat", "dog"), ("dog",), Reading(size=(8, 8)), 1, network)
    >>> classifier.probabilities([Image.new("RGB", (30, 20)), np.zeros((8, 8), np.uint8)]).shape
    (2, 2)
    """

    name: str
    classes: tuple[str, ...]
    rare: tuple[str, ...]
    reading: Reading
    channels: int
    model: nn.Module
    rule: DecisionRule | None = None
    precision: str = "float32"
    device: torch.device = CPU

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that the network sees."""
        assert self.reading.size is not None
        return (self.channels, *self.reading.size)

    def logits(self, images: Sequence[Picture], batch: int = BATCH) -> Floats:
        """(N, K) float32 answers of the network.

        Raises:
            InputError: a file that cannot be read, or something that is no image; names it.
        """
        check_positive("batch", batch, whole=True)
        if isinstance(images, str | Path | Image.Image) or getattr(images, "ndim", 4) != 4:
            raise InputError("images must be a list, also of one image, or an array of shape (N, H, W, C)")
        with ThreadPoolExecutor(workers()) as pool:
            parts = [finite(self._answers(self._pixels(part, pool))) for part in batched(images, batch)]
        return np.concatenate([np.empty((0, len(self.classes)), np.float32), *parts])

    def probabilities(self, images: Sequence[Picture], batch: int = BATCH) -> Floats:
        """(N, K) probabilities, after the run's correction of them where it has one. Errors as ``logits``."""
        return self.judged(self.logits(images, batch))

    def predict(self, images: Sequence[Picture], batch: int = BATCH) -> list[str]:
        """(N,) names of classes. Errors as ``logits``."""
        return [self.classes[k] for k in self.decided(self.logits(images, batch))]

    def stream(
        self, paths: Iterable[str | Path], batch: int = BATCH, ignored: Progress = lambda files: None
    ) -> Iterator[Prediction]:
        """Judge files, folders and archives, in bounded memory; a file that cannot be read has an ``error``.

        Args:
            paths: image files, folders that are searched for them, and archives.
            batch: images that the network sees at a time.
            ignored: called with the number of files that are no images as they are passed over.

        Raises:
            InputError: a path that does not exist, before anything is read.
        """
        check_positive("batch", batch, whole=True)
        return self._streamed(find_images([Path(p) for p in paths], ignored), batch)

    def _streamed(self, members: Iterator[Member], batch: int) -> Iterator[Prediction]:
        before: tuple[list[tuple[PurePosixPath, Any]], Tensor] | None = None
        with ThreadPoolExecutor(workers()) as pool:
            while files := decode_some(islice(members, batch), self.reading, self.channels, pool):
                # A GPU answers the batch before while the processor decodes this one.
                if before:
                    yield from self._predictions(*before)
                before = files, self._answers([pixels for _, pixels in files if not isinstance(pixels, str)])
        if before:
            yield from self._predictions(*before)

    def _predictions(self, files: Sequence[tuple[PurePosixPath, Any]], answers: Tensor) -> Iterator[Prediction]:
        """The predictions of a batch, in the order of its files."""
        logits = finite(answers)
        decided, probabilities, flagged = self.decided(logits), self.judged(logits), self.flagged(logits)
        rows = iter(range(len(logits)))
        for path, pixels in files:
            if isinstance(pixels, str):
                yield Prediction(str(path), error=pixels)
            else:
                n = next(rows)
                yield Prediction(str(path), self.classes[decided[n]], logits[n], probabilities[n], flagged[n])

    def judged(self, logits: Floats) -> Floats:
        """(N, K) probabilities of (N, K) logits."""
        return self.rule.probabilities(logits) if self.rule else np.asarray(softmax(logits.astype(np.float64), axis=1))

    def decided(self, logits: Floats) -> npt.NDArray[np.int64]:
        """(N,) class numbers of (N, K) logits."""
        return self.rule.decide(logits) if self.rule else np.asarray(logits.argmax(1))

    def flagged(self, logits: Floats) -> list[tuple[str, ...]]:
        """(N,) rare classes whose probability reaches their threshold; none without a rule."""
        if self.rule is None:
            return [()] * len(logits)
        rare = [k for k, name in enumerate(self.classes) if name in self.rare]
        return [tuple(self.classes[k] for k in rare if row[k]) for row in self.rule.flags(logits)]

    def _pixels(self, images: Sequence[Picture], pool: Executor) -> list[npt.NDArray[np.uint8]]:
        paths = [Path(image) for image in images if isinstance(image, str | Path)]
        members = [Member(PurePosixPath(path), path.read_bytes) for path in paths]
        files = iter(decode_some(members, self.reading, self.channels, pool))
        return [readable(*next(files)) if isinstance(i, str | Path) else self._of_picture(i) for i in images]

    def _of_picture(self, picture: Image.Image | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return in_channels(prepared(as_image(picture), self.reading), self.channels)

    def _answers(self, images: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
        """(B, K) float32 logits of (H, W, C) images, on the device, where they may still be computed."""
        if not images:
            return torch.empty(0, len(self.classes))
        x = to_unit(torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2))
        x = x.contiguous(memory_format=torch.channels_last)  # which it is but for a single channel
        autocast = torch.autocast(self.device.type, PRECISIONS[self.precision], enabled=self.precision != "float32")
        with torch.no_grad(), autocast:
            logits = self.model(x)
        if not isinstance(logits, Tensor) or logits.shape != (len(x), len(self.classes)):
            raise InputError(
                f"the network of {self.name} does not answer with {len(self.classes)} logits for each image"
            )
        return logits.float()


def readable(path: PurePosixPath, pixels: npt.NDArray[np.uint8] | str) -> npt.NDArray[np.uint8]:
    """The pixels of a file.

    Raises:
        InputError: there are none; says why.
    """
    if isinstance(pixels, str):
        raise InputError(f"{path} cannot be read: {pixels}")
    return pixels


def finite(answers: Tensor) -> Floats:
    """A network's answers, waited for and checked.

    Raises:
        InputError: they are not finite numbers.
    """
    logits: Floats = answers.cpu().numpy()
    if not np.isfinite(logits).all():
        raise InputError("the network's answers are not finite numbers")
    return logits


def as_image(picture: Image.Image | npt.NDArray[np.uint8]) -> Image.Image:
    """A Pillow image as it is, and uint8 of shape (H, W), (H, W, 1) or (H, W, 3) as one.

    Raises:
        InputError: anything else.
    """
    if isinstance(picture, Image.Image):
        return picture
    array = np.asarray(picture)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)) or not array.size:
        raise InputError(
            "an image must be a path, a Pillow image, or uint8 of shape (H, W) or (H, W, 3), "
            f"not {type(picture).__name__} of {array.dtype} {array.shape}"
        )
    return Image.fromarray(array)


def batched(items: Iterable[T], n: int) -> Iterator[list[T]]:
    """Lists of ``n`` items, the last of what is left.

    >>> list(batched("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    rest = iter(items)
    while part := list(islice(rest, n)):
        yield part


def trained(folder: Path, saved: Run) -> nn.Module:
    """The network of a run from images to logits; that of a probe is a frozen network, codes, and the run's own head.

    Raises:
        InputError: files that are damaged or do not belong together.
    """
    channels, height, width = saved.image_shape
    if saved.frozen is not None:
        channels, height, width = len(saved.frozen.centre), 1, 1
    # A Transformers model's config.json lies in the run's own folder.
    model = untrained(replace(saved.spec, files=NetworkFiles(folder)), channels, len(saved.classes), (height, width))
    load_saved(folder / "model.safetensors", model, saved.classes)
    if saved.frozen is None:
        return model
    return nn.Sequential(frozen_network(saved.frozen), codes_of_network(saved.frozen), model)


def load(run: str | Path, device: torch.device | str = "cpu") -> Classifier:
    """The classifier that a run has trained, at its best epoch by validation macro-F1.

    A run whose model is a factory of somebody's own imports it: load such runs only from people you trust.

    Args:
        run: its folder, with result.json and model.safetensors.
        device: where to compute.

    Raises:
        InputError: no finished run, or files that are damaged or do not belong together.

    >>> import tempfile, underdog as ud
    >>> from underdog.run.execute import execute
    >>> from underdog.run.spec import RunSpec
    >>> digits = ud.load_images("digits")
    >>> spec = RunSpec(digits.fingerprint, "ros", rho=20, mu=0.6, epochs=1, width=0.2)
    >>> with tempfile.TemporaryDirectory() as out:
    ...     _ = execute(spec, digits, Path(out))
    ...     classifier = ud.load(Path(out, spec.id))
    >>> classifier.shape, classifier.classes[:3], len(classifier.predict([np.zeros((20, 20), np.uint8)]))
    ((1, 16, 16), ('0', '1', '2'), 1)
    """
    folder, saved = Path(run), open_run(Path(run))
    channels, model = saved.image_shape[0], trained(folder, saved)
    # A method of somebody's own is imported for its adjustment only where it has one.
    if saved.adjusted and (adjustment := build(saved.spec.expression).adjustment(saved.train)) is not None:
        model = Adjusted(model, adjustment)
    where = torch.device(device)
    model.eval().requires_grad_(False).to(device=where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Classifier(
        name=saved.name,
        classes=saved.classes,
        rare=saved.rare,
        reading=saved.reading,
        channels=channels,
        model=model,
        rule=saved.rule,
        precision=saved.spec.precision,
        device=where,
    )
