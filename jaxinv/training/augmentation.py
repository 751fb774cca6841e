"""Augmentation: training images changed at random as they are read. (key, images [B, H, W, K]) -> images."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxinv.errors import InputError
from jaxinv.training import keys
from jaxinv.training.tracing import trace

Augment = Callable[[jax.Array, jax.Array], jax.Array]

SHIFT = 2  # pixels, at most, along each axis
PADDING = 4  # pixels of 0 on every side


def shift(key: jax.Array, images: jax.Array) -> jax.Array:
    """Each image moved by -2 to 2 pixels along each axis, uniformly; what comes in from outside is 0 as stored.

    >>> shift(jax.random.key(0), jnp.ones((3, 8, 8, 1), jnp.uint8)).shape
    (3, 8, 8, 1)
    """
    return _cut_out(key, images, SHIFT)


def flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Each image mirrored left to right with probability 1/2."""
    mirrored = jax.random.bernoulli(key, 0.5, (len(images), 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def crop(key: jax.Array, images: jax.Array) -> jax.Array:
    """Each image padded with 4 pixels of 0 on every side, and its own size cut out at a random place."""
    return _cut_out(key, images, PADDING)


def _cut_out(key: jax.Array, images: jax.Array, margin: int) -> jax.Array:
    padded = jnp.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    corners = jax.random.randint(key, (len(images), 2), 0, 2 * margin + 1)

    def cut(image: jax.Array, corner: jax.Array) -> jax.Array:
        return lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:])

    return jax.vmap(cut)(padded, corners)


_NAMED: dict[str, Augment | None] = {"none": None, "shift": shift, "flip": flip, "crop": crop}


def get_augment(augment: str | Augment) -> Augment | None:
    """The augmentation of that name (`registry.AUGMENTATIONS`), or the function itself; None for "none"."""
    return _NAMED[augment] if isinstance(augment, str) else augment


def check_augment(field: str, augment: Augment, image_shape: tuple[int, int, int]) -> None:
    """Refuse an augmentation that does not give as many images of the same shape; it is traced, and not run.

    Raises:
        InputError: naming what it gives.
    """
    images = jax.ShapeDtypeStruct((7, *image_shape), jnp.uint8)
    key = jax.eval_shape(keys.root_key, 0)
    made = trace(field, augment, key, images, give="a function (key, images [B, H, W, K]) -> images")
    shape, dtype = getattr(made, "shape", None), getattr(made, "dtype", None)
    real = dtype is not None and (jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.floating))
    if shape != images.shape or not real:
        found = type(made).__name__ if shape is None else f"{dtype} {list(shape)}"
        raise InputError(
            f"{field}: {found} for images {list(images.shape)} is not allowed; give a function that returns as many "
            "images of the same shape, of integers or floats"
        )
