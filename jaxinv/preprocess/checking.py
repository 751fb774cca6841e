"""Checks of a user's own preprocessing before anything is trained with it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinv.errors import InputError, first_line
from jaxinv.preprocess.preprocessing import Preprocess, custom_affine_map

TRACING_ERRORS = (TypeError, ValueError)
"""What goes wrong while a function is traced; JAX's own tracing errors are TypeErrors."""
WRAPS = "uint8 arithmetic wraps around; divide by a float or use astype first"


def check_preprocess(preprocess: Preprocess, params: Any, image_shape: tuple[int, int, int]) -> None:
    """Refuse one whose `apply` does not give floats [N, H, W, K] image by image, or is not what its `affine` says.

    Every preprocessing is traced for its shape and dtype; one with a component of a user's own is also run on four
    images of noise.

    Raises:
        InputError: naming the preprocessing, what it gave and what is allowed.
    """
    probe = jax.ShapeDtypeStruct((4, *image_shape), np.uint8)
    field = f"arms: {preprocess.name!r}"
    try:
        out = jax.eval_shape(preprocess.apply, params, probe)
    except TRACING_ERRORS as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"{field}: apply cannot be compiled ({reason}); give a function that jax.jit takes") from error
    if not isinstance(out, jax.ShapeDtypeStruct):
        raise InputError(f"{field}: apply gives {type(out).__name__}; give one array of images")
    if out.shape != probe.shape:
        raise InputError(f"{field}: apply makes {out.shape} of {probe.shape}; give images of the same shape")
    if not jnp.issubdtype(out.dtype, jnp.floating):
        raise InputError(f"{field}: apply gives {out.dtype}; give floats ({WRAPS})")
    if not preprocess.built_in:
        check_values(preprocess, params, np.random.default_rng(0).integers(0, 256, probe.shape, dtype=np.uint8))


def check_values(preprocess: Preprocess, params: Any, images: np.ndarray) -> None:
    """What the types do not show of a user's own preprocessing."""

    def applied(images: np.ndarray) -> np.ndarray:
        return np.asarray(jax.jit(preprocess.apply)(params, images), np.float64)

    field = f"arms: {preprocess.name!r}"
    values, as_floats = applied(images), images.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        first = np.unravel_index(np.argmin(finite), finite.shape)
        raise InputError(f"{field}: apply gives {values[first]} for image {first[0]}; give finite values")
    if not close(values[:2], applied(images[:2])):
        raise InputError(f"{field}: apply depends on the rest of the batch; give a function of each image alone")
    if traceable(preprocess, params, as_floats) and not close(values, applied(as_floats)):
        raise InputError(f"{field}: apply differs between uint8 images and the same as floats ({WRAPS})")
    if preprocess.affine is not None:
        scale, offset = custom_affine_map(preprocess, params, images.shape[1:])
        if not close(values, scale[None] * images + offset[None]):
            raise InputError(f"{field}: apply is not the scale∘x + offset that its affine names; mend either")


def traceable(preprocess: Preprocess, params: Any, images: np.ndarray) -> bool:
    """Whether apply takes images of this dtype at all."""
    try:
        jax.eval_shape(preprocess.apply, params, images)
    except TRACING_ERRORS:
        return False
    return True


def close(values: np.ndarray, others: np.ndarray) -> bool:
    """Equal but for float32 rounding on the scale of the values."""
    return bool(np.abs(values - others).max() <= 1e-4 * max(1e-30, np.abs(values).max()))
