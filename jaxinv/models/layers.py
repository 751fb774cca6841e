"""The layers of the built-in networks, as flax `nnx` modules."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax


class Dense(nnx.Module):
    """y[b, o] = sum_i weight[o, i] x[b, i] + bias[o] + offset[o].

    The weights are output-major, [outputs, inputs]: the long axis ends up in the processor's vector lanes, and many
    layers that read the same batch (arms, learning rates) become one product [many * outputs, inputs] x [inputs, B].

    Args:
        inputs, outputs: sizes of the layer.
        weight_init: `(key, shape, dtype) -> weight`, called with shape [outputs, inputs].
        bias_init: the same for the bias, or None for a layer without one.
        rngs: source of random keys; zeros draw none that matters.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        weight_init: nnx.Initializer = nnx.initializers.lecun_normal(in_axis=1, out_axis=0),  # noqa: B008
        bias_init: nnx.Initializer | None = nnx.initializers.zeros_init(),  # noqa: B008
        rngs: nnx.Rngs,
    ) -> None:
        self.weight = nnx.Param(weight_init(rngs.params(), (outputs, inputs), jnp.float32))
        self.bias = None if bias_init is None else nnx.Param(bias_init(rngs.params(), (outputs,), jnp.float32))

    def __call__(self, x: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        y = lax.dot_general(self.weight[...], x, (((1,), (1,)), ((), ())))  # [outputs, B]
        for shift in (self.bias[...] if self.bias is not None else None, offset):
            if shift is not None:
                y = y + shift[:, None]
        return y.T


def flatten(images: jax.Array) -> jax.Array:
    """[B, H, W, K] to [B, H*W*K]."""
    return images.reshape(images.shape[0], -1)
