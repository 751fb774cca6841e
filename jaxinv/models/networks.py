"""The built-in networks."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxinv import errors
from jaxinv.models.adapters import OFFSET, from_nnx
from jaxinv.models.layers import Dense, flatten
from jaxinv.models.model import ImageShape, Model, Params

_ZEROS = nnx.initializers.zeros_init()


class Softmax(nnx.Module):
    """Softmax regression: logits = W x + b, from zero, as in the TensorFlow tutorial."""

    def __init__(self, image_shape: ImageShape, classes: int, rngs: nnx.Rngs, *, bias: bool = True) -> None:
        height, width, channels = image_shape
        self.first = Dense(
            height * width * channels, classes, weight_init=_ZEROS, bias_init=_ZEROS if bias else None, rngs=rngs
        )

    def __call__(self, images: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        return self.first(flatten(images), offset)


def _fold_dense(params: Params, scale: jax.Array, offset: jax.Array) -> Params:
    """W (s x + o) + b = (W s) x + (b + W o) for the layer called `first`."""
    first = params["first"]
    weight = first["weight"]
    shift = jnp.matmul(weight, offset.reshape(-1), precision="highest")  # too small to be worth rounding on a GPU
    folded = {**first, "weight": weight * scale.reshape(1, -1)}
    if "bias" in first:
        return {**params, "first": {**folded, "bias": first["bias"] + shift}}
    return {**params, "first": folded, OFFSET: shift}


def _dense_pixel_weights(params: Params, image_shape: ImageShape) -> jax.Array:
    weight = params["first"]["weight"]
    return weight.T.reshape(*image_shape, weight.shape[0])


def _softmax_nobias(image_shape: ImageShape, classes: int, rngs: nnx.Rngs) -> nnx.Module:
    return Softmax(image_shape, classes, rngs, bias=False)


_BUILTIN: dict[str, Model] = {
    "softmax": from_nnx(Softmax, name="softmax", fold=_fold_dense, pixel_weights=_dense_pixel_weights),
    "softmax_nobias": from_nnx(
        _softmax_nobias, name="softmax_nobias", fold=_fold_dense, pixel_weights=_dense_pixel_weights
    ),
}


def get_model(model: str | Model) -> Model:
    """The model of that name; a `Model` is returned as it is. `InputError` for a name that is not known.

    >>> get_model("softmax").name
    'softmax'
    """
    if isinstance(model, Model):
        return model
    if model not in _BUILTIN:
        raise errors.unknown("model", model, _BUILTIN)
    return _BUILTIN[model]
