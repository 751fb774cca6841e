"""What can be said about a preprocessing without training: curvature, the learning rates that it allows, and folds.

Write x̃ = (x, 1) for an image as an arm presents it, with a 1 for the bias of the first layer (without bias x̃ = x).

**Curvature.** Softmax regression that begins at zero gives every class the probability p = 1/C. The Hessian of its
mean cross-entropy with respect to (W, b) is E[(diag(p) - p pᵀ) ⊗ x̃x̃ᵀ] = (I/C - 11ᵀ/C²) ⊗ E[x̃x̃ᵀ], so its largest
eigenvalue is λ/C with λ that of E[x̃x̃ᵀ]. Full-batch gradient descent shrinks every direction of a quadratic bowl if its
learning rate is below 2 over the largest eigenvalue: here 2C/λ. Images far from zero have a large λ and need small
steps, whatever there is to learn from them (LeCun, Kanter and Solla, 1991, "Eigenvalues of covariance matrices").

**Folds.** A layer that is linear in the pixels takes in any affine arm: W(s∘x + o) + b = (W∘s)x + (b + Wo). So weights
for one affine arm can be rewritten for another (`translate`), exactly, unless the other arm destroys pixels.
"""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinv.data import Dataset
from jaxinv.engine.job import prepare
from jaxinv.errors import InputError
from jaxinv.models import Model, get_model
from jaxinv.preprocess import Preprocess, get_preprocess, transform
from jaxinv.study import Study
from jaxinv.training import keys
from jaxinv.training.trial import Arm, Setting
from jaxinv.utils.jsonable import jsonable

MOST_INPUTS = 4096  # up to so many, bias included, E[x̃x̃ᵀ] is written down: 134 MB of float64
_EXACT_ROWS = 256  # so many squares of 255 add up to less than 2^24: float32 sums of them are exact in any order
_SLAB = 1 << 22  # values converted at a time
_TILE = 1000  # test images looked at together


@dataclass(frozen=True, kw_only=True)
class Curvature:
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
      learning_rate_bound: 2C/λ, below which full-batch gradient descent is stable at the start; None for a model that
        is not linear or does not begin at zero.
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
    learning_rate_bound: float | None

    @property
    def condition(self) -> float | None:
        """Largest over smallest eigenvalue that is not null: how much slower the slowest direction is."""
        return None if self.smallest is None else self.largest / self.smallest

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return jsonable(vars(self) | {"condition": self.condition})


def curvature(
    dataset: Dataset,
    arm: str | Preprocess = "normal",
    model: str | Model = "softmax",
    *,
    method: Literal["dense", "iterative"] | None = None,
) -> Curvature:
    """The curvature that a linear first layer finds in the training images under an arm.

    Args:
        dataset: whose training images; an arm is fitted to them too.
        arm: any; an affine one costs no pass over the data beyond the first arm's.
        model: one whose first layer reads pixels directly. It decides about the bias and the bound.
        method: None: "dense" up to 4,096 inputs, else "iterative", which gives λ and the trace alone.

    Raises:
        InputError: an arm, model or method that is not known; a first layer that does not read pixels directly.

    >>> images = np.arange(8, dtype=np.uint8).reshape(4, 1, 2, 1)
    >>> data = Dataset(x_train=images, y_train=[0, 1, 0, 1], x_test=images, y_test=[0, 1, 0, 1])
    >>> found = curvature(data, "raw", "softmax_nobias")
    >>> x = images.reshape(4, 2).astype(float)
    >>> bool(np.isclose(found.largest, np.linalg.eigvalsh(x.T @ x / 4)[-1])), found.rank
    (True, 2)
    """
    if method not in (None, "dense", "iterative"):
        raise InputError(f"method: {method!r} is not allowed; choose 'dense', 'iterative' or None")
    arm, model = get_preprocess(arm), get_model(model)
    bias, linear = _first_layer(model, dataset)
    inputs = int(np.prod(dataset.image_shape)) + bias
    method = method or ("dense" if inputs <= MOST_INPUTS else "iterative")
    images, affine = _presented(dataset, arm)
    smallest = rank = None
    if method == "dense":
        from scipy import linalg

        moments = _mapped(_raw_moments(dataset), *affine) if affine else _moments(images)
        moments = moments if bias else moments[:-1, :-1]
        spectrum = linalg.eigvalsh(moments)
        largest, trace = float(spectrum[-1]), float(np.trace(moments))
        there = spectrum[spectrum > inputs * np.finfo(np.float64).eps * largest]
        rank, smallest = there.size, float(there[0]) if there.size else None
    else:
        largest, trace = _by_lanczos(images, affine, bias, inputs)
    bound = 2 * dataset.classes / largest if linear and largest > 0 else None
    return Curvature(
        arm=arm.name,
        model=model.name,
        bias=bias,
        inputs=inputs,
        largest=largest,
        trace=trace,
        smallest=smallest,
        rank=rank,
        method=method,
        learning_rate_bound=bound,
    )


