"""Train image classifiers when some classes are rare.

Names are imported when they are first used, so that ``import underdog`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from underdog.attack.base import Attack as Attack, SignAttack as SignAttack, Victim as Victim
    from underdog.attack.fgsm import FGSM as FGSM
    from underdog.attack.pgd import PGD as PGD
    from underdog.attack.random_sign import RandomSign as RandomSign
    from underdog.augment import Augment as Augment
    from underdog.data.fetch import fetch_dataset as fetch_dataset
    from underdog.data.images import ImageSet as ImageSet, to_unit as to_unit
    from underdog.data.imbalance import (
        Imbalanced as Imbalanced,
        imbalance_ratio as imbalance_ratio,
        make_imbalance as make_imbalance,
        minority_share as minority_share,
    )
    from underdog.data.inspect import inspect_images as inspect_images
    from underdog.data.inspection import Inspection as Inspection
    from underdog.data.known import find_dataset as find_dataset
    from underdog.data.prepare import Division as Division, Prepared as Prepared, prepare as prepare
    from underdog.data.reading import Reading as Reading
    from underdog.data.sources import Source as Source, load_images as load_images
    from underdog.data.split import Split as Split, folds as folds, hold_out as hold_out
    from underdog.decision.answers import Answers as Answers, read_predictions as read_predictions
    from underdog.decision.bootstrap import (
        Bootstrap as Bootstrap,
        Interval as Interval,
        paired_bootstrap as paired_bootstrap,
    )
    from underdog.decision.figures import decision_report as decision_report
    from underdog.decision.replicates import Judged as Judged
    from underdog.decision.rule import DecisionRule as DecisionRule
    from underdog.epoch import Epoch as Epoch
    from underdog.errors import (
        InputError as InputError,
        TrainingError as TrainingError,
        UnderdogError as UnderdogError,
    )
    from underdog.hyper import Hyperparameters as Hyperparameters
    from underdog.learner import Learner as Learner
    from underdog.loop.estimator import AOSClassifier as AOSClassifier
    from underdog.loop.online import Tally as Tally, perturb_batch as perturb_batch
    from underdog.loop.sampler import BalancedSampler as BalancedSampler
    from underdog.loop.snapshot import Snapshot as Snapshot
    from underdog.loss import (
        BalancedSoftmax as BalancedSoftmax,
        ClassWeighted as ClassWeighted,
        CrossEntropy as CrossEntropy,
        Loss as Loss,
        balanced_softmax as balanced_softmax,
        class_weighted as class_weighted,
        cross_entropy as cross_entropy,
    )
    from underdog.method import Method as Method, named_method as named_method
    from underdog.metrics import Metrics as Metrics
    from underdog.model import model_factory as model_factory
    from underdog.model.layers import freeze_until as freeze_until, head as head
    from underdog.model.normalize import Normalize as Normalize, normalized as normalized
    from underdog.model.paper import PaperNet as PaperNet
    from underdog.model.pretrained import load_pretrained as load_pretrained
    from underdog.model.resnet import ResNet as ResNet
    from underdog.optimizer import named_optimizer as named_optimizer, named_scheduler as named_scheduler
    from underdog.resample.aos import aos as aos
    from underdog.resample.base import (
        Chain as Chain,
        Every as Every,
        From as From,
        NoResampling as NoResampling,
        Resampler as Resampler,
    )
    from underdog.resample.perturb import Perturb as Perturb
    from underdog.resample.random import (
        EqualUpdates as EqualUpdates,
        RandomOverSampler as RandomOverSampler,
        RandomUnderSampler as RandomUnderSampler,
    )
    from underdog.resample.smote import SMOTE as SMOTE
    from underdog.rng import RandomStreams as RandomStreams
    from underdog.run.classifier import Classifier as Classifier, Prediction as Prediction, load as load
    from underdog.run.export import export_onnx as export_onnx
    from underdog.train import (
        EpochRecord as EpochRecord,
        Evaluation as Evaluation,
        History as History,
        Training as Training,
        evaluate as evaluate,
        fit as fit,
        iter_epochs as iter_epochs,
    )

_MODULES: dict[str, str] = {
    "attack.base": "Attack SignAttack Victim",
    "attack.fgsm": "FGSM",
    "attack.pgd": "PGD",
    "attack.random_sign": "RandomSign",
    "augment": "Augment",
    "data.fetch": "fetch_dataset",
    "data.images": "ImageSet to_unit",
    "data.imbalance": "Imbalanced imbalance_ratio make_imbalance minority_share",
    "data.inspect": "inspect_images",
    "data.inspection": "Inspection",
    "data.known": "find_dataset",
    "data.prepare": "Division Prepared prepare",
    "data.reading": "Reading",
    "data.sources": "Source load_images",
    "data.split": "Split folds hold_out",
    "decision.answers": "Answers read_predictions",
    "decision.bootstrap": "Bootstrap Interval paired_bootstrap",
    "decision.figures": "decision_report",
    "decision.replicates": "Judged",
    "decision.rule": "DecisionRule",
    "epoch": "Epoch",
    "errors": "InputError TrainingError UnderdogError",
    "hyper": "Hyperparameters",
    "learner": "Learner",
    "loop.estimator": "AOSClassifier",
    "loop.online": "Tally perturb_batch",
    "loop.sampler": "BalancedSampler",
    "loop.snapshot": "Snapshot",
    "loss": "BalancedSoftmax ClassWeighted CrossEntropy Loss balanced_softmax class_weighted cross_entropy",
    "method": "Method named_method",
    "metrics": "Metrics",
    "model": "model_factory",
    "model.layers": "freeze_until head",
    "model.normalize": "Normalize normalized",
    "model.paper": "PaperNet",
    "model.pretrained": "load_pretrained",
    "model.resnet": "ResNet",
    "optimizer": "named_optimizer named_scheduler",
    "resample.aos": "aos",
    "resample.base": "Chain Every From NoResampling Resampler",
    "resample.perturb": "Perturb",
    "resample.random": "EqualUpdates RandomOverSampler RandomUnderSampler",
    "resample.smote": "SMOTE",
    "rng": "RandomStreams",
    "run.classifier": "Classifier Prediction load",
    "run.export": "export_onnx",
    "train": "EpochRecord Evaluation History Training evaluate fit iter_epochs",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'underdog' has no attribute {name!r}")
    return getattr(importlib.import_module(f"underdog.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
