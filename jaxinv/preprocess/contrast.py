"""Local contrast normalisation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinv.preprocess.per_image import subtract_own_mean
from jaxinv.preprocess.preprocessing import Component

REACH = 4
"""Pixels that the window reaches to each side: 9×9, as in Jarrett et al."""
WIDTH = 2.0
"""Standard deviation of the Gaussian in pixels; the papers give none, and this is the usual one with 9×9."""


def lcn(params: Any, images: jax.Array) -> jax.Array:
    """Local contrast normalisation: the local mean subtracted, then the local standard deviation divided out.

    Formula: v/max(s, mean(s)), v = x − Σwx, s = √Σwv², with w a 9×9 Gaussian of sd 2 and sums also over channels
    Source: Jarrett, Kavukcuoglu, Ranzato and LeCun 2009, section 2; Sermanet, Chintala and LeCun 2012

    The weights of a window sum to 1 over rows, columns and channels: all channels share one local mean and one s, and
    mean(s) is the image's own. At the border the window is cut off and its weights are made to sum to 1 again (as in
    Torch's SpatialSubtractiveNormalization), so that no edge appears that the image does not have. A constant image
    becomes 0. The unit makes no difference.
    """
    x = subtract_own_mean(images)
    v = x - blur(x.mean(axis=3))[..., None]
    s = jnp.sqrt(blur(jnp.square(v).mean(axis=3)))
    divisor = jnp.maximum(s, s.mean(axis=(1, 2), keepdims=True))[..., None]
    return v / jnp.where(divisor > 0, divisor, 1)


def blur(planes: jax.Array) -> jax.Array:
    """Gaussian mean around each pixel of [N, H, W]: separable, so a product with a matrix from each side."""
    n, height, width = planes.shape
    rows, columns = (jnp.asarray(window(length), planes.dtype) for length in (height, width))
    along = jnp.matmul(planes.reshape(n * height, width), columns.T, precision="highest").reshape(n, height, width)
    across = jnp.matmul(along.swapaxes(1, 2).reshape(n * width, height), rows.T, precision="highest")
    return across.reshape(n, width, height).swapaxes(1, 2)


def window(length: int) -> np.ndarray:
    """[length, length], row i: the weights of the mean around pixel i, which sum to 1 over the pixels there are."""
    distance = np.subtract.outer(np.arange(length), np.arange(length))
    weights = np.where(abs(distance) <= REACH, np.exp(-(distance**2) / (2 * WIDTH**2)), 0)
    return weights / weights.sum(axis=1, keepdims=True)


COMPONENTS = (Component(name="lcn", apply=lcn, doc=lcn.__doc__ or ""),)
