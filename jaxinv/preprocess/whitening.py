"""ZCA whitening."""

import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinv.errors import InputError
from jaxinv.preprocess.preprocessing import Component
from jaxinv.preprocess.slabs import as_floats, slabs
from jaxinv.preprocess.training_images import AffineMap, TrainingImages
from jaxinv.utils.fingerprint import fingerprint

RIDGE = 0.1
"""Part of the mean pixel variance that is added to every variance before its root is taken."""

MAX_VALUES = 1 << 14
"""Values in an image up to which a covariance is computed: 2 GB of float64."""

KEPT = 4
"""Matrices that a process keeps: models are compared on the same images, and eigenvectors of 3,072 values take 10 s."""

_matrices: dict[str, np.ndarray] = {}
_keeping = threading.Lock()  # runs in several threads share them


def zca(params: dict[str, Any], images: jax.Array) -> jax.Array:
    """Decorrelated pixels that stay as close to the image as they can.

    Formula: (C + εI)^(−½) (x − m), with m and C the mean and covariance of the D = H·W·K pixels, ε = 0.1·tr(C)/D
    Source: Bell and Sejnowski 1997; Krizhevsky 2009, appendix A; the ridge: Coates and Ng 2012

    The ridge keeps directions in which the training images hardly vary from being blown up. Coates and Ng advise 0.01
    to 0.1 for pixels of variance 1; taken relative to the mean variance it fits any unit. If the training images are
    all the same, every image becomes 0.
    """
    centered = (as_floats(images) - params["mean"][None] - params["low"][None]).reshape(len(images), -1)
    return jnp.matmul(centered, params["matrix"].astype(centered.dtype), precision="highest").reshape(images.shape)


def fit(training: TrainingImages, before: AffineMap | None) -> dict[str, np.ndarray]:
    """m [H, W, K] and (C + εI)^(−½) [D, D], computed in float64; `low` is what rounding to float32 cuts off m."""
    values = int(np.prod(training.image_shape))
    if values > MAX_VALUES:
        shape = "×".join(map(str, training.image_shape))
        raise InputError(
            f"arms: 'zca' is not allowed on images of {shape} = {values:,} values; give images of up to {MAX_VALUES:,}"
        )
    before = training.map_or_identity(before)
    mean = before.scale * training.moments.mean + before.offset
    matrix = whitening_matrix(training, before.scale.reshape(-1))
    params = {"mean": mean, "low": mean - mean.astype(np.float32), "matrix": matrix}
    return {name: array.astype(np.float32) for name, array in params.items()}


def whitening_matrix(training: TrainingImages, scale: np.ndarray) -> np.ndarray:
    """(C + εI)^(−½) [D, D] of the images times `scale` [D]; kept for the next that asks."""
    images = training.images
    key = fingerprint((images, scale))
    with _keeping:
        if key in _matrices:
            return _matrices[key]
    if 2 * len(images) < scale.size:
        centered = images.reshape(len(images), -1) - training.moments.mean.reshape(-1)
        matrix = inverse_root_of_few(centered * scale)
    else:
        matrix = inverse_root(scale[:, None] * covariance(training) * scale[None, :])
    matrix = matrix.astype(np.float32)
    with _keeping:
        while len(_matrices) >= KEPT:
            del _matrices[next(iter(_matrices))]
        _matrices[key] = matrix
    return matrix


def covariance(training: TrainingImages) -> np.ndarray:
    """Of the images as they are, [D, D], divided by N.

    Of uint8 images it is exact up to the last subtraction: x − 128 is a whole number of at most 128, so that products
    of 1,024 images add up to at most 2^24, and float32 holds every whole number up to there.
    """
    images, mean = training.images, training.moments.mean.reshape(-1)
    total = np.zeros((mean.size, mean.size))
    whole = images.dtype == np.uint8
    shift = np.float32(128) if whole else mean
    for slab in slabs(images, max_images=1024):
        centered = slab.reshape(len(slab), -1) - shift
        total += centered.T @ centered
    rest = mean - shift if whole else np.zeros_like(mean)
    return total / len(images) - np.outer(rest, rest)


def inverse_root(matrix: np.ndarray) -> np.ndarray:
    """(C + εI)^(−½) of a covariance; 0 where C is."""
    ridge = RIDGE * matrix.trace() / len(matrix)
    if ridge <= 0:
        return np.zeros_like(matrix)
    variances, directions = np.linalg.eigh(matrix)
    return (directions / np.sqrt(np.maximum(variances, 0) + ridge)) @ directions.T


def inverse_root_of_few(centered: np.ndarray) -> np.ndarray:
    """`inverse_root` of C = XᵀX/N for centred images X [N, D], N below D, by the eigenvectors of XXᵀ/N [N, N].

    With λ and U the eigenvalues and eigenvectors of XXᵀ/N, (C + εI)^(−½) = ε^(−½) I − XᵀU diag(w) UᵀX, where
    w = 1 / (N √(ε(λ + ε)) (√(λ + ε) + √ε)) is positive and finite where λ is 0.
    """
    count, values = centered.shape
    gram = centered @ centered.T / count
    ridge = RIDGE * gram.trace() / values
    if ridge <= 0:
        return np.zeros((values, values))
    variances, directions = np.linalg.eigh(gram)
    lifted = np.sqrt(np.maximum(variances, 0) + ridge)
    weights = 1 / (count * np.sqrt(ridge) * lifted * (lifted + np.sqrt(ridge)))
    rows = directions.T @ centered
    return np.eye(values) / np.sqrt(ridge) - (rows.T * weights) @ rows


COMPONENTS = (Component(name="zca", fit=fit, apply=zca, doc=zca.__doc__ or ""),)
