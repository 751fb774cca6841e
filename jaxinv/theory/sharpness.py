"""The sharpness that a preprocessing gives the loss of a linear first layer, and the learning rates that it allows.

Write x̃ = (x, 1) for a preprocessed image, with a 1 for the bias of the first layer (without bias x̃ = x).

Softmax regression that begins at zero gives every class the probability p = 1/C. The Hessian of its
mean cross-entropy with respect to (W, b) is E[(diag(p) - p pᵀ) ⊗ x̃x̃ᵀ] = (I/C - 11ᵀ/C²) ⊗ E[x̃x̃ᵀ], so its largest
eigenvalue is λ/C with λ that of E[x̃x̃ᵀ]. Full-batch gradient descent shrinks every direction of a quadratic bowl if its
learning rate is below 2 over the largest eigenvalue: here 2C/λ. Images far from zero have a large λ and need small
steps, whatever there is to learn from them (LeCun, Kanter and Solla, 1991, "Eigenvalues of covariance matrices").
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxinv.data import Dataset
from jaxinv.errors import InputError
from jaxinv.models import Model, get_model
from jaxinv.preprocess import Preprocess, get_preprocess
from jaxinv.theory.moments import (
    largest_eigenvalue_and_trace,
    mapped_second_moments,
    preprocessed_images,
    raw_second_moments,
    second_moments,
)
from jaxinv.training import keys
from jaxinv.utils.jsonable import jsonable

MOST_INPUTS = 4096  # up to so many, bias included, E[x̃x̃ᵀ] is written down: 134 MB of float64


@dataclass(frozen=True, kw_only=True)
class Sharpness:
    """The spectrum of E[x̃x̃ᵀ] over the training images, and what it says about learning rates.

    Attributes:
      arm, model: of whom it speaks.
      bias: whether x̃ ends in a 1, because the model's first layer has a bias.
      inputs: D, the length of x̃.
      largest: λ, the largest eigenvalue.
      trace: the sum of all eigenvalues, E[‖x̃‖²].
      smallest: the smallest eigenvalue that is not null; None where not every eigenvalue was computed.
      rank: how many eigenvalues are not null, that is, above D·ε·λ with the ε of float64; None likewise. Gradient
        descent never moves along the null ones: no training image has anything there.
      method: "dense" (all eigenvalues of the D×D matrix) or "iterative" (Lanczos, products with the data only).
      max_stable_learning_rate: 2C/λ, below which full-batch gradient descent is stable at the start; None for a model
        that is not linear or does not begin at zero.
    """

    arm: str
    model: str
    bias: bool
    inputs: int
    largest: float
    trace: float
    smallest: float | None
    rank: int | None
    method: Literal["dense", "iterative"]
    max_stable_learning_rate: float | None

    @property
    def sharpness(self) -> float | None:
        """λ/C, the largest eigenvalue of the Hessian at the start; None for other models."""
        return None if self.max_stable_learning_rate is None else 2 / self.max_stable_learning_rate

    @property
    def condition(self) -> float | None:
        """Largest over smallest eigenvalue that is not null: how much slower the slowest direction is."""
        return None if self.smallest is None else self.largest / self.smallest

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return jsonable(vars(self) | {"sharpness": self.sharpness, "condition": self.condition})


def compute_sharpness(
    dataset: Dataset,
    arm: str | Preprocess = "normal",
    model: str | Model = "softmax",
    *,
    method: Literal["dense", "iterative"] | None = None,
) -> Sharpness:
    """The sharpness that a linear first layer finds in the training images under a preprocessing.

    Args:
        dataset: whose training images; an arm is fitted to them too.
        arm: any; an affine one costs no pass over the data beyond the first arm's.
        model: one whose first layer reads pixels directly. It decides about the bias and the bound.
        method: None: "dense" up to 4,096 inputs, else "iterative", which gives λ and the trace alone.

    Raises:
        InputError: an arm, model or method that is not known; a first layer that does not read pixels directly.

    >>> images = np.arange(8, dtype=np.uint8).reshape(4, 1, 2, 1)
    >>> data = Dataset(x_train=images, y_train=[0, 1, 0, 1], x_test=images, y_test=[0, 1, 0, 1])
    >>> found = compute_sharpness(data, "raw", "softmax_nobias")
    >>> x = images.reshape(4, 2).astype(float)
    >>> bool(np.isclose(found.largest, np.linalg.eigvalsh(x.T @ x / 4)[-1])), found.rank
    (True, 2)
    """
    if method not in (None, "dense", "iterative"):
        raise InputError(f"method: {method!r} is not allowed; give 'dense', 'iterative' or None")
    arm, model = get_preprocess(arm), get_model(model)
    bias, linear = _first_layer(model, dataset)
    inputs = int(np.prod(dataset.image_shape)) + bias
    method = method or ("dense" if inputs <= MOST_INPUTS else "iterative")
    images, affine = preprocessed_images(dataset, arm)
    smallest = rank = None
    if method == "dense":
        from scipy import linalg

        moments = mapped_second_moments(raw_second_moments(dataset), *affine) if affine else second_moments(images)
        moments = moments if bias else moments[:-1, :-1]
        spectrum = linalg.eigvalsh(moments)
        largest, trace = float(spectrum[-1]), float(np.trace(moments))
        there = spectrum[spectrum > inputs * np.finfo(np.float64).eps * largest]
        rank, smallest = there.size, float(there[0]) if there.size else None
    else:
        largest, trace = largest_eigenvalue_and_trace(images, affine, bias, inputs)
    bound = 2 * dataset.classes / largest if linear and largest > 0 else None
    return Sharpness(
        arm=arm.name,
        model=model.name,
        bias=bias,
        inputs=inputs,
        largest=largest,
        trace=trace,
        smallest=smallest,
        rank=rank,
        method=method,
        max_stable_learning_rate=bound,
    )


def _first_layer(model: Model, dataset: Dataset) -> tuple[bool, bool]:
    """Whether the model's first layer has a bias; whether it is all of the model, linear and zero in the beginning."""
    if model.pixel_weights is None or model.fold is None:
        raise InputError(
            f"model: the first layer of {model.name!r} does not read pixels directly; "
            "give one whose first layer does, such as 'softmax'"
        )
    shape = dataset.image_shape
    network = model.bind(shape, dataset.classes)
    begin, state = network.init(keys.root_key(0))
    whole, nothing = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    # a layer without a bias has no place of its own for an offset, so that folding one in adds an entry
    bias = jax.tree.structure(jax.eval_shape(model.fold, begin, whole, nothing)) == jax.tree.structure(begin)
    size = sum(leaf.size for leaf in jax.tree.leaves(begin))
    if size != (np.prod(shape) + bias) * dataset.classes or any(np.any(leaf) for leaf in jax.tree.leaves(begin)):
        return bias, False
    some = jax.tree.map(lambda leaf: jnp.sin(jnp.arange(leaf.size, dtype=jnp.float32)).reshape(leaf.shape), begin)
    probe = jnp.asarray(dataset.x_train[:8], jnp.float32) / 255
    once, twice = (
        np.asarray(network.apply(jax.tree.map(partial(jnp.multiply, k), some), state, probe, train=False, key=None)[0])
        for k in (1, 2)
    )
    return bias, bool(np.allclose(2 * once, twice, rtol=1e-4, atol=1e-6))
