"""What a preprocessing is fitted to: the training images and their moments, and the affine maps made from them.

Moments are as exact as float64 without a float64 copy of the images: integer sums for uint8, slabs for floats.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinv.errors import InputError
from jaxinv.preprocess.slabs import apply_in_slabs, as_floats, check_images, slabs

NOISE = 1e-6
"""A computed pixel is constant where its standard deviation is below this part of the images' root mean square."""


class AffineMap(NamedTuple):
    """x ↦ scale∘x + offset, pixel by pixel: both float64 [H, W, K], until they become parameters."""

    scale: np.ndarray
    offset: np.ndarray


def affine_params(affine: AffineMap, center: np.ndarray | float = 0.0) -> dict[str, np.ndarray]:
    """An affine map as parameters, rounded to float32 once: scale∘(x − center) + value is scale∘x + offset.

    Where the scale is large, the mean as center spares `apply_affine` the cancellation of two large numbers.
    """
    center = np.broadcast_to(np.float32(center), affine.scale.shape)
    value = affine.scale * center.astype(np.float64) + affine.offset
    arrays = {"scale": affine.scale, "offset": affine.offset, "center": center, "value": value}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def apply_affine(params: dict[str, Any], images: Any) -> jax.Array:
    return params["scale"][None] * (as_floats(images) - params["center"][None]) + params["value"][None]


class Moments(NamedTuple):
    """Mean and variance (divided by N) of every pixel over the training images, float64 [H, W, K]."""

    mean: np.ndarray
    variance: np.ndarray


class TrainingImages:
    """Training images [N, H, W, K]. Images and moments are computed when first asked for, and once."""

    def __init__(self, images: np.ndarray | Callable[[], np.ndarray], image_shape: tuple[int, ...]) -> None:
        self._images = images
        self.image_shape = image_shape

    @classmethod
    def stored(cls, images: Any) -> "TrainingImages":
        """Those of a dataset, uint8.

        Raises:
            InputError: they are not stored images, or there are none.
        """
        images = check_images(images, "training images")
        if len(images) == 0:
            raise InputError("training images: none given; give at least 1, to fit a preprocessing to")
        return cls(images, images.shape[1:])

    @cached_property
    def images(self) -> np.ndarray:
        return self._images() if callable(self._images) else self._images

    @cached_property
    def moments(self) -> Moments:
        return uint8_moments(self.images) if self.images.dtype == np.uint8 else float_moments(self.images)

    def mapped(self, affine: AffineMap | None) -> np.ndarray:
        """The images under an affine map, float32; without one, as they are."""
        return self.images if affine is None else apply_in_slabs(apply_affine, affine_params(affine), self.images)

    def map_or_identity(self, affine: AffineMap | None) -> AffineMap:
        """The map, or the identity where there is none."""
        return AffineMap(np.ones(self.image_shape), np.zeros(self.image_shape)) if affine is None else affine


def uint8_moments(images: np.ndarray) -> Moments:
    """Moments of uint8 images, each rounded once from exact sums: Σx/N and (N Σx² − (Σx)²)/N²."""
    n, shape = len(images), images.shape[1:]
    total, squares = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for slab in slabs(images, max_images=1 << 16):  # so many squares of 255 still fit uint32
        wide = slab.astype(np.uint16)
        total += wide.sum(axis=0, dtype=np.uint32)
        squares += np.square(wide, out=wide).sum(axis=0, dtype=np.uint32)
    first, second = total.astype(object), squares.astype(object)  # Python's integers do not overflow
    variance = (n * second - first * first) / (n * n)
    return Moments((first / n).astype(np.float64), variance.astype(np.float64))


def float_moments(images: np.ndarray) -> Moments:
    """Moments of computed images, in float64 and about the first image, so that little cancels.

    A pixel that varies by no more than rounding does (`NOISE`) counts as constant.
    """
    n, first = len(images), images[0].astype(np.float64)
    total, squares = np.zeros_like(first), np.zeros_like(first)
    for slab in slabs(images):
        deviation = slab.astype(np.float64) - first
        total += deviation.sum(axis=0)
        squares += np.square(deviation, out=deviation).sum(axis=0)
    mean, variance = first + total / n, np.maximum(squares / n - (total / n) ** 2, 0)
    power = (variance + mean**2).mean()
    return Moments(mean, np.where(variance > NOISE**2 * power, variance, 0))
