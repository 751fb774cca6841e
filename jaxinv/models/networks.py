"""The built-in networks."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from jaxinv import errors
from jaxinv.models.adapters import OFFSET, from_nnx
from jaxinv.models.layers import ZEROS, BatchNorm, Dense, feature_major
from jaxinv.models.model import ImageShape, Model, Params

_LECUN = nnx.initializers.lecun_normal(in_axis=1, out_axis=0)


class Softmax(nnx.Module):
    """Softmax regression: logits = W x + b, from zero, as in the TensorFlow tutorial."""

    def __init__(self, image_shape: ImageShape, classes: int, rngs: nnx.Rngs, *, bias: bool = True) -> None:
        height, width, channels = image_shape
        self.first = Dense(
            height * width * channels, classes, weight_init=ZEROS, bias_init=ZEROS if bias else None, rngs=rngs
        )

    def __call__(self, images: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        return self.first(feature_major(images), offset).T


class Mlp(nnx.Module):
    """H*W*K - 128 - C with ReLU; weights LeCun normal (variance 1 / inputs), biases zero.

    Args:
        bias: whether the first layer has a bias.
        norm: batch normalisation between the first layer and its ReLU; it brings its own bias, so the layer has none.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        classes: int,
        rngs: nnx.Rngs,
        *,
        hidden: int = 128,
        bias: bool = True,
        norm: bool = False,
    ) -> None:
        height, width, channels = image_shape
        first_bias = ZEROS if bias and not norm else None
        self.first = Dense(height * width * channels, hidden, weight_init=_LECUN, bias_init=first_bias, rngs=rngs)
        self.norm = BatchNorm(hidden) if norm else None
        self.last = Dense(hidden, classes, weight_init=_LECUN, rngs=rngs)

    def __call__(self, images: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        h = self.first(feature_major(images), offset)
        if self.norm is not None:
            h = self.norm(h)
        return self.last(jax.nn.relu(h)).T


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


_dense = partial(from_nnx, fold=_fold_dense, pixel_weights=_dense_pixel_weights)

_BUILTIN: dict[str, Model] = {
    "softmax": _dense(Softmax, name="softmax"),
    "softmax_nobias": _dense(partial(Softmax, bias=False), name="softmax_nobias"),
    "mlp": _dense(Mlp, name="mlp"),
    "mlp_nobias": _dense(partial(Mlp, bias=False), name="mlp_nobias"),
    "mlp_bn": _dense(partial(Mlp, norm=True), name="mlp_bn"),
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
