"""The layers of the built-in networks, as flax `nnx` modules.

Between layers everything is feature-major, [features, B] or [channels, H, W, B]: the batch is the axis that every
layer leaves alone, so it belongs where the processor's vector lanes are.
"""

import itertools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxinv.models import im2col, targets
from jaxinv.models.conv_pool import conv_pool

_TRUNCATED_SD = 0.87962566103423978  # of a standard normal cut off at -2 and 2


class Dense(nnx.Module):
    """y[o, b] = scale sum_i weight[o, i] x[i, b] + bias[o] + offset[o].

    The weights are output-major, so that many layers which read the same batch (arms, learning rates) become one
    product [many * outputs, inputs] x [inputs, B].

    Args:
        weight: [outputs, inputs].
        bias: [outputs], or None for a layer without one.
    """

    def __init__(self, weight: jax.Array, bias: jax.Array | None) -> None:
        self.weight = nnx.Param(weight)
        self.bias = None if bias is None else nnx.Param(bias)

    def __call__(self, x: jax.Array, offset: jax.Array | None = None, scale: jax.Array | None = None) -> jax.Array:
        weight = self.weight[...]
        y = lax.dot_general(weight, x.astype(weight.dtype), (((1,), (0,)), ((), ())))
        if scale is not None:
            y = scale * y
        if self.bias is not None:
            y = y + self.bias[...][:, None]
        return y if offset is None else y + offset[:, None]


