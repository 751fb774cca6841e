"""The built-in networks."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from jaxinv import errors
from jaxinv.errors import InputError
from jaxinv.models import im2col
from jaxinv.models.adapters import OFFSET, from_nnx
from jaxinv.models.layers import (
    BatchNorm,
    ConvBlock,
    Dense,
    channel_major,
    feature_major,
    he,
    lecun,
    truncated_normals,
)
from jaxinv.models.model import ImageShape, Model, Params


class Softmax(nnx.Module):
    """Softmax regression: logits = W x + b, from zero, as in the TensorFlow tutorial."""

    def __init__(self, image_shape: ImageShape, classes: int, rngs: nnx.Rngs, *, bias: bool = True) -> None:
        weight = jnp.zeros((classes, math.prod(image_shape)), jnp.float32)
        self.first = Dense(weight, _zeros(classes) if bias else None)

    def __call__(self, images: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        return self.first(feature_major(images), offset).T


class Mlp(nnx.Module):
    """H*W*K - 128 - C with ReLU; weights LeCun normal (variance 1 / inputs), biases zero.

    Args:
        bias: whether the first layer has a bias.
        norm: batch normalisation between the first layer and its ReLU; it brings its own bias, so the layer has none.

    Batch normalisation takes away whatever is the same for all images of a batch, so the offset of a folded
    preprocessing has no gradient behind it. Autodiff would find rounding noise instead of 0, and Adam, which divides
    every gradient by its own size, would move the weights of pixels that are stored as 0 by up to its learning rate.
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
        first, last = truncated_normals(rngs.params(), (hidden, math.prod(image_shape)), (classes, hidden))
        self.first = Dense(lecun(first), _zeros(hidden) if bias and not norm else None)
        self.norm = BatchNorm(hidden) if norm else None
        self.last = Dense(lecun(last), _zeros(classes))

    def __call__(self, images: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        if self.norm is not None and not self.norm.use_running_average and offset is not None:
            offset = lax.stop_gradient(offset)
        h = self.first(feature_major(images), offset)
        if self.norm is not None:
            h = self.norm(h)
        return self.last(jax.nn.relu(h)).T


class Cnn(nnx.Module):
    """Two blocks of convolution, 2 x 2 max pooling and ReLU, then a linear layer to C.

    3 x 3 kernels, 8 then 16 channels, zero padding ("SAME"). Weights are He normal (variance 2 / inputs) before a ReLU
    and LeCun normal at the end; biases are zero.

    Args:
        norm: batch normalisation after each convolution, in place of its bias.
    """

    def __init__(self, image_shape: ImageShape, classes: int, rngs: nnx.Rngs, *, norm: bool = False) -> None:
        height, width, channels = _poolable(image_shape)
        shapes = (8, channels, 3, 3), (16, 8, 3, 3), (classes, 16 * height * width)
        first, second, last = truncated_normals(rngs.params(), *shapes)
        self.first = ConvBlock(he(first), None if norm else _zeros(8))
        self.second = ConvBlock(he(second), None if norm else _zeros(16))
        self.last = Dense(lecun(last), _zeros(classes))

    def __call__(self, images: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        h = self.second(self.first(channel_major(images), offset))
        return self.last(h.reshape(-1, h.shape[-1])).T


class DeepMnist(nnx.Module):
    """The convnet of TensorFlow's tutorial "Deep MNIST for Experts" (there trained by Adam at 1e-4, batches of 50).

    5 x 5 x 32, 2 x 2 max pooling, 5 x 5 x 64, pooling, 1,024 ReLU units, dropout 0.5, C; zero padding ("SAME").
    Weights from a normal distribution of standard deviation 0.1 cut off at two of them; biases 0.1.
    """

    def __init__(self, image_shape: ImageShape, classes: int, rngs: nnx.Rngs) -> None:
        height, width, channels = _poolable(image_shape)
        shapes = (32, channels, 5, 5), (64, 32, 5, 5), (1024, 64 * height * width), (classes, 1024)
        first, second, third, last = (0.1 * normals for normals in truncated_normals(rngs.params(), *shapes))
        self.first = ConvBlock(first, jnp.full(32, 0.1, jnp.float32))
        self.second = ConvBlock(second, jnp.full(64, 0.1, jnp.float32))
        self.third = Dense(third, jnp.full(1024, 0.1, jnp.float32))
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.last = Dense(last, jnp.full(classes, 0.1, jnp.float32))

    def __call__(self, images: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        h = self.second(self.first(channel_major(images), offset))
        h = self.dropout(jax.nn.relu(self.third(h.reshape(-1, h.shape[-1]))))
        return self.last(h).T


def _zeros(size: int) -> jax.Array:
    return jnp.zeros(size, jnp.float32)


def _poolable(image_shape: ImageShape) -> ImageShape:
    """(H//4, W//4, K): what two poolings leave. `InputError` where that is nothing."""
    height, width, channels = image_shape
    if min(height, width) < 4:
        raise InputError(f"model: images of {height} x {width} are too small to be pooled twice; at least 4 x 4")
    return height // 4, width // 4, channels


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


def _select_pixels_dense(params: Params, pixels: jax.Array | slice) -> Params:
    first = params["first"]
    return {**params, "first": {**first, "weight": first["weight"][:, pixels]}}


def _fold_conv(params: Params, scale: jax.Array, offset: jax.Array) -> Params:
    """conv(w, s x + o) = conv(w s, x) + conv(w, o) for a scale s per channel and any offset o per pixel.

    Exact with zero padding too, since conv(w, o), a map over the output's positions rather than a number per channel,
    is padded with zeros as s x + o is.
    """
    first = params["first"]
    weight = first["weight"]
    folded = {**first, "weight": weight * scale[0, 0][None, :, None, None]}
    added = im2col.conv_phases(offset.transpose(2, 0, 1)[..., None], weight, precision="highest")[..., 0]
    return {**params, "first": folded, OFFSET: added}


def _conv_refusal(scale: np.ndarray, offset: np.ndarray) -> str | None:
    scale = np.asarray(scale)
    if np.all(scale == scale[:1, :1]):
        return None
    return (
        "its first layer is a convolution (SAME padding), which shares its weights between pixels, "
        "and the scale differs from pixel to pixel"
    )


_dense = partial(from_nnx, fold=_fold_dense, pixel_weights=_dense_pixel_weights, select_pixels=_select_pixels_dense)
_convolutional = partial(from_nnx, fold=_fold_conv, fold_refusal=_conv_refusal)

_BUILTIN: dict[str, Model] = {
    "softmax": _dense(Softmax, name="softmax"),
    "softmax_nobias": _dense(partial(Softmax, bias=False), name="softmax_nobias"),
    "mlp": _dense(Mlp, name="mlp"),
    "mlp_nobias": _dense(partial(Mlp, bias=False), name="mlp_nobias"),
    "mlp_bn": _dense(partial(Mlp, norm=True), name="mlp_bn"),
    "cnn": _convolutional(Cnn, name="cnn"),
    "cnn_bn": _convolutional(partial(Cnn, norm=True), name="cnn_bn"),
    "deep_mnist": _convolutional(DeepMnist, name="deep_mnist"),
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
