"""The public names, and where they are: read when one of them is first used, and by type checkers."""

from .altered import AlteredPixels as AlteredPixels
from .altered import AlteredSigns as AlteredSigns
from .altered import pack_signs as pack_signs
from .api import (
    Comparison as Comparison,
)
from .api import (
    compare as compare,
)
from .api import (
    fit as fit,
)
from .api import (
    report as report,
)
from .attack.base import Attack as Attack
from .attack.base import Victim as Victim
from .attack.fgsm import FGSM as FGSM
from .attack.pgd import PGD as PGD
from .attack.random_sign import RandomSign as RandomSign
from .augment import Augment as Augment
from .data.fetch import fetch_dataset as fetch_dataset
from .data.images import ImageSet as ImageSet
from .data.images import to_unit as to_unit
from .data.imbalance import (
    Imbalanced as Imbalanced,
)
from .data.imbalance import (
    imbalance_ratio as imbalance_ratio,
)
from .data.imbalance import (
    make_imbalance as make_imbalance,
)
from .data.imbalance import (
    minority_share as minority_share,
)
from .data.known import find_dataset as find_dataset
from .data.prepare import Division as Division
from .data.prepare import Prepared as Prepared
from .data.prepare import prepare as prepare
from .data.reading import Reading as Reading
from .data.sources import Source as Source
from .data.sources import load_images as load_images
from .data.split import Split as Split
from .data.split import folds as folds
from .data.split import hold_out as hold_out
from .decision.answers import Answers as Answers
from .decision.answers import read_predictions as read_predictions
from .decision.bootstrap import Bootstrap as Bootstrap
from .decision.bootstrap import Interval as Interval
from .decision.bootstrap import paired_bootstrap as paired_bootstrap
from .decision.figures import decision_report as decision_report
from .decision.replicates import Judged as Judged
from .decision.rule import DecisionRule as DecisionRule
from .epoch import Epoch as Epoch
from .epoch import Mixture as Mixture
from .errors import InputError as InputError
from .errors import TrainingError as TrainingError
from .errors import UnderdogError as UnderdogError
from .evaluation import (
    Evaluation as Evaluation,
)
from .evaluation import (
    evaluate as evaluate,
)
from .history import (
    EpochRecord as EpochRecord,
)
from .history import (
    History as History,
)
from .hyper import Hyperparameters as Hyperparameters
from .inspect.images import inspect_images as inspect_images
from .inspect.inspection import Inspection as Inspection
from .learner import Learner as Learner
from .loop.estimator import AOSClassifier as AOSClassifier
from .loop.online import Tally as Tally
from .loop.online import perturb_batch as perturb_batch
from .loop.sampler import BalancedSampler as BalancedSampler
from .loop.snapshot import Snapshot as Snapshot
from .loss import (
    BalancedSoftmax as BalancedSoftmax,
)
from .loss import (
    ClassWeighted as ClassWeighted,
)
from .loss import (
    CrossEntropy as CrossEntropy,
)
from .loss import (
    Loss as Loss,
)
from .loss import (
    balanced_softmax as balanced_softmax,
)
from .loss import (
    class_weighted as class_weighted,
)
from .loss import (
    cross_entropy as cross_entropy,
)
from .methods.build import method as method
from .methods.method import Adjustment as Adjustment
from .methods.method import Method as Method
from .methods.method import Stage as Stage
from .methods.parameters import Axis as Axis
from .methods.parameters import Parameter as Parameter
from .metrics import Metrics as Metrics
from .model import model_factory as model_factory
from .model.layers import freeze_until as freeze_until
from .model.layers import head as head
from .model.normalize import Normalize as Normalize
from .model.normalize import normalized as normalized
from .model.origin import default_weights as default_weights
from .model.paper import PaperNet as PaperNet
from .model.pretrained import load_pretrained as load_pretrained
from .model.resnet import ResNet as ResNet
from .optimizer import Position as Position
from .optimizer import named_optimizer as named_optimizer
from .optimizer import named_scheduler as named_scheduler
from .resample.amount import (
    ByClass as ByClass,
)
from .resample.amount import (
    ByLoss as ByLoss,
)
from .resample.amount import (
    Ramp as Ramp,
)
from .resample.amount import (
    Uniform as Uniform,
)
from .resample.aos import aos as aos
from .resample.base import (
    Chain as Chain,
)
from .resample.base import (
    Every as Every,
)
from .resample.base import (
    Moment as Moment,
)
from .resample.base import (
    NoResampling as NoResampling,
)
from .resample.base import (
    Resampler as Resampler,
)
from .resample.perturb import Perturb as Perturb
from .resample.random import EqualUpdates as EqualUpdates
from .resample.random import RandomOverSampler as RandomOverSampler
from .resample.random import RandomUnderSampler as RandomUnderSampler
from .resample.smote import SMOTE as SMOTE
from .rng import RandomStreams as RandomStreams
from .run.classifier import Classifier as Classifier
from .run.classifier import Prediction as Prediction
from .run.classifier import load as load
from .run.export import export_onnx as export_onnx
from .train import (
    Training as Training,
)
from .train import (
    iter_epochs as iter_epochs,
)

__version__: str
