"""Names and defaults that the command line prints before anything heavy is imported."""

from __future__ import annotations

__all__ = [
    "AUGMENTATIONS",
    "BUDGETS",
    "DECAYS",
    "DEVICES",
    "EPS_GRID",
    "GRIDS",
    "LAYOUTS",
    "LIBRARIES",
    "MODELS",
    "OPTIMIZERS",
    "PRECISIONS",
    "PRETRAINED",
    "PROBE_METHODS",
    "RESIZES",
    "SCHEDULERS",
    "TARGET_PRECISION",
    "TRIALS",
    "WEIGHTS",
]

#: Grids that come with underdog (``run/grids``).
GRIDS = {
    "paper": "Table 2 of the paper: four data sets, five methods, three seeds, 240 runs",
    "full": "the same with the control as a sixth method, both budgets, new data in each replicate",
    "digits": "scikit-learn's digits, six methods, both budgets, ten seeds, in minutes",
    "digits-tuned": "digits at mu 0.6, eight methods, each with its parameters chosen by twelve trials",
    "small": "MNIST and CIFAR-10 with 1,000 images in a majority class, both budgets, in hours",
    "small-eps": "macro-F1 against eps, for aos and noise, on the data of small",
    "scene15": "Scene-15 at 32 pixels with the paper's settings for MIT Indoor 67",
}

#: What ``probe`` compares.
PROBE_METHODS: tuple[str, ...] = (
    "baseline", "class-weighted", "balanced-softmax", "logit-adjust", "rus", "ros", "smote", "noise", "aos",
    "noise+balanced-softmax", "aos+balanced-softmax",
)  # fmt: skip
#: The weight decays that it tries for each method.
DECAYS: tuple[float, ...] = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)

#: Values that a search tries for each method.
TRIALS = 12

#: What the methods of a comparison have in common.
BUDGETS: dict[str, str] = {
    "epochs": "every method shows its own epoch as often, as the paper does",
    "updates": "every method makes the updates of random oversampling, and is evaluated at the same points",
}
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

MODELS: tuple[str, ...] = ("paper", "resnet20", "resnet32", "linear", "efficientnet-lite0")
#: Those that come with pretrained weights, which are used unless other ones are named.
PRETRAINED: tuple[str, ...] = ("efficientnet-lite0",)
#: What stands in the place of a file of weights.
WEIGHTS: dict[str, str] = {
    "default": "those that the network comes with",
    "none": "random ones",
}
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
