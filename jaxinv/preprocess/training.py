"""What a fit may look at: the training images, and the statistics of them that several arms share.

Statistics have float64 quality without a float64 copy of the data: whole-number sums for uint8, slabs for floats.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinv.errors import InputError

SLAB = 1 << 20
"""Values that are worked on at a time: 4 MB of float32, whatever the size of an image; caches like that best."""

NOISE = 1e-6
"""Computed pixels with a standard deviation below this part of the images' root mean square vary by rounding alone."""


class AffineMap(NamedTuple):
    """x ↦ scale∘x + offset, pixel by pixel: both float64 [H, W, K], until an arm's parameters are stored."""

    scale: np.ndarray
    offset: np.ndarray


class Moments(NamedTuple):
    """Mean and variance (divided by N) of every pixel over the training images, float64 [H, W, K]."""

    mean: np.ndarray
    variance: np.ndarray


class Training:
    """Training images [N, H, W, K], made when first asked for; their moments are counted once for all who want them."""

    def __init__(self, images: np.ndarray | Callable[[], np.ndarray], image_shape: tuple[int, ...]) -> None:
        self._images = images
        self.image_shape = image_shape

    @cached_property
    def images(self) -> np.ndarray:
        return self._images() if callable(self._images) else self._images

    @cached_property
    def moments(self) -> Moments:
        return whole_moments(self.images) if self.images.dtype == np.uint8 else float_moments(self.images)

    def start(self, before: AffineMap | None) -> AffineMap:
        """The map so far: the identity where nothing stands between these images and the arm."""
        return AffineMap(np.ones(self.image_shape), np.zeros(self.image_shape)) if before is None else before

    def under(self, before: AffineMap | None) -> np.ndarray:
        """The images after an affine map: as they are where there is none, else float32."""
        return self.images if before is None else run(apply_affine, stored(before), self.images)


def stored(affine: AffineMap, about: np.ndarray | float = 0.0) -> dict[str, np.ndarray]:
    """An affine map as an arm's parameters, rounded to float32 once: scale∘(x − about) + value is scale∘x + offset.

    Where the scale is large, `about` the mean spares `apply` the cancellation of two large numbers.
    """
    about = np.broadcast_to(np.float32(about), affine.scale.shape)
    value = affine.scale * about.astype(np.float64) + affine.offset
    arrays = {"scale": affine.scale, "offset": affine.offset, "about": about, "value": value}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def apply_affine(params: dict[str, Any], images: Any) -> jax.Array:
    return params["scale"][None] * (floats(images) - params["about"][None]) + params["value"][None]


def floats(images: Any) -> jax.Array:
    """The images as float32; float64 ones stay so."""
    x = jnp.asarray(images)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def check_images(images: Any, field: str = "images") -> np.ndarray:
    """The images, if they are what a dataset holds: uint8 [N, H, W, K]."""
    if not isinstance(images, np.ndarray | jax.Array):
        raise InputError(f"{field}: {type(images).__name__} is no array; allowed: an array [N, H, W, K] of uint8")
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise InputError(f"{field}: shape {images.shape}; allowed: [N, H, W, K] with H, W, K of at least 1")
    if images.dtype != np.uint8:
        raise InputError(
            f"{field}: dtype {images.dtype}; allowed: uint8, grey values from 0 to 255 as a Dataset holds them"
        )
    return np.asarray(images)


def slabs(images: np.ndarray, most: int = 1 << 62) -> Iterator[np.ndarray]:
    rows = rows_per_slab(images, most)
    return (images[start : start + rows] for start in range(0, len(images), rows))


def rows_per_slab(images: np.ndarray, most: int) -> int:
    return min(max(1, SLAB // int(np.prod(images.shape[1:]))), most)


def run(apply: Callable[[Any, Any], Any], params: Any, images: np.ndarray) -> np.ndarray:
    """apply(params, images) as float32, jitted, in slabs of one shape; the last is filled up with its last image."""
    out = np.empty(images.shape, np.float32)
    if len(images) == 0:
        return out
    rows = rows_per_slab(images, most=1 << (len(images) - 1).bit_length())
    compiled, params = jax.jit(apply), jax.device_put(params)
    places = np.array_split(out, range(rows, len(images), rows))
    running: tuple[np.ndarray, jax.Array] | None = None
    for place, slab in zip(places, slabs(images, rows), strict=True):
        if len(slab) < rows:
            slab = np.concatenate([slab, np.broadcast_to(slab[-1:], (rows - len(slab), *slab.shape[1:]))])
        started = place, compiled(params, slab)
        if running:  # the device works on this slab while the host copies the last one
            fetch(*running)
        running = started
    assert running is not None
    fetch(*running)
    return out


def fetch(place: np.ndarray, result: jax.Array) -> None:
    place[...] = np.asarray(result)[: len(place)]


def whole_moments(images: np.ndarray) -> Moments:
    """Moments of uint8 images, each rounded once from exact sums: Σx/N and (N Σx² − (Σx)²)/N²."""
    n, shape = len(images), images.shape[1:]
    total, squares = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for slab in slabs(images, most=1 << 16):  # so many squares of 255 still fit uint32
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
        away = slab.astype(np.float64) - first
        total += away.sum(axis=0)
        squares += np.square(away, out=away).sum(axis=0)
    mean, variance = first + total / n, np.maximum(squares / n - (total / n) ** 2, 0)
    power = (variance + mean**2).mean()
    return Moments(mean, np.where(variance > NOISE**2 * power, variance, 0))
