"""Optimizers: optax's by name, or any function from a learning rate to a gradient transformation."""

import inspect
from collections.abc import Callable
from typing import Any

import optax

from jaxinv import registry
from jaxinv.errors import InputError, first_line, unknown

Optimizer = Callable[[Any], optax.GradientTransformation]


def get_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """The function `learning_rate -> optax.GradientTransformation` that a name stands for, or the function itself.

    The learning rate may be a traced scalar: it is an axis that trials are mapped over.

    Raises:
      InputError: an unknown name, or a function that returns something else.

    >>> get_optimizer("adam")(1e-3).init({}) is not None
    True
    """
    if isinstance(optimizer, str):
        if optimizer not in registry.OPTIMIZERS:
            raise unknown("optimizer", optimizer, registry.OPTIMIZERS)
        return getattr(optax, optimizer)
    try:
        inspect.signature(optimizer).bind(1.0)
    except TypeError as error:
        raise InputError(f"optimizer: it cannot be called with a learning rate ({first_line(error)})") from None
    made = optimizer(1.0)
    if not (hasattr(made, "init") and hasattr(made, "update")):
        raise InputError(f"optimizer: a function that returns {made!r}; it must return an optax.GradientTransformation")
    return optimizer
