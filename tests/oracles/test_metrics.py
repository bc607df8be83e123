"""The metrics against scikit-learn and imbalanced-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from imblearn.metrics import geometric_mean_score
from sklearn import metrics as sk

import underdog as ud

#: Square matrices, many of them with empty rows (classes without images), columns (never predicted) or diagonals.
matrices = st.integers(2, 7).flatmap(
    lambda k: arrays(np.int64, (k, k), elements=st.one_of(st.just(0), st.integers(0, 30)))
)
matrices = matrices.filter(lambda m: m.sum() > 0)


def pairs(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of every image that a confusion matrix counts."""
    truth, predicted = np.indices(confusion.shape)
    return np.repeat(truth.ravel(), confusion.ravel()), np.repeat(predicted.ravel(), confusion.ravel())


@given(matrices)
def test_a_confusion_matrix_is_counted_as_scikit_learn_counts_it(confusion: np.ndarray) -> None:
    truth, predicted = pairs(confusion)
    counted = ud.Metrics.of(truth, predicted, len(confusion)).confusion
    assert (counted == sk.confusion_matrix(truth, predicted, labels=range(len(confusion)))).all()


@given(matrices)
def test_precision_recall_f1_and_support_are_scikit_learns(confusion: np.ndarray) -> None:
    ours, every = ud.Metrics(confusion), range(len(confusion))
    theirs = sk.precision_recall_fscore_support(*pairs(confusion), labels=every, zero_division=0)
    for mine, other in zip((ours.precision, ours.recall, ours.f1, ours.support), theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12)


@given(matrices)
def test_macro_f1_and_accuracy_are_scikit_learns(confusion: np.ndarray) -> None:
    ours, both = ud.Metrics(confusion), pairs(confusion)
    assert ours.macro_f1 == pytest.approx(sk.f1_score(*both, average="macro", zero_division=0), rel=1e-12)
    assert ours.accuracy == pytest.approx(sk.accuracy_score(*both), rel=1e-12)


@given(matrices)
def test_balanced_accuracy_is_scikit_learns(confusion: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn mentions predictions of classes without images
        theirs = sk.balanced_accuracy_score(*pairs(confusion))
    assert ud.Metrics(confusion).balanced_accuracy == pytest.approx(theirs, rel=1e-12)


@given(matrices)
def test_g_mean_is_imbalanced_learns_over_the_classes_that_have_images(confusion: np.ndarray) -> None:
    ours, both = ud.Metrics(confusion), pairs(confusion)
    there = np.flatnonzero(confusion.sum(1))
    options = {"labels": there, "average": "multiclass"}
    assert ours.g_mean == pytest.approx(geometric_mean_score(*both, **options), rel=1e-12)
    assert ours.g_mean_corrected == pytest.approx(geometric_mean_score(*both, correction=0.001, **options), rel=1e-12)


@given(matrices)
def test_g_mean_is_zero_exactly_when_a_class_is_never_recognised(confusion: np.ndarray) -> None:
    ours = ud.Metrics(confusion)
    unseen = int(((confusion.sum(1) > 0) & (np.diag(confusion) == 0)).sum())
    assert ours.zero_recall_classes == unseen
    assert (ours.g_mean == 0) == (unseen > 0)
    assert ours.g_mean_corrected > 0
    if not unseen:
        assert ours.g_mean_corrected == ours.g_mean


def test_by_hand() -> None:
    m = ud.Metrics(np.array([[3, 1, 0], [0, 2, 0], [2, 0, 0]]))
    np.testing.assert_allclose(m.recall, [3 / 4, 1, 0])
    np.testing.assert_allclose(m.precision, [3 / 5, 2 / 3, 0])
    np.testing.assert_allclose(m.f1, [2 / 3, 4 / 5, 0])
    assert (m.g_mean, m.zero_recall_classes, m.accuracy) == (0, 1, 5 / 8)
    assert m.g_mean_corrected == pytest.approx((3 / 4 * 1 * 0.001) ** (1 / 3))
    plain = m.to_json(("a", "b", "c"))
    assert plain["recall"] == {"a": 3 / 4, "b": 1, "c": 0}
    assert plain["confusion"] == [[3, 1, 0], [0, 2, 0], [2, 0, 0]]


@pytest.mark.parametrize("shape", [(2, 3), (4,), (2, 2, 2)])
def test_a_matrix_that_is_not_square_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ud.InputError, match="square"):
        ud.Metrics(np.zeros(shape, dtype=np.int64))