class Translation(NamedTuple):
    """Parameters for another arm; max |Δlogit| over the test images, the largest |logit| there, how many they are.

    `own` says whether they are a setting of the network's own weights. Without a bias, or with zero padding, which
    stays 0 while the background changes, the first layer needs an offset besides.
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
    (scale, offset), (scale_to, offset_to) = (_affine(dataset, get_preprocess(arm)) for arm in (source, target))
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
    real = np.float64 if double else np.float32
    with jax.enable_x64(double), jax.default_matmul_precision("highest"):
        params, state = jax.tree.map(partial(_cast, dtype=real), (params, state))
        new = model.fold(params, jnp.asarray(ratio, real), jnp.asarray(shift, real))

        @jax.jit
        def logits(params: Any, pixels: jax.Array, scale: jax.Array, offset: jax.Array) -> jax.Array:
            images = pixels.astype(real) * scale[None] + offset[None]
            return model.apply(params, state, images, train=False, key=None)[0]

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
        raise InputError(f"model: {model.name!r} does not say how its first layer takes in a scale and an offset")
    reason = model.fold_refusal(scale, offset) if model.fold_refusal is not None else None
    if reason is not None:
        raise InputError(f"model: {model.name!r} cannot take the map in exactly: {reason}")


def train_one(
    study: Study, *, arm: str | Preprocess, learning_rate: float | None = None, trial: int = 0
) -> tuple[Any, Any]:
    """The parameters and the state that one trial of a study ends with, which stored results do not keep.

    Args:
        study: whose trial; its other arms and learning rates are left out.
        arm, learning_rate: of the study, or others; None: the study's first learning rate.
        trial: its number.

    Raises:
        InputError: an arm or learning rate that makes no sense.
        DataError: the data cannot be had.
    """
    rate = study.learning_rates[0] if learning_rate is None else learning_rate
    job = prepare(study.replace(arms=(arm,), learning_rate=rate, eval_every=None))
    (group,) = job.groups
    design, data = job.trial(group), job.data(group, _TILE)
    key = keys.trial_key(keys.root_key(study.seed), trial)
    setting = Setting(key, jnp.float32(rate), Arm(*(jnp.asarray(a[0]) for a in group.arm)))

    @jax.jit
    def train(setting: Setting, data: Any) -> Any:
        return design.advance(design.start(None, setting), setting, jnp.zeros((), jnp.int32), data)

    end = train(setting, jax.tree.map(jnp.asarray, data))
    return end.params, end.state


def _first_layer(model: Model, dataset: Dataset) -> tuple[bool, bool]:
    """Whether the model's first layer has a bias; whether it is all of the model, linear and zero in the beginning."""
    if model.pixel_weights is None or model.fold is None:
        raise InputError(f"model: the first layer of {model.name!r} does not read pixels directly")
    shape = dataset.image_shape
    begin, state = model.init(keys.root_key(0), shape, dataset.classes)
    whole, nothing = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    # a layer without a bias has no place of its own for an offset, so that folding one in adds an entry
    bias = jax.tree.structure(jax.eval_shape(model.fold, begin, whole, nothing)) == jax.tree.structure(begin)
    size = sum(leaf.size for leaf in jax.tree.leaves(begin))
    if size != (np.prod(shape) + bias) * dataset.classes or any(np.any(leaf) for leaf in jax.tree.leaves(begin)):
        return bias, False
    some = jax.tree.map(lambda leaf: jnp.sin(jnp.arange(leaf.size, dtype=jnp.float32)).reshape(leaf.shape), begin)
    probe = jnp.asarray(dataset.x_train[:8], jnp.float32) / 255
    once, twice = (
        np.asarray(model.apply(jax.tree.map(lambda leaf, k=k: k * leaf, some), state, probe, train=False, key=None)[0])
        for k in (1, 2)
    )
    return bias, bool(np.allclose(2 * once, twice, rtol=1e-4, atol=1e-6))


