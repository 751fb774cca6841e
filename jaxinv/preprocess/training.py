"""What a fit may look at: the training images, and the statistics of them that several arms share.

Statistics are of float64 quality without a float64 copy of the data: whole-number sums for uint8 images, slabs for float32 ones.
"""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np

from jaxinv.errors import InputError

SLAB = 1 << 21
"""Values that are worked on at a time: 8 MB of float32, whatever the size of an image."""


class AffineMap(NamedTuple):
    """x ↦ scale ∘ x + offset from grey values, pixel by pixel; both float64 [H, W, K] until an arm's parameters are stored."""

    scale: np.ndarray
    offset: np.ndarray


class Moments(NamedTuple):
    """Mean and variance (divided by N) of every pixel over the training images, float64 [H, W, K]."""

    mean: np.ndarray
    variance: np.ndarray


class Training:
    """Training images [N, H, W, K], made when first asked for, with their moments counted once for all arms that want them."""

    def __init__(self, images: np.ndarray | Callable[[], np.ndarray], shape: tuple[int, ...] | None = None):
        self._images = images
        self._shape = shape

    @cached_property
    def images(self) -> np.ndarray:
        return self._images() if callable(self._images) else self._images

    @property
    def image_shape(self) -> tuple[int, ...]:
        return tuple(self.images.shape[1:]) if self._shape is None else self._shape

    @cached_property
    def moments(self) -> Moments:
        return whole_moments(self.images) if self.images.dtype == np.uint8 else float_moments(self.images)

    def identity(self) -> AffineMap:
        return AffineMap(np.ones(self.image_shape), np.zeros(self.image_shape))

    def under(self, before: AffineMap | None) -> np.ndarray:
        """The images after an affine map: as they are where there is none, else float32 [N, H, W, K]."""
        if before is None:
            return self.images
        return run(apply_affine, stored(before), self.images)


def stored(affine: AffineMap) -> dict[str, np.ndarray]:
    """An affine map as an arm's parameters: float32, rounded once, at the end."""
    return {"scale": affine.scale.astype(np.float32), "offset": affine.offset.astype(np.float32)}


def apply_affine(params: dict[str, np.ndarray], images) -> jax.Array:
    return params["scale"][None] * images.astype(np.float32) + params["offset"][None]


def check_images(images: object, field: str = "images") -> np.ndarray:
    """`images` itself, when they are what a dataset holds: uint8 [N, H, W, K] with at least one pixel."""
    if not isinstance(images, np.ndarray | jax.Array) or images.ndim != 4:
        found = f"shape {images.shape}" if isinstance(images, np.ndarray | jax.Array) else type(images).__name__
        raise InputError(f"{field}: {found} is no stack of images; allowed: an array [N, H, W, K]")
    if images.dtype != np.uint8:
        raise InputError(
            f"{field}: dtype {images.dtype} is not allowed; arms read grey values as stored: uint8, 0 to 255"
        )
    if 0 in images.shape[1:]:
        raise InputError(f"{field}: shape {images.shape} has no pixels; allowed: H, W, K of at least 1")
    return np.asarray(images)


def rows_per_slab(image_shape: tuple[int, ...]) -> int:
    return max(1, SLAB // max(1, int(np.prod(image_shape))))


def run(apply: Callable, params: object, images: np.ndarray) -> np.ndarray:
    """apply(params, images) as float32, jitted, slab by slab in one compiled shape; the last slab is filled up with its last image."""
    n = len(images)
    out = np.empty(images.shape, np.float32)
    if n == 0:
        return out
    rows = min(rows_per_slab(images.shape[1:]), 1 << (n - 1).bit_length())
    compiled, params = jax.jit(apply), jax.device_put(params)
    for start in range(0, n, rows):
        slab = images[start : start + rows]
        count = len(slab)
        if count < rows:
            slab = np.concatenate([slab, np.broadcast_to(slab[-1:], (rows - count, *slab.shape[1:]))])
        out[start : start + count] = np.asarray(compiled(params, slab))[:count]
    return out


def whole_moments(images: np.ndarray) -> Moments:
    """Moments of uint8 images, each correctly rounded from exact sums: Σx/N and (N Σx² − (Σx)²)/N²."""
    n, shape = len(images), images.shape[1:]
    flat = images.reshape(n, -1)
    total = np.zeros(flat.shape[1], np.int64)
    squares = np.zeros(flat.shape[1], np.int64)
    for start in range(0, n, rows := min(rows_per_slab(shape), 1 << 16)):  # 2^16 squares of 255 still fit uint32
        slab = flat[start : start + rows].astype(np.uint16)
        total += slab.sum(axis=0, dtype=np.uint32)
        slab *= slab
        squares += slab.sum(axis=0, dtype=np.uint32)
    first, second = total.astype(object), squares.astype(object)  # Python's integers do not overflow
    variance = (n * second - first * first) / (n * n)
    return Moments((first / n).astype(np.float64).reshape(shape), variance.astype(np.float64).reshape(shape))


def float_moments(images: np.ndarray) -> Moments:
    """Moments of float32 images in float64, about the first image, so that little cancels and what never changes has variance 0."""
    n, shape = len(images), images.shape[1:]
    first = images[0].astype(np.float64)
    total, squares = np.zeros(shape), np.zeros(shape)
    for start in range(0, n, rows := rows_per_slab(shape)):
        away = images[start : start + rows].astype(np.float64) - first
        total += away.sum(axis=0)
        squares += np.square(away, out=away).sum(axis=0)
    mean = total / n
    return Moments(first + mean, np.maximum(squares / n - mean**2, 0))
