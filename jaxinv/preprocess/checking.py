"""What can be found out about an arm before it is trained with; meant for arms of a user's own."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinv.errors import InputError, first_line
from jaxinv.preprocess.arm import Preprocess, own_affine

TRACING = (TypeError, ValueError)
"""What goes wrong while a function is traced; JAX's own tracing errors are TypeErrors."""
WRAPS = "uint8 arithmetic wraps around; divide by a float or use astype first"


def check_output(arm: Preprocess, params: Any, image_shape: tuple[int, int, int]) -> None:
    """Refuse an arm whose `apply` does not give floats [N, H, W, K] image by image, or is not what its `affine` says.

    Every arm is traced for its shape and dtype; one with a part of a user's own is also run on four images of noise.

    Raises:
        InputError: naming the arm, what it gave and what is allowed.
    """
    probe = jax.ShapeDtypeStruct((4, *image_shape), np.uint8)
    try:
        out = jax.eval_shape(arm.apply, params, probe)
    except TRACING as error:
        reason = first_line(error)
        raise InputError(f"arms: {arm.name!r}: apply cannot be compiled: {type(error).__name__}: {reason}") from error
    if not isinstance(out, jax.ShapeDtypeStruct):
        raise InputError(f"arms: {arm.name!r}: apply gives {type(out).__name__}; allowed: one array of images")
    if out.shape != probe.shape:
        raise InputError(f"arms: {arm.name!r}: apply makes {out.shape} of {probe.shape}; allowed: the same shape")
    if not jnp.issubdtype(out.dtype, jnp.floating):
        raise InputError(f"arms: {arm.name!r}: apply gives {out.dtype}; allowed: floats ({WRAPS})")
    if not arm.built_in:
        check_values(arm, params, np.random.default_rng(0).integers(0, 256, probe.shape, dtype=np.uint8))


def check_values(arm: Preprocess, params: Any, images: np.ndarray) -> None:
    """What the types do not show of an arm of a user's own."""

    def given(images: np.ndarray) -> np.ndarray:
        return np.asarray(jax.jit(arm.apply)(params, images), np.float64)

    together, as_floats = given(images), images.astype(np.float32)
    check_finite(arm, together)
    if not close(together[:2], given(images[:2])):
        raise InputError(f"arms: {arm.name!r}: what apply gives for an image depends on the rest of its batch")
    if traceable(arm, params, as_floats) and not close(together, given(as_floats)):
        raise InputError(f"arms: {arm.name!r}: apply differs between uint8 images and the same as floats ({WRAPS})")
    if arm.affine is not None:
        scale, offset = own_affine(arm, params, images.shape[1:])
        if not close(together, scale[None] * images + offset[None]):
            raise InputError(f"arms: {arm.name!r}: apply is not the scale∘x + offset that its affine names")


def check_finite(arm: Preprocess, images: np.ndarray) -> None:
    """Refuse what an arm gave if it holds NaN or infinity."""
    finite = np.isfinite(images)
    if not finite.all():
        first = np.unravel_index(np.argmin(finite), finite.shape)
        raise InputError(
            f"arms: {arm.name!r}: apply gives {images[first]} for image {first[0]}; allowed: finite values"
        )


def traceable(arm: Preprocess, params: Any, images: np.ndarray) -> bool:
    """Whether apply takes images of this dtype at all."""
    try:
        jax.eval_shape(arm.apply, params, images)
    except TRACING:
        return False
    return True


def close(values: np.ndarray, others: np.ndarray) -> bool:
    """Equal but for float32 rounding on the scale of the values."""
    return bool(np.abs(values - others).max() <= 1e-4 * max(1e-30, np.abs(values).max()))
