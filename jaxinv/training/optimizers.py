"""Optimizers: optax's by name, or any function from a learning rate to a gradient transformation."""

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxinv import registry
from jaxinv.errors import InputError, first_line, one_line, unknown
from jaxinv.training.tracing import FAILURES

Optimizer = Callable[[Any], optax.GradientTransformation]


def get_optimizer(optimizer: str | Optimizer, field: str = "optimizer") -> Optimizer:
    """The function `learning_rate -> optax.GradientTransformation` that a name stands for, or the function itself.

    The learning rate may be a traced scalar: it is an axis that trials are mapped over.

    Raises:
      InputError: an unknown name, or a function that takes no learning rate.

    >>> get_optimizer("adam")(1e-3).init({}) is not None
    True
    """
    if isinstance(optimizer, str):
        if optimizer not in registry.OPTIMIZERS:
            raise unknown(field, optimizer, registry.OPTIMIZERS)
        return getattr(optax, optimizer)
    try:
        inspect.signature(optimizer).bind(1.0)
    except (TypeError, ValueError) as error:  # ValueError: some built-in functions have no signature
        raise InputError(
            f"{field}: it cannot be called with a learning rate ({one_line(error)}); give a function of one"
        ) from None
    return optimizer


def check_optimizer(field: str, optimizer: Optimizer, params: Any, rates: Sequence[float]) -> bool:
    """Whether an optimizer takes a traced learning rate, found by tracing one update.

    A schedule that asks whether its learning rate is positive, say, cannot; such an optimizer is made anew for each
    rate.

    Args:
      params: shapes of the parameters.

    Raises:
      InputError: it is none, or cannot update such parameters.
    """

    def value_fn(params: Any) -> jax.Array:
        return sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params)), jnp.zeros(()))

    def update(params: Any, rate: Any) -> Any:
        made = optimizer(rate)
        if not (hasattr(made, "init") and hasattr(made, "update")):
            raise InputError(f"{field}: a function that returns {made!r}; give one to an optax.GradientTransformation")
        made = optax.with_extra_args_support(made)
        extra = {"value": value_fn(params), "grad": params, "value_fn": value_fn}
        updates, _ = made.update(params, made.init(params), params, **extra)
        return optax.apply_updates(params, updates)

    try:
        jax.eval_shape(update, params, jnp.float32(rates[0]))
    except InputError:
        raise
    except FAILURES:
        for rate in rates:
            try:
                jax.eval_shape(partial(update, rate=rate), params)
            except FAILURES as error:
                raise InputError(
                    f"{field}: at learning rate {rate:g} it cannot update this model's parameters "
                    f"({first_line(error)}); give an optimizer that takes gradients of the parameters, and value, grad "
                    "and value_fn at most"
                ) from error
        return False
    return True


@lru_cache(maxsize=256)
def at_rate(optimizer: Optimizer, rate: float) -> Optimizer:
    """The optimizer of one fixed learning rate; the same function each time."""
    return lambda learning_rate: optimizer(rate)
