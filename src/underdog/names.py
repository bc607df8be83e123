"""Names and defaults that the command line prints before anything heavy is imported."""

from __future__ import annotations

__all__ = [
    "ALTERING",
    "BUDGETS",
    "DEVICES",
    "EPS_GRID",
    "LAYOUTS",
    "METHODS",
    "MODELS",
    "OVERSAMPLING",
    "PRECISIONS",
    "RESIZES",
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
PRECISIONS: tuple[str, ...] = ("float32", "bfloat16")
DEVICES: tuple[str, ...] = ("auto", "cpu", "cuda")

#: What eps is chosen from on validation where it is not given, in 1/255.
EPS_GRID: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
