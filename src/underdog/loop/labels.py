"""The labels of a data set, without decoding its images."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from underdog.errors import InputError

__all__ = ["find_labels", "label_of"]

#: Where data sets keep their labels: torchvision's targets, labels and _labels.
ATTRIBUTES = ("targets", "labels", "_labels")
#: What tables call the column, and dictionaries the label.
COLUMNS = ("label", "labels", "target", "fine_label", "class")


def label_of(item: Any) -> Any:
    """The label of an item as the data set gives it, or None where there is none."""
    if isinstance(item, Mapping):
        return next((item[name] for name in COLUMNS if name in item), None)
    return item[1] if len(item) > 1 else None


def _is_item(value: object) -> bool:
    """Whether something in a list is an image with its label, and no label, which one-hot may be a list too."""
    pair = isinstance(value, tuple | list) and len(value) > 1 and not isinstance(value[0], Number)
    return pair or isinstance(value, Mapping)


def _numbers(values: object, whose: str) -> npt.NDArray[np.int64]:
    """(N,) class numbers of an array, tensor or list; one-hot rows are turned into numbers."""
    try:
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except ValueError as error:
        raise InputError(
            f"{whose} must be whole numbers, one for each image, and {error}: give labels= an array of class numbers"
        ) from error
    if array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in "biuf":
        array = array.argmax(1)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or (array.dtype.kind not in "biu" and array.size):
        raise InputError(
            f"{whose} must be whole numbers, one for each image, not {array.dtype} of shape {array.shape}: "
            "give labels= an array of class numbers"
        )
    if array.size and array.min() < 0:
        raise InputError(f"{whose} must be class numbers from 0, not {int(array.min())}: give labels= of your own")
    return array.astype(np.int64)


def find_labels(source: Any, labels: object = None) -> npt.NDArray[np.int64]:
    """(N,) class numbers of labels or of a data set, without decoding an image.

    Looked for in ``targets``, ``labels`` and ``_labels``, in a column "label" or the like, in the second of a
    TensorDataset's tensors, in the items of a list, and so on through Subset, ConcatDataset and wrappers with a
    ``dataset`` of their length.

    Args:
        source: a data set, or labels themselves.
        labels: (N,) class numbers or a function from an index to one, in the place of what the data set offers.

    Raises:
        InputError: nothing found, or no whole numbers from 0; not one for each image, or no image; a data set that can
            only be iterated.

    >>> find_labels([0, 2, 1])
    array([0, 2, 1])
    >>> find_labels([("an image", 1), ("another", 0)])
    array([1, 0])
    """
    if isinstance(source, IterableDataset):
        raise InputError(
            f"{type(source).__name__} can only be iterated, so its images cannot be chosen beforehand: keep your loader "
            "as it is and use underdog.perturb_batch on each batch"
        )
    given = [labels(i) for i in range(len(source))] if callable(labels) else labels
    found = _found(source) if given is None else _numbers(given, "labels")
    if found is None:
        raise InputError(
            f"the labels of {type(source).__name__} cannot be found without decoding its images (looked for "
            f"{', '.join(ATTRIBUTES)} and columns {', '.join(COLUMNS)}): give labels=, an array of class numbers or a "
            "function from an index to one"
        )
    if isinstance(source, Sized) and len(source) != len(found):
        raise InputError(f"labels must be one for each of the {len(source)} images, not {len(found)}")
    if not len(found):
        raise InputError("labels must be those of at least one image, and there is none")
    return found


def _found(source: Any) -> npt.NDArray[np.int64] | None:
    """Labels of a data set, through the ones it is made of."""
    if isinstance(source, Subset):
        whole = _found(source.dataset)
        return None if whole is None else whole[np.asarray(source.indices, dtype=np.int64)]
    if isinstance(source, ConcatDataset):
        parts = [_found(part) for part in source.datasets]
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else None
    if (own := _own(source)) is not None:
        return _numbers(own[1], own[0])
    inner = getattr(source, "dataset", None)
    same = isinstance(inner, Sized) and isinstance(source, Sized) and len(inner) == len(source)
    return _found(inner) if same and (isinstance(inner, Dataset) or hasattr(inner, "column_names")) else None


def _own(source: Any) -> tuple[str, object] | None:
    """What a data set's own labels are called, and they themselves."""
    if isinstance(source, TensorDataset):
        return ("the second tensor's values", source.tensors[1]) if len(source.tensors) > 1 else None
    if isinstance(source, list | tuple) and source and _is_item(source[0]):
        own = [label_of(item) for item in source]
        return None if any(label is None for label in own) else ("the items' labels", own)
    if isinstance(source, Tensor | np.ndarray | list | tuple | range):
        return "labels", source
    for name in getattr(source, "column_names", None) or ():
        if name in COLUMNS:
            # A format or transform of the whole row would fail on one column, and decode images on all.
            plain = source.with_format(None) if hasattr(source, "with_format") else source
            return f"column {name!r}", list(plain[name])
    for name in ATTRIBUTES:
        values = getattr(source, name, None)
        if values is not None and not callable(values):
            return name, values
    return None
