"""The network of a run, with its first weights."""

from __future__ import annotations

import torch
from torch import nn

from underdog.data.images import ImageSet
from underdog.errors import InputError
from underdog.model import model_factory
from underdog.model.normalize import normalized
from underdog.rng import RandomStreams
from underdog.run.spec import RunSpec

__all__ = ["build_model", "network"]


def network(spec: RunSpec, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """The spec's network for C channels, K classes and (H, W) pixels, its first weights drawn from the run's seed alone.

    Raises:
        InputError: no such network, or one that cannot be built for such images; says which.
    """
    with torch.random.fork_rng(devices=[]):
        factory = model_factory(spec.model, spec.width, spec.depth)  # whose import may draw, before the seed is set
        torch.default_generator.manual_seed(RandomStreams(spec.seed).torch_seed("init"))
        try:
            built = factory(channels, classes, size)
        except InputError:
            raise
        except Exception as error:  # it may be anybody's code
            raise InputError(
                f"model {spec.model!r} failed to build a network for {channels} channels, {classes} classes and "
                f"{size[1]}x{size[0]} pixels, its three arguments (channels, classes, (height, width)): {error}"
            ) from error
    if not isinstance(built, nn.Module):
        raise InputError(f"model {spec.model!r} must return a torch.nn.Module, not {type(built).__name__}")
    return built


def build_model(spec: RunSpec, train: ImageSet) -> nn.Module:
    """The run's network behind a layer that normalises by the training part's channel means and deviations."""
    channels, height, width = train.shape
    return normalized(network(spec, channels, len(train.classes), (height, width)), train.images)