def _affine(dataset: Dataset, arm: Preprocess) -> tuple[np.ndarray, np.ndarray]:
    """An arm's scale and offset, float64 [H, W, K], as trials are given them."""
    if arm.affine is None:
        raise InputError(f"arms: {arm.name!r} is not affine, so no weights can stand in for it")
    scale, offset = arm.affine(arm.fit(dataset.x_train), dataset.image_shape)
    return np.asarray(scale, np.float64), np.asarray(offset, np.float64)


def _presented(dataset: Dataset, arm: Preprocess) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Training images [N, D] and an affine map still to be applied to them, if the arm is one."""
    if arm.affine is not None:
        return dataset.x_train.reshape(len(dataset.x_train), -1), _affine(dataset, arm)
    images = transform(arm, arm.fit(dataset.x_train), dataset.x_train)
    return images.reshape(len(images), -1), None


def _slabs(images: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    return (images[start : start + rows] for start in range(0, len(images), rows))


_known: weakref.WeakKeyDictionary[Dataset, np.ndarray] = weakref.WeakKeyDictionary()


def _raw_moments(dataset: Dataset) -> np.ndarray:
    """E[ũũᵀ] of the stored grey values: counted once per dataset, since those of every affine arm follow from it."""
    if dataset not in _known:
        _known[dataset] = _moments(dataset.x_train.reshape(len(dataset.x_train), -1))
    return _known[dataset]


def _moments(images: np.ndarray) -> np.ndarray:
    """E[x̃x̃ᵀ] of images [N, D], float64 [D+1, D+1]; sums of uint8 products are exact."""
    exact = images.dtype == np.uint8
    total = np.zeros((images.shape[1] + 1,) * 2)
    for slab in _slabs(images, _EXACT_ROWS if exact else max(1, _SLAB // images.shape[1])):
        rows = np.ones((len(slab), images.shape[1] + 1), np.float32 if exact else np.float64)
        rows[:, :-1] = slab
        total += rows.T @ rows
    return total / len(images)


def _mapped(moments: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """E[x̃x̃ᵀ] of x = s∘u + o from that of u: the last row and column of E[ũũᵀ] hold the mean of u."""
    s, o = np.append(scale.ravel(), 1.0), np.append(offset.ravel(), 0.0)
    scaled = s[:, None] * moments * s[None]
    mean = scaled[:, -1]
    return scaled + o[:, None] * mean[None] + mean[:, None] * o[None] + o[:, None] * o[None]


def _by_lanczos(
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
        for slab in _slabs(images, rows):
            slab = slab.astype(np.float64)
            response = slab @ weight + shift
            back += response @ slab
            total += response.sum()
        out = scale * back + offset * total
        return np.append(out, total)[:inputs] / count

    trace = float(bias)
    for slab in _slabs(images, rows):
        trace += float(np.square(slab * scale + offset).sum()) / count
    start = np.random.default_rng(0).standard_normal(inputs)
    operator: Any = linalg.LinearOperator((inputs, inputs), matvec=product, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    options: Any = {"which": "LA", "tol": 1e-10, "v0": start, "return_eigenvectors": False}
    largest = linalg.eigsh(operator, k=1, **options)
    return float(largest[0]), trace


def _cast(leaf: Any, dtype: Any) -> Any:
    return jnp.asarray(leaf, dtype) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else jnp.asarray(leaf)
