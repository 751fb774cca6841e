"""Optimizers: optax's by name, or any function from a learning rate to a gradient transformation."""

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxinv import registry
from jaxinv.errors import FAILURES, InputError, first_line, one_line, unknown

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


def update(
    optimizer: optax.GradientTransformation, gradient: Any, state: Any, params: Any, **extra: Any
) -> tuple[Any, Any]:
    """Updates and new state, as `optimizer.update` gives them, which gets those of the extra arguments that it takes.

    Args:
      extra: `value`, `grad` and `value_fn` (params -> value): the loss of the batch, for line searches and the like.
    """
    takes = inspect.signature(optimizer.update).parameters.values()
    if not any(one.kind is one.VAR_KEYWORD for one in takes):
        extra = {name: value for name, value in extra.items() if name in {one.name for one in takes}}
    return optimizer.update(gradient, state, params, **extra)


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

    def step(params: Any, rate: Any) -> Any:
        made = optimizer(rate)
        if not (hasattr(made, "init") and hasattr(made, "update")):
            raise InputError(f"{field}: a function that returns {made!r}; give one to an optax.GradientTransformation")
        state = made.init(params)
        if any(map(_is_lookahead, jax.tree.leaves(state, is_leaf=_is_lookahead))):
            raise InputError(
                f"{field}: optax.lookahead, which keeps two sets of parameters, is not allowed; give the optimizer "
                "that it wraps"
            )
        return update(made, params, state, params, value=value_fn(params), grad=params, value_fn=value_fn)[0]

    def shapes(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.shape, tree)

    def check(rate: float, *traced: Any) -> None:
        made = jax.eval_shape(step if traced else partial(step, rate=rate), params, *traced)
        if shapes(made) != shapes(params):
            raise InputError(
                f"{field}: its updates have not the shapes of the parameters; give an optimizer that takes the "
                "gradient of a batch's mean loss"
            )

    try:
        check(rates[0], jnp.float32(rates[0]))
    except InputError:
        raise
    except FAILURES:
        for rate in rates:
            try:
                check(rate)
            except InputError:
                raise
            except FAILURES as error:
                raise InputError(
                    f"{field}: at learning rate {rate:g} it cannot update this model's parameters "
                    f"({first_line(error)}); give an optimizer that takes gradients of the parameters, and value, grad "
                    "and value_fn at most"
                ) from error
        return False
    return True


def _is_lookahead(part: Any) -> bool:
    return isinstance(part, optax.LookaheadState)


@lru_cache(maxsize=256)
def at_rate(optimizer: Optimizer, rate: float) -> Optimizer:
    """The optimizer of one fixed learning rate; the same function each time."""
    return lambda learning_rate: optimizer(rate)
