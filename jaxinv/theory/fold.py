"""Weights for one affine preprocessing, rewritten for another.

A layer that is linear in the pixels takes in any affine preprocessing: W(s∘x + o) + b = (W∘s)x + (b + Wo). So weights
that read images under one can be rewritten to read them under another (`translate`), exactly, unless the other one
destroys pixels.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinv.data import Dataset
from jaxinv.errors import InputError
from jaxinv.models import Model, get_model
from jaxinv.preprocess import Preprocess, get_preprocess

_TILE = 1000  # test images whose logits are compared at a time


class Translation(NamedTuple):
    """Parameters for another preprocessing, and how far the logits of the test images are from those before.

    Attributes:
      params: the parameters.
      own: whether the network has a place for all of them. Without a bias, or with zero padding, which stays 0 while
        the background changes, the first layer needs an offset besides.
      max_difference: the largest |Δlogit|.
      largest_logit: the largest |logit|.
      images: M, the number of test images.
    """

    params: Any
    own: bool
    max_difference: float
    largest_logit: float
    images: int


def translate(
    model: str | Model,
    params: Any,
    state: Any,
    dataset: Dataset,
    *,
    source: str | Preprocess,
    target: str | Preprocess = "raw",
    double: bool = False,
) -> Translation:
    """Rewrite weights that read images under one affine arm so that they read them under another.

    With x = s∘u + o under the source and z = s'∘u + o' under the target (u: stored grey values), x = r∘z + (o - r∘o')
    with r = s/s', which the first layer takes in. The default target is the stored pixels themselves.

    Args:
        model: one whose first layer can take in an affine map (`Model.fold`).
        params, state: of that model.
        dataset: the arms are fitted to its training images; the logits are compared on its test images.
        source, target: the arm that the weights are for, and the one that they are wanted for.
        double: compute, and return, float64 rather than float32.

    Raises:
        InputError: no such weights exist: an arm is not affine, the target destroys pixels that the source shows, or
            the model cannot take the map in (a convolution, where the scale differs between pixels).
    """
    model = get_model(model)
    (scale, offset), (scale_to, offset_to) = (affine_map(dataset, get_preprocess(arm)) for arm in (source, target))
    lost = int(np.count_nonzero((scale_to == 0) & (scale != 0)))
    if lost:
        names = (
            f"{get_preprocess(target).name!r} shows nothing of {lost} pixels that {get_preprocess(source).name!r} shows"
        )
        raise InputError(f"target: {names}; no weights can make up for that")
    ratio = np.divide(scale, scale_to, out=np.zeros_like(scale), where=scale_to != 0)
    shift = offset - ratio * offset_to
    refuse_fold(model, ratio, shift)
    assert model.fold is not None
    network = model.bind(dataset.image_shape, dataset.classes)
    real = np.float64 if double else np.float32
    with jax.enable_x64(double), jax.default_matmul_precision("highest"):
        params, state = jax.tree.map(partial(_cast, dtype=real), (params, state))
        new = model.fold(params, jnp.asarray(ratio, real), jnp.asarray(shift, real))

        @jax.jit
        def logits(params: Any, pixels: jax.Array, scale: jax.Array, offset: jax.Array) -> jax.Array:
            images = pixels.astype(real) * scale[None] + offset[None]
            return network.apply(params, state, images, train=False, key=None)[0]

        before = [jnp.asarray(a, real) for a in (scale, offset)]
        after = [jnp.asarray(a, real) for a in (scale_to, offset_to)]
        apart = size = 0.0
        for start in range(0, len(dataset.x_test), _TILE):
            pixels = dataset.x_test[start : start + _TILE]
            wanted = np.asarray(logits(params, pixels, *before))
            apart = max(apart, float(np.abs(wanted - np.asarray(logits(new, pixels, *after))).max()))
            size = max(size, float(np.abs(wanted).max()))
        own = not any(np.any(leaf) for name in new.keys() - params.keys() for leaf in jax.tree.leaves(new[name]))
    return Translation(new, own, apart, size, len(dataset.x_test))


def refuse_fold(model: Model, scale: np.ndarray, offset: np.ndarray) -> None:
    """InputError with the reason, if the model's first layer cannot take in the map scale∘x + offset exactly."""
    if model.fold is None:
        raise InputError(
            f"model: {model.name!r} does not say how its first layer takes in a scale and an offset; "
            "give one with fold="
        )
    reason = model.fold_refusal(scale, offset) if model.fold_refusal is not None else None
    if reason is not None:
        raise InputError(f"model: {model.name!r} cannot take the map in exactly: {reason}; give another one")


def affine_map(dataset: Dataset, arm: Preprocess) -> tuple[np.ndarray, np.ndarray]:
    """A preprocessing's scale and offset, float64 [H, W, K], as trials are given them."""
    if arm.affine is None:
        raise InputError(f"arms: {arm.name!r} is not affine, so no weights can stand in for it; give an affine one")
    scale, offset = arm.affine(arm.fit(dataset.x_train), dataset.image_shape)
    return np.asarray(scale, np.float64), np.asarray(offset, np.float64)


def _cast(leaf: Any, dtype: Any) -> Any:
    return jnp.asarray(leaf, dtype) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else jnp.asarray(leaf)