class BatchNorm(nnx.Module):
    """Batch normalisation (Ioffe & Szegedy, 2015) whose running statistics can be trusted from the first update on.

    Training normalises each feature by the batch's mean and biased variance. Evaluation uses running statistics,

        r_n = r_{n-1} + max(1/n, 1 - momentum) (s_n - r_{n-1}),    s_n the n-th batch's mean and unbiased variance,

    that is, the plain average of all batches so far and, once there are 1 / (1 - momentum) = 10 of them, an exponential
    one. The customary r_n = 0.99 r_{n-1} + 0.01 s_n from (0, 1) is still 60 % starting value after 50 updates;
    here nothing of the starting value is left after the first. Before any update the layer evaluates as the identity.
    The variance is the mean squared distance from the mean, never E[x^2] - E[x]^2, which cancels in float32 where the
    inputs are far from zero (raw grey values).

    Args:
        features: length of the first axis of the inputs [features, ..., B]; each feature has its own statistics.
        momentum: what an update keeps of the running statistics in the long run.
        epsilon: added to the variance.
    """

    def __init__(self, features: int, *, momentum: float = 0.9, epsilon: float = 1e-5) -> None:
        self.momentum, self.epsilon = momentum, epsilon
        self.scale = nnx.Param(jnp.ones(features, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(features, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(features, jnp.float32))
        self.variance = nnx.BatchStat(jnp.ones(features, jnp.float32))
        self.updates = nnx.BatchStat(jnp.zeros((), jnp.float32))
        self.use_running_average = False  # switched by nnx's train() and eval()

    def __call__(self, x: jax.Array) -> jax.Array:
        axes = tuple(range(1, x.ndim))

        def per_feature(a: jax.Array) -> jax.Array:
            return jnp.expand_dims(a, axes)

        if self.use_running_average:
            mean, variance = self.mean[...], self.variance[...]
        else:
            mean = x.mean(axes)
            variance = jnp.square(x - per_feature(mean)).mean(axes)
            self._follow(lax.stop_gradient(mean), lax.stop_gradient(variance), x.size // x.shape[0])
        gain = self.scale[...] * lax.rsqrt(variance + self.epsilon)
        return (x - per_feature(mean)) * per_feature(gain) + per_feature(self.bias[...])

    def _follow(self, mean: jax.Array, variance: jax.Array, count: int) -> None:
        updates = self.updates[...] + 1
        rate = jnp.maximum(1 / updates, 1 - self.momentum)
        unbiased = variance * (count / max(count - 1, 1))
        self.mean[...] += rate * (mean - self.mean[...])
        self.variance[...] += rate * (unbiased - self.variance[...])
        self.updates[...] = updates


class Conv(nnx.Module):
    """conv(x) + offset + bias without zero padding: [C, H, W, B] to [F, H - kh + 1, W - kw + 1, B].

    Args:
        weight: kernels [F, C, kh, kw].
        bias: [F].
    """

    def __init__(self, weight: jax.Array, bias: jax.Array) -> None:
        self.weight, self.bias = nnx.Param(weight), nnx.Param(bias)

    def __call__(self, x: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        y = im2col.conv(x, self.weight[...], padding="VALID")
        y = y if offset is None else y + offset[..., None]
        return y + self.bias[...][:, None, None, None]


class ConvBlock(nnx.Module):
    """relu(pool(conv(x) + offset) + bias), or relu(pool(norm(conv(x) + offset))): [C, H, W, B] to [F, H//2, W//2, B].

    Zero padding (unless `padding` says otherwise), 2 x 2 max pooling; the last row or column of an odd size, which
    pooling leaves out, is not computed and does not enter the batch statistics either. Bias and ReLU commute with the
    maximum and come after it, where there are a quarter as many numbers.

    Args:
        weight: kernels [F, C, kh, kw].
        bias: [F], or None for batch normalisation, which brings its own.
        padding: "SAME", or "VALID" for no zeros, which gives two rows and columns less of 3 x 3 kernels.
    """

    def __init__(self, weight: jax.Array, bias: jax.Array | None, *, padding: str = "SAME") -> None:
        self.padding = padding
        self.weight = nnx.Param(weight)
        self.bias = None if bias is None else nnx.Param(bias)
        self.norm = BatchNorm(len(weight)) if bias is None else None

    def __call__(self, x: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        weight = self.weight[...]
        if self.norm is not None:
            y = im2col.conv_phases(x, weight, padding=self.padding)
            y = im2col.max_pool_phases(self.norm(y if offset is None else y + offset[..., None]))
        elif targets.current().pooled:
            y = conv_pool(x, weight, offset, self.padding)
        else:
            y = im2col.max_pool_phases(im2col.conv_phases(x, weight, padding=self.padding), offset)
        if self.bias is not None:
            y = y + self.bias[...][:, None, None, None]
        return jax.nn.relu(y)


def feature_major(images: jax.Array) -> jax.Array:
    """[B, H, W, K] to [H*W*K, B]."""
    return images.reshape(images.shape[0], -1).T


def channel_major(images: jax.Array) -> jax.Array:
    """[B, H, W, K] to [K, H, W, B]."""
    return images.transpose(3, 1, 2, 0)


def truncated_normals(key: jax.Array, *shapes: tuple[int, ...]) -> list[jax.Array]:
    """Standard normal numbers cut off at -2 and 2 (their standard deviation is 0.88), an array for each shape.

    All come from one draw: each further draw in a program takes a third of a second to compile on a CPU.
    """
    sizes = [math.prod(shape) for shape in shapes]
    ends = list(itertools.accumulate(sizes))
    drawn = jax.random.truncated_normal(key, -2.0, 2.0, (ends[-1],), jnp.float32)
    return [drawn[end - size : end].reshape(shape) for shape, size, end in zip(shapes, sizes, ends, strict=True)]


def glorot_uniforms(key: jax.Array, *shapes: tuple[int, int]) -> list[jax.Array]:
    """Weights [outputs, inputs] drawn evenly from ±sqrt(6 / (inputs + outputs)), as Keras does, all from one draw."""
    ends = list(itertools.accumulate(map(math.prod, shapes)))
    drawn = jax.random.uniform(key, (ends[-1],), jnp.float32, -1.0, 1.0)
    return [
        drawn[end - math.prod(shape) : end].reshape(shape) * (6 / sum(shape)) ** 0.5
        for shape, end in zip(shapes, ends, strict=True)
    ]


def lecun(normals: jax.Array) -> jax.Array:
    """Truncated standard normals [outputs, inputs, ...] scaled to variance 1 / inputs, for linear outputs."""
    return normals * (_TRUNCATED_SD * math.prod(normals.shape[1:]) ** 0.5) ** -1


def he(normals: jax.Array) -> jax.Array:
    """Truncated standard normals [outputs, inputs, ...] scaled to variance 2 / inputs, for outputs that meet a ReLU."""
    return lecun(normals) * 2**0.5
