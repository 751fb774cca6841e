"""Images in slabs: pieces small enough for the caches, whatever the size of an image."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinv.errors import InputError

SLAB_VALUES = 1 << 20
"""Values in a slab: 4 MB of float32."""


def check_images(images: Any, field: str = "images") -> np.ndarray:
    """The images, if they are what a dataset holds: uint8 [N, H, W, K]."""
    if not isinstance(images, np.ndarray | jax.Array):
        found = f"{type(images).__name__} is not allowed"
        raise InputError(f"{field}: {found}; give a uint8 array [N, H, W, K]")
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise InputError(
            f"{field}: shape {images.shape} is not allowed; give [N, H, W, K] with H, W and K of at least 1"
        )
    if images.dtype != np.uint8:
        raise InputError(f"{field}: dtype {images.dtype} is not allowed; give uint8 grey values, 0 to 255")
    return np.asarray(images)


def as_floats(images: Any) -> jax.Array:
    """The images as float32; float64 images stay float64."""
    x = jnp.asarray(images)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def slabs(images: np.ndarray, max_images: int = 1 << 62) -> Iterator[np.ndarray]:
    """The images in consecutive slabs of at most `max_images`."""
    count = images_per_slab(images, max_images)
    return (images[start : start + count] for start in range(0, len(images), count))


def images_per_slab(images: np.ndarray, max_images: int) -> int:
    return min(max(1, SLAB_VALUES // int(np.prod(images.shape[1:]))), max_images)


def apply_in_slabs(apply: Callable[[Any, Any], Any], params: Any, images: np.ndarray) -> np.ndarray:
    """apply(params, images) as float32, jitted. All slabs have one shape: the last is padded with its last image."""
    out = np.empty(images.shape, np.float32)
    if len(images) == 0:
        return out
    count = images_per_slab(images, max_images=1 << (len(images) - 1).bit_length())
    compiled, params = jax.jit(apply), jax.device_put(params)
    targets = np.array_split(out, range(count, len(images), count))
    pending: tuple[np.ndarray, jax.Array] | None = None
    for target, slab in zip(targets, slabs(images, count), strict=True):
        if len(slab) < count:
            slab = np.concatenate([slab, np.broadcast_to(slab[-1:], (count - len(slab), *slab.shape[1:]))])
        started = target, compiled(params, slab)
        if pending:  # the device computes this slab while the host copies the one before it
            copy_result(*pending)
        pending = started
    assert pending is not None
    copy_result(*pending)
    return out


def copy_result(target: np.ndarray, result: jax.Array) -> None:
    target[...] = np.asarray(result)[: len(target)]
