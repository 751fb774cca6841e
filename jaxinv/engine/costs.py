"""What a model costs for one image: memory and arithmetic, counted from the shapes of its traced program."""

import itertools
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core as jex

from jaxinv.models import BoundModel
from jaxinv.training import keys


class Costs(NamedTuple):
    """What a model costs for one image, counted from its shapes."""

    activation_bytes: int  # the most memory that any one value needs on the way from pixels to logits
    network_bytes: (
        int  # the same of the values that are another one in every network: not the pixels, nor their patches
    )
    forward_flops: float
    update_flops: float  # forward, and the gradient of the weights


@lru_cache(maxsize=256)
def costs(model: BoundModel) -> Costs:
    """Memory and arithmetic of a model: products and convolutions, multiply and add apart."""
    key = jax.eval_shape(keys.root_key, 0)
    params, state = jax.eval_shape(model.init, key)
    shapes = {leaf.shape for leaf in jax.tree.leaves((params, state))}
    axes = {model.classes, *model.image_shape}.union(*shapes)
    count = next(size for size in itertools.count(8) if size not in axes)  # so that no activation looks like a weight
    images = jax.ShapeDtypeStruct((count, *model.image_shape), jnp.float32)

    def logits(params: Any, state: Any, x: jax.Array) -> jax.Array:
        return model.apply(params, state, x, train=False, key=None)[0]

    def gradient(params: Any, state: Any, x: jax.Array, key: jax.Array) -> Any:
        return jax.grad(lambda p: model.apply(p, state, x, train=True, key=key)[0].sum())(params)

    forward = jax.make_jaxpr(logits)(params, state, images).jaxpr
    update = jax.make_jaxpr(gradient)(params, state, images, key).jaxpr
    most = max(_bytes(forward, shapes), 4 * math.prod(model.image_shape) * count)
    networks = next(size for size in itertools.count(count + 1) if size not in axes)
    together = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((networks, *leaf.shape), leaf.dtype), (params, state))
    mapped = jax.make_jaxpr(jax.vmap(logits, (0, 0, None)))(*together, images).jaxpr
    weights = {(networks, *shape) for shape in shapes}
    own = _bytes(mapped, weights, lambda shape: networks in shape and count in shape) // networks
    return Costs(most // count, own // count, _flops(forward) / count, _flops(update) / count)


def _inner(equation: jex.JaxprEqn) -> list[Any]:
    """The programs inside an operation (a jitted function, a loop's body)."""
    values = [
        v for value in equation.params.values() for v in (value if isinstance(value, (tuple, list)) else (value,))
    ]
    return [getattr(v, "jaxpr", v) for v in values if hasattr(getattr(v, "jaxpr", v), "eqns")]


def _bytes(
    jaxpr: Any, leave_out: set[tuple[int, ...]], counts: Callable[[tuple[int, ...]], bool] = lambda shape: True
) -> int:
    most = 0
    for equation in jaxpr.eqns:
        most = max([most, *(_bytes(inner, leave_out, counts) for inner in _inner(equation))])
        for variable in equation.outvars:
            shape = getattr(variable.aval, "shape", ())
            if shape not in leave_out and counts(shape):
                most = max(most, math.prod(shape) * 4)
    return most


def _flops(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        inner = _inner(equation)
        repeats = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        total += repeats * sum(_flops(program) for program in inner)
        size = math.prod(getattr(equation.outvars[0].aval, "shape", ())) if equation.outvars else 0
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2.0 * size * math.prod(shape[axis] for axis in contracted)
        elif equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            outputs = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
            total += 2.0 * size * math.prod(kernel) / outputs
    return total
