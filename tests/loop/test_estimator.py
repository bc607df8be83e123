"""AOSClassifier is a scikit-learn classifier that trains as fit does."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scripts import Photos, network
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import check_random_state
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import underdog as ud
from underdog.loop.estimator import _normalizing


@parametrize_with_checks([ud.AOSClassifier()])
def test_scikit_learns_checks(estimator: BaseEstimator, check: Callable[[BaseEstimator], None]) -> None:
    check(estimator)  # raises where the estimator breaks the rule that it is named after


def digits(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Scanned digits, the odd ones rare."""
    x, y = load_digits(return_X_y=True)
    keep = np.flatnonzero((y % 2 == 0) | (np.arange(len(y)) % 5 == 0))[:n]
    return x[keep], np.array(list("abcdefghij"))[y[keep]]


def classifier(**settings: object) -> ud.AOSClassifier:
    return ud.AOSClassifier(**{"image_shape": (8, 8), "bounds": (0, 16), "epochs": 2, "random_state": 0} | settings)


def test_the_classifier_trains_as_fit_does_bit_for_bit() -> None:
    data = Photos()
    net = network()
    own = ud.AOSClassifier(
        16 / 255,
        0.6,
        network=lambda *shape: copy.deepcopy(net),
        image_shape=(3, 12, 12),
        bounds=(0, 255),
        epochs=4,
        batch_size=16,
        random_state=7,
    ).fit(data.pixels.flatten(1).numpy(), data.targets)
    images = ud.ImageSet(data.pixels, torch.tensor(data.targets), ("a", "b", "c"))
    model = nn.Sequential(_normalizing(ud.to_unit(data.pixels)), net)
    hyper, seed = ud.Hyperparameters(epochs=4, batch=16), check_random_state(7).randint(2**31)
    training = ud.Training(model, ud.Method(ud.aos(16 / 255, 0.6)), ud.Split(images, images), hyper, int(seed))
    losses = [training.advance().loss for _ in range(4)]
    assert training.records[0].altered_images > 5
    assert own.losses_ == losses
    assert all(torch.equal(v, own.model_.state_dict()[k]) for k, v in training.learner.weights().items())


def test_tau_0_and_eps_0_are_plain_oversampling_for_the_classifier_too() -> None:
    x, y = digits()
    answers = [
        classifier(**s).fit(x, y).predict_proba(x) for s in ({"eps": 0}, {"tau": 0}, {"minority": "bdf"}, {"eps": 0.3})
    ]
    assert np.array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])
    assert not np.array_equal(answers[0], answers[3])


def test_the_classifier_in_a_pipeline_and_in_a_grid_search_over_eps_and_tau() -> None:
    x, y = digits()
    steps = make_pipeline(MinMaxScaler(), classifier(bounds=(0, 1), epochs=8))
    grid = {"aosclassifier__eps": [0, 0.1], "aosclassifier__tau": [0.2, 0.8]}
    search = GridSearchCV(steps, grid, scoring="f1_macro", cv=2, error_score="raise").fit(x, y)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] == scores[1]  # eps = 0, whatever tau
    assert len(set(scores)) > 1
    assert search.best_estimator_.score(x, y) > 0.5


@pytest.mark.parametrize("net", [None, "paper", ud.PaperNet])
def test_a_pickled_classifier_answers_the_same(net: object) -> None:
    x, y = digits(60)
    wide = np.kron(x.reshape(-1, 8, 8), np.ones((2, 2))).reshape(len(x), -1)
    own = classifier(image_shape=(16, 16), network=net, epochs=1).fit(wide, y)
    again = pickle.loads(pickle.dumps(own))
    assert np.array_equal(again.predict_proba(wide), own.predict_proba(wide))
    assert np.array_equal(again.predict(wide[:5]), own.predict(wide)[:5])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bounds": (0, 8)}, "X must lie within bounds"),
        ({"bounds": (16, 0)}, "low below high"),
        ({"image_shape": (8, 9)}, "as many values as a row of X, 64"),
        ({"minority": ["z"]}, "labels in y"),
        ({"eps": 8}, "eps must be"),
        ({"tau": 2}, "tau must be"),
        ({"epochs": 0}, "epochs must be"),
        ({"network": "papper"}, "did you mean 'paper'"),
        ({"network": 3}, "network must be a name or a function .* not 3"),
        ({"eps": "a"}, "eps must be .* not 'a'"),
        ({"bounds": 16}, r"bounds must be \(low, high\) .* not 16"),
        ({"bounds": (0, 1, 2)}, r"bounds must be \(low, high\)"),
        ({"bounds": (0, np.nan)}, r"bounds must be \(low, high\)"),
        ({"image_shape": 64}, r"image_shape must be .* not 64"),
        ({"image_shape": (2, 1, 8, 8)}, r"image_shape must be \(H, W\) or \(C, H, W\)"),
        ({"image_shape": (-8, -8)}, "image_shape must be a whole number of at least 1, not -8"),
        ({"minority": 1}, r"minority must be labels in y, such as \[2\], not 1"),
        ({"batch_size": 0}, "batch_size must be a whole number above 0"),
        ({"device": "gpu"}, "device must be one that torch finds, not 'gpu'"),
    ],
)
def test_what_the_classifier_cannot_take_is_a_value_error(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier(**settings).fit(*digits(80))


def test_arguments_are_checked_where_no_class_is_rare_too() -> None:
    x, _ = digits(80)
    for settings, message in (({"eps": 8}, "eps must be"), ({"tau": 7}, "tau must be")):
        with pytest.raises(ud.InputError, match=message):
            classifier(**settings).fit(x, np.arange(80) % 2)
