"""Second moments E[x̃x̃ᵀ] of training images under a preprocessing, and their largest eigenvalue.

x̃ = (x, 1) is an image with a 1 for the bias of the first layer; without bias x̃ = x.
"""

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxinv.data import Dataset
from jaxinv.preprocess import Preprocess, transform
from jaxinv.theory.fold import affine_map

_EXACT_ROWS = 256  # so many squares of 255 add up to less than 2^24: float32 sums of them are exact in any order
_SLAB = 1 << 22  # values converted at a time


def slabs(images: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    return (images[start : start + rows] for start in range(0, len(images), rows))


_cache: weakref.WeakKeyDictionary[Dataset, np.ndarray] = weakref.WeakKeyDictionary()


def raw_second_moments(dataset: Dataset) -> np.ndarray:
    """E[ũũᵀ] of the stored grey values: counted once per dataset, since those of every affine arm follow from it."""
    if dataset not in _cache:
        _cache[dataset] = second_moments(dataset.x_train.reshape(len(dataset.x_train), -1))
    return _cache[dataset]


def second_moments(images: np.ndarray) -> np.ndarray:
    """E[x̃x̃ᵀ] of images [N, D], float64 [D+1, D+1]; sums of uint8 products are exact."""
    exact = images.dtype == np.uint8
    total = np.zeros((images.shape[1] + 1,) * 2)
    for slab in slabs(images, _EXACT_ROWS if exact else max(1, _SLAB // images.shape[1])):
        rows = np.ones((len(slab), images.shape[1] + 1), np.float32 if exact else np.float64)
        rows[:, :-1] = slab
        total += rows.T @ rows
    return total / len(images)


def mapped_second_moments(moments: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """E[x̃x̃ᵀ] of x = s∘u + o from that of u: the last row and column of E[ũũᵀ] hold the mean of u."""
    s, o = np.append(scale.ravel(), 1.0), np.append(offset.ravel(), 0.0)
    scaled = s[:, None] * moments * s[None]
    mean = scaled[:, -1]
    return scaled + o[:, None] * mean[None] + mean[:, None] * o[None] + o[:, None] * o[None]


def preprocessed_images(dataset: Dataset, arm: Preprocess) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Training images [N, D], and the affine map still to be applied to them where the preprocessing is affine."""
    if arm.affine is not None:
        return dataset.x_train.reshape(len(dataset.x_train), -1), affine_map(dataset, arm)
    images = transform(arm, arm.fit(dataset.x_train), dataset.x_train)
    return images.reshape(len(images), -1), None


def largest_eigenvalue_and_trace(
    images: np.ndarray, affine: tuple[np.ndarray, np.ndarray] | None, bias: bool, inputs: int
) -> tuple[float, float]:
    """λ and trace of E[x̃x̃ᵀ] by products with the data alone: Lanczos, power iteration that keeps what it has seen."""
    from scipy.sparse import linalg

    count, pixels = images.shape
    scale, offset = (a.ravel() for a in affine) if affine else (np.ones(pixels), np.zeros(pixels))
    rows = max(1, _SLAB // pixels)

    def product(v: np.ndarray) -> np.ndarray:
        v = v.ravel()
        weight, shift = scale * v[:pixels], offset @ v[:pixels] + (v[-1] if bias else 0.0)
        back, total = np.zeros(pixels), 0.0
        for slab in slabs(images, rows):
            slab = slab.astype(np.float64)
            response = slab @ weight + shift
            back += response @ slab
            total += response.sum()
        out = scale * back + offset * total
        return np.append(out, total)[:inputs] / count

    trace = float(bias)
    for slab in slabs(images, rows):
        trace += float(np.square(slab * scale + offset).sum()) / count
    start = np.random.default_rng(0).standard_normal(inputs)
    operator: Any = linalg.LinearOperator((inputs, inputs), matvec=product, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    options: Any = {"which": "LA", "tol": 1e-10, "v0": start, "return_eigenvectors": False}
    largest = linalg.eigsh(operator, k=1, **options)
    return float(largest[0]), trace
