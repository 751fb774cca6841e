"""What a trial reads: the images and labels, and the affine preprocessing under which a network sees them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinv.training.evaluation_tiles import TestSet

Array = Any  # a jax.Array, or what stands for one: NumPy's, an axis to map over, a shape and dtype


class Affine(NamedTuple):
    """An affine preprocessing: a network sees scale * image + offset; both float32 [H, W, K]."""

    scale: Array
    offset: Array


class Transfer(NamedTuple):
    """The test images under another preprocessing than the networks' own.

    One affine preprocessing of the images as stored; or images that another preprocessing gives, and the identity.
    """

    affine: Affine
    test: TestSet


class Data(NamedTuple):
    """N training and M test images: uint8 as stored or, where a preprocessing is not affine, float32 as it gives them.

    The same for every trial, so a program takes it as an argument.
    """

    x_train: Array  # [N, H, W, K]
    y_train: Array  # int32 [N]
    test: TestSet
    preprocess_params: Any = None  # where a trial preprocesses each batch
    transfers: tuple[Transfer, ...] = ()  # under which each network is tested in the end as well


def network_inputs(images: jax.Array, affine: Affine | None) -> jax.Array:
    """Images [B, H, W, K] as the network sees them, float32; `affine` is None where nothing is left to apply."""
    pixels = images.astype(jnp.float32)
    return pixels if affine is None else pixels * affine.scale[None] + affine.offset[None]
