"""What a model is to the rest of jaxinv: pure functions over dictionaries of arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax.errors import FlaxError

from jaxinv.errors import InputError, first_line

Params = dict[str, Any]
State = dict[str, Any]
ImageShape = tuple[int, int, int]
FoldRefusal = Callable[[Any, Any], str | None]


class Init(Protocol):
    """(key, (H, W, K), C) -> (params, state)."""

    def __call__(self, key: jax.Array, image_shape: ImageShape, classes: int) -> tuple[Params, State]: ...


class Apply(Protocol):
    """(params, state, images [B, H, W, K]) -> (logits [B, C], new state)."""

    def __call__(
        self, params: Params, state: State, images: jax.Array, *, train: bool, key: jax.Array | None
    ) -> tuple[jax.Array, State]: ...


@dataclass(frozen=True, eq=False)
class Model:
    """A network as pure functions, fit for `jit`, `vmap`, `scan` and `eval_shape`.

    Attributes:
        name: what results, tables and plots call it.
        init: `(key, image_shape, classes) -> (params, state)`, both plain dictionaries of arrays. `params` is what the
            optimizer trains; `state` is what else changes from step to step (batch statistics), `{}` if nothing does.
        apply: `(params, state, images, *, train, key) -> (logits, new_state)`. `train` is a Python bool. `key` feeds
            dropout and the like; it may be None where nothing random happens, as in every evaluation.
        fold: None, or `(params, scale, offset) -> params` with
            `apply(fold(p, s, o), state, x) == apply(p, state, s * x + o)` for every x; scale and offset are [H, W, K].
        fold_refusal: None, or `(scale, offset) -> reason`: why the identity above cannot hold for this scale and
            offset (concrete arrays), or None if it holds.
        pixel_weights: None, or `(params, image_shape) -> [H, W, K, outputs]`: the first layer's weights, where each
            reads one pixel directly.
        narrow: None, or `(params, pixels) -> params` with
            `apply(narrow(p, i), state, x[:, i, None, None]) == apply(p, state, x.reshape(-1, H, W, K))` for all x
            [B, H*W*K] that are 0 in every other pixel; i is an array of indices or a slice. Evaluation then leaves out
            pixels that are dark in many test images; `init` must take images of shape (n, 1, 1).
    """

    name: str
    init: Init
    apply: Apply
    fold: Callable[[Params, jax.Array, jax.Array], Params] | None = None
    fold_refusal: FoldRefusal | None = None
    pixel_weights: Callable[[Params, ImageShape], jax.Array] | None = None
    narrow: Callable[[Params, Any], Params] | None = None


def check_model(model: Model, image_shape: ImageShape, classes: int) -> None:
    """`InputError`, in one line, unless the model takes such images to logits [B, C] and keeps the form of its state.

    Nothing is computed: the model is only traced.
    """

    def trace(key: jax.Array) -> Any:
        params, state = model.init(key, image_shape, classes)
        images = jnp.zeros((2, *image_shape), jnp.float32)
        evaluated = model.apply(params, state, images, train=False, key=None)
        return state, (evaluated, model.apply(params, state, images, train=True, key=key))

    where = f"model: {model.name!r} on images of shape {tuple(image_shape)}"
    try:
        before, outcomes = jax.eval_shape(trace, jax.random.key(0))
    except InputError:
        raise
    except (TypeError, ValueError, FlaxError) as problem:  # what JAX and flax raise where shapes do not fit
        raise InputError(f"{where}: {first_line(problem)}") from problem
    for logits, after in outcomes:
        if getattr(logits, "shape", None) != (2, classes):
            found = getattr(logits, "shape", type(logits).__name__)
            raise InputError(
                f"{where} returns logits {found} for 2 images of {classes} classes; allowed: {(2, classes)}"
            )
        if jax.tree.map(_form, after) != jax.tree.map(_form, before):
            raise InputError(f"{where} changes the structure, shapes or types of its state between init and apply")


def _form(leaf: Any) -> tuple[tuple[int, ...], Any]:
    return leaf.shape, leaf.dtype
