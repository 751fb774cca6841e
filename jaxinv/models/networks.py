"""The built-in networks."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from jaxinv import registry
from jaxinv.errors import InputError
from jaxinv.models import im2col, targets
from jaxinv.models.adapters import OFFSET, SCALE, from_nnx
from jaxinv.models.layers import (
    BatchNorm,
    Conv,
    ConvBlock,
    Dense,
    channel_major,
    feature_major,
    glorot_uniforms,
    he,
    lecun,
    truncated_normals,
)
from jaxinv.models.model import ImageShape, Model, Params

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


class Softmax(nnx.Module):
    """Softmax regression: logits = W x + b, from zero, as in the TensorFlow tutorial."""

    def __init__(self, image_shape: ImageShape, classes: int, rngs: nnx.Rngs, *, bias: bool = True) -> None:
        weight = jnp.zeros((classes, math.prod(image_shape)), jnp.float32)
        self.first = Dense(weight, _zeros(classes) if bias else None)

    def __call__(self, images: jax.Array, offset: jax.Array | None = None, scale: jax.Array | None = None) -> jax.Array:
        return self.first(feature_major(images), offset, scale).T


def _lecun_weights(key: jax.Array, *shapes: tuple[int, int]) -> list[jax.Array]:
    """LeCun normal: variance 1 / inputs."""
    return [lecun(normals) for normals in truncated_normals(key, *shapes)]


def _he_weights(key: jax.Array, *shapes: tuple[int, int]) -> list[jax.Array]:
    """He normal (variance 2 / inputs) for the hidden layers, LeCun normal for the last."""
    *hidden, last = truncated_normals(key, *shapes)
    return [*map(he, hidden), lecun(last)]


class Mlp(nnx.Module):
    """H*W*K - hidden layers - C; biases zero.

    Args:
        hidden: units of each hidden layer. The layers are called first, second, third, ..., and last.
        bias: whether the first layer has a bias.
        weights: draws the weights of all layers from a key and their shapes.
        activation: of the hidden units.
        norm: batch normalisation between each hidden layer and its ReLU. It brings its own bias, so the layer has none.

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
        hidden: tuple[int, ...] = (128,),
        bias: bool = True,
        norm: bool = False,
        weights: Callable[..., list[jax.Array]] = _lecun_weights,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    ) -> None:
        inputs = (math.prod(image_shape), *hidden)
        *drawn, last = weights(rngs.params(), *zip((*hidden, classes), inputs, strict=True))
        self.layers, self.activation = _layer_names(len(hidden)), activation
        for layer, weight in zip(self.layers, drawn, strict=True):
            biased = not norm and (bias or layer != "first")
            setattr(self, layer, Dense(weight, _zeros(len(weight)) if biased else None))
            setattr(self, _norm_name(layer), BatchNorm(len(weight)) if norm else None)
        self.last = Dense(last, _zeros(classes))

    def __call__(self, images: jax.Array, offset: jax.Array | None = None, scale: jax.Array | None = None) -> jax.Array:
        h = feature_major(images)
        for layer in self.layers:
            dense, norm = getattr(self, layer), getattr(self, _norm_name(layer))
            if norm is not None and not norm.use_running_average and offset is not None:
                offset = lax.stop_gradient(offset)
            h = dense(h, offset, scale)
            h = self.activation(h if norm is None else norm(h))
            offset = scale = None  # the first layer's alone
        return self.last(h).T


