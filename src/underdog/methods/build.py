"""From an expression to the method that it means."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from underdog.data.images import ImageSet
from underdog.epoch import Epoch
from underdog.errors import InputError
from underdog.loss import cross_entropy
from underdog.methods.expression import Expression, Part, function_of, parse
from underdog.methods.method import Method, equal_updates
from underdog.resample.base import NoResampling, chained, expected

__all__ = ["as_long_as_oversampling", "build", "canonical", "method"]


def method(text: str) -> Method:
    """The method that a text means: a name of ``underdog methods``, or a sum of them with parameters.

    Args:
        text: such as "ros", "aos(eps=8/255,tau=0.5)+balanced-softmax" or "mine.halve:method(share=0.3)", a function of one's
            own that returns a ``Method``.

    Raises:
        InputError: an unknown name or parameter, a value out of range, a parameter that is missing, parts that cannot be
            added, a function that cannot be imported or does not return a method.

    >>> import underdog as ud
    >>> method("aos(eps=8/255,tau=0.5)") == ud.Method(ud.aos(8 / 255, 0.5))
    True
    >>> method("ros(ratio=0.5)").stages[0].resampler
    RandomOverSampler(ratio=0.5)
    """
    return build(parse(text))


def canonical(text: str) -> Expression:
    """The expression that a text means, after it was tried: functions of one's own are imported, their values have the types
    that they declare, and everything that can be wrong with it is said now.

    Raises:
        InputError: as ``method``, but for a parameter that is missing.
    """
    found = parse(text)
    own = tuple(p if p.role != "own" else Part(p.name).with_values(dict(p.values)) for p in found.parts)
    expression = Expression.of(own)
    # Any value in the place of those that are still to be chosen: all else that is wrong shows.
    if not (tried := expression.with_first_values()).missing:
        build(tried)
    return expression


def build(expression: Expression, budget: str = "epochs") -> Method:
    """The method that an expression means.

    Args:
        expression: such as ``parse("aos(eps=8/255)")``.
        budget: "epochs", or "updates" for epochs as long as random oversampling's.

    Raises:
        InputError: a missing parameter, a value out of range, parts that cannot be added.
    """
    if missing := expression.missing:
        raise InputError(f"{expression.name} needs {' and '.join(missing)}")
    altering = [part for part in expression.parts if part.role == "alteration"]
    made = {part: _made(part) for part in expression.parts if part not in altering}
    methods = {part: one for part, one in made.items() if isinstance(one, Method)}
    # Altered images are shown where the classes are balanced by oversampling, unless something else in the sum balances them:
    # together they would correct twice.
    late_losses = [_changed(part, change, Method()).adjusts for part, change in made.items() if part not in methods]
    balanced = any(late_losses) or any(
        _samples(one) or one.adjusts or one.posthoc is not None
        for part, one in methods.items()
        if part.role != "mixing"
    )
    for part in altering:
        own = part if part.get("balance") else part.with_values({"balance": "none" if balanced else "ros"})
        methods[part] = _made(own)
    # What is altered and mixed is what samplers show, somebody's own among them.
    late = ("alteration", "mixing")
    found = _sum(
        {part: methods[part] for part in sorted(expression.parts, key=lambda p: p.role in late) if part in methods}
    )
    for part, change in made.items():
        found = found if part in methods else _changed(part, change, found)
    return equal_updates(found) if budget == "updates" and not as_long_as_oversampling(found) else found


def _samples(method: Method) -> bool:
    return method.stages[0].resampler != NoResampling()


def _sum(methods: Mapping[Part, Method]) -> Method:
    """The resamplers one after the other, and the loss and the adjustment of the one method that has one.

    Raises:
        InputError: two have one; a method with stages beside another.
    """
    staged = [part.name for part, one in methods.items() if len(one.stages) > 1 or one.stages[0].prepare is not None]
    if staged and len(methods) > 1:
        raise InputError(f"{staged[0]} has stages of its own, and cannot be added to others")
    if len(methods) == 1:
        return next(iter(methods.values()))
    resamplers = [one.stages[0].resampler for one in methods.values() if _samples(one)]
    losses = {part.name: one.stages[0].loss for part, one in methods.items() if one.stages[0].loss != cross_entropy}
    adjusting = {part.name: one.posthoc for part, one in methods.items() if one.posthoc is not None}
    for found, what in ((losses, "the loss"), (adjusting, "what is done to logits after training")):
        if len(found) > 1:
            raise InputError(f"{' and '.join(found)} cannot be added: both decide on {what}")
    return Method(
        chained(*resamplers),
        next(iter(losses.values()), cross_entropy),
        posthoc=next(iter(adjusting.values()), None),
        lr_factor=math.prod(one.lr_factor for one in methods.values()),
    )


def _made(part: Part) -> Any:
    """What the function of a part returns: a method, or a function that changes one.

    Raises:
        InputError: it fails, or returns something else.
    """
    values = dict(part.values) if part.role != "own" else dict(Part(part.name).with_values(dict(part.values)).values)
    try:
        made = function_of(part.name)(**values)
    except InputError as error:
        raise InputError(f"{part.name}: {error}") from error
    except (Exception, SystemExit) as error:  # it may be anybody's
        if part.role != "own":
            raise
        raise InputError(f"method {part.name!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(made, Method) and (isinstance(made, type) or not callable(made)):
        raise InputError(f"method {part.name!r} must return an underdog.Method, not {type(made).__name__}")
    return made


def _changed(part: Part, change: Callable[[Method], Method], method: Method) -> Method:
    try:
        changed = change(method)
    except InputError as error:
        raise InputError(f"{part.name}: {error}") from error
    except (Exception, SystemExit) as error:
        if part.role != "own":
            raise
        raise InputError(f"method {part.name!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(changed, Method):
        raise InputError(f"method {part.name!r} must return an underdog.Method, not {type(changed).__name__}")
    return changed


def as_long_as_oversampling(method: Method) -> bool:
    """Whether every epoch has the length of random oversampling's, so that both budgets are one; asked of made-up counts.

    >>> as_long_as_oversampling(method("smote")), as_long_as_oversampling(method("ros(ratio=0.5)"))
    (True, False)
    """
    labels = torch.tensor([0] * 9 + [1] * 4 + [2] * 2)
    epoch = Epoch.of(ImageSet(torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), labels, ("a", "b", "c")))
    try:
        return all(sum(expected(stage.resampler, epoch.shown, epoch)) == 27 for stage in method.stages)
    except Exception:  # somebody's own may know its data's classes
        return False
