"""What functions of the user's return, found by tracing them: nothing is computed."""

from collections.abc import Callable
from typing import Any

import jax

from jaxinv.errors import FAILURES, InputError, first_line


def trace(field: str, function: Callable[..., Any], *shapes: Any, give: str) -> Any:
    """Shapes and types of what a function returns for arrays of some shapes.

    Args:
        give: what to give in place of a function that cannot be traced.

    Raises:
        InputError: it cannot be traced.

    >>> trace("loss", lambda a: a.sum(), jax.ShapeDtypeStruct((3,), "float32"), give="a function").shape
    ()
    """
    try:
        return jax.eval_shape(function, *shapes)
    except FAILURES as error:
        raise InputError(f"{field}: it cannot be traced by JAX ({first_line(error)}); give {give}") from error