class Cnn(nnx.Module):
    """Blocks of convolution, 2 x 2 max pooling and ReLU, then a linear layer to C.

    3 x 3 kernels, zero padding ("SAME"). Weights are He normal (variance 2 / inputs) before a ReLU and LeCun normal at
    the end; biases are zero.

    Args:
        channels: of each convolution. They are called first, second, third, ...; the linear layer is called last.
        norm: batch normalisation after each convolution, in place of its bias.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        classes: int,
        rngs: nnx.Rngs,
        *,
        channels: tuple[int, ...] = (8, 16),
        norm: bool = False,
    ) -> None:
        height, width, inputs = _pooled(image_shape, len(channels))
        kernels = [(count, before, 3, 3) for count, before in zip(channels, (inputs, *channels[:-1]), strict=True)]
        *drawn, last = truncated_normals(rngs.params(), *kernels, (classes, channels[-1] * height * width))
        self.layers = _layer_names(len(channels))
        for layer, normals in zip(self.layers, drawn, strict=True):
            setattr(self, layer, ConvBlock(he(normals), None if norm else _zeros(len(normals))))
        self.last = Dense(lecun(last), _zeros(classes))

    def __call__(self, images: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        h = channel_major(images)
        for layer in self.layers:
            h = getattr(self, layer)(h, offset)
            offset = None  # the first layer's alone
        return self.last(h.reshape(-1, h.shape[-1])).T


class DeepMnist(nnx.Module):
    """The convnet of TensorFlow's tutorial "Deep MNIST for Experts" (there trained by Adam at 1e-4, batches of 50).

    5 x 5 x 32, 2 x 2 max pooling, 5 x 5 x 64, pooling, 1,024 ReLU units, dropout 0.5, C; zero padding ("SAME").
    Weights from a normal distribution of standard deviation 0.1 cut off at two of them; biases 0.1.
    """

    def __init__(self, image_shape: ImageShape, classes: int, rngs: nnx.Rngs) -> None:
        height, width, channels = _pooled(image_shape, 2)
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


class Hosseini(nnx.Module):
    """The convnet of Hosseini et al. (2017, arXiv:1703.06857) on MNIST.

    3 x 3 x 32, 3 x 3 x 64, 2 x 2 max pooling, twice 200 ReLU units, C. The paper does not say how the convolutions are
    padded and where their ReLUs stand; here no zeros are added, as is Keras's default, and a ReLU follows each.
    Weights are He normal before a ReLU and LeCun normal at the end; biases are zero.
    """

    def __init__(self, image_shape: ImageShape, classes: int, rngs: nnx.Rngs) -> None:
        height, width, channels = image_shape
        if min(height, width) < 6:
            raise InputError(f"model: images of {height} x {width} are too small; give images of at least 6 x 6")
        flat = 64 * ((height - 4) // 2) * ((width - 4) // 2)
        shapes = (32, channels, 3, 3), (64, 32, 3, 3), (200, flat), (200, 200), (classes, 200)
        first, second, third, fourth, last = truncated_normals(rngs.params(), *shapes)
        self.first = Conv(he(first), _zeros(32))
        self.second = ConvBlock(he(second), _zeros(64), padding="VALID")
        self.third, self.fourth = Dense(he(third), _zeros(200)), Dense(he(fourth), _zeros(200))
        self.last = Dense(lecun(last), _zeros(classes))

    def __call__(self, images: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        h = self.second(jax.nn.relu(self.first(channel_major(images), offset)))
        h = jax.nn.relu(self.third(h.reshape(-1, h.shape[-1])))
        return self.last(jax.nn.relu(self.fourth(h))).T


def _zeros(size: int) -> jax.Array:
    return jnp.zeros(size, jnp.float32)


def _layer_names(count: int) -> tuple[str, ...]:
    """Names of the layers before the last; with a number from the eleventh on."""
    return tuple(ORDINALS[n] if n < len(ORDINALS) else f"layer_{n + 1}" for n in range(count))


def _norm_name(layer: str) -> str:
    """Where the batch normalisation of a layer is kept."""
    return "norm" if layer == "first" else f"{layer}_norm"


def _pooled(image_shape: ImageShape, times: int) -> ImageShape:
    """(H, W, K) after so many poolings of 2 x 2. `InputError` where nothing is left."""
    height, width, channels = image_shape
    if min(height, width) < 2**times:
        raise InputError(
            f"model: images of {height} x {width} are too small to be pooled {times} times; give images of at least "
            f"{2**times} x {2**times}, or a network with fewer poolings"
        )
    return height >> times, width >> times, channels


def _fold_dense(params: Params, scale: jax.Array, offset: jax.Array) -> Params:
    """W (s x + o) + b = (W s) x + (b + W o) for the layer called `first`.

    A scale that is one number comes after the product, s (W x), where there are fewer numbers.
    """
    first = params["first"]
    weight = first["weight"]
    if targets.current().offset == "sum":
        shift = jnp.sum(weight * offset.reshape(1, -1), axis=1)
    else:
        shift = jnp.matmul(weight, offset.reshape(-1), precision="highest")  # too small to be worth rounding
    if scale.shape == (1, 1, 1):
        folded, params = first, {**params, SCALE: scale.reshape(())}
    else:
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
    image = offset.transpose(2, 0, 1)[..., None]
    # Never XLA's own convolution: JAX cannot batch the gradient of one that is grouped by arms over kernels alone.
    added = im2col.conv_phases(image, weight, precision="highest", how="product")[..., 0]
    return {**params, "first": folded, OFFSET: added}


def _fold_valid_conv(params: Params, scale: jax.Array, offset: jax.Array) -> Params:
    """As `_fold_conv`, for a first convolution that adds no zeros and is not pooled."""
    first = params["first"]
    weight = first["weight"]
    folded = {**first, "weight": weight * scale[0, 0][None, :, None, None]}
    image = offset.transpose(2, 0, 1)[..., None]
    added = im2col.conv(image, weight, padding="VALID", precision="highest", how="product")[..., 0]
    return {**params, "first": folded, OFFSET: added}


def _conv_refusal(scale: np.ndarray, offset: np.ndarray) -> str | None:
    scale = np.asarray(scale)
    if np.all(scale == scale[:1, :1]):
        return None
    return (
        "its first layer is a convolution, which shares its weights between pixels, and the scale differs from pixel "
        "to pixel"
    )


_ours = partial(from_nnx, built_in=True)
_dense = partial(_ours, fold=_fold_dense, pixel_weights=_dense_pixel_weights, select_pixels=_select_pixels_dense)
_convolutional = partial(_ours, fold=_fold_conv, fold_refusal=_conv_refusal)


class _Builtin(NamedTuple):
    """How a built-in model is made."""

    constructor: Callable[..., nnx.Module]
    adapt: Callable[..., Model]
    sizes: str = ""  # the constructor's argument that takes what stands behind the colon


_BUILTIN = {
    "softmax": _Builtin(Softmax, _dense),
    "softmax_nobias": _Builtin(partial(Softmax, bias=False), _dense),
    "mlp": _Builtin(Mlp, _dense, "hidden"),
    "mlp_nobias": _Builtin(partial(Mlp, bias=False), _dense, "hidden"),
    "mlp_bn": _Builtin(partial(Mlp, norm=True), _dense, "hidden"),
    "mlp_glorot": _Builtin(partial(Mlp, weights=glorot_uniforms), _dense, "hidden"),
    "mlp_he": _Builtin(partial(Mlp, weights=_he_weights), _dense, "hidden"),
    "mlp_sigmoid": _Builtin(partial(Mlp, weights=glorot_uniforms, activation=jax.nn.sigmoid), _dense, "hidden"),
    "cnn": _Builtin(Cnn, _convolutional, "channels"),
    "cnn_bn": _Builtin(partial(Cnn, norm=True), _convolutional, "channels"),
    "deep_mnist": _Builtin(DeepMnist, _convolutional),
    "hosseini": _Builtin(Hosseini, partial(_ours, fold=_fold_valid_conv, fold_refusal=_conv_refusal)),
}


def get_model(model: str | Model) -> Model:
    """The model of that name; a `Model` is returned as it is.

    A name of `registry.SIZED_MODELS` may end in sizes. The same name gives the same object each time.

    Raises:
        InputError: a name that is not known, or sizes that make no sense.

    >>> get_model("softmax").name, get_model("mlp: 128, 64").name
    ('softmax', 'mlp:128,64')
    """
    if isinstance(model, Model):
        return model
    if not isinstance(model, str):
        raise InputError(f"model: {model!r} is not allowed; give a name or a ji.Model")
    return _builtin(registry.model_name("model", model))


@cache
def _builtin(name: str) -> Model:
    base, sizes = registry.model_sizes("model", name)
    kind = _BUILTIN[base]
    constructor = partial(kind.constructor, **{kind.sizes: sizes}) if sizes else kind.constructor
    return kind.adapt(constructor, name=name)
