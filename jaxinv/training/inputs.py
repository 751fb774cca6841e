"""What a trial reads: the images and labels, and the affine preprocessing under which a network sees them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinv.models.targets import Target
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
    """N training and M test images: as stored or, where a preprocessing is not affine, float32 as it gives them.

    The same for every trial, so a program takes it as an argument. How images lie on the device is the target's choice,
    see `laid_out`.
    """

    x_train: Array  # [N, H, W, K] or [N, D]
    y_train: Array  # int32 [N]
    test: TestSet
    preprocess_params: Any = None  # where a trial preprocesses each batch
    transfers: tuple[Transfer, ...] = ()  # under which each network is tested in the end as well


def laid_out(images: np.ndarray, target: Target, *, lead: int = 1, whole: bool = False) -> np.ndarray:
    """Images as programs for a target read them; the same numbers in each.

    Args:
        images: [..., H, W, K] with `lead` axes before, uint8 as stored or float32.
        target: says whether they are kept as rows, and the type of stored ones.
        lead: how many axes stay as they are.
        whole: keep uint8, for augmentations and preprocessings, which take images as stored.
    """
    narrow = images.dtype == np.uint8 and target.pixels == "bfloat16" and not whole
    images = images.astype(jnp.bfloat16) if narrow else images
    return images.reshape(*images.shape[:lead], -1) if target.flat else images


def network_inputs(images: jax.Array, affine: Affine | None, *, bfloat16: bool) -> jax.Array:
    """Images [B, H, W, K] as the network sees them, float32.

    Args:
        images: as they lie on the device.
        affine: None where nothing is left to apply.
        bfloat16: leave images in bfloat16 as they are, where nothing is left to apply.
    """
    if affine is None and bfloat16 and images.dtype == jnp.bfloat16:
        return images
    pixels = images.astype(jnp.float32)
    return pixels if affine is None else pixels * affine.scale[None] + affine.offset[None]
