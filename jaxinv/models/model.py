"""What a model is to the rest of jaxinv: pure functions over dictionaries of arrays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jax

Params = dict[str, Any]
State = dict[str, Any]
ImageShape = tuple[int, int, int]


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
            offset (concrete arrays), or None if it holds. Ask `can_fold` rather than this.
        pixel_weights: None, or `(params, image_shape) -> [H, W, K, outputs]`: the first layer's weights, where each
            reads one pixel directly.
    """

    name: str
    init: Init
    apply: Apply
    fold: Callable[[Params, jax.Array, jax.Array], Params] | None = None
    fold_refusal: Callable[[Any, Any], str | None] | None = None
    pixel_weights: Callable[[Params, ImageShape], jax.Array] | None = None


def with_leaf(tree: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy of nested dictionaries in which the entry at `path` is `value`; the rest is shared.

    >>> with_leaf({"a": {"b": 1, "c": 2}}, ("a", "b"), 3)
    {'a': {'b': 3, 'c': 2}}
    """
    head, *rest = path
    return {**tree, head: with_leaf(tree[head], tuple(rest), value) if rest else value}
