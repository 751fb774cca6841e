"""Losses of classification: (logits [B, C], labels [B]) -> [B]."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxinv.errors import InputError
from jaxinv.models import targets
from jaxinv.training.tracing import trace

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log softmax(logits)[label], in nats: [B] from logits [B, C] and labels in [0, C).

    Not finite where a logit is NaN or infinite.

    >>> bool(jnp.isclose(cross_entropy(jnp.zeros((1, 4)), jnp.array([2]))[0], jnp.log(4.0)))
    True
    """
    if logits.shape[1] <= targets.current().spread_classes:
        return classify(logits, labels)[1]
    z = logits.T  # class-major, so that sums over classes add up whole vectors of images
    highest = lax.stop_gradient(jnp.max(z, axis=0))
    spread = jnp.log(jnp.sum(jnp.exp(z - highest[None, :]), axis=0))
    chosen = labels[None, :] == jnp.arange(len(z))[:, None]  # a comparison: gathers are slow on CPUs
    return highest + spread - jnp.sum(jnp.where(chosen, z, 0.0), axis=0)


def classify(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The class with the largest logit, int32 [B], the first of several; and the cross-entropy [B], both in one pass.

    Sums and maxima over classes are written out. A compiler makes one loop over images of them all, where reductions
    are a loop each; for few classes. As `jnp.argmax` and `cross_entropy`, NaN among the logits included.

    >>> [a.tolist() for a in classify(jnp.array([[0.0, 0.0], [0.0, jnp.nan]]), jnp.array([0, 1]))]
    [[0, 1], [0.6931471824645996, nan]]
    """
    z = list(logits.T)
    highest = lax.stop_gradient(reduce(jnp.maximum, z))
    taken = jnp.zeros(labels.shape, jnp.int32)
    for c, zc in reversed(list(enumerate(z))):
        taken = jnp.where((zc == highest) | jnp.isnan(zc), c, taken)
    spread = jnp.log(sum(jnp.exp(zc - highest) for zc in z))
    chosen = sum(jnp.where(labels == c, zc, 0.0) for c, zc in enumerate(z))
    return taken, highest + spread - chosen


def _of_labels(name: str) -> Loss:
    """A loss of optax's that takes one example's scores and its label."""
    return jax.vmap(getattr(optax.losses, name))


def _of_one_hot(name: str, *, sum_classes: bool) -> Loss:
    """A loss of optax's that takes logits and one-hot labels."""

    def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
        value = getattr(optax.losses, name)(logits, jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype))
        return value.sum(axis=-1) if sum_classes else value

    return loss


_NAMED: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "poly_loss_cross_entropy": _of_one_hot("poly_loss_cross_entropy", sum_classes=False),
    "sigmoid_binary_cross_entropy": _of_one_hot("sigmoid_binary_cross_entropy", sum_classes=True),
    "sigmoid_focal_loss": _of_one_hot("sigmoid_focal_loss", sum_classes=True),
    "multiclass_hinge_loss": _of_labels("multiclass_hinge_loss"),
    "multiclass_perceptron_loss": _of_labels("multiclass_perceptron_loss"),
    "multiclass_sparsemax_loss": _of_labels("multiclass_sparsemax_loss"),
    "squared_error": _of_one_hot("squared_error", sum_classes=True),
}


def get_loss(loss: str | Loss) -> Loss:
    """The loss of that name (`registry.LOSSES`), or the function itself.

    >>> get_loss("squared_error")(jnp.array([[1.0, 0.0]]), jnp.array([1])).tolist()
    [2.0]
    """
    return _NAMED[loss] if isinstance(loss, str) else loss


def check_per_example(field: str, function: Any, classes: int) -> None:
    """Refuse a function (logits [B, C], labels [B]) that does not give floats [B]; it is traced, and not run.

    Raises:
        InputError: naming what it gives.
    """
    logits, labels = jax.ShapeDtypeStruct((7, classes), jnp.float32), jax.ShapeDtypeStruct((7,), jnp.int32)
    made = trace(field, function, logits, labels, give="a function (logits [B, C], labels [B]) -> [B]")
    shape, dtype = getattr(made, "shape", None), getattr(made, "dtype", None)
    if shape != (7,) or dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        found = type(made).__name__ if shape is None else f"{dtype} {list(shape)}"
        raise InputError(f"{field}: {found} for 7 examples is not allowed; give a function that returns floats [7]")
