"""The preprocessings that see one image at a time and fit nothing.

In the formulas x is a stored grey value, 0 to 255, and mean, sd and counts are taken over one image alone.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxinv.preprocess.preprocessing import UNIT, Component
from jaxinv.preprocess.slabs import as_floats

LEVELS = 256


def image_mean(params: Any, images: jax.Array) -> jax.Array:
    """Normal minus the image's own mean over all its pixels and channels.

    Formula: (x − mean(x))/255
    Source: per-example mean subtraction, Ng et al., UFLDL tutorial, Data Preprocessing
    """
    return subtract_own_mean(images)


def image_standardize(params: Any, images: jax.Array) -> jax.Array:
    """Each image to mean 0 and variance 1; a constant image becomes 0.

    Formula: (x − mean(x))/max(sd(x), 1/√P), with P = H·W·K the number of values in the image
    Source: TensorFlow, tf.image.per_image_standardization

    TensorFlow takes pixel values as they come and casts them, so on stored images the floor is 1/√P of one grey level,
    and all it does is to protect a constant image from division by 0. On values from 0 to 1 the same floor is 255 times
    as high and would leave dark images dark (of MNIST's size, those with a standard deviation under 9 grey levels);
    `normal+image_standardize` is that.
    """
    x = subtract_own_mean(images)
    spread = jnp.sqrt(jnp.mean(jnp.square(x), axis=(1, 2, 3), keepdims=True))
    return x / jnp.maximum(spread, 1 / math.sqrt(math.prod(images.shape[1:])))


def histogram(params: Any, images: jax.Array) -> jax.Array:
    """Each channel of each image equalised: the darkest grey value in it becomes 0, the brightest 1.

    Formula: (c(x) − c(x_min))/(P − c(x_min)), with c(x) the number of the channel's P = H·W pixels at or below x
    Source: Gonzalez and Woods, Digital Image Processing, section 3.3; OpenCV, equalizeHist

    A channel of one single value has nothing to equalise and stays x/255, as in OpenCV and Pillow. Values from 0 to 1
    that come from another preprocessing are taken to the nearest of the 256 grey levels first.
    """
    n, height, width, channels = images.shape
    unit = jnp.moveaxis(images, 3, 1).reshape(n * channels, height * width)
    grey = jnp.clip(jnp.rint(unit * (LEVELS - 1)).astype(jnp.int32), 0, LEVELS - 1)  # stated limits may be wrong
    bins = grey + LEVELS * jnp.arange(n * channels, dtype=jnp.int32)[:, None]
    counts = jnp.zeros(n * channels * LEVELS, jnp.int32).at[bins].add(1, mode="promise_in_bounds")
    below = jnp.cumsum(counts.reshape(n * channels, LEVELS), axis=1).ravel()
    darkest = below.at[bins.min(axis=1, keepdims=True)].get(mode="promise_in_bounds")
    rank = below.at[bins].get(mode="promise_in_bounds") - darkest
    most = height * width - darkest
    equalised = jnp.where(most > 0, rank.astype(unit.dtype) / jnp.maximum(most, 1).astype(unit.dtype), unit)
    return jnp.moveaxis(equalised.reshape(n, channels, height, width), 1, 3)


def subtract_own_mean(images: Any) -> jax.Array:
    """Each image minus its mean; the first pixel goes first, so that a constant image becomes 0 exactly."""
    x = as_floats(images)
    x = x - x[:, :1, :1, :1]
    return x - jnp.mean(x, axis=(1, 2, 3), keepdims=True)


COMPONENTS = (
    Component(name="image_mean", apply=image_mean, reads_unit=True, doc=image_mean.__doc__ or ""),
    Component(name="image_standardize", apply=image_standardize, doc=image_standardize.__doc__ or ""),
    Component(name="histogram", apply=histogram, needs_limits=True, limits=UNIT, doc=histogram.__doc__ or ""),
)
