"""The parts of a network that are trained differently."""

from __future__ import annotations

from torch import nn

from underdog.errors import InputError, nearest

__all__ = ["freeze_until", "head"]


def head(network: nn.Module) -> str:
    """The name of a network's classifier head: the last module, in the order of definition, that has parameters of its own.

    Raises:
        InputError: no module has parameters.

    >>> head(nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(8, 2), nn.Softmax(1)))
    '2'
    """
    own: list[str] = [name for name, module in network.named_modules() if list(module.parameters(recurse=False))]
    if not own:
        raise InputError("the network has no parameters")
    return own[-1]


def freeze_until(network: nn.Module, layer: str) -> None:
    """Freeze what is defined before a layer: its parameters get no gradient, its modules go into evaluation mode.

    BatchNorm then keeps its statistics and Dropout lets everything through; ``fit`` leaves such flags as they are. Modules
    that contain the layer stay in training mode.

    Args:
        network: any network; changed in place.
        layer: name of the first module that is trained, as in ``named_modules``.

    Raises:
        InputError: no such layer, or one with nothing to train in it or after it.

    >>> network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))
    >>> freeze_until(network, "3")
    >>> [name for name, p in network.named_parameters() if p.requires_grad], network[1].training
    (['3.weight', '3.bias'], False)
    """
    modules = dict(network.named_modules())
    if layer not in modules or not layer:
        names = [name for name in modules if name]
        first = ", ".join([name for name in names if "." not in name][:8])
        raise InputError(f"the network has no layer {layer!r}{nearest(layer, names)} (it begins with: {first})")
    names = list(modules)
    before = [n for n in names[1 : names.index(layer)] if not f"{layer}.".startswith(f"{n}.")]
    containing = [n for n in names[: names.index(layer)] if n not in before]
    for name in containing:
        for p in modules[name].parameters(recurse=False):
            p.requires_grad_(False)
    for name in before:
        modules[name].eval().requires_grad_(False)
    if not any(p.requires_grad for p in network.parameters()):
        raise InputError(f"nothing is left to train from layer {layer!r} on")
