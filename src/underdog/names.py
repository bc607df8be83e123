"""Names and defaults that the command line prints before anything heavy is imported."""

from __future__ import annotations

__all__ = [
    "ALTERING",
    "AUGMENTATIONS",
    "BUDGETS",
    "DEFAULTS",
    "DEVICES",
    "EPS_GRID",
    "LAYOUTS",
    "LIBRARIES",
    "METHODS",
    "MODELS",
    "OPTIMIZERS",
    "OVERSAMPLING",
    "PARAMETERS",
    "PRECISIONS",
    "RESIZES",
    "SCHEDULERS",
    "TARGET_PRECISION",
    "TAU",
    "TRIALS",
]

METHODS: dict[str, str] = {
    "baseline": "the images as they are",
    "class-weighted": "loss weighted by inverse class frequency",
    "balanced-softmax": "cross-entropy with logits shifted by log class counts",
    "rus": "random undersampling to the smallest class",
    "ros": "random oversampling to the largest class",
    "smote": "interpolated images up to the largest class",
    "noise": "AOS with a random sign instead of the gradient's (the control)",
    "aos": "Adversarial OverSampling",
}

#: Methods that take eps and tau.
ALTERING: tuple[str, ...] = ("noise", "aos")

#: What can be tuned of each method; the baseline, which has nothing of its own, gets its learning rate.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "baseline": ("lr_factor",),
    "class-weighted": ("power",),
    "balanced-softmax": ("power",),
    "rus": ("ratio",),
    "ros": ("ratio",),
    "smote": ("k",),
    "noise": ("eps", "tau"),
    "aos": ("eps", "tau"),
}
#: Their values where none are given; eps and tau have none.
DEFAULTS: dict[str, float] = {"lr_factor": 1.0, "power": 1.0, "ratio": 1.0, "k": 5}
#: tau where a command line gives none.
TAU = 0.5
#: Values that a search tries for each method.
TRIALS = 12

#: What the methods of a comparison have in common.
BUDGETS: dict[str, str] = {
    "epochs": "every method shows its own epoch as often, as the paper does",
    "updates": "every method makes the updates of random oversampling, and is evaluated at the same points",
}
#: Methods whose epochs have random oversampling's length, to whom both budgets are one.
OVERSAMPLING: tuple[str, ...] = ("ros", "smote", "noise", "aos")

#: What the top folders of a source are.
LAYOUTS: dict[str, str] = {
    "auto": "told by the folders' names",
    "classes": "every top folder is a class, whatever it is called",
    "split": "train/, val/ and test/ with class folders in each",
}

#: How images are brought to a size.
RESIZES: dict[str, str] = {
    "crop": "fill it and cut the overhang",
    "pad": "fit into it and add black",
    "squash": "change the proportions",
}

MODELS: tuple[str, ...] = ("paper", "resnet20", "resnet32")
#: Where other networks come from: what stands before the colon of a model's name, unless it is a module of one's own.
LIBRARIES: dict[str, str] = {
    "hf": "hf:FOLDER, a Transformers image classifier with its config.json",
    "torchvision": "torchvision:NAME",
    "timm": "timm:NAME",
}

#: Optimisers, with the weight decay that each has where none is given.
OPTIMIZERS: dict[str, float] = {"adam": 0.0, "adamw": 0.01, "sgd": 0.0}
SCHEDULERS: dict[str, str] = {
    "constant": "the same all the time",
    "cosine": "half a cosine down to 0",
    "linear": "a straight line down to 0",
    "step": "a tenth after half of the updates, a hundredth after three quarters",
}
AUGMENTATIONS: dict[str, str] = {
    "flip": "mirrored left to right, half of the images",
    "vflip": "mirrored top to bottom, half of the images",
    "rotate90": "turned by 0, 90, 180 or 270 degrees",
    "crop": "shifted by up to an eighth of the side, the border mirrored",
    "color": "brightness, contrast and saturation changed by up to a fifth",
}

PRECISIONS: tuple[str, ...] = ("float32", "bfloat16")
DEVICES: tuple[str, ...] = ("auto", "cpu", "cuda")

#: What eps is chosen from on validation where it is not given, in 1/255.
EPS_GRID: tuple[int, ...] = (2, 4, 8, 16, 32, 64)

#: The precision that a class's threshold has to reach on validation.
TARGET_PRECISION = 0.8
